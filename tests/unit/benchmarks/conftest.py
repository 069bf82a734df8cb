"""The benchmark is no part of the package: it is found beside the tests, or its tests are left out."""

from __future__ import annotations

import sys
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[3]

# `make test-compiled` takes a copy of the tests alone.
collect_ignore_glob = [] if (_PROJECT / "benchmarks").is_dir() else ["test_*.py"]

if str(_PROJECT) not in sys.path:
    sys.path.append(str(_PROJECT))
