"""What replies mean: settings that are kept and forgotten, and the parameters as this client sees them."""

from __future__ import annotations

from typing import Final

import pytest

from proxy.context.client_settings import Parts
from proxy.tenants.model import SharedPlacement, Tenant, Tier
from proxy.wire import codes
from proxy.wire.buffer import frame, int32
from tests.support.messages import (
    BOUND,
    PARSED,
    SYNC,
    bind,
    complete,
    execute,
    failed,
    notice,
    parse,
    query,
    ready,
    row,
    status,
)
from tests.support.playbook import (
    CONTEXT_RAN,
    GLOBEX,
    PARSE_CONTEXT,
    PREFIX,
    RUN_CONTEXT,
    Play,
    Plays,
    acquire,
    client,
    release,
    server,
    to_client,
    to_server,
)
from tests.support.scenes import in_place


def kept(book: Play) -> dict[str, Parts]:
    """The client's settings that the next transaction will have."""
    return dict(book.session.settings.effective)


def with_setting(value: str) -> str:
    """The context of a client that has SET a.b."""
    return PREFIX + f'SET LOCAL "a"."b" TO \'{value}\'; '


# SET.


@pytest.mark.parametrize(
    ("sql", "sent"),
    [
        ("SET a.b = 'c'", PREFIX + "SET LOCAL a.b = 'c'"),
        ("SET SESSION a.b TO c", PREFIX + "SET LOCAL a.b TO c"),
        ("/* why */ set A.B to 'c' -- so\n", f"/* why */ {PREFIX}set LOCAL A.B to 'c' -- so\n"),
    ],
)
def test_a_set_becomes_a_set_local_and_comes_back_in_the_next_transaction(play: Plays, sql: str, sent: str) -> None:
    (
        play()
        >> client(query(sql))
        << acquire()
        << to_server(query(sent))
        >> server(complete("SET"), complete("SET"), ready("I"))
        << to_client(complete("SET"), ready("I"))
        << release()
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(with_setting("c") + "SELECT 1"))
    )


def test_a_set_that_postgresql_refuses_is_not_kept(play: Plays) -> None:
    book = (
        play()
        >> client(query("SET work_mem = 'much'"))
        << acquire()
        << to_server(query(PREFIX + "SET LOCAL work_mem = 'much'"))
        >> server(complete("SET"), failed("22023"), ready("I"))
        << to_client(failed("22023"), ready("I"))
        << release()
    )
    assert kept(book) == {}


def test_a_set_by_a_batch_is_kept_too(play: Plays) -> None:
    (
        play()
        >> client(parse("", "SET a.b = 'c'"), bind(), execute(), SYNC)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, parse("", "SET LOCAL a.b = 'c'"), bind(), execute(), SYNC)
        >> server(PARSED, CONTEXT_RAN, PARSED, BOUND, complete("SET"), ready("I"))
        << to_client(PARSED, BOUND, complete("SET"), ready("I"))
        << release()
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(with_setting("c") + "SELECT 1"))
    )


def test_a_set_whose_batch_fails_at_its_sync_is_forgotten(play: Plays) -> None:
    """A deferred constraint, for example."""
    book = (
        play()
        >> client(parse("", "SET a.b = 'c'"), bind(), execute(), SYNC)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, parse("", "SET LOCAL a.b = 'c'"), bind(), execute(), SYNC)
        >> server(PARSED, CONTEXT_RAN, PARSED, BOUND, complete("SET"), failed("23503"), ready("I"))
        << to_client(PARSED, BOUND, complete("SET"), failed("23503"), ready("I"))
        << release()
    )
    assert kept(book) == {}


@pytest.mark.parametrize(
    ("end", "tag", "settings"),
    [("COMMIT", "COMMIT", {"a.b": ("c",)}), ("ROLLBACK", "ROLLBACK", {}), ("COMMIT", "ROLLBACK", {})],
)
def test_a_set_in_a_block_shares_the_blocks_fate(play: Plays, end: str, tag: str, settings: dict[str, Parts]) -> None:
    book = (
        in_place(play)
        >> client(query("SET a.b = 'c'"))
        << to_server(query("SET LOCAL a.b = 'c'"))
        >> server(complete("SET"), ready("T"))
        << to_client(complete("SET"), ready("T"))
    )
    assert kept(book) == {}
    (
        book
        >> client(query(end))
        << to_server(query(end))
        >> server(complete(tag), ready("I"))
        << to_client(complete(tag), ready("I"))
        << release()
    )
    assert kept(book) == settings


def test_a_set_behind_a_savepoint_is_forgotten_with_it(play: Plays) -> None:
    book = in_place(play)
    for sql, sent, tag in [
        ("SET a.b = 'c'", "SET LOCAL a.b = 'c'", "SET"),
        ("SAVEPOINT s", "SAVEPOINT s", "SAVEPOINT"),
        ("SET a.b = 'd'", "SET LOCAL a.b = 'd'", "SET"),
        ("ROLLBACK TO s", "ROLLBACK TO s", "ROLLBACK"),
    ]:
        (
            book
            >> client(query(sql))
            << to_server(query(sent))
            >> server(complete(tag), ready("T"))
            << to_client(complete(tag), ready("T"))
        )
    assert book.session.settings.current() == {"a.b": ("c",)}


def test_a_set_in_a_string_shares_the_fate_of_its_part(play: Plays) -> None:
    book = play() >> client(query("SET a.b = 'c'; COMMIT; SET a.b = 'd'; SELECT 1/0")) << acquire()
    book.take()
    book >> server(*[complete("SET")] * 2, complete("COMMIT"))
    book.take()
    book >> server(*[complete("SET")] * 3, failed("22012"), ready("I"))
    book.take()
    assert kept(book) == {"a.b": ("c",)}


def test_a_chained_transaction_has_what_was_set_in_the_one_before(play: Plays) -> None:
    (
        in_place(play)
        >> client(query("SET a.b = 'c'"))
        << to_server(query("SET LOCAL a.b = 'c'"))
        >> server(complete("SET"), ready("T"))
        << to_client(complete("SET"), ready("T"))
        >> client(query("COMMIT AND CHAIN"))
        << to_server(query("COMMIT AND CHAIN"))
        >> server(complete("COMMIT"), ready("T"))
        << to_client(complete("COMMIT"), ready("T"))
        >> client(query("SELECT 1"))
        << to_server(query(with_setting("c") + "SELECT 1"))
    )


def test_a_set_local_is_gone_with_its_transaction(play: Plays) -> None:
    book = (
        in_place(play)
        >> client(query("SET LOCAL a.b = 'c'"))
        << to_server(query("SET LOCAL a.b = 'c'"))
        >> server(complete("SET"), ready("T"))
        << to_client(complete("SET"), ready("T"))
        >> client(query("COMMIT"))
        << to_server(query("COMMIT"))
        >> server(complete("COMMIT"), ready("I"))
        << to_client(complete("COMMIT"), ready("I"))
        << release()
    )
    assert kept(book) == {}


@pytest.mark.parametrize("sql", ["RESET a.b", "SET a.b TO DEFAULT"])
def test_a_reset_returns_to_what_was_asked_for_at_startup(play: Plays, sql: str) -> None:
    book = play(startup={"a.b": ("c",)})
    (
        book
        >> client(query("SET a.b = 'd'"))
        << acquire()
        << to_server(query(with_setting("c") + "SET LOCAL a.b = 'd'"))
        >> server(*[complete("SET")] * 3, ready("I"))
        << to_client(complete("SET"), ready("I"))
        << release()
    )
    assert kept(book) == {"a.b": ("d",)}
    book >> client(query(sql)) << acquire() << to_server(query(with_setting("d") + 'SET LOCAL "a"."b" TO \'c\''))
    book >> server(*[complete("SET")] * 3, ready("I"))
    book.take()
    assert kept(book) == {"a.b": ("c",)}


@pytest.mark.parametrize("sql", ["RESET ALL", "DISCARD ALL"])
def test_reset_all_clears_the_clients_settings_and_never_the_context(play: Plays, sql: str) -> None:
    book = play(startup={"a.b": ("c",)})
    book.session.settings.change("work_mem", ("1MB",))
    book.session.settings.commit()
    book.session.refresh_context()
    (
        book
        >> client(query(sql))
        << to_client(complete(sql.replace(" ALL", "") if sql.startswith("RESET") else sql), ready("I"))
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(with_setting("c") + "SELECT 1"))
    )


def test_reset_all_in_a_block_resets_one_by_one_and_is_undone_by_a_rollback(play: Plays) -> None:
    book = play(startup={"a.b": ("c",)})
    book.session.settings.change("work_mem", ("1MB",))
    book.session.settings.commit()
    book.session.refresh_context()
    prefix = with_setting("c") + "SET LOCAL \"work_mem\" TO '1MB'; "
    resets = 'SET LOCAL "a"."b" TO \'c\'; SET LOCAL "work_mem" TO DEFAULT; SET LOCAL "gatehouse"."nothing" TO \'\''
    (
        book
        >> client(query("BEGIN; SELECT 1"))
        << acquire()
        << to_server(query(f"BEGIN; {prefix}SELECT 1"))
        >> server(complete("BEGIN"), *[complete("SET")] * 3, complete("SELECT 1"), ready("T"))
        << to_client(complete("BEGIN"), complete("SELECT 1"), ready("T"))
        >> client(query("RESET ALL"))
        << to_server(query(resets))
        >> server(*[complete("SET")] * 3, ready("T"))
        << to_client(complete("RESET"), ready("T"))
        >> client(query("ROLLBACK"))
        << to_server(query("ROLLBACK"))
        >> server(complete("ROLLBACK"), ready("I"))
        << to_client(complete("ROLLBACK"), ready("I"))
        << release()
    )
    assert kept(book) == {"a.b": ("c",), "work_mem": ("1MB",)}


TIERED: Final = Tenant("acme", SharedPlacement("main", "saas"), Tier("basic", settings=(("work_mem", "4MB"),)))


@pytest.mark.parametrize("sql", ["RESET work_mem", "SET work_mem TO DEFAULT", "RESET ALL"])
def test_a_reset_in_a_block_returns_to_the_tiers_value(play: Plays, sql: str) -> None:
    book = play(TIERED)
    book.session.settings.change("work_mem", ("1MB",))
    book.session.settings.commit()
    book.session.refresh_context()
    book >> client(query(f"BEGIN; SELECT 1; {sql}; SELECT 2"))
    sent = book.take()[-1].data
    assert b"\"work_mem\" TO '4MB'" in sent


def test_reset_all_in_a_block_returns_to_the_tenants_search_path(play: Plays) -> None:
    book = play(GLOBEX, startup={})
    book.session.settings.change("search_path", ("tenant_globex",))
    book.session.settings.commit()
    book.session.refresh_context()
    book >> client(query("BEGIN; SELECT 1; RESET ALL; SELECT 2"))
    sent = book.take()[-1].data
    assert b"\"search_path\" TO 'tenant_globex', 'shared'" in sent


def test_reset_all_in_a_batch_resets_one_by_one_behind_an_execute_that_the_client_sees(play: Plays) -> None:
    book = play(startup={"a.b": ("c",)})
    nothing = (parse("", 'SET LOCAL "gatehouse"."nothing" TO \'\''), bind(), execute())
    (book >> client(parse("", "RESET ALL"), bind(), execute(), SYNC) << acquire())
    (sent,) = book.take()
    reset = (parse("", 'SET LOCAL "a"."b" TO \'c\''), bind(), execute())
    assert sent.data.endswith(b"".join((*nothing, *reset, SYNC)))
    book >> server(PARSED, BOUND, row(b"acme"), complete("SELECT 1"), PARSED, BOUND, complete("SET"))
    book << to_client(PARSED, BOUND, complete("RESET"))
    book >> server(PARSED, BOUND, complete("SET"), ready("I")) << to_client(ready("I")) << release()


# set_config.


def test_a_plain_set_config_for_the_session_is_kept_like_a_set(play: Plays) -> None:
    (
        play()
        >> client(query("SELECT set_config('a.b', 'c', false)"))
        << acquire()
        << to_server(query(PREFIX + "SELECT set_config('a.b', 'c', true)"))
        >> server(complete("SET"), row(b"c"), complete("SELECT 1"), ready("I"))
        << to_client(row(b"c"), complete("SELECT 1"), ready("I"))
        << release()
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(with_setting("c") + "SELECT 1"))
    )


def set_config(play: Plays, sql: str, *values: bytes) -> Play:
    """A set_config by a batch that succeeds and commits."""
    book = play() >> client(parse("", sql), bind("", *values), execute(), SYNC)
    book.take()
    book >> server(PARSED, CONTEXT_RAN, PARSED, BOUND, row(b"c"), complete("SELECT 1"), ready("I"))
    book.take()
    return book


def test_a_set_config_with_parameters_is_kept(play: Plays) -> None:
    assert kept(set_config(play, "SELECT set_config($1, $2, false)", b"A.B", b"c")) == {"a.b": ("c",)}
    assert kept(set_config(play, "SELECT set_config('a.b', $1, $2)", b"c", b"false")) == {"a.b": ("c",)}


@pytest.mark.parametrize("flag", [b"true", b"t", b"on", b"1", b"yes", b"TRUE"])
def test_a_set_config_whose_parameter_says_local_is_not_kept(play: Plays, flag: bytes) -> None:
    assert kept(set_config(play, "SELECT set_config('a.b', $1, $2)", b"c", flag)) == {}


@pytest.mark.parametrize("flag", [b"\x01", b"tr", b"y", b" true "])
def test_a_set_config_whose_parameter_says_local_in_another_way_is_not_kept_either(play: Plays, flag: bytes) -> None:
    assert kept(set_config(play, "SELECT set_config('a.b', $1, $2)", b"c", flag)) == {}


# ParameterStatus.


def test_a_reported_setting_is_told_in_postgresqls_spelling_when_it_was_set(play: Plays) -> None:
    (
        play()
        >> client(query("SET timezone = 'europe/vienna'"))
        << acquire()
        << to_server(query(PREFIX + "SET LOCAL timezone = 'europe/vienna'; SHOW \"timezone\""))
        >> server(complete("SET"), complete("SET"), row(b"Europe/Vienna"), complete("SHOW"), ready("I"))
        << to_client(complete("SET"), status("TimeZone", "Europe/Vienna"), ready("I"))
        << release()
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(PREFIX + "SET LOCAL \"timezone\" TO 'Europe/Vienna'; SELECT 1"))
        >> server(*[complete("SET")] * 2, complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
        << release()
    )


def test_a_reported_setting_is_asked_for_unseen_in_a_batch(play: Plays) -> None:
    (
        play()
        >> client(parse("", "SET timezone = 'utc'"), bind(), execute(), SYNC)
        << acquire()
        << to_server(
            PARSE_CONTEXT,
            RUN_CONTEXT,
            parse("", "SET LOCAL timezone = 'utc'"),
            bind(),
            execute(),
            parse("", 'SHOW "timezone"'),
            bind(),
            execute(),
            SYNC,
        )
        >> server(PARSED, CONTEXT_RAN, PARSED, BOUND, complete("SET"))
        << to_client(PARSED, BOUND, complete("SET"))
        >> server(PARSED, BOUND, row(b"UTC"), complete("SHOW"), ready("I"))
        << to_client(ready("I"))
        << release()
    )


def test_a_client_is_told_its_startup_setting_only_at_login(play: Plays) -> None:
    book = play(startup={"application_name": ("shop",)})
    assert book.session.shown[b"application_name"] == b"shop"
    prefix = PREFIX + "SET LOCAL \"application_name\" TO 'shop'; "
    (
        book
        >> client(query("BEGIN; SELECT 1"))
        << acquire()
        << to_server(query(f"BEGIN; {prefix}SELECT 1"))
        >> server(complete("BEGIN"), *[complete("SET")] * 2, complete("SELECT 1"))
        << to_client(complete("BEGIN"), complete("SELECT 1"))
        >> server(status("application_name", "shop"), ready("T"))
        << to_client(ready("T"))
        >> client(query("COMMIT"))
        << to_server(query("COMMIT"))
        >> server(complete("COMMIT"), status("application_name", "gatehouse"), ready("I"))
        << to_client(complete("COMMIT"), ready("I"))
        << release()
    )


def test_a_set_local_is_told_and_its_end_too(play: Plays) -> None:
    (
        in_place(play)
        >> client(query("SET LOCAL timezone = 'Europe/Vienna'"))
        << to_server(query("SET LOCAL timezone = 'Europe/Vienna'"))
        >> server(complete("SET"), status("TimeZone", "Europe/Vienna"), ready("T"))
        << to_client(complete("SET"), status("TimeZone", "Europe/Vienna"), ready("T"))
        >> client(query("COMMIT"))
        << to_server(query("COMMIT"))
        >> server(complete("COMMIT"), status("TimeZone", "UTC"), ready("I"))
        << to_client(complete("COMMIT"), status("TimeZone", "UTC"), ready("I"))
        << release()
    )


def test_what_a_failed_transaction_took_back_of_the_context_is_not_told(play: Plays) -> None:
    prefix = PREFIX + "SET LOCAL \"application_name\" TO 'shop'; "
    (
        play(startup={"application_name": ("shop",)})
        >> client(query("BEGIN; SELECT 1"))
        << acquire()
        << to_server(query(f"BEGIN; {prefix}SELECT 1"))
        >> server(complete("BEGIN"), *[complete("SET")] * 2, complete("SELECT 1"))
        << to_client(complete("BEGIN"), complete("SELECT 1"))
        >> server(status("application_name", "shop"), ready("T"))
        << to_client(ready("T"))
        >> client(query("SELECT 1/0"))
        << to_server(query("SELECT 1/0"))
        >> server(failed("22012"), status("application_name", "gatehouse"), ready("E"))
        << to_client(failed("22012"), ready("E"))
    )


def test_another_clients_settings_are_never_told(play: Plays) -> None:
    vienna = play(startup={"timezone": ("Europe/Vienna",)})
    other = play(shared=vienna.shared, servers=vienna.servers)
    assert vienna.session.shown[b"TimeZone"] == b"Europe/Vienna"
    assert other.session.shown[b"TimeZone"] == b"UTC"
    (
        vienna
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(PREFIX + "SET LOCAL \"timezone\" TO 'Europe/Vienna'; SELECT 1"))
        >> server(*[complete("SET")] * 2, complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
        << release()
    )
    (
        other
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(PREFIX + "SELECT 1"))
        >> server(complete("SET"), complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
        << release()
    )


def test_reset_all_tells_what_it_changes(play: Plays) -> None:
    book = play()
    book >> client(query("SET timezone = 'Europe/Vienna'"))
    book.take()
    book >> server(complete("SET"), complete("SET"), row(b"Europe/Vienna"), complete("SHOW"), ready("I"))
    book.take()
    book >> client(query("RESET ALL")) << to_client(status("TimeZone", "UTC"), complete("RESET"), ready("I"))


def test_notices_and_notifications_reach_the_client(play: Plays) -> None:
    notification = frame(codes.NOTIFICATION_RESPONSE, int32(1) + b"jobs\0\0")
    (
        play()
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(PREFIX + "SELECT 1"))
        >> server(complete("SET"), notice("01000"), notification, complete("SELECT 1"), ready("I"))
        << to_client(notice("01000"), notification, complete("SELECT 1"), ready("I"))
        << release()
    )
