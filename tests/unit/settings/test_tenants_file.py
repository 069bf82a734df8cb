"""Tenants from a file of their own: read one by one, and every problem still has its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.settings import tenants_file, yaml_nodes
from proxy.settings.loading import load_settings
from proxy.settings.problems import InvalidConfiguration
from tests.unit.settings.conftest import Complain, Load

MAIN = "clusters: {main: {hosts: [a], user: g}}\ntenants_file: tenants.yaml\n"
PLACE = "{model: shared, cluster: main, database: saas}"


def first_lines(problems: list[str]) -> list[str]:
    return [problem.splitlines()[0] for problem in problems]


def test_equal_tenants_are_one_entry(load: Load) -> None:
    tenants = load(
        MAIN, f"a: {{placement: {PLACE}}}\nb: {{placement: {PLACE}, status: active}}\nc: {{placement: {PLACE}}}"
    ).tenants
    assert tenants["a"] is tenants["c"]
    assert tenants["a"] == tenants["b"]


def test_a_later_load_takes_what_is_equal_from_the_earlier(load: Load, tmp_path: Path) -> None:
    own = "{placement: {model: schema, cluster: main, database: saas, schema: %s}}"
    text = f"a: {own % 'a'}\nb: {own % 'b'}\n"
    first = load(MAIN, text)
    again = load_settings(tmp_path / "g.yaml", first.tenants)
    assert again.tenants is first.tenants
    (tmp_path / "tenants.yaml").write_text(text.replace("schema: b", "schema: c"))
    changed = load_settings(tmp_path / "g.yaml", first.tenants)
    assert changed.tenants["a"] is first.tenants["a"]
    assert changed.tenants["b"].placement.schema == "c"
    (tmp_path / "tenants.yaml").write_text(text.splitlines()[0])
    assert load_settings(tmp_path / "g.yaml", first.tenants).tenants.keys() == {"a"}


def test_whoever_loads_may_pause_between_tenants(load: Load, tmp_path: Path) -> None:
    load(MAIN, "".join(f"t{number}: {{placement: {PLACE}}}\n" for number in range(100)))
    pauses = []
    load_settings(tmp_path / "g.yaml", pause=lambda: pauses.append(1))
    assert len(pauses) >= 100


@pytest.mark.parametrize(
    "text",
    [
        f"a: {{placement: &p {PLACE}}}\nb: {{placement: *p}}\nc: {{placement: {{<<: *p, database: other}}}}\n",
        f"a: &a {{placement: {PLACE}}}\nb: *a\nc: {{<<: *a, placement: {{model: shared, cluster: main, database: other}}}}\n",
        f'{{"a": {{"placement": {PLACE}}}, "b": {{"placement": {PLACE}}}, "c": {{"placement": '
        '{"model": "shared", "cluster": "main", "database": "other"}}}',
        f"a: &a {{placement: {PLACE}}}\n<<: {{b: *a, c: {{placement: {{model: shared, cluster: main, database: other}}}}}}\n",
        f"tenants: &all\n  a: {{placement: &p {PLACE}}}\n  b: {{placement: *p}}\n"
        "  c: {placement: {<<: *p, database: other}}\n",
    ],
    ids=["aliases", "whole tenants", "JSON", "merged at the top", "anchored"],
)
def test_every_form_of_yaml_gives_the_same_tenants(load: Load, text: str) -> None:
    tenants = load(MAIN, text).tenants
    assert {name: entry.placement.database for name, entry in tenants.items()} == {
        "a": "saas",
        "b": "saas",
        "c": "other",
    }


@pytest.mark.parametrize("form", ["plain", "wrapped", "whole"])
def test_problems_of_every_kind_have_their_places(complain: Complain, form: str) -> None:
    lines = [
        f"acme: {{placement: {PLACE}, tier: basc}}",
        "a b: {placement: {model: schema, cluster: mian, database: d, schema: s}}",
        "own: {placement: {model: database, cluster: main, database: saas}}",
        f"acme: {{placement: {PLACE}}}",
        f"[x]: {{placement: {PLACE}}}",
        "odd: {placement: &loop [*loop]}",
        "tag: {placement: !!python/name:os.system x}",
        f"key: {{placement: {PLACE}, sttus: active}}",
    ]
    indent = "  " if form == "wrapped" else ""
    before = ["tenants:"] if form == "wrapped" else ["<<: {}"] if form == "whole" else []
    found = complain(MAIN, "\n".join([*before, *(indent + line for line in lines)]) + "\n")

    def at(line: int, word: str) -> str:
        column = lines[line - 1].index(word) + len(indent) + 1
        return f"tenants.yaml:{line + len(before)}:{column}:"

    assert first_lines(found) == [
        f'{at(1, "basc")} there is no tier "basc"',
        f'{at(2, "a b")} "a b" is not a valid tenant id',
        f'{at(2, "mian")} there is no cluster "mian"',
        f'{at(3, "saas")} the database "saas" is also used by the tenant "acme"',
        f'{at(4, "acme")} duplicate key "acme", first in line {1 + len(before)}',
        f"{at(5, '[x]')} a key must be plain text",
        f"{at(6, '&loop')} this value holds itself by an alias",
        f"{at(6, '&loop')} expected a mapping, found a list",
        f"{at(7, '!!py')} this tag can not be used here",
        f"{at(7, '!!py')} expected a mapping, found nothing",
        f'{at(8, "sttus")} unknown key "sttus"',
    ]


def test_a_secret_that_does_not_belong_there_is_masked_wherever_its_line_is_shown(complain: Complain) -> None:
    found = complain(MAIN, "{a: &a {password: hunter2, x: 1}, b: {<<: *a, y: 2}, c: *a}")
    assert len(found) > 3
    assert not any("hunter2" in problem for problem in found)
    assert all("password: ***, x: 1" in problem for problem in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"a: {{placement: {PLACE}}}\nb: [\n", "tenants.yaml:2:1: YAML: "),
        (f"a: {{placement: {PLACE}}}\nb: *gone\n", "tenants.yaml:2:4: YAML: this alias stands for nothing"),
        (f"a: {{placement: {PLACE}}}\nb: \x07\n", "tenants.yaml:2:4: the character U+0007 is not allowed in YAML"),
        (f"a: {{placement: {PLACE}}}\n---\nb: 1\n", "tenants.yaml:2:1: YAML: a second document begins here"),
        (f"a: {{placement: {PLACE}}}\nb: é: \n", "tenants.yaml:2:5: YAML: a colon is not allowed here"),
    ],
)
@pytest.mark.parametrize("is_large", [False, True])
def test_a_file_that_does_not_parse_says_where(
    complain: Complain, monkeypatch: pytest.MonkeyPatch, text: str, message: str, is_large: bool
) -> None:
    if is_large:
        monkeypatch.setattr(yaml_nodes, "MAX_SLOW", 0)
        monkeypatch.setattr(tenants_file, "MAX_SLOW", 0)
    found = complain(MAIN, text)
    assert len(found) == 2
    assert "can not be used" in found[0]
    assert found[1].startswith(message)


def test_other_encodings_are_refused(load: Load, tmp_path: Path) -> None:
    load(MAIN, "{}")
    (tmp_path / "tenants.yaml").write_bytes(f"a: {{placement: {PLACE}}}".encode("utf-16"))
    with pytest.raises(InvalidConfiguration, match="line 1 is not UTF-8"):
        load_settings(tmp_path / "g.yaml")
