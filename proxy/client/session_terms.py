"""What a session is given when it begins: the limits of its client, and what it shares with all others."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from proxy.client.ports import Clock
from proxy.context.context import ContextBuilder
from proxy.guard.verdicts import Verdict, VerdictCache
from proxy.server.prepared import StatementCatalog
from proxy.tenants.model import PoolMode


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one client may send and hold: bytes of a message, of SQL, of input waiting, statement names, bytes of settings; how
    long it keeps a server, and how long things may take, in seconds (0: no limit)."""

    max_message_bytes: int
    max_query_bytes: int
    client_buffer_bytes: int
    max_prepared_statements: int
    mode: PoolMode = PoolMode.TRANSACTION
    query_timeout_s: float = 0.0
    transaction_timeout_s: float = 0.0
    idle_in_transaction_timeout_s: float = 0.0
    idle_timeout_s: float = 0.0
    pin_timeout_s: float = 0.0
    max_settings_bytes: int = 64 * 1024

    @property
    def are_timed(self) -> bool:
        """Whether a client that holds a server has to be watched."""
        return bool(
            self.query_timeout_s
            or self.transaction_timeout_s
            or self.idle_in_transaction_timeout_s
            or self.pin_timeout_s
        )


@dataclass(slots=True)
class SessionShared:
    """What all sessions of a process share; a reload changes `defers_begin`."""

    builder: ContextBuilder
    verdicts: VerdictCache
    catalog: StatementCatalog[Verdict]
    clock: Clock
    defers_begin: bool = True
    _is_monotonic: bool = field(init=False)

    def __post_init__(self) -> None:
        self._is_monotonic = self.clock is monotonic

    def now(self) -> float:
        """What the clock says."""
        # Compiled, the one is a function of C, and any other a call by the interpreter.
        return monotonic() if self._is_monotonic else self.clock()
