"""Clients that do everything at random, and know at every moment what they must see.

Every home of a tenant gets a table `ledger` whose rows say whose they are: `FIXED` rows of the tenant, and what each
client wrote itself. A client keeps a model of its own session (settings, rows committed) and compares it at each step.
What a killed connection may or may not have done is asked of PostgreSQL directly afterwards.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from proxy.cli.demo.seed import SHARED_DATABASE
from proxy.wire import codes, frontend
from proxy.wire.buffer import frame
from tests.isolation import world
from tests.isolation.world import Resident
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest
from tests.support.raw import Frame, RawConnection, Refused, errors, rows

FIXED: Final = 3

_TABLE: Final = "CREATE TABLE {home} (tenant text NOT NULL, client int NOT NULL DEFAULT 0)"
_FIXED: Final = "INSERT INTO {home} (tenant) SELECT '{tenant}' FROM generate_series(1, {count})"
_POLICY: Final = """
    ALTER TABLE public.ledger ENABLE ROW LEVEL SECURITY;
    ALTER TABLE public.ledger FORCE ROW LEVEL SECURITY;
    CREATE POLICY own ON public.ledger USING (tenant = nullif(current_setting('app.tenant_id', true), ''));
"""

# The same text, and the same name, in every tenant. One row says everything about who, where and what is seen.
CHECK: Final = """
    SELECT current_setting('app.tenant_id'), current_user::text, current_schemas(false)::text, current_setting('TimeZone'),
           current_setting('application_name'), current_setting('work_mem'), current_setting('evil.mark', true),
           (SELECT count(*) FROM ledger WHERE client = 0), (SELECT count(*) FROM ledger WHERE client = {client}),
           (SELECT count(*) FROM ledger WHERE tenant <> current_setting('app.tenant_id')),
           (SELECT count(DISTINCT tenant) FROM ledger), (SELECT string_agg(DISTINCT tenant, ',') FROM ledger),
           (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())
"""

# What may end any statement while servers are being killed.
LOST: Final = frozenset({"57P01", "57P02", "57P03", "08006", "08001", "08003"})


def furnish(cluster: TestCluster) -> None:
    """Give every resident its ledger."""
    for resident in world.RESIDENTS:
        home = f"{resident.schema}.ledger"
        if resident is not world.UMBRELLA:  # it shares acme's
            cluster.sql(_TABLE.format(home=home), resident.database)
        cluster.sql(_FIXED.format(home=home, tenant=resident.name, count=FIXED), resident.database)
        user = resident.user
        cluster.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {home} TO {user}", resident.database)
    cluster.sql(_POLICY, SHARED_DATABASE)


Act = Callable[["RawClient"], Awaitable[None]]


class Lost(Exception):
    """The connection is gone, and with it the knowledge of what the last statement did."""


@dataclass(slots=True)
class Run:
    """One run's random source, its proxy, and what was done and met."""

    proxy: ProxyUnderTest
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)

    async def committed(self, resident: Resident, client: int) -> int:
        """How many rows of a client there are, as the superuser sees it."""
        admin = await self.proxy.cluster.admin(resident.database)
        try:
            table = f"{resident.schema}.ledger"
            sql = f"SELECT count(*) FROM {table} WHERE tenant = $1 AND client = $2"
            return int(await admin.fetchval(sql, resident.name, client))
        finally:
            await admin.close()


class RawClient:
    """A client that speaks the protocol itself and so can do what no driver does."""

    def __init__(self, run: Run, resident: Resident, number: int) -> None:
        self.run = run
        self.resident = resident
        self.number = number
        self.random = random.Random(f"{run.seed} {number}")
        self.rows = 0
        self.settings: dict[str, str] = {}
        self.startup: dict[str, str] = {}
        self.prepared = False
        self.trail: deque[str] = deque(maxlen=4)
        self._connection: RawConnection | None = None

    @property
    def connection(self) -> RawConnection:
        assert self._connection is not None
        return self._connection

    async def live(self, steps: int) -> None:
        """Do so many things, coming back after every loss."""
        for _ in range(steps):
            await self.attempt(self.random.choice(ACTS))
            if self.random.random() < 0.02:
                self.leave()
        while not await self.attempt(check_by_query):
            pass
        await self.connection.close()

    async def attempt(self, act: Act) -> bool:
        """Do one thing; False if the connection was lost over it."""
        try:
            if self._connection is None:
                await self.connect()
            self.trail.append(act.__name__)
            await act(self)
        except (Lost, EOFError, ConnectionError):
            self.run.met["lost"] += 1
            self.leave()
            await self.settle()
            return False
        self.run.done[act.__name__] += 1
        return True

    @property
    def where(self) -> str:
        """For messages: the run, the client and what it did last."""
        return f"seed {self.run.seed}, {self.resident.name}, client {self.number}: {', '.join(self.trail)}"

    def leave(self) -> None:
        """Vanish."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    async def connect(self) -> None:
        zone = self.random.choice(["Asia/Tokyo", "Europe/Berlin", "America/Lima"])
        self.startup = {"application_name": f"client {self.number}", "TimeZone": zone}
        self.settings = dict(self.startup)
        self.prepared = False
        for _ in range(20):
            try:
                self._connection = await world.connect(self.run.proxy, self.resident, **self.startup)
                self.trail.append("connect")
                return
            except (EOFError, ConnectionError):
                continue
            except Refused as refused:
                # A login asks a server about its settings, and that server may be killed.
                if refused.fields["C"] not in LOST:
                    raise
        raise AssertionError("no login in 20 attempts")

    async def settle(self) -> None:
        """After a loss: what is committed is what PostgreSQL says, once the server has ended what was under way."""
        deadline = asyncio.get_running_loop().time() + 10
        found = await self.run.committed(self.resident, self.number)
        while asyncio.get_running_loop().time() < deadline:
            self.rows, found = found, await self.run.committed(self.resident, self.number)
            if self.rows == found and not await self.is_running():
                return
        raise AssertionError("a lost client's transaction does not end")

    async def is_running(self) -> bool:
        """Whether a server still works for what this client has left behind."""
        admin = await self.run.proxy.cluster.admin()
        try:
            sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE $1 AND state <> 'idle' AND pid <> pg_backend_pid()"
            return bool(await admin.fetchval(sql, f"%/* {self.number} */%"))
        finally:
            await admin.close()

    # How things are asked.

    @property
    def insert(self) -> str:
        return f"/* {self.number} */ INSERT INTO ledger VALUES ('{self.resident.name}', {self.number})"

    async def ask(self, *messages: bytes, expect: frozenset[str] = frozenset()) -> list[Frame]:
        """Send and read to ReadyForQuery. Errors other than `expect` fail the test, those of lost servers are `Lost`."""
        return self.judge(await self.connection.ask(*messages), expect)

    def judge(self, frames: list[Frame], expect: frozenset[str] = frozenset()) -> list[Frame]:
        for code in errors(frames):
            self.run.met[code] += 1
            if code in LOST:
                raise Lost(code)
            assert code in expect, (self.where, [f.fields for f in frames if f.code == "E"])
        return frames

    async def query(self, sql: str, *expect: str) -> list[Frame]:
        return await self.ask(frontend.query(sql.encode()), expect=frozenset(expect))

    def batch(self, sql: str, name: bytes = b"", values: tuple[bytes, ...] = ()) -> bytes:
        return frontend.parse(name, sql.encode()) + frontend.bind(b"", name, values) + frontend.execute(b"")

    @property
    def check(self) -> str:
        return CHECK.format(client=self.number)

    def verify(self, frames: list[Frame], *, rows_now: int | None = None, temporary: int = 0) -> None:
        """One row of CHECK against everything this client knows."""
        found = rows(frames)
        assert len(found) == 1, (self.where, frames)
        mine = self.rows if rows_now is None else rows_now
        name = self.resident.name
        expected = [
            *(name, self.resident.user, self.resident.schemas, self.settings["TimeZone"]),
            *(self.settings["application_name"], self.settings.get("work_mem", "4MB")),
            *(self.settings.get("evil.mark"), str(FIXED), str(mine), "0", "1", name, str(temporary)),
        ]
        seen = found[0]
        seen[6] = seen[6] or None  # '' is what is left of a setting that was reset
        assert seen == expected, self.where

    async def check_simple(self) -> None:
        self.verify(await self.query(self.check))


# What clients do.


async def check_by_query(client: RawClient) -> None:
    await client.check_simple()


async def check_by_unnamed_statement(client: RawClient) -> None:
    client.verify(await client.ask(client.batch(client.check), frontend.SYNC))


async def check_by_prepared_statement(client: RawClient) -> None:
    """The same name and text in all tenants; only the parameter tells clients apart."""
    if not client.prepared:
        await client.ask(
            frontend.parse(b"check", CHECK.format(client="$1").encode(), (23,)),
            frontend.describe(b"S", b"check"),
            frontend.SYNC,
        )
        client.prepared = True
    number = str(client.number).encode()
    client.verify(await client.ask(frontend.bind(b"", b"check", (number,)), frontend.execute(b""), frontend.SYNC))


async def write_autocommit(client: RawClient) -> None:
    message = frontend.query(client.insert.encode())
    if client.random.random() < 0.5:
        message = client.batch(client.insert) + frontend.SYNC
    await client.ask(message)
    client.rows += 1


async def transaction_with_savepoints(client: RawClient) -> None:
    is_extended = client.random.random() < 0.5

    async def say(sql: str, *expect: str) -> list[Frame]:
        if is_extended:
            return await client.ask(client.batch(sql), frontend.SYNC, expect=frozenset(expect))
        return await client.query(sql, *expect)

    level = client.random.choice(["", " ISOLATION LEVEL REPEATABLE READ", " READ WRITE"])
    await say(f"BEGIN{level}")
    if client.random.random() < 0.3:
        await say("SAVEPOINT early")
    now = client.rows
    for _ in range(client.random.randint(1, 4)):
        kind = client.random.random()
        if kind < 0.4:
            await say(client.insert)
            now += 1
        elif kind < 0.8:
            await say("SAVEPOINT s")
            await say(client.insert)
            await say(
                client.random.choice(["SELECT 1/0", "SELECT * FROM nowhere", "SYNTAX error"]), "22012", "42P01", "42601"
            )
            await say("ROLLBACK TO s")
            await say("RELEASE s")
        client.verify(await say(client.check), rows_now=now)
    if client.random.random() < 0.6:
        await say("COMMIT")
        client.rows = now
    else:
        await say("ROLLBACK")


async def chains(client: RawClient) -> None:
    await client.query("BEGIN")
    for _ in range(2):
        await client.query(client.insert)
        is_kept = client.random.random() < 0.5
        await client.query("COMMIT AND CHAIN" if is_kept else "ROLLBACK AND CHAIN")
        client.rows += is_kept
        client.verify(await client.ask(client.batch(client.check), frontend.SYNC))
    await client.query("ROLLBACK")


async def several_statements(client: RawClient) -> None:
    insert = client.insert
    if client.random.random() < 0.5:
        frames = await client.query(f"{insert}; COMMIT; BEGIN; {insert}; ROLLBACK; {insert}; SELECT 1/0", "22012")
        client.rows += 1
    else:
        frames = await client.query(f"BEGIN; {insert}; COMMIT AND CHAIN; {insert}; COMMIT; {client.check}")
        client.rows += 2
        client.verify(frames)
    if client.connection.status != "I":
        await client.query("ROLLBACK")


async def pipeline(client: RawClient) -> None:
    """Segments behind segments in one write, one of them failing."""
    connection = client.connection
    bad = client.batch("SELECT 1/0") + client.batch(client.insert)
    connection.send(
        client.batch(client.insert) + frontend.SYNC + bad + frontend.SYNC + frontend.query(client.check.encode()),
        client.batch("BEGIN") + client.batch(client.insert) + client.batch("COMMIT") + frontend.SYNC,
        client.batch(client.check) + frontend.SYNC,
    )
    answers = [client.judge(await connection.until_ready(), frozenset({"22012"})) for _ in range(5)]
    client.verify(answers[2], rows_now=client.rows + 1)
    client.rows += 2
    client.verify(answers[4])


async def copy_out(client: RawClient) -> None:
    frames = await client.query("COPY (SELECT tenant FROM ledger WHERE client = 0) TO STDOUT")
    lines = b"".join(f.body for f in frames if f.code == "d").decode().split()
    assert lines == [client.resident.name] * FIXED, client.run.seed


async def copy_in(client: RawClient) -> None:
    if client.resident.model == "shared":  # PostgreSQL has no COPY FROM under row-level security
        await client.query("COPY ledger FROM STDIN", "0A000")
        return
    data = f"{client.resident.name}\t{client.number}\n".encode() * 2
    ends_well = client.random.random() < 0.7
    end = frame(codes.COPY_DONE, b"") if ends_well else frontend.copy_fail(b"changed my mind")
    sql = f"/* {client.number} */ COPY ledger FROM STDIN".encode()
    await client.ask(frontend.query(sql), frame(codes.COPY_DATA, data), end, expect=frozenset({"57014"}))
    client.rows += 2 * ends_well


async def set_and_reset(client: RawClient) -> None:
    value = client.random.choice(["1MB", "2MB", "8MB"])
    what = client.random.random()
    if what < 0.3:
        await client.query(f"SET work_mem = '{value}'; SET evil.mark = '{client.number}'")
        client.settings |= {"work_mem": value, "evil.mark": str(client.number)}
    elif what < 0.5:
        await client.ask(
            client.batch(f"SET TIME ZONE 'Europe/{client.random.choice(['Rome', 'Oslo'])}'"), frontend.SYNC
        )
        client.settings["TimeZone"] = client.connection.parameters["TimeZone"]
    elif what < 0.6:
        await client.query(f"BEGIN; SET work_mem = '{value}'; SET application_name = 'lost'; ROLLBACK")
    elif what < 0.7:
        await client.query(f"BEGIN; SET LOCAL work_mem = '{value}'; SET LOCAL evil.mark = 'gone'; COMMIT")
    elif what < 0.8:
        await client.query("RESET work_mem")
        client.settings.pop("work_mem", None)
    else:
        await client.query(client.random.choice(["RESET ALL", "DISCARD ALL"]))
        client.settings = dict(client.startup)
        client.prepared = False
        await client.ask(frontend.close(b"S", b"check"), frontend.SYNC)
    await client.check_simple()


async def temporary_table(client: RawClient) -> None:
    """Pins a server; the tenant's limit may say no."""
    frames = await client.query(f"CREATE TEMP TABLE scratch AS SELECT {client.number} AS whose", "53300")
    if not errors(frames):
        found = rows(await client.ask(client.batch("SELECT whose FROM scratch"), frontend.SYNC))
        assert found == [[str(client.number)]], client.run.seed
        client.verify(await client.query(client.check), temporary=1)
    await client.query("DISCARD ALL")
    client.settings = dict(client.startup)
    client.prepared = False
    await client.query("SELECT whose FROM scratch", "42P01")


async def cancelled(client: RawClient) -> None:
    connection = client.connection
    connection.send(frontend.query(f"/* {client.number} */ SELECT pg_sleep(0.05)".encode()))
    await asyncio.sleep(client.random.random() * 0.08)
    reader, writer = await asyncio.open_connection(client.run.proxy.host, client.run.proxy.port)
    try:
        writer.write(frontend.cancel_request(connection.pid, connection.key))
        client.judge(await connection.until_ready(), frozenset({"57014"}))
        await reader.read()
    finally:
        writer.close()
    # A cancel that came too late must not hit what comes next, of whomever.
    await client.check_simple()


async def timed_out(client: RawClient) -> None:
    frames = await client.query("BEGIN; SET LOCAL statement_timeout = 5; SELECT pg_sleep(5)", "57014")
    assert errors(frames)
    await client.query("ROLLBACK")


async def left_in_the_middle(client: RawClient) -> None:
    """Go without a word: in a transaction, in a query, in COPY, in the middle of a frame."""
    connection = client.connection
    where = client.random.randrange(5)
    if where == 0:
        await client.query("BEGIN")
        await client.query(client.insert)
    elif where == 1:
        connection.send(frontend.query(f"{client.insert}; SELECT pg_sleep(0.02)".encode()))
    elif where == 2:
        connection.send(client.batch(client.insert))
    elif where == 3:
        connection.send(frontend.query(b"CREATE TEMP TABLE scratch AS SELECT 1"))
    else:
        connection.send(frontend.query(client.insert.encode())[: client.random.randint(1, 30)])
    await asyncio.sleep(client.random.random() * 0.01)
    raise Lost


ACTS: Final[list[Act]] = [
    *(check_by_query, check_by_unnamed_statement, check_by_prepared_statement) * 4,
    *(write_autocommit, transaction_with_savepoints, chains, several_statements, pipeline) * 2,
    *(copy_out, copy_in, set_and_reset, set_and_reset, temporary_table, cancelled, timed_out, left_in_the_middle),
]
