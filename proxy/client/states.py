"""Where a session is: the one machine that `session.py` moves."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """A server is attached in HELD, BATCH, BUSY and COPY_IN."""

    IDLE = 0
    WAITING = 1  # for a server; input is held back
    HELD = 2  # a transaction is open (or the server is pinned), nothing is under way
    BATCH = 3  # extended messages were sent, their Sync was not
    BUSY = 4  # a segment is under way
    COPY_IN = 5  # the server takes CopyData
    CLOSED = 6
