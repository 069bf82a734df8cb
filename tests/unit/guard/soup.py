"""Texts that hypothesis stirs together from what is tricky about SQL's tokens."""

from __future__ import annotations

from hypothesis import strategies as st

_PIECES = [
    *(
        "'",
        "''",
        '"',
        "$",
        "$$",
        "$a$",
        "$1",
        "\\",
        "E'",
        "e'",
        "U&'",
        'U&"',
        "u&",
        "B'",
        "X'",
        "N'",
        "UESCAPE '!'",
        "!0041",
        "\\0041",
    ),
    *(
        "-",
        "--",
        "--x\n",
        "/",
        "*",
        "/*",
        "*/",
        "+",
        "=",
        "<",
        ">",
        "@",
        "~",
        "|",
        "&",
        ":",
        "::",
        ":=",
        ".",
        "..",
        ";",
        ",",
        "(",
        ")",
        "[",
        "]",
    ),
    *(
        "a",
        "b1",
        "a$",
        "é",
        "_",
        "e",
        "u",
        "x",
        "n",
        "SELECT",
        "BEGIN",
        "ATOMIC",
        "END",
        "CASE",
        "SET",
        "COMMIT",
        "VALUES",
        "AS",
        "FROM",
    ),
    *(
        "1",
        "0x1F",
        "1.5",
        "1e5",
        "12_3",
        " ",
        "\n",
        "\t",
        "\r\n",
        "\f",
        "'a'",
        '"a"',
        "E'\\''",
        "(1,'a')",
        "lower(",
        "set_config(",
    ),
]


def soups(max_pieces: int = 25) -> st.SearchStrategy[str]:
    """Short texts; few of them mean anything."""
    return st.lists(st.sampled_from(_PIECES), max_size=max_pieces).map("".join)


_QUERY_PIECES = [
    *("a", "b1", "t1.c2", "é", '"Name"', '"a1"', '"s"."t2"', "$1", "*", "NULL", "DEFAULT", "true"),
    *(
        "FROM",
        "WHERE",
        "IN",
        "AND",
        "AS",
        "INTO",
        "VALUES",
        "JOIN",
        "ON",
        "UNION",
        "CASE",
        "END",
        "OVER",
        "FILTER",
        "LIMIT",
    ),
    *(
        "lower",
        "md5",
        "log10",
        "atan2d",
        "f",
        "f1",
        "currval",
        "set_config",
        "pg_settings",
        "TEMP",
        "pg_temp_1",
        "into1",
    ),
    *(
        "(",
        "(",
        ")",
        ")",
        ",",
        ",",
        ".",
        ";",
        "=",
        "<>",
        "||",
        "->>",
        "::",
        "::int4",
        "-",
        "--",
        "/",
        "/*",
        "*/",
        "&",
        "$a$",
        "$$",
    ),
    *("E", "u&", "n", "X", '"', "'", "\\", "\n", "  "),
]


def queries(max_pieces: int = 20) -> st.SearchStrategy[str]:
    """Texts that begin as queries do, many of them in words that are well apart, with literals of all kinds."""
    literal = st.one_of(
        st.integers(-10, 10**20).map(str),
        st.floats(0, 10**6).map(str),
        st.text("a1'\\-/*$;\"() \n", max_size=8).map(lambda value: "'" + value.replace("'", "''") + "'"),
    )
    piece = st.one_of(st.sampled_from(_QUERY_PIECES), literal)
    beginning = st.sampled_from(
        [
            "SELECT",
            "SELECT a ,",
            "INSERT INTO t1 (",
            'insert into "t" values',
            "UPDATE t SET a =",
            "DELETE FROM",
            "WITH",
            "SET a =",
        ]
    )
    gap = st.sampled_from([" ", " ", " ", ""])
    pieces = st.lists(st.tuples(gap, piece).map("".join), max_size=max_pieces).map("".join)
    return st.builds("{} {}".format, beginning, pieces)
