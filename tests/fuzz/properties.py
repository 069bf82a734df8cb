"""All properties of the cores, by name."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from tests.fuzz import cores, logins

PROPERTIES: Final[dict[str, Callable[[Random], None]]] = {
    "client streams": cores.client_streams,
    "server streams": cores.server_streams,
    "ledgers": cores.ledgers,
    "jobs on servers": cores.jobs_on_servers,
    "client logins": logins.client_logins,
    "server logins": logins.server_logins,
    "texts": logins.texts,
}
