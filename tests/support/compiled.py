"""Whether the hot modules under test are compiled, and which they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from proxy.server import ledger

IS_COMPILED: Final = not ledger.__file__.endswith(".py")

_BUILD: Final = Path(__file__).parents[2] / "deploy" / "build_backend.py"


def hot_modules() -> list[str]:
    """What a compiled package has compiled, as paths without an ending."""
    block = _BUILD.read_text().partition("HOT_MODULES: Final = (")[2].partition("\n)")[0]
    return re.findall(r'"(proxy/.+)\.py"', block)
