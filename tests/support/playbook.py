"""Tell a session's story: what happens to it with `>>`, what it must do about that with `<<`, in order.

    play() >> client(query("BEGIN")) << acquire() >> granted() << to_server(query("BEGIN"))

The session is real, the world around it is a recorder: bytes and a clock that stands still. Each `to_server` and
`to_client` is one write. Whatever the session did must be told before the next thing happens to it and before the story
ends (`Plays.close`, which the fixture `play` calls).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from proxy.client.ports import SessionSink
from proxy.client.session import Session
from proxy.client.session_terms import SessionLimits, SessionShared
from proxy.context.client_settings import ClientSettings, Parts
from proxy.context.context import ContextBuilder, InjectionNames
from proxy.errors import ErrorKind, ProxyError
from proxy.guard.rules import GuardPolicy
from proxy.guard.verdicts import Verdict, VerdictCache
from proxy.observe.counters import TrafficStats
from proxy.server.ledger import Ledger
from proxy.server.ports import ServerPort
from proxy.server.prepared import PreparedOnServer, StatementCatalog
from proxy.tenants.model import DatabasePlacement, PoolMode, SchemaPlacement, SharedPlacement, Tenant, Tier
from proxy.wire import backend, frontend
from proxy.wire.trace import backend_lines, frontend_lines

ACME: Final = Tenant("acme", SharedPlacement("main", "saas"), Tier("basic"))
GLOBEX: Final = Tenant("globex", SchemaPlacement("main", "saas", "tenant_globex", "globex_role"), Tier("basic"))
INITECH: Final = Tenant("initech", DatabasePlacement("main", "tenant_initech"), Tier("basic"))

PROTECTED: Final = frozenset({"app.tenant_id", "role", "session_authorization"})
BASELINE: Final = {
    b"application_name": b"gatehouse",
    b"client_encoding": b"UTF8",
    b"DateStyle": b"ISO, MDY",
    b"TimeZone": b"UTC",
}

# What puts ACME's context in place, in its three forms, and what a server answers.
INITECHS_PREFIX: Final = 'SET LOCAL "app"."tenant_id" TO \'initech\'; '
INITECHS_SESSION: Final = 'SET SESSION "app"."tenant_id" TO \'initech\''
"""What a server's session is given for a statement that must be alone, and how that is taken back."""
INITECHS_SESSION_OVER: Final = 'SET SESSION "app"."tenant_id" TO DEFAULT'
PREFIX: Final = 'SET LOCAL "app"."tenant_id" TO \'acme\'; '
CONTEXT_NAME: Final = b"gatehouse_test_ctx_1"
PARSE_CONTEXT: Final = frontend.parse(CONTEXT_NAME, b"SELECT pg_catalog.set_config($1,$2,true)")
RUN_CONTEXT: Final = frontend.bind(b"", CONTEXT_NAME, (b"app.tenant_id", b"acme")) + frontend.execute(b"")
CONTEXT_RAN: Final = (
    backend.BIND_COMPLETE + backend.data_row([b"acme"]) + backend.command_complete(b"SELECT 1")
)  # its Parse apart


# What happens to a session.


@dataclass(frozen=True, slots=True)
class Happens:
    """One thing that happens, in words and as what it does to the play."""

    words: str
    do: Callable[[Play], None]


def client(*messages: bytes) -> Happens:
    """The client's bytes arrive, in one chunk."""
    data = b"".join(messages)
    return Happens(f"client: {_lines(frontend_lines(data))}", lambda play: play.session.client_data(data))


def server(*messages: bytes) -> Happens:
    """The server's bytes arrive, in one chunk."""
    data = b"".join(messages)
    return Happens(f"server: {_lines(backend_lines(data))}", lambda play: play.feed(data))


def granted(name: str = "s1") -> Happens:
    """The server that was asked for is here; servers of other names are other servers."""
    return Happens(f"granted({name})", lambda play: play.session.granted(play.lend(name)))


def refused(error: ProxyError) -> Happens:
    """There is no server to be had."""
    return Happens(f"refused({error.sqlstate})", lambda play: play.session.refused(error))


# What a session does.


@dataclass(frozen=True, slots=True)
class Did:
    """One thing that the session did: which call of its sink or server, and with what."""

    what: str
    data: bytes = b""
    detail: str = ""

    def __str__(self) -> str:
        lines = frontend_lines if self.what == "to_server" else backend_lines
        return f"{self.what}({_lines(lines(self.data)) if self.data else self.detail})"


def to_server(*messages: bytes) -> Did:
    """One write to the server."""
    return Did("to_server", b"".join(messages))


def to_client(*messages: bytes) -> Did:
    """One write to the client."""
    return Did("to_client", b"".join(messages))


@dataclass(frozen=True, slots=True)
class Tells:
    """A write to the client of which an error's SQLSTATE counts and the rest is exact."""

    before: bytes
    sqlstate: str
    after: bytes
    has_hint: bool

    def matches(self, did: Did) -> bool:
        """Whether that is what was written."""
        data = did.data
        if did.what != "to_client" or not data.startswith(self.before) or not data.endswith(self.after):
            return False
        middle = data[len(self.before) : len(data) - len(self.after)]
        if middle[:1] != b"E" or int.from_bytes(middle[1:5], "big") + 1 != len(middle):
            return False
        fields = backend.read_error_fields(middle[5:])
        return fields["C"] == self.sqlstate and ("H" in fields or not self.has_hint)

    def __str__(self) -> str:
        before, after = (_lines(backend_lines(part)) for part in (self.before, self.after))
        return f"to_client({before} E SQLSTATE {self.sqlstate} {'with a hint ' if self.has_hint else ''}{after})"


def tells(sqlstate: str, *after: bytes, before: bytes = b"", hint: bool = False) -> Tells:
    """One write to the client: `before`, an error of Gatehouse's own (with a hint, if so asked), then `after`."""
    return Tells(before, sqlstate, b"".join(after), hint)


def acquire() -> Did:
    """Asks for a server."""
    return Did("acquire")


def release(name: str = "s1") -> Did:
    """Gives the server back."""
    return Did("release", detail=name)


def closes(reason: str, name: str = "s1") -> Did:
    """Closes the server, which nobody is to have again."""
    return Did("close", detail=f"{name}: {reason}")


def hang_up(sqlstate: str = "") -> Did:
    """Ends the connection, with the error of this SQLSTATE or without one."""
    return Did("hang_up", detail=sqlstate)


def report(sqlstate: str) -> Did:
    """Tells the log of an error."""
    return Did("report", detail=sqlstate)


def cancel_now() -> Did:
    """Lets a cancel go that was held back."""
    return Did("cancel_now")


def claim_pin() -> Did:
    """Wants to keep its server."""
    return Did("claim_pin")


def unpin() -> Did:
    """Need not keep its server any more."""
    return Did("unpin")


# The world.


class FakeServer(ServerPort):
    """A server connection that writes down what it is sent."""

    def __init__(self, name: str, play: Play, prepared: PreparedOnServer, ledger: Ledger) -> None:
        self.name = name
        self.play = play
        self.prepared = prepared
        self.ledger = ledger
        self.parameters = dict(BASELINE)
        self.followed = ()
        self.taint = 0
        self.tenant_id = None

    def write(self, data: bytes) -> None:
        """One write."""
        self.play.did(Did("to_server", data))

    def close(self, reason: str) -> None:
        """The pool will find it closed."""
        self.play.did(Did("close", detail=f"{self.name}: {reason}"))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a play is set in."""

    prepared_on_server: int = 100
    session: SessionLimits = field(default_factory=lambda: SessionLimits(4_000_000, 1_000_000, 500_000, 50))


def policy_of(tenant: Tenant, mode: PoolMode) -> GuardPolicy:
    """What the guard holds against this tenant's clients."""
    placement = tenant.placement
    return GuardPolicy(
        protected=PROTECTED,
        allowed_search_path=frozenset({placement.schema, "shared"}) if isinstance(placement, SchemaPlacement) else None,
        transaction_block_free=isinstance(placement, DatabasePlacement) or mode is PoolMode.SESSION,
        transactions_refused=mode is PoolMode.STATEMENT,
    )


class Play(SessionSink):
    """One session and its story so far.

    `waits`: a server is not there at once but by `granted`. `may_pin`: what claims of pins are answered. `refusal`:
    what `acquire` raises. `shared`, `servers`: the process that the session is in, for stories with several clients.
    """

    def __init__(
        self,
        tenant: Tenant = ACME,
        *,
        waits: bool = False,
        startup: dict[str, Parts] | None = None,
        limits: Limits | None = None,
        shared: SessionShared | None = None,
        servers: dict[str, FakeServer] | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self.shared = shared or shared_by_sessions()
        self.waits = waits
        self.may_pin = True
        self.refusal: ProxyError | None = None
        self.servers: dict[str, FakeServer] = {} if servers is None else servers
        self.held: FakeServer | None = None
        self._undone: deque[Did] = deque()
        self._story: list[str] = []
        self.session = Session(
            self,
            self.shared,
            tenant,
            policy_of(tenant, self._limits.session.mode),
            ClientSettings(startup or {}),
            self._limits.session,
            TrafficStats(),
            dict(BASELINE),
        )

    # The story.

    def __rshift__(self, happens: Happens) -> Play:
        """This happens now."""
        self.finish()
        self._story.append(f">> {happens.words}")
        try:
            happens.do(self)
        except BaseException:
            self._undone.clear()  # this error is the end of the story
            raise
        return self

    def __lshift__(self, expected: Did | Tells) -> Play:
        """This is what the session does next."""
        did = self._undone.popleft() if self._undone else None
        if did is None or not (expected.matches(did) if isinstance(expected, Tells) else expected == did):
            self._undone.clear()
            raise AssertionError(self._tale(f"expected  {expected}", f"came      {did or 'nothing'}"))
        self._story.append(f"<< {did}")
        return self

    def finish(self) -> None:
        """Nothing must be left that was not told."""
        if self._undone:
            undone = [f"untold    {did}" for did in self._undone]
            self._undone.clear()
            raise AssertionError(self._tale(*undone))

    def take(self) -> list[Did]:
        """What the session did and nobody told yet, for tests that look at it as a whole."""
        undone = list(self._undone)
        self._undone.clear()
        return undone

    def _tale(self, *last: str) -> str:
        return "\n".join(("the story went wrong:", *self._story, *last))

    # The world.

    def did(self, did: Did) -> None:
        """Note what the session did."""
        self._undone.append(did)

    def lend(self, name: str = "s1") -> FakeServer:
        """The server of this name, new if it was not there."""
        if name not in self.servers:
            prepared = PreparedOnServer(self._limits.prepared_on_server)
            self.servers[name] = FakeServer(name, self, prepared, Ledger(self.session.replies))
        self.held = self.servers[name]
        self.held.play = self
        return self.held

    def feed(self, data: bytes) -> None:
        """Bytes from the server that is held."""
        assert self.held is not None, "no server is held"
        self.held.ledger.feed(data)
        self.session.server_data()

    # SessionSink.

    def to_client(self, data: bytes) -> None:
        self.did(Did("to_client", data))

    def acquire(self) -> FakeServer | None:
        self.did(Did("acquire"))
        if self.refusal is not None:
            raise self.refusal
        return None if self.waits else self.lend()

    def release(self, server: ServerPort) -> None:
        assert isinstance(server, FakeServer)
        assert server is self.held
        self.held = None
        assert not server.ledger.units, "released while replies are owed"
        assert not server.ledger.notes
        self.did(Did("release", detail=server.name))

    def hang_up(self, error: ProxyError | None) -> None:
        self.did(Did("hang_up", detail=error.sqlstate if error is not None else ""))
        self.session.detach()
        self.held = None

    def report(self, error: ProxyError) -> None:
        if error.kind in (ErrorKind.GUARD, ErrorKind.LIMIT):
            return  # the client's refusal tells the story
        self.did(Did("report", detail=error.sqlstate))

    def cancel_now(self) -> None:
        self.did(Did("cancel_now"))

    def watch(self) -> None:
        self.did(Did("watch"))

    def claim_pin(self) -> bool:
        self.did(Did("claim_pin"))
        return self.may_pin

    def unpin(self) -> None:
        self.did(Did("unpin"))


class Plays:
    """Makes plays, and looks at the end that each was told to its end."""

    def __init__(self) -> None:
        self._made: list[Play] = []

    def __call__(
        self,
        tenant: Tenant = ACME,
        *,
        waits: bool = False,
        startup: dict[str, Parts] | None = None,
        limits: Limits | None = None,
        shared: SessionShared | None = None,
        servers: dict[str, FakeServer] | None = None,
    ) -> Play:
        """A new play, whose session is logged in; see `Play`."""
        play = Play(tenant, waits=waits, startup=startup, limits=limits, shared=shared, servers=servers)
        self._made.append(play)
        return play

    def close(self) -> None:
        """The end of all stories."""
        for play in self._made:
            play.finish()


def shared_by_sessions(*, defers_begin: bool = False) -> SessionShared:
    """What sessions of one process share, with names that tests can know and a clock that stands still."""
    names = InjectionNames("test")
    return SessionShared(
        builder=ContextBuilder(("app.tenant_id",), ("shared",), names),
        verdicts=VerdictCache(),
        catalog=StatementCatalog[Verdict](names.client),
        clock=lambda: 0.0,
        defers_begin=defers_begin,
    )


def on_server(number: int) -> str:
    """The name that the `number`th statement of a process has on servers."""
    return f"gatehouse_test_{number}"


def _lines(lines: list[str]) -> str:
    return " | ".join(lines)
