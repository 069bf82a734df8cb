"""Understand a client's StartupMessage as PostgreSQL would.

Decides what the client asked for, not whether it may have it: tenants are `tenancy.py`'s, protected settings the
guard's. Follows PostgreSQL's ProcessStartupPacket, pg_split_opts and process_postgres_switches.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from proxy.errors import FeatureRefused, InvalidStartupParameter, LoginRefused
from proxy.wire import backend, codes
from proxy.wire.frontend import Startup

NEWEST_MINOR: Final = 2
TENANT_PARAMETER: Final = "tenant"
_SPECIAL: Final = frozenset({"user", "database", "options", "replication"})
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*")
_C_SPACE: Final = " \t\n\v\f\r"

Assignment = tuple[str, str]
"""A setting's name in lower case, and its value."""


class ReplicationRefused(FeatureRefused):
    """A replication connection: there is no transaction to put a tenant's context in front of."""

    severity = "FATAL"


@dataclass(init=False, slots=True)  # see `wire.frontend.Startup`
class ClientStartup:
    """What a client asked for.

    `settings` are the server settings it wants, lower-cased names, from parameters and from `options`; `overridden`
    lists assignments that a later one replaced. `protocol_minor` is what both sides speak from here on (0 to 2).
    """

    user: str
    database: str | None
    settings: dict[str, str]
    tenant: str | None
    protocol_minor: int
    unknown_protocol_options: tuple[str, ...]
    overridden: tuple[Assignment, ...]

    def __init__(
        self,
        user: str,
        database: str | None,
        settings: dict[str, str],
        tenant: str | None,
        protocol_minor: int,
        unknown_protocol_options: tuple[str, ...] = (),
        overridden: tuple[Assignment, ...] = (),
    ) -> None:
        self.user = user
        self.database = database
        self.settings = settings
        self.tenant = tenant
        self.protocol_minor = protocol_minor
        self.unknown_protocol_options = unknown_protocol_options
        self.overridden = overridden


def read_startup(message: Startup) -> ClientStartup:
    """Raises `LoginRefused` without a user, `InvalidStartupParameter`, or `ReplicationRefused`."""
    parameters = message.parameters
    user = parameters.get("user")
    if not user:
        raise LoginRefused("no PostgreSQL user name specified in startup packet")
    replication = parameters.get("replication")
    if replication is not None:
        _refuse_replication(replication)
    # As in PostgreSQL a direct parameter beats `options`, and the last of several wins.
    assignments = _assignments(message)
    settings = dict(assignments)
    has_overridden = len(settings) < len(assignments)
    tenant = settings.pop(TENANT_PARAMETER, "")
    overridden: tuple[Assignment, ...] = ()
    if has_overridden:
        _refuse_two(TENANT_PARAMETER, [value for name, value in assignments if name == TENANT_PARAMETER])
        overridden = tuple([(n, v) for n, v in assignments if n != TENANT_PARAMETER and settings[n] != v])
    return ClientStartup(
        user,
        parameters.get("database") or None,
        settings,
        tenant or None,
        _minor(message),
        tuple(message.protocol_options) if message.protocol_options else (),
        overridden,
    )


def negotiation(message: Startup) -> bytes | None:
    """NegotiateProtocolVersion, if the client asked for a newer protocol or for options that we do not know.

    Its first field carries the whole version, 0x00030002, as every PostgreSQL sends it and libpq reads it, though the
    manual speaks of the minor version. 3.1, which was never released, is taken silently and means 3.0, as in
    PostgreSQL 18.
    """
    asked_minor = message.protocol & 0xFFFF
    if asked_minor <= NEWEST_MINOR and not message.protocol_options:
        return None
    version = codes.PROTOCOL_3_0 + _minor(message)
    return backend.negotiate_protocol_version(version, message.protocol_options)


def _minor(message: Startup) -> int:
    asked = message.protocol & 0xFFFF
    return NEWEST_MINOR if asked >= NEWEST_MINOR else 0


def _refuse_two(name: str, values: Collection[str]) -> None:
    if len(set(values)) > 1:
        raise InvalidStartupParameter(
            f'parameter "{name}" is given several times with different values', hint="Give it once."
        )


def _assignments(message: Startup) -> list[Assignment]:
    """The settings in `options`, and behind them those that are parameters themselves.

    Who the client is, and for which tenant, is not to be had by what comes last: raises where the values differ.
    """
    parameters = message.parameters
    options = parameters.get("options")
    assignments = list(_options(options)) if options else []
    for name, value in message.replaced:
        if name in _SPECIAL:
            _refuse_two(name, (value, parameters[name]))
        elif not name.startswith("_pq_."):
            assignments.append((_setting_name(name), value))
    for name, value in parameters.items():
        if name not in _SPECIAL:
            assignments.append((_setting_name(name), value))
    return assignments


def _options(options: str) -> Iterator[Assignment]:
    """The settings in an `options` parameter: `-c name=value`, `-cname=value` and `--name=value`."""
    words = _split_options(options)
    for word in words:
        if word == "-c":
            text = next(words, "")
        elif word.startswith("-c") or (word.startswith("--") and word != "--"):
            text = word[2:]
        else:
            raise _unknown_switch(word)
        name, separator, value = text.partition("=")
        if not separator:
            raise InvalidStartupParameter(f'a setting in parameter "options" requires a value: {_shown(text)}')
        # PostgreSQL's ParseLongOption takes dashes for underscores, with -c as well.
        yield _setting_name(name.replace("-", "_")), value


def _split_options(options: str) -> Iterator[str]:
    """Words between spaces; a backslash takes the next character as it is."""
    word: list[str] | None = None
    is_escaped = False
    for char in options:
        if is_escaped or char not in _C_SPACE:
            word = [] if word is None else word
            if is_escaped or char != "\\":
                word.append(char)
            is_escaped = not is_escaped and char == "\\"
        elif word is not None:
            yield "".join(word)
            word = None
    if word is not None:
        yield "".join(word)


def _setting_name(name: str) -> str:
    is_plain = name.isascii() and name.isidentifier()  # as nearly all are: the expression takes longer to say so
    if not is_plain and not _NAME.fullmatch(name):
        raise InvalidStartupParameter(
            f"invalid configuration parameter name {_shown(name)}",
            hint="Names are letters, digits and underscores, with dots between the parts of an extension's setting.",
        )
    return name.lower()


def _refuse_replication(value: str) -> None:
    is_replication = value == "database" or _parse_bool(value)
    if is_replication is None:
        raise InvalidStartupParameter(
            f'invalid value for parameter "replication": {_shown(value)}',
            hint='Valid values are: "false", 0, "true", 1, "database".',
        )
    if is_replication:
        raise ReplicationRefused(
            "replication connections are not supported", hint="Connect to the PostgreSQL server itself for replication."
        )


def _parse_bool(value: str) -> bool | None:
    """PostgreSQL's parse_bool: unique prefixes of its words, in any case; None for anything else."""
    text = value.lower()
    if text and ("true".startswith(text) or "yes".startswith(text)):
        return True
    if text and ("false".startswith(text) or "no".startswith(text)):
        return False
    return {"on": True, "1": True, "of": False, "off": False, "0": False}.get(text)


def _unknown_switch(word: str) -> InvalidStartupParameter:
    return InvalidStartupParameter(
        f'unsupported switch in parameter "options": {_shown(word)}',
        hint=r"Write settings as -c name=value or --name=value, and a space inside a value as '\ '.",
    )


def _shown(text: str) -> str:
    """Client text for a message, not longer than a name in PostgreSQL."""
    return f'"{text}"' if len(text) <= 63 else f'"{text[:60]}..."'
