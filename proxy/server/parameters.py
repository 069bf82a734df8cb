"""What servers report of themselves by ParameterStatus, once for all that report the same.

A server's is replaced, never changed in place, so `is` tells whether two servers, or one server and what a client was
told, are alike in it.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from proxy.context.context import FOLLOWED

_MOST_KNOWN: Final = 1000
"""There is one for each kind of server, and of login; what is forgotten is only held twice, and told once more."""

_FOLLOWED: Final = frozenset(name.encode() for name in FOLLOWED)

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


def absorb(
    reported: dict[bytes, bytes], parameters: dict[bytes, bytes], given: Container[bytes] = ()
) -> dict[bytes, bytes]:
    """Outside a transaction: what was `reported` is the server's own value now. Returns its `parameters` with that.

    Except what a server's session is `given`, or gets to follow its client: that says nothing about the server.
    """
    changed = {
        name: value
        for name, value in reported.items()
        if name not in _FOLLOWED and name not in given and parameters.get(name) != value
    }
    reported.clear()
    return shared({**parameters, **changed}) if changed else parameters
