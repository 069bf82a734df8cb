"""The modules that are written in C, also where Gatehouse itself is not compiled: built for the tests if a compiler works."""

from __future__ import annotations

import atexit
import functools
import importlib
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]
_STRICT: Final = (
    "-O2",
    "-fwrapv",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Wno-missing-field-initializers",
    "-Werror",
)
COMPILER_PATIENCE_S: Final = 120


def compile_command() -> list[str] | None:
    """What compiles C for Python's extensions here, warnings being errors; None where nothing does."""
    headers = Path(sysconfig.get_path("include"))
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not (headers / "Python.h").exists():
        return None
    return [compiler, *_STRICT, "-isystem", str(headers)]


@functools.cache
def module_in_c(name: str) -> ModuleType | None:
    """The module as it is installed, or else built from its source; None without a C compiler.

    Raises subprocess.CalledProcessError for a source that gives the compiler anything to say.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        pass
    compile_it = compile_command()
    source = _ROOT / (name.replace(".", "/") + ".c")
    if compile_it is None or not source.exists():
        return None
    folder = tempfile.mkdtemp(prefix="gatehouse-c-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    built = Path(folder, f"{source.stem}{sysconfig.get_config_var('EXT_SUFFIX')}")
    shared = ["-shared", "-fPIC", *(["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else [])]
    subprocess.run([*compile_it, *shared, str(source), "-o", str(built)], check=True, timeout=COMPILER_PATIENCE_S)
    spec = importlib.util.spec_from_file_location(name, built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def needs(module: object) -> pytest.MarkDecorator:
    """Skips what is to be shown of a module in C where that is None."""
    return pytest.mark.skipif(module is None, reason="no C compiler")
