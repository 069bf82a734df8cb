"""Durations and sizes: what is written is what is meant, in both directions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.names import Invalid
from proxy.settings.units import format_duration, format_size, parse_duration, parse_size, parse_timeout


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("15s", 15), ("2m", 120), ("1.5h", 5400), ("1d", 86_400), ("15 s", 15), ("0.5s", 0.5)],
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["15", "", "s", "-5s", "1h30m", "15sec", "15 S", "1e3s", "inf", "٣s", "0.5ms", "5s\n5s"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_duration(text)
    assert caught.value.hint is not None
    assert "ms, s, m, h or d" in caught.value.hint


@pytest.mark.parametrize("text", ["0", "off"])
def test_a_timeout_can_be_turned_off_but_a_duration_can_not(text: str) -> None:
    assert parse_timeout(text) == 0.0
    with pytest.raises(Invalid):
        parse_duration(text)


@given(st.integers(0, 10**12))
def test_a_written_duration_reads_as_the_same_milliseconds(milliseconds: int) -> None:
    assert parse_timeout(format_duration(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize(
    ("text", "size"), [("64MB", 64 << 20), ("256kB", 256 << 10), ("256KB", 256 << 10), ("1GB", 1 << 30), ("512", 512)]
)
def test_a_size_counts_in_1024s_as_postgresql_does(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "64MiB", "0.3B", "1 kB MB"])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(Invalid):
        parse_size(text)


@given(st.integers(0, 1 << 48))
def test_a_written_size_reads_as_the_same_bytes(size: int) -> None:
    assert parse_size(format_size(size)) == size
