"""Names that end up in SQL, logs and metric labels."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.names import (
    Invalid,
    validate_custom_setting,
    validate_identifier,
    validate_label,
    validate_login,
    validate_role,
    validate_setting_name,
    validate_setting_value,
    validate_tenant_id,
)


@pytest.mark.parametrize("text", ["acme", "A", "9lives", "a-b_c", "x" * 63, "123e4567-e89b-12d3-a456-426614174000"])
def test_ordinary_ids_are_tenant_ids(text: str) -> None:
    assert validate_tenant_id(text) == text


@pytest.mark.parametrize(
    "text", ["", "-a", "_a", "a b", "a.b", "a'b", "a\n", "a\0", "é", "Ⅷ", "٣", "x" * 64, "*", "a/b", "a;--", '"a"']
)
def test_nothing_that_needs_escaping_is_a_tenant_id(text: str) -> None:
    with pytest.raises(Invalid):
        validate_tenant_id(text)


@given(st.text())
def test_a_tenant_id_never_needs_escaping(text: str) -> None:
    with suppress(Invalid):
        validate_tenant_id(text)
        assert text.isascii()
        assert text.replace("_", "").replace("-", "").isalnum()


@pytest.mark.parametrize("text", ["tenant_a", "Tenant-A", "a$b", "1a", "_x", "x" * 63])
def test_schema_names_may_be_mixed_case_and_hold_dollars(text: str) -> None:
    assert validate_identifier(text) == text


@pytest.mark.parametrize("text", ["", "$user", "a b", 'a"b', "a,b", "ä", "x" * 64, "a\n"])
def test_a_schema_name_that_search_path_reads_otherwise_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        validate_identifier(text)


@pytest.mark.parametrize("text", ["none", "NONE", "public", "current_user", "pg_read_all_data", "a b"])
def test_a_role_that_set_role_reads_otherwise_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        validate_role(text)


def test_a_custom_setting_has_two_parts_and_ignores_case() -> None:
    assert validate_custom_setting("App.Tenant_Id") == "app.tenant_id"
    for text in (
        "tenant",
        "app.",
        ".x",
        "a.b.c",
        "app.tenant id",
        "1a.b",
        "app.x;",
        "gatehouse.token",
        "Gatehouse.Token",
    ):
        with pytest.raises(Invalid):
            validate_custom_setting(text)


def test_labels_logins_and_setting_names_have_rules_of_their_own() -> None:
    assert validate_label("eu-west.1") == "eu-west.1"
    assert validate_login("app@example.com") == "app@example.com"
    assert validate_setting_name("Work_Mem") == "work_mem"
    for check, text in ((validate_label, "a b"), (validate_login, "a\nb"), (validate_login, "é" * 32)):
        with pytest.raises(Invalid):
            check(text)
    with pytest.raises(Invalid):
        validate_setting_name("work mem")


def test_the_value_of_a_setting_is_printable_ascii() -> None:
    assert validate_setting_value("it's 16MB") == "it's 16MB"
    for text in ("é", "a\nb", "\0"):
        with pytest.raises(Invalid):
            validate_setting_value(text)
