"""How problems look."""

from __future__ import annotations

from proxy.settings.problems import InvalidConfiguration, Problem, SourceText, Span


def test_a_problem_shows_the_line_and_a_caret() -> None:
    source = SourceText("f.yaml", ("a: 1", "  b: 2"), ())
    assert str(Problem("no good", "Do better.", source, 1, 5)) == (
        "f.yaml:2:6: no good\n      b: 2\n         ^\n    hint: Do better."
    )


def test_the_caret_stands_below_its_character_after_a_tab() -> None:
    _, line, caret = str(Problem("x", None, SourceText("f", ("\ta: b",), ()), 0, 4)).splitlines()
    assert (line, caret) == ("    \ta: b", "    \t   ^")


def test_a_long_line_is_cut_around_the_caret() -> None:
    text = "x" * 300 + "HERE" + "y" * 300
    _, line, caret = str(Problem("x", None, SourceText("f", (text,), ()), 0, 300)).splitlines()
    assert len(line) < 130
    assert line[caret.index("^") :].startswith("HERE")


def test_a_secret_is_masked_and_the_caret_follows() -> None:
    source = SourceText("f", ("{password: hunter2, prot: 1}",), (Span(0, 11, 0, 18),))
    _, line, caret = str(Problem("x", None, source, 0, 20)).splitlines()
    assert "hunter2" not in line
    assert line[caret.index("^") :].startswith("prot")


def test_a_secret_over_several_lines_is_masked_on_each() -> None:
    source = SourceText("f", ("password: |", "  hunter2", "  hunter3", "x: 1"), (Span(0, 10, 3, 0),))
    for line in range(3):
        assert "hunter" not in str(Problem("x", None, source, line, 0))
    assert "x: 1" in str(Problem("x", None, source, 3, 0))


def test_in_a_file_that_does_not_parse_the_rest_of_a_secrets_line_is_masked() -> None:
    for text in ("password: hunter2", 'x: {"PASSWORD": hunter2, a: b', "db_pwd: @hunter2", "scram: 'hunter2"):
        assert "hunter2" not in str(Problem("x", None, SourceText("f", (text,)), 0, 0))
    assert "{env: A" in str(Problem("x", None, SourceText("f", ("password: {env: A",)), 0, 0))


def test_in_a_file_that_does_not_parse_what_stands_below_a_secrets_key_is_masked() -> None:
    for above in ("password:", "  passwd: |", "password: >-", "password:\n\n  - a: b"):
        source = SourceText("f", (*above.split("\n"), "    @hunter2"))
        assert "hunter2" not in str(Problem("x", None, source, len(source.lines) - 1, 4))
    source = SourceText("f", ("password:", "  env: @A", "tenants: @b", "  c: @d"))
    assert [text in str(Problem("x", None, source, at, 0)) for at, text in ((1, "@A"), (2, "@b"), (3, "@d"))] == [
        True
    ] * 3


def test_all_problems_are_listed_in_the_order_of_the_file() -> None:
    source = SourceText("f", ("a", "b"), ())
    error = InvalidConfiguration([Problem("second", None, source, 1), Problem("first", None, source, 0)])
    assert str(error).index("first") < str(error).index("second")
    assert error.log_context == {"problems": 2}
