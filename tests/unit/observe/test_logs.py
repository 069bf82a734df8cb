import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from proxy.errors import PoolTimeout, ServerLost, ShuttingDown
from proxy.observe.logs import LogFormat, configure, connection_logger, log_proxy_error, tell


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class BrokenPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_have_the_fixed_fields() -> None:
    stream = io.StringIO()
    configure("json", stream=stream)
    connection_logger("c1", client="10.0.0.1:5000").info("client connected", tenant="acme")
    (event,) = events(stream)
    assert event["timestamp"].endswith("Z")
    assert list(event)[:3] == ["timestamp", "level", "event"]
    assert event | {"timestamp": ""} == {
        "timestamp": "",
        "level": "info",
        "event": "client connected",
        "connection_id": "c1",
        "client": "10.0.0.1:5000",
        "tenant": "acme",
    }


@pytest.mark.parametrize(("stream", "is_json"), [(io.StringIO(), True), (Terminal(), False)])
def test_auto_means_console_on_a_terminal_and_json_elsewhere(stream: io.StringIO, is_json: bool) -> None:
    configure("auto", stream=stream)
    connection_logger("c1").info("client connected")
    assert stream.getvalue().startswith("{") is is_json


def test_the_console_shows_time_level_message_and_fields_in_order() -> None:
    stream = io.StringIO()
    configure("console", stream=stream)
    connection_logger("c1", waited_s=1.5, tenant="acme").warning("no server became free", hint="Raise pool.size.")
    line = stream.getvalue()
    assert line[2] == line[5] == ":"
    assert (
        line[13:]
        == 'WARNING no server became free  tenant=acme connection_id=c1 waited_s=1.5 hint="Raise pool.size."\n'
    )


def test_colour_is_for_terminals_only_and_no_color_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, plain, declined = Terminal(), io.StringIO(), Terminal()
    for stream in (terminal, plain, declined):
        if stream is declined:
            monkeypatch.setenv("NO_COLOR", "1")
        configure("console", stream=stream)
        connection_logger("c1").info("client connected")
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b" not in plain.getvalue() + declined.getvalue()


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_client_can_not_forge_a_line_or_reach_the_terminal(format: LogFormat) -> None:
    stream = io.StringIO()
    configure(format, stream=stream)
    connection_logger("c1").info("login\nrefused", user='a\n12:00 INFO forged \x1b[31m \udcff " = x')
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    stream.getvalue().encode()


@pytest.mark.parametrize("format", ["console", "json"])
def test_secrets_never_reach_the_log(format: LogFormat) -> None:
    stream = io.StringIO()
    configure(format, stream=stream)
    logger = connection_logger("c1", password="hunter2", dsn="postgres://u:hunter2@h")
    try:
        raise ValueError("could not use password=hunter2")
    except ValueError:
        logger.exception("login failed, token=x password='hunter2'", nested={"api_key": "hunter2"})
        logging.getLogger("library").exception("password=hunter2")
    assert stream.getvalue().count("ValueError: could not use") == 2
    assert "hunter2" not in stream.getvalue()


def test_pythons_own_logging_comes_out_in_the_same_form() -> None:
    stream = io.StringIO()
    configure("json", level="warning", stream=stream)
    logging.getLogger("asyncio").error("task %s was never retrieved", "x")
    logging.getLogger("asyncio").info("not asked for")
    (event,) = events(stream)
    assert (event["level"], event["event"], event["logger"]) == ("error", "task x was never retrieved", "asyncio")


@pytest.mark.parametrize("level", ["debug", "info", "error"])
def test_a_change_in_a_watched_folder_is_no_line_which_could_be_the_next_change(level: str) -> None:
    stream = io.StringIO()
    configure("json", level=level, stream=stream)
    logging.getLogger("watchfiles.main").info("1 change detected")
    assert stream.getvalue() == ""


def test_the_level_holds_back_what_is_below_it() -> None:
    stream = io.StringIO()
    configure("json", level="error", stream=stream)
    connection_logger("c1").warning("not asked for")
    assert stream.getvalue() == ""


def test_an_error_is_logged_with_what_the_client_was_told_and_what_only_the_log_may_know() -> None:
    stream = io.StringIO()
    configure("json", stream=stream)
    error = PoolTimeout("no server became free", hint="Raise pool.size.", pool="saas", event="x", level="y")
    log_proxy_error(connection_logger("c1"), error, tenant="acme")
    (event,) = events(stream)
    del event["timestamp"]
    assert event == {
        "level": "warning",
        "event": "no server became free",
        "connection_id": "c1",
        "tenant": "acme",
        "sqlstate": "53300",
        "kind": "capacity",
        "hint": "Raise pool.size.",
        "pool": "saas",
    }


def test_the_level_of_an_error_says_whose_trouble_it_is() -> None:
    stream = io.StringIO()
    configure("json", stream=stream)
    for error in (ServerLost("gone"), ShuttingDown("bye"), PoolTimeout("full")):
        log_proxy_error(connection_logger("c1"), error)
    assert [event["level"] for event in events(stream)] == ["error", "info", "warning"]


def test_a_log_that_can_not_be_written_costs_nobody_a_connection(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", stream=BrokenPipe())
    connection_logger("c1").info("client connected")
    logging.getLogger("asyncio").error("x")
    assert capsys.readouterr().err == ""


def test_an_unknown_level_or_format_is_refused() -> None:
    with pytest.raises(ValueError, match="log level must be one of debug, info, warning, error, not 'loud'"):
        configure("json", level="loud")
    with pytest.raises(ValueError, match="log format must be console, json or auto, not 'xml'"):
        configure("xml")  # type: ignore[arg-type]


def test_what_is_told_of_each_client_respects_the_level_unless_it_is_told_always() -> None:
    stream = io.StringIO()
    configure("json", level="warning", stream=stream)
    tell(logging.INFO, "not told", {})
    tell(logging.INFO, "told always", {}, always=True)
    tell(logging.WARNING, "told", {})
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["told always", "told"]
