"""Values of parameters as a client sends them: as text, or in the binary form of what they look like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from proxy.wire import codes
from proxy.wire.buffer import frame, int16

TEXT: Final = 0
BINARY: Final = 1

_NULL: Final = b"\xff\xff\xff\xff"
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


def encoded(value: str, form: int) -> bytes:
    """The bytes of a value. As binary, an integer or date has four, a moment eight, and all else is as in text: where the
    parameter is of another type, PostgreSQL finds fault with it."""
    if form == BINARY:
        if value.isascii() and value.isdigit():
            return int(value).to_bytes(4, "big")
        if _MOMENT.match(value):
            since = datetime.fromisoformat(value[:16]).replace(tzinfo=UTC) - _EPOCH
            return (since // timedelta(microseconds=1)).to_bytes(8, "big", signed=True)
        if _DAY.fullmatch(value):
            return (datetime.fromisoformat(value).replace(tzinfo=UTC) - _EPOCH).days.to_bytes(4, "big", signed=True)
    return value.encode()


def bind(
    name: str, portal: str, values: Sequence[str | None], forms: Sequence[int] = (), results: Sequence[int] = ()
) -> bytes:
    """Bind. `forms` of the parameters and of the `results` are as in the message: none is all text, one is for all."""
    of_each = forms if len(forms) == len(values) else [*forms, TEXT][:1] * len(values)
    cells = b"".join(
        _NULL if value is None else len(cell := encoded(value, form)).to_bytes(4, "big") + cell
        for value, form in zip(values, of_each, strict=True)
    )
    names = portal.encode() + b"\0" + name.encode() + b"\0"
    return frame(codes.BIND, names + _list(forms) + int16(len(values)) + cells + _list(results))


def _list(forms: Sequence[int]) -> bytes:
    return int16(len(forms)) + b"".join(map(int16, forms))
