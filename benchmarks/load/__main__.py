"""The load process: one task, given as JSON in the first argument; each thing it tells is a line of JSON."""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

from benchmarks.load.tasks import TASKS, Result, Target
from benchmarks.load.wire import Login
from proxy.app.gatehouse import run


def main() -> None:
    """Passwords come by the standard input's first line, not by arguments that everybody can read."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    password = sys.stdin.readline().rstrip("\n")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logins = [Login(user, password, order["database"]) for user in order["users"]]
    run(TASKS[order["task"]](Target(order["port"], logins), _tell, **order["arguments"]))


def _tell(result: Result) -> None:
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
