"""What servers report of themselves by ParameterStatus, once for all that report the same.

A server's is replaced, never changed in place, so `is` tells whether two servers, or one server and what a client was
told, are alike in it.
"""

from __future__ import annotations

from typing import Final

_MOST_KNOWN: Final = 1000
"""There is one for each kind of server, and of login; what is forgotten is only held twice, and told once more."""

_known: Final[dict[frozenset[tuple[bytes, bytes]], dict[bytes, bytes]]] = {}


def shared(parameters: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The one that all with these parameters have; nobody may change it."""
    key = frozenset(parameters.items())
    known = _known.get(key)
    if known is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        known = _known[key] = dict(parameters)
    return known
