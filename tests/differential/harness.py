"""Play a script of protocol messages against PostgreSQL directly and through Gatehouse; compare all a client sees.

What is compared: messages and their order, rows, command tags, error and notice fields, the transaction status, and the
parameters as the client holds them after each step. What can not be the same is left out: where in PostgreSQL's source
an error was raised, and ParameterStatus messages themselves (only what they add up to counts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.wire import codes, frontend
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest
from tests.support.raw import Frame, RawConnection

_LOCATION_FIELDS = "FLR"


@dataclass(frozen=True, slots=True)
class Step:
    """Messages to send, and the codes of which one ends the answer."""

    messages: bytes
    until: str = "Z"


@dataclass(frozen=True, slots=True)
class Script:
    """A story told in steps. `skip` names placements where it differs, with the key of the difference in
    `differences.py`."""

    name: str
    steps: Sequence[Step]
    skip: dict[str, str] = field(default_factory=dict)
    protocol: int = codes.PROTOCOL_3_0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client saw of one step."""

    frames: list[object]
    status: str
    parameters: dict[str, str]


def q(sql: str) -> bytes:
    """Query."""
    return frontend.query(sql.encode())


def p(sql: str, name: str = "", *oids: int) -> bytes:
    """Parse."""
    return frontend.parse(name.encode(), sql.encode(), oids)


def b(*values: str | None, name: str = "", portal: str = "") -> bytes:
    """Bind with text parameters."""
    return frontend.bind(portal.encode(), name.encode(), [None if v is None else v.encode() for v in values])


def d(name: str = "", kind: str = "P") -> bytes:
    """Describe."""
    return frontend.describe(kind.encode(), name.encode())


def e(portal: str = "", rows: int = 0) -> bytes:
    """Execute."""
    return frontend.execute(portal.encode(), rows)


def c(name: str = "", kind: str = "S") -> bytes:
    """Close."""
    return frontend.close(kind.encode(), name.encode())


def run(sql: str, *values: str | None) -> bytes:
    """Parse, Bind, Describe and Execute by the unnamed statement and portal, without Sync."""
    return p(sql) + b(*values) + d() + e()


s = frontend.SYNC
h = frontend.FLUSH


@dataclass(frozen=True, slots=True)
class Place:
    """A placement to compare in: the tenant through Gatehouse, and what makes a direct connection its equal."""

    tenant: str
    database: str
    options: str


CHANNELS = {"tiers": {"default": {"cross_tenant_channels": "allow", "cross_tenant_sessions": "allow"}}}
"""Part of a configuration: what the placements would refuse, and PostgreSQL would not."""

PLACES = {
    "shared": Place("acme", "saas", "-c app.tenant_id=acme"),
    "schema": Place(
        "globex", "saas", "-c app.tenant_id=globex -c search_path=tenant_globex,\\ public -c role=tenant_globex_role"
    ),
    "database": Place("initech", "tenant_initech", "-c app.tenant_id=initech"),
}


async def play(connection: RawConnection, script: Script) -> list[Seen]:
    """Run a script to its end, or to where the server hangs up."""
    seen = []
    for step in script.steps:
        connection.send(step.messages)
        frames: list[object] = []
        try:
            while True:
                frame = await connection.read()
                if frame.code != "S":
                    frames.append(_comparable(frame))
                if frame.code in step.until:
                    break
        except (EOFError, ConnectionError):
            frames.append("closed")
        parameters = {k: v for k, v in connection.parameters.items() if k not in ("application_name", "is_superuser")}
        seen.append(Seen(frames, connection.status, parameters))
        if frames and frames[-1] == "closed":
            break
    return seen


def _comparable(frame: Frame) -> object:
    if frame.code in "EN":
        return frame.code, {k: v for k, v in frame.fields.items() if k not in _LOCATION_FIELDS}
    return frame.code, frame.body


async def direct(cluster: TestCluster, place: Place, script: Script) -> list[Seen]:
    """The script against PostgreSQL."""
    async with await RawConnection.connect(
        cluster.host,
        cluster.port,
        user=cluster.login,
        password=cluster.login_password,
        database=place.database,
        parameters={"options": place.options, "client_encoding": "UTF8"},
        protocol=script.protocol,
    ) as connection:
        return await play(connection, script)


async def through(proxy: ProxyUnderTest, place: Place, script: Script) -> list[Seen]:
    """The script through Gatehouse."""
    async with await RawConnection.connect(
        proxy.host,
        proxy.port,
        user=f"app.{place.tenant}",
        password=proxy.password,
        database=place.database,
        parameters={"client_encoding": "UTF8"},
        protocol=script.protocol,
    ) as connection:
        return await play(connection, script)
