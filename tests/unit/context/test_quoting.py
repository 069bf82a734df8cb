"""What is written is what PostgreSQL reads: its own grammar says so."""

from __future__ import annotations

import postgast
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.context import quoting

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
evil = texts | st.text(st.sampled_from("'\"\\;$-/* a"), max_size=20)
# A name has two parts or one; a dot parts them.
names = st.text(
    st.characters(exclude_characters="\0.", exclude_categories=["Cs"]), min_size=1, max_size=15
)  # 63 bytes at most


def read_set(sql: bytes) -> tuple[str, bool, list[str] | None]:
    """Name, whether it is LOCAL, and constants of a SET, as PostgreSQL's parser has them; None for DEFAULT."""
    (statement,) = postgast.parse(sql.decode()).stmts
    node = statement.stmt.variable_set_stmt
    assert statement.stmt.WhichOneof("node") == "variable_set_stmt"
    values = [arg.a_const.sval.sval for arg in node.args]
    return node.name, node.is_local, values or None


@given(names, names, st.lists(evil, min_size=1, max_size=4))
def test_a_set_local_is_one_statement_with_exactly_these_values(prefix: str, name: str, parts: list[str]) -> None:
    for setting in (name, f"{prefix}.{name}"):
        assert read_set(quoting.set_local(setting, tuple(parts))) == (setting, True, parts)


def test_a_set_local_without_a_value_is_the_default_and_one_without_elements_is_empty() -> None:
    assert quoting.set_local("a.b", None) == b'SET LOCAL "a"."b" TO DEFAULT'
    assert read_set(quoting.set_local("a.b", None)) == ("a.b", True, None)
    assert quoting.set_local("search_path", ()) == b"SET LOCAL \"search_path\" TO ''"


@given(evil.filter(bool).filter(lambda name: len(name.encode()) < 64))
def test_an_identifier_is_read_as_what_it_names(name: str) -> None:
    for written in (quoting.identifier(name), quoting.short_identifier(name)):
        (statement,) = postgast.parse(f"SELECT 1 AS {written.decode()}").stmts
        assert statement.stmt.select_stmt.target_list[0].res_target.name == name


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("tenant_a1", b"tenant_a1"),
        ("Tenant", b'"Tenant"'),
        ("1st", b'"1st"'),
        ("a-b", b'"a-b"'),
        ("a b", b'"a b"'),
        ("", b'""'),
        ("$user", b'"$user"'),
        ("user", b'"user"'),
        ("select", b'"select"'),
        ("values", b'"values"'),
        ("public", b"public"),
        ("schema", b"schema"),
        ('a"b', b'"a""b"'),
        ("été", '"été"'.encode()),
        ("line\n", b'"line\n"'),
    ],
)
def test_an_identifier_is_quoted_where_show_quotes_it(name: str, written: bytes) -> None:
    assert quoting.short_identifier(name) == written


def test_a_zero_byte_ends_no_constant_early() -> None:
    assert quoting.literal("a\0b") == b"'ab'"
    assert quoting.identifier("a\0b") == b'"ab"'


@given(st.binary())
def test_bytes_that_are_not_utf8_come_back_as_they_were(raw: bytes) -> None:
    assert quoting.to_bytes(quoting.to_text(raw)) == raw


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a, B ,c", ("a", "b", "c")),
        ('"$user", public', ("$user", "public")),
        ('"A""b","c, d"', ('A"b', "c, d")),
        ('""', ("",)),
        (" \t", ()),
        ('a"B', ('a"b',)),
        ("É\u00a0b", ("É\u00a0b",)),  # only ASCII is folded, and blank
        ("a b", None),
        ("a,", None),
        (",", None),
        ('"a', None),
        ('"a"b', None),
    ],
)
def test_a_list_is_split_as_postgresql_splits_it(value: str, parts: tuple[str, ...] | None) -> None:
    assert quoting.split_list(value) == parts


@given(st.lists(evil, max_size=4))
def test_a_list_is_split_into_what_it_was_joined_of(parts: list[str]) -> None:
    joined = quoting.set_config_value("search_path", tuple(parts))
    assert quoting.split_list(joined.decode()) == tuple(parts)


def test_a_value_for_set_config_is_quoted_only_where_its_elements_are_identifiers() -> None:
    assert quoting.set_config_value("search_path", ("$user", "public")) == b'"$user", public'
    assert quoting.set_config_value("datestyle", ("ISO", "DMY")) == b"ISO, DMY"
    assert quoting.set_config_value("a.b", ('it\'s "quoted"',)) == b'it\'s "quoted"'
