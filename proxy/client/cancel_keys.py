"""The keys clients cancel with: issued at login, proven in a CancelRequest.

A client gets a process id and key of Gatehouse's own, never a server's: which server works for it changes with each
transaction. Where several processes share a port, the lowest bits of the process id say whose client it is.
"""

from __future__ import annotations

import hmac
import os
from typing import Final, Generic, TypeVar

from proxy.wire.buffer import uint32_at

Target = TypeVar("Target")

_PID_BYTES: Final = 8
_SHORT_KEY_BYTES: Final = 4
_LONG_KEY_BYTES: Final = 32  # as PostgreSQL 18 makes them for protocol 3.2


class CancelKeys(Generic[Target]):
    """Who may be cancelled by which key; `Target` is whatever a cancel is delivered to."""

    __slots__ = ("_bits", "_issued", "_worker")

    def __init__(self, worker: int = 0, workers: int = 1) -> None:
        """`worker`: the number of this process among `workers`, from 0."""
        self._worker = worker
        self._bits = (workers - 1).bit_length()
        self._issued: dict[int, tuple[bytes, Target]] = {}

    def __len__(self) -> int:
        return len(self._issued)

    def issue(self, target: Target, protocol_minor: int) -> tuple[int, bytes]:
        """A process id (1 to 2^31-1, not in use) and a key: 4 bytes, or 32 from protocol 3.2 on."""
        key_bytes = _LONG_KEY_BYTES if protocol_minor >= 2 else _SHORT_KEY_BYTES
        while True:
            random = os.urandom(_PID_BYTES + key_bytes)
            pid = self._pid(uint32_at(random, 0) << 32 | uint32_at(random, 4))
            if pid not in self._issued:
                break
        key = random[_PID_BYTES:]
        self._issued[pid] = key, target
        return pid, key

    def _pid(self, random: int) -> int:
        return (random % (0x7FFF_FFFF >> self._bits) + 1) << self._bits | self._worker

    def worker_of(self, pid: int) -> int:
        """The number of the process that issued this process id; for an invented one, of any, or of none."""
        return pid & (1 << self._bits) - 1

    def find(self, pid: int, key: bytes) -> Target | None:
        """The target, if the key is right; how wrong a key is does not show in the time this takes."""
        issued = self._issued.get(pid)
        if issued is None or not hmac.compare_digest(issued[0], key):
            return None
        return issued[1]

    def revoke(self, pid: int) -> None:
        """Forget a client that left; unknown ids are ignored."""
        self._issued.pop(pid, None)
