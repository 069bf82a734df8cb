"""YAML as configuration files need it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.settings.problems import InvalidConfiguration
from proxy.settings.yaml_tree import Document, read_document


def parse(text: str) -> object:
    document = Document("f.yaml", text)
    assert document.problems == []
    return document.data


def problems(text: str) -> list[str]:
    try:
        found = Document("f.yaml", text).problems
    except InvalidConfiguration as error:
        found = list(error.problems)
    return [str(problem).splitlines()[0] for problem in found]


def test_only_true_and_false_are_booleans() -> None:
    assert parse("[yes, no, on, off, y, n, No]") == ["yes", "no", "on", "off", "y", "n", "No"]
    assert parse("[true, False, TRUE]") == [True, False, True]


def test_times_modes_and_dates_are_text() -> None:
    assert parse("[22:22, 0777, 2024-01-01, 1_000, .5.]") == ["22:22", "0777", "2024-01-01", "1_000", ".5."]


def test_numbers_and_null_are_what_they_look_like() -> None:
    assert parse("[1, -2, 0x10, 0o17, 1.5, ~, null, '1']") == [1, -2, 16, 15, 1.5, None, None, "1"]


def test_keys_are_text() -> None:
    assert parse("{123: a, true: b, no: c}") == {"123": "a", "true": "b", "no": "c"}


def test_aliases_and_merges_work() -> None:
    assert parse("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2},
    }


def test_a_duplicate_key_is_a_problem_and_says_where_the_first_is() -> None:
    assert problems("a: 1\nb: 2\na: 3\n") == ['f.yaml:3:1: duplicate key "a", first in line 1']


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]", "f.yaml:1:4: this value holds itself by an alias"),
        ("a: !!python/name:os.system x", "f.yaml:1:4: this tag can not be used here"),
        ("a: !!int x", "f.yaml:1:4: this tag can not be used here"),
        ("{[a]: 1}", "f.yaml:1:2: a key must be plain text"),
        ("a: *x", "f.yaml:1:4: YAML: this alias stands for nothing; quote text that begins with *"),
        ("a: *\n", "f.yaml:1:5: YAML: text that begins with * or & must be quoted"),
        ("a:\n\tb: 1", "f.yaml:2:1: YAML: a tab can not stand here; indent with spaces"),
        ("a: @x", "f.yaml:1:4: YAML: text that begins with this character must be quoted"),
        ("a: b: c", "f.yaml:1:5: YAML: a colon is not allowed here"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: YAML: a second document begins here"),
        ("a: \x07", "f.yaml:1:4: the character U+0007 is not allowed in YAML"),
        ("# nothing\n", "f.yaml: the file holds nothing but comments"),
        ("a: [1, 2", "f.yaml:1:9: YAML: "),
    ],
)
def test_what_is_not_good_yaml_has_a_place(text: str, message: str) -> None:
    (found,) = problems(text)
    assert found.startswith(message)


def test_very_deep_nesting_is_refused() -> None:
    assert problems("[" * 5000 + "]" * 5000) == ["f.yaml: lists and mappings are nested too deeply"]


def test_a_problem_points_at_the_value_or_its_key_or_what_is_nearest() -> None:
    document = Document("f.yaml", "a:\n  - {b: 1}\n  - c\n")
    assert str(document.problem(("a", 0, "b"), "x")).startswith("f.yaml:2:9: x")
    assert str(document.problem(("a", 0, "b"), "x", at_key=True)).startswith("f.yaml:2:6: x")
    assert str(document.problem(("a", 7, "z"), "x")).startswith("f.yaml:2:3: x")


def test_equal_words_are_one_object() -> None:
    first, second = Document("f.yaml", "[saas_database, saas_database]").data
    assert first is second


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.yaml: the file is empty"),
        (b" \n", "x.yaml: the file is empty"),
        (b"a: 1\nb: \xff\n", "x.yaml: line 2 is not UTF-8"),
    ],
)
def test_files_that_can_not_be_used_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidConfiguration) as caught:
        read_document(path, "x.yaml")
    assert str(caught.value).startswith(message)


def test_missing_files_and_directories_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"x\.yaml: no such file"):
        read_document(tmp_path / "x.yaml", "x.yaml")
    with pytest.raises(InvalidConfiguration, match=r"x\.yaml: this is a directory"):
        read_document(tmp_path, "x.yaml")


def test_a_byte_order_mark_is_not_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_document(path, "x.yaml").data == {"a": 1}
