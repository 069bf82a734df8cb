"""What compiled modules call in C: there is such a function, in C as in Python, and both take as many arguments.

The build itself fails if mypyc makes nothing of one; what they do is tested with the modules that they belong to.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from tests.support.in_c import COMPILER_PATIENCE_S, compile_command, needs

_ROOT: Final = Path(__file__).parents[3]
_SOURCES: Final = sorted(_ROOT.glob("proxy/**/_*.c"))
_COMPILE: Final = compile_command() if _SOURCES else None


def _direct_calls() -> ModuleType:
    spec = importlib.util.spec_from_file_location("direct_calls", _ROOT / "deploy" / "direct_calls.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


direct_calls: Final[Any] = _direct_calls()


@pytest.mark.parametrize("call", direct_calls.CALLS, ids=lambda call: call.python)
def test_there_is_such_a_function_in_python(call: Any) -> None:
    module_name, _, name = call.python.rpartition(".")
    module = importlib.import_module(module_name)
    assert callable(getattr(module, name))
    if module_name.startswith("proxy."):
        assert len(inspect.signature(getattr(module, f"{name}_in_python")).parameters) == len(call.arguments)


@pytest.mark.skipif(not _SOURCES, reason="an installed package has no sources")
def test_each_is_in_one_source() -> None:
    texts = [source.read_text() for source in _SOURCES]
    for call in direct_calls.CALLS:
        defined = re.compile(rf"^{call.c}\(", re.MULTILINE)
        assert sum(len(defined.findall(text)) for text in texts) == 1


@needs(_COMPILE)
def test_the_sources_are_as_the_header_says(tmp_path: Path) -> None:
    """A function that differs from its prototype, or has none, is an error of the compiler's."""
    assert _COMPILE is not None
    header, wrapped = direct_calls.write([str(source) for source in _SOURCES], tmp_path / "made")
    assert len(wrapped) == len(_SOURCES) >= 4
    for source in wrapped:
        command = [*_COMPILE, f"-I{header.parent}", "-Wmissing-prototypes", "-fsyntax-only", str(source)]
        subprocess.run(command, check=True, timeout=COMPILER_PATIENCE_S)


@needs(_COMPILE)
def test_what_keeps_the_lock_is_not_built_where_there_is_none() -> None:
    assert _COMPILE is not None
    command = [*_COMPILE, "-DPy_GIL_DISABLED=1", "-fsyntax-only", str(_ROOT / "proxy" / "net" / "_system.c")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILER_PATIENCE_S)
    assert done.returncode != 0
    assert "without the interpreter's lock" in done.stderr


def test_a_call_that_mypyc_made_nothing_of_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "__native.c").write_text("".join(f"x = {call.c}(y);\n" for call in direct_calls.CALLS))
    direct_calls.ensure_used(tmp_path)
    (tmp_path / "__native.c").write_text("".join(f"x = {call.c}(y);\n" for call in direct_calls.CALLS[1:]))
    with pytest.raises(RuntimeError, match=direct_calls.CALLS[0].python):
        direct_calls.ensure_used(tmp_path)
