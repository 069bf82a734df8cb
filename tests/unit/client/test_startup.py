"""What a StartupMessage asks for, read as PostgreSQL reads it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.client.startup import ClientStartup, negotiation, read_startup
from proxy.errors import InvalidStartupParameter, LoginRefused, ProxyError
from proxy.wire import codes
from proxy.wire.buffer import int32
from proxy.wire.frontend import Startup, read_first_message


def parsed(parameters: bytes) -> Startup:
    message = read_first_message(int32(codes.PROTOCOL_3_0) + parameters)
    assert isinstance(message, Startup)
    return message


def startup(protocol: int = codes.PROTOCOL_3_0, /, **parameters: str) -> ClientStartup:
    return read_startup(Startup(protocol, {"user": "app", **parameters}, {}))


def test_user_database_and_settings_are_told_apart() -> None:
    read = startup(database="saas", application_name="psql", DateStyle="ISO", tenant="acme")
    assert read == ClientStartup(
        user="app",
        database="saas",
        settings={"application_name": "psql", "datestyle": "ISO"},
        tenant="acme",
        protocol_minor=0,
    )


@pytest.mark.parametrize("parameters", [{}, {"user": ""}])
def test_a_startup_without_a_user_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(LoginRefused, match="no PostgreSQL user name specified in startup packet") as caught:
        read_startup(Startup(codes.PROTOCOL_3_0, parameters, {}))
    assert (caught.value.sqlstate, caught.value.severity) == ("28000", "FATAL")


def test_an_empty_database_is_none() -> None:
    assert startup(database="").database is None


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("", {}),
        ("  \t\n ", {}),
        ("-c work_mem=4MB", {"work_mem": "4MB"}),
        ("-cwork_mem=4MB", {"work_mem": "4MB"}),
        ("--work_mem=4MB", {"work_mem": "4MB"}),
        ("--work-mem=4MB", {"work_mem": "4MB"}),
        ("-c work-mem=4MB", {"work_mem": "4MB"}),
        ("  -c  Work_Mem=4MB\t-c app.tenant_id=acme ", {"work_mem": "4MB", "app.tenant_id": "acme"}),
        (r"-c application_name=my\ app", {"application_name": "my app"}),
        (r"-c application_name=back\\slash", {"application_name": "back\\slash"}),
        (r"-c\ application_name=x", None),
        (r"-c application_name=\-\x", {"application_name": "-x"}),
        ("-c application_name=a=b", {"application_name": "a=b"}),
        ("-c application_name=", {"application_name": ""}),
        ("-c application_name=\\", {"application_name": ""}),
        ("-c work_mem=1MB -c work_mem=2MB", {"work_mem": "2MB"}),
    ],
)
def test_options_are_split_and_read_as_a_command_line(options: str, settings: dict[str, str] | None) -> None:
    if settings is None:
        with pytest.raises(InvalidStartupParameter):
            startup(options=options)
    else:
        assert startup(options=options).settings == settings


@pytest.mark.parametrize("options", ["-c", "-c work_mem", "--work_mem", "-c =x", "-c 1a=x", "-c a..b=x", "-c a.=x"])
def test_a_setting_without_a_name_or_a_value_is_refused(options: str) -> None:
    with pytest.raises(InvalidStartupParameter) as caught:
        startup(options=options)
    assert caught.value.sqlstate == "22023"


@pytest.mark.parametrize("options", ["-e", "-d 5", "-W 10", "foo", "--", "-", "-ec work_mem=1MB"])
def test_other_switches_are_refused_with_a_hint(options: str) -> None:
    with pytest.raises(InvalidStartupParameter, match="unsupported switch") as caught:
        startup(options=options)
    assert caught.value.hint is not None
    assert "-c name=value" in caught.value.hint


@pytest.mark.parametrize("name", ["work mem", "a;b", "1a", "ü", "a\nb", "x" * 100 + "!"])
def test_a_name_that_is_none_is_refused_and_not_repeated_at_length(name: str) -> None:
    with pytest.raises(InvalidStartupParameter, match="invalid configuration parameter name") as caught:
        startup(**{name: "x"})
    assert len(caught.value.message) < 120


def test_a_parameter_beats_options_and_both_are_remembered() -> None:
    read = startup(options="-c app.tenant_id=globex -c work_mem=1MB", **{"App.Tenant_Id": "acme", "work_mem": "1MB"})
    assert read.settings == {"app.tenant_id": "acme", "work_mem": "1MB"}
    assert read.overridden == (("app.tenant_id", "globex"),)


def test_the_tenant_may_be_named_in_options_too() -> None:
    read = startup(options="-c tenant=acme")
    assert (read.tenant, read.settings) == ("acme", {})
    assert startup(tenant="").tenant is None


def test_two_tenants_are_refused() -> None:
    with pytest.raises(InvalidStartupParameter, match="tenant"):
        startup(options="-c tenant=acme", tenant="globex")


def test_a_setting_that_is_given_twice_is_remembered() -> None:
    read = read_startup(parsed(b"user\0app\0App.tenant_id\0acme\0work_mem\x001MB\0App.tenant_id\0globex\0\0"))
    assert read.settings == {"app.tenant_id": "globex", "work_mem": "1MB"}
    assert read.overridden == (("app.tenant_id", "acme"),)


@pytest.mark.parametrize("name", ["tenant", "user", "options"])
def test_one_parameter_with_two_values_does_not_say_who_the_client_is(name: str) -> None:
    values = b"%b\0-c a.b=1\0%b\0-c a.b=2\0" % (name.encode(), name.encode())
    with pytest.raises(InvalidStartupParameter, match=f'"{name}" is given several times with different values'):
        read_startup(parsed(b"user\0-c a.b=1\0" + values + b"\0"))
    assert read_startup(parsed(b"user\0-c a.b=1\0" + values.replace(b"=2", b"=1") + b"\0")).user == "-c a.b=1"


@pytest.mark.parametrize("value", ["database", "true", "on", "1", "YES", "t"])
def test_replication_is_refused_fatally(value: str) -> None:
    with pytest.raises(ProxyError) as caught:
        startup(replication=value)
    assert (caught.value.sqlstate, caught.value.severity) == ("0A000", "FATAL")


@pytest.mark.parametrize("value", ["false", "off", "0", "no", "F"])
def test_no_replication_is_an_ordinary_connection(value: str) -> None:
    assert startup(replication=value).settings == {}


@pytest.mark.parametrize("value", ["", "maybe", "o", "2"])
def test_replication_that_is_neither_is_refused(value: str) -> None:
    with pytest.raises(InvalidStartupParameter, match="replication"):
        startup(replication=value)


@pytest.mark.parametrize(("asked", "spoken"), [(0, 0), (1, 0), (2, 2), (3, 2), (9999, 2)])
def test_the_newest_version_both_know_is_spoken(asked: int, spoken: int) -> None:
    assert startup(codes.PROTOCOL_3_0 + asked).protocol_minor == spoken


@pytest.mark.parametrize("asked", [0, 1, 2])
def test_a_version_we_know_needs_no_negotiation(asked: int) -> None:
    assert negotiation(Startup(codes.PROTOCOL_3_0 + asked, {}, {})) is None


@pytest.mark.parametrize(
    ("asked", "options", "answer"),
    [
        (3, [], b"v\0\0\0\x0c\0\3\0\2\0\0\0\0"),
        (9999, ["_pq_.grease"], b"v\0\0\0\x18\0\3\0\2\0\0\0\1_pq_.grease\0"),
        (2, ["_pq_.a", "_pq_.b"], b"v\0\0\0\x1a\0\3\0\2\0\0\0\2_pq_.a\0_pq_.b\0"),
        (0, ["_pq_.a"], b"v\0\0\0\x13\0\3\0\0\0\0\0\1_pq_.a\0"),
    ],
)
def test_what_we_do_not_know_is_negotiated(asked: int, options: list[str], answer: bytes) -> None:
    message = Startup(codes.PROTOCOL_3_0 + asked, {"user": "app"}, dict.fromkeys(options, "x"))
    assert negotiation(message) == answer
    assert read_startup(message).unknown_protocol_options == tuple(options)


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_any_parameters_are_read_or_refused(parameters: dict[str, str]) -> None:
    with suppress(ProxyError):
        read_startup(Startup(codes.PROTOCOL_3_0, {"user": "app", **parameters}, {}))


@given(st.text())
def test_any_options_are_read_or_refused(options: str) -> None:
    with suppress(InvalidStartupParameter):
        startup(options=options)


@given(st.lists(st.text(min_size=1), max_size=5))
def test_a_value_escaped_with_backslashes_arrives_as_it_was(values: list[str]) -> None:
    words = ["".join("\\" + char for char in value) for value in values]
    options = " ".join(f"-c app.v{number}={word}" for number, word in enumerate(words))
    assert list(startup(options=options).settings.values()) == values
