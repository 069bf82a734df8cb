from __future__ import annotations

import pytest

from proxy.guard.encodings import is_safe_encoding


@pytest.mark.parametrize(
    "name", ["UTF8", "utf-8", "SQL_ASCII", "LATIN1", "EUC_JP", "EUC_CN", "EUC_KR", "WIN1252", "KOI8R"]
)
def test_encodings_that_keep_ascii_apart_are_safe(name: str) -> None:
    assert is_safe_encoding(name)


@pytest.mark.parametrize(
    "name",
    [
        "SJIS",
        "Shift_JIS",
        "shift-jis",
        "MsKanji",
        "WIN932",
        "windows-932",
        "SHIFT_JIS_2004",
        "BIG5",
        "win950",
        "GBK",
        "WIN936",
        "UHC",
        "WIN949",
        "windows_949",
        "GB18030",
        "JOHAB",
        " s j i s ",
    ],
)
def test_encodings_whose_characters_hold_ascii_bytes_are_not(name: str) -> None:
    assert not is_safe_encoding(name)
