"""How much a client's settings take: they travel with each of its transactions, and are held as long as they stand."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.client.rewrite import argument
from proxy.context.client_settings import setting_bytes
from proxy.guard.statements import Statement


def bytes_set(statements: Iterable[Statement], bound: tuple[str | None, ...] | None = None) -> dict[str, int]:
    """The settings that the statements change beyond their transaction, and the bytes that each will take.

    `bound` are the values of their parameters, without which a set_config of such is left out.
    """
    sizes = {}
    for statement in statements:
        for change in statement.changes:
            if not change.is_local:
                sizes[change.name] = setting_bytes(change.name, change.value)
        for call in statement.set_config:
            name, value = argument(call.name, bound), argument(call.value, bound)
            if name is not None and value is not None and call.is_local is not True:
                sizes[name.lower()] = setting_bytes(name, (value,))
    return sizes
