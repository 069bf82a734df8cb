"""Where a server listens: `host:port`, `[address]:port` for IPv6, or `/directory:port` for a Unix socket."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from proxy.settings.names import Invalid, validate_path

DEFAULT_PORT: Final = 5432
_HOST_PORT: Final = re.compile(
    r"(?:\[(?P<bracketed>[0-9A-Fa-f:.%\w]+)\]|(?P<path>/[^\s:]*)|(?P<name>[^\s:/\[\]]+))(?::(?P<port>[0-9]{1,5}))?"
)
_HINT: Final = "Write host:port, [::1]:port for an IPv6 address, or /directory:port for a Unix socket."


@dataclass(frozen=True, slots=True)
class HostPort:
    """One address of a PostgreSQL server. `host` is a name, an IP address without brackets, or a socket directory."""

    host: str
    port: int = DEFAULT_PORT

    @property
    def is_unix(self) -> bool:
        """Is it a Unix socket?"""
        return self.host.startswith("/")

    @property
    def socket_path(self) -> str:
        """The path of the socket file, as PostgreSQL names it; only for Unix sockets."""
        return f"{self.host.rstrip('/')}/.s.PGSQL.{self.port}"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host_port(text: str) -> HostPort:
    """Read one address; the port is 5432 where none is given. Raises Invalid."""
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        hint = _HINT
        if "://" in text:
            hint = "Write host:port alone; the login's name and password have keys of their own."
        elif text.count(":") > 1:
            hint = "Put an IPv6 address in brackets: [::1]:5432."
        raise Invalid(f'"{text[:80]}" is not the address of a server', hint)
    port = int(match["port"] or DEFAULT_PORT)
    if not 1 <= port <= 65535:
        raise Invalid(f"the port {port} is not between 1 and 65535", _HINT)
    if match["path"] is not None:
        return HostPort(validate_path(match["path"]), port)
    return HostPort(validate_host(match["bracketed"] or match["name"]), port)


def validate_host(text: str) -> str:
    """A host's name or an IP address, as far as can be told without asking for it. Raises Invalid."""
    try:
        # What Python does to a name before it asks for its addresses.
        text.encode("idna")
    except UnicodeError:
        is_good = False
    else:
        is_good = text.isprintable() and " " not in text
    if not is_good:
        hint = "The parts between the dots have 1 to 63 characters."
        raise Invalid(f'"{ascii(text[:80])[1:-1]}" is not the name of a host', hint)
    return text
