"""Start a load process and hear what it tells."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from benchmarks.database import DATABASE
from benchmarks.endpoints import Endpoint

PROJECT: Final = Path(__file__).resolve().parents[2]
PATIENCE_S: Final = 300.0
"""More than a task takes beyond its seconds: a proxy that does not answer costs one run, not all that come after."""


class LoadFailed(Exception):
    """A load process did not get through: what it said last."""


class LoadProcess:
    """One task at one endpoint, as the users named or as the endpoint's own; ended with the context."""

    def __init__(self, endpoint: Endpoint, task: str, users: Sequence[str] = (), **arguments: object) -> None:
        self._endpoint = endpoint
        self._planned_s = cast(float, arguments.get("seconds", 0.0))
        order = {"task": task, "port": endpoint.port, "database": DATABASE, "arguments": arguments}
        order["users"] = list(users) or [endpoint.user]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load", json.dumps(order)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        self.say(self._endpoint.password)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()

    def say(self, line: str = "") -> None:
        """Give it a line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `hear` tells why

    def hear(self) -> dict[str, Any]:
        """The next thing it tells. Raises LoadFailed when there is none, or none in time."""
        assert self._process.stdout is not None
        deadline = threading.Timer(PATIENCE_S + self._planned_s, self._process.kill)
        deadline.start()
        try:
            line = self._process.stdout.readline()
        finally:
            deadline.cancel()
        if not line:
            _, said = self._process.communicate()
            last = said.strip().splitlines()[-1:] or ["it ended without a word, or was ended after too long a silence"]
            raise LoadFailed(f"{self._endpoint.name}: {last[0]}")
        told: dict[str, Any] = json.loads(line)
        return told


def run(endpoint: Endpoint, task: str, users: Sequence[str] = (), **arguments: object) -> dict[str, Any]:
    """Start it, and wait for the one thing it tells."""
    with LoadProcess(endpoint, task, users, **arguments) as process:
        return process.hear()
