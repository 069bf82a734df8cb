from __future__ import annotations

import pytest

from proxy.guard.search_path import split_search_path


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", ()),
        ("  ", ()),
        ("a", ("a",)),
        (' A , "B" ,"c""d",$user', ("a", "B", 'c"d', "$user")),
        ('"$user", public', ("$user", "public")),
        ('""', ("",)),
        ("é É", None),
        ("a,", None),
        (",a", None),
        ("a b", None),
        ('"a', None),
        ('"a" b', None),
    ],
)
def test_a_search_path_is_taken_apart_as_postgresql_does(value: str, names: tuple[str, ...] | None) -> None:
    assert split_search_path(value) == names
