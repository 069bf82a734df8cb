"""What is written in C, under the compiler's sanitizers: `python -m tests.sanitizers`, with what else pytest is to be told.

The modules are built with them into a copy of the tree, beside their twins, where all that is plain Python uses them: their own
tests, and the fuzzing of the cores. Who reads or writes behind an end, or does what C leaves undefined, ends the process
and says where. Linux and gcc only. Exit codes: pytest's; 2 where there is no such compiler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.in_c import COMPILER_PATIENCE_S, compile_command

_ROOT: Final = Path(__file__).parents[1]
_NEEDED: Final = ("proxy", "tests", "config", "deploy", "docs")
_FLAGS: Final = (
    *("-O1", "-g", "-fno-omit-frame-pointer", "-shared", "-fPIC"),
    "-fno-wrapv",  # else what overflows is defined
    *("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"),
)
# A profile without deadlines, and more time for each test: all is slower here.
_PYTEST: Final = "-m pytest --numprocesses 0 --capture sys --timeout 600 --hypothesis-profile ci".split()
_TESTS: Final = (
    "tests/unit/net",
    "tests/unit/guard/test_shapes.py",
    "tests/unit/server/test_expected.py",
    "tests/unit/client/test_chunks.py",
    "tests/unit/client/test_shortcut.py",
    "tests/fuzz/test_cores.py",
    "tests/fuzz/test_streams.py",
)


def main(arguments: Sequence[str]) -> int:
    """Build and test."""
    command = compile_command()
    runtime = None if command is None or sys.platform != "linux" else _runtime(command[0])
    if command is None or runtime is None:
        print("no compiler with an address sanitizer here: this is for Linux and gcc", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="gatehouse-sanitizers-") as folder:
        tree = Path(folder)
        for name in _NEEDED:
            shutil.copytree(_ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(_ROOT / name, tree)
        for source in tree.glob("proxy/*/_*.c"):
            built = source.with_name(f"{source.stem}{sysconfig.get_config_var('EXT_SUFFIX')}")
            subprocess.run([*command, *_FLAGS, str(source), "-o", str(built)], check=True, timeout=COMPILER_PATIENCE_S)
        tests = [] if any(argument.startswith("tests") for argument in arguments) else _TESTS
        pytest = [sys.executable, *_PYTEST, *tests, *arguments]
        environment = {
            **os.environ,
            "LD_PRELOAD": runtime,
            "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter does not free all that it has
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "PYTHONMALLOC": "malloc",  # whose blocks have ends that are watched
            "PYTHONPATH": folder,
        }
        return subprocess.run(pytest, cwd=folder, env=environment).returncode


def _runtime(compiler: str) -> str | None:
    """The library that has to be there before all others."""
    asked = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True)
    found = asked.stdout.strip()
    return found if os.path.isabs(found) else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
