"""Where a session is: the one machine that `session.py` moves."""

from __future__ import annotations

from typing import Final


class State:
    """A server is attached in HELD, BATCH, BUSY and COPY_IN."""

    IDLE: Final = 0
    WAITING: Final = 1  # for a server; input is held back
    HELD: Final = 2  # a transaction is open (or the server is pinned), nothing is under way
    BATCH: Final = 3  # extended messages were sent, their Sync was not
    BUSY: Final = 4  # a segment is under way
    COPY_IN: Final = 5  # the server takes CopyData
    CLOSED: Final = 6
