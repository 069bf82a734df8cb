"""Which comparisons are for `make test-all` alone."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The newest PostgreSQL is compared in every way; the system's older one on shared tables with transaction pooling.

    What differs between versions is what they say, and that is the same wherever a tenant lives.
    """
    here = Path(__file__).parent
    for item in items:
        if item.path.parent != here or not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
            continue
        given = item.callspec.params
        is_usual = given.get("place") == "shared" and "session_pooling" not in item.name
        if given.get("postgres") == "pg_system" and not is_usual:
            item.add_marker(pytest.mark.slow)
