"""Names at the front of the extended protocol's messages."""

from __future__ import annotations

from typing import Final

from proxy.errors import ProtocolViolation
from proxy.wire.codes import HEADER_BYTES

_NAME_BYTES: Final = 63


def ends_of_names(message: bytes) -> tuple[int, int]:
    """Where the two strings at the front of a Parse or Bind end."""
    first = HEADER_BYTES if message[HEADER_BYTES] == 0 else message.find(b"\0", HEADER_BYTES)
    second = message.find(b"\0", first + 1)
    if first < 0 or second < 0:
        raise ProtocolViolation("invalid string in message")
    return first, second


def portal_name(name: bytes) -> bytes:
    """What PostgreSQL keeps of a portal's name."""
    return name[:_NAME_BYTES]
