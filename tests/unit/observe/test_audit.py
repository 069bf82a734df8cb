import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from proxy.errors import AuthenticationFailed, ContextProtected, TenantUnavailable
from proxy.observe.audit import AuditLog
from proxy.observe.logs import LogFormat, configure

_TIME = re.compile(r"(2\d{3}-\d\d-\d\dT)?\d\d:\d\d:\d\d\.\d{3,6}Z?")


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    configure("json", stream=stream)
    return stream


def only(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    event: dict[str, Any] = json.loads(line)
    return event


def test_a_login_names_who_where_and_how(stream: io.StringIO) -> None:
    AuditLog().login_ok(method="scram-sha-256", user="app", tenant="acme", client="10.0.0.1:5000", connection_id="c1")
    event = only(stream)
    assert (event["logger"], event["audit"], event["level"]) == ("audit", "login_ok", "info")
    assert (event["user"], event["tenant"], event["method"]) == ("app", "acme", "scram-sha-256")


def test_a_refused_login_has_the_sqlstate_and_no_hint_of_the_secret(stream: io.StringIO) -> None:
    AuditLog().login_refused(AuthenticationFailed('password authentication failed for user "app"'), user="app")
    event = only(stream)
    assert (event["audit"], event["sqlstate"], event["kind"], event["level"]) == (
        "login_refused",
        "28P01",
        "auth",
        "warning",
    )


def test_an_attempt_on_the_context_names_the_setting_and_never_the_value(stream: io.StringIO) -> None:
    error = ContextProtected("permission denied", value="SET app.tenant_id = 'globex'")
    AuditLog().context_change_refused(error, setting="app.tenant_id", tenant="acme")
    assert only(stream)["setting"] == "app.tenant_id"
    assert "globex" not in stream.getvalue()


def test_a_tenant_that_is_not_available_is_named_with_its_status(stream: io.StringIO) -> None:
    AuditLog().tenant_status_refused(TenantUnavailable("tenant is suspended"), status="suspended", tenant="acme")
    assert (only(stream)["audit"], only(stream)["status"]) == ("tenant_status_refused", "suspended")


def test_audit_events_pass_whatever_the_log_level(stream: io.StringIO) -> None:
    configure("json", level="error", stream=stream)
    AuditLog().login_ok(method="trust", user="app")
    assert only(stream)["audit"] == "login_ok"


@pytest.mark.parametrize("format", ["json", "console"])
def test_an_audit_events_line_is_a_loggers_line(format: LogFormat) -> None:
    told, logged = io.StringIO(), io.StringIO()
    fields: dict[str, object] = {"user": "ann\x1b", "password": "hunter2", "dsn": "postgres://ann:hunter2@db/x", "n": 1}
    with structlog.contextvars.bound_contextvars(worker=3):
        configure(format, stream=told)
        AuditLog().login_ok(method="trust", **fields)
        configure(format, stream=logged)
        structlog.get_logger().info("client logged in", **fields, method="trust", logger="audit", audit="login_ok")
    assert _TIME.sub("", told.getvalue()) == _TIME.sub("", logged.getvalue())
    assert _TIME.search(told.getvalue())
    assert "hunter2" not in told.getvalue()
    assert "worker" in told.getvalue()


def test_before_logging_is_set_up_audit_events_go_where_all_others_go() -> None:
    code = "from proxy.observe.audit import AuditLog; AuditLog().login_ok(method='trust', user='app')"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "client logged in" in said
    assert "login_ok" in said


def test_an_audit_log_made_before_logging_was_set_up_writes_where_it_was_set_to() -> None:
    audit, stream = AuditLog(), io.StringIO()
    configure("json", stream=stream)
    audit.login_ok(method="trust", user="app")
    assert only(stream)["audit"] == "login_ok"
