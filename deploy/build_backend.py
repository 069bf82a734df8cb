"""Build Gatehouse's wheel: setuptools, and mypyc for the hot modules where a C compiler works.

`GATEHOUSE_COMPILE` decides: `auto` (unset) compiles if it can and says in one line if it can not, `require` fails
instead, `never` does not try. An editable install is always plain Python, so that what is edited is what runs. The list
of hot modules below is the only one; a module without a measured gain (docs/performance.md) does not belong in it.

The hooks are PEP 517's and PEP 660's; pyproject.toml names this file as the backend.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

import direct_calls
from setuptools import Extension, build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.sdist import sdist

__all__ = [
    "HOT_MODULES",
    "PortableSdist",
    "WheelCommand",
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

HOT_MODULES: Final = (
    "proxy/net/links.py",
    "proxy/net/poller.py",
    "proxy/net/sockets.py",
    "proxy/net/listening.py",
    "proxy/net/mailbox.py",
    "proxy/net/tls.py",
    "proxy/wire/framing.py",
    "proxy/observe/counters.py",
    "proxy/guard/model.py",
    "proxy/guard/quick_look.py",
    "proxy/guard/shapes.py",
    "proxy/guard/verdicts.py",
    "proxy/tenants/generation.py",
    "proxy/context/client_settings.py",
    "proxy/context/context.py",
    "proxy/server/units.py",
    "proxy/server/expected.py",
    "proxy/server/parameters.py",
    "proxy/server/endings.py",
    "proxy/server/faults.py",
    "proxy/server/asides.py",
    "proxy/server/ledger.py",
    "proxy/server/prepared.py",
    "proxy/server/ports.py",
    "proxy/server/jobs.py",
    "proxy/server/connection.py",
    "proxy/pool/limits.py",
    "proxy/pool/idle.py",
    "proxy/pool/slots.py",
    "proxy/pool/waiters.py",
    "proxy/pool/backoff.py",
    "proxy/pool/budget.py",
    "proxy/pool/core.py",
    "proxy/pool/patience.py",
    "proxy/pool/pool.py",
    "proxy/client/states.py",
    "proxy/client/ports.py",
    "proxy/client/keeping.py",
    "proxy/client/session_terms.py",
    "proxy/client/session.py",
    "proxy/client/intake.py",
    "proxy/client/statements.py",
    "proxy/client/chunks.py",
    "proxy/client/opening.py",
    "proxy/client/deferral.py",
    "proxy/client/objections.py",
    "proxy/client/unheard.py",
    "proxy/client/shortcut.py",
    "proxy/client/simple.py",
    "proxy/client/names.py",
    "proxy/client/preparing.py",
    "proxy/client/binding.py",
    "proxy/client/executing.py",
    "proxy/client/extended.py",
    "proxy/client/set_sizes.py",
    "proxy/client/replies.py",
    "proxy/client/rewrite.py",
    "proxy/client/arrival.py",
    "proxy/client/services.py",
    "proxy/client/login.py",
    "proxy/client/startup.py",
    "proxy/client/tenancy.py",
    "proxy/client/turns.py",
    "proxy/client/login_deadlines.py",
    "proxy/client/admission.py",
    "proxy/client/timekeeper.py",
    "proxy/client/deadlines.py",
    "proxy/client/cancel_keys.py",
    "proxy/client/cancels.py",
    "proxy/client/changes.py",
    "proxy/client/leaving.py",
    "proxy/auth/identity.py",
    "proxy/auth/scram/server.py",
    "proxy/auth/scram/verifier.py",
    "proxy/wire/buffer.py",
    "proxy/wire/frontend.py",
    "proxy/wire/backend.py",
    "proxy/client/connection.py",
    "proxy/app/users.py",
)

C_MODULES: Final = {
    name: name.replace(".", "/") + ".c"
    for name in ("proxy.net._system", "proxy.guard._shapes", "proxy.server._expected", "proxy.client._chunks")
}
"""Written in C, by hand; each has a twin in Python."""

COMPILER_REQUIREMENTS: Final = ("mypy>=2.4,<2.5",)
"""mypyc comes with mypy; others generate other C, and may have another place for `direct_calls`."""

# Not strict: types are `make lint`'s business, and what the hot modules import (pydantic …) is not there in an isolated build.
MYPY_OPTIONS: Final = ("--config-file=", "--ignore-missing-imports", "--follow-imports=silent", "--no-color-output")

MODE_VARIABLE: Final = "GATEHOUSE_COMPILE"
MODES: Final = ("auto", "require", "never")

Settings = Mapping[str, Any] | None


class WheelCommand(bdist_wheel):
    """bdist_wheel that takes the compiled modules along while `extensions` is filled."""

    extensions: ClassVar[list[Extension]] = []
    build_base: ClassVar[str | None] = None

    def finalize_options(self) -> None:
        # Before the parent looks whether the wheel is pure Python.
        if self.extensions:
            self.distribution.ext_modules = list(self.extensions)
        if self.build_base:
            # Not ./build: what an earlier build left there would get into this wheel.
            self.distribution.get_command_obj("build").build_base = self.build_base
        super().finalize_options()


class PortableSdist(sdist):
    """An sdist that can be built: it carries this file, and what is written in C."""

    def make_distribution(self) -> None:
        self.filelist.extend(["deploy/build_backend.py", "deploy/direct_calls.py", *C_MODULES.values()])
        super().make_distribution()


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """What the build needs: mypy too, if there will be something to compile."""
    requires = list(build_meta.get_requires_for_build_wheel(config_settings))
    if _mode() == "require" or (_mode() == "auto" and not _reason_for_plain()):
        requires += COMPILER_REQUIREMENTS
    return requires


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Build the wheel, compiled or plain; returns its file name."""
    arguments = (wheel_directory, config_settings, metadata_directory)
    mode = _mode()
    if mode == "never":
        return _build(arguments, compiled=False)
    reason = _reason_for_plain()
    if mode == "auto" and reason:
        _say(reason)
        return _build(arguments, compiled=False)
    try:
        return _build(arguments, compiled=True)
    # mypyc ends the process for what it can not compile.
    except (Exception, SystemExit) as error:
        if mode == "require":
            raise
        _say(f"mypyc or the C compiler failed: {str(error)[:100]} … (all of it with {MODE_VARIABLE}=require)")
        return _build(arguments, compiled=False)


def _mode() -> str:
    mode = os.environ.get(MODE_VARIABLE) or "auto"
    if mode not in MODES:
        raise SystemExit(f"{MODE_VARIABLE} is '{mode}', and must be one of: {', '.join(MODES)}")
    return mode


def _say(reason: str) -> None:
    print(f"gatehouse: installing plain Python, which is slower: {reason}", file=sys.stderr, flush=True)


def _build(arguments: tuple[str, Settings, str | None], *, compiled: bool) -> str:
    with tempfile.TemporaryDirectory(prefix="gatehouse-build-") as folder, _inside(folder):
        WheelCommand.build_base = folder
        WheelCommand.extensions = _extensions(Path(folder)) if compiled else []
        try:
            return str(build_meta.build_wheel(*arguments))
        finally:
            WheelCommand.extensions = []


@contextmanager
def _inside(folder: str) -> Iterator[None]:
    """Keep mypy's cache out of the source tree."""
    before = os.environ.get("MYPY_CACHE_DIR")
    os.environ["MYPY_CACHE_DIR"] = os.path.join(folder, "mypy")
    try:
        yield
    finally:
        if before is None:
            del os.environ["MYPY_CACHE_DIR"]
        else:
            os.environ["MYPY_CACHE_DIR"] = before


def _extensions(folder: Path) -> list[Extension]:
    from mypyc.build import mypycify

    made = folder / "c"
    in_c = direct_calls.arrange(C_MODULES.values(), made)
    # debug_level 0: -g doubles the wheel and nobody reads generated C in production.
    found: list[Extension] = mypycify(
        [*MYPY_OPTIONS, *HOT_MODULES],
        opt_level="3",
        debug_level="0",
        target_dir=str(made),
        group_name="gatehouse",
    )
    direct_calls.ensure_used(made)
    _shared_by(found).sources.extend(in_c)
    return [*found, *(Extension(name, [source]) for name, source in C_MODULES.items())]


def _shared_by(extensions: list[Extension]) -> Extension:
    """The one that holds all modules' code; the others are one name each."""
    return next(extension for extension in extensions if any("__native" in str(source) for source in extension.sources))


def _reason_for_plain() -> str:
    """Why this machine can not compile; empty if it can."""
    if sys.implementation.name != "cpython":
        return f"mypyc compiles for CPython, this is {sys.implementation.name}"
    if sys.platform == "win32":
        return "not tried on Windows"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "what is written in C relies on the interpreter's lock, and this one has none"
    return _trial_compilation()


def _trial_compilation() -> str:
    """Compile what every extension needs: Python.h and the C library's headers."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    include = sysconfig.get_path("include")
    with tempfile.TemporaryDirectory(prefix="gatehouse-trial-") as folder:
        source = Path(folder, "trial.c")
        source.write_text("#include <Python.h>\nint gatehouse_trial(void) { return PY_MAJOR_VERSION; }\n")
        command = [*compiler, "-fPIC", f"-I{include}", "-c", str(source), "-o", str(source.with_suffix(".o"))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"no C compiler works here: {error}"
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    said = next((line for line in lines if "error" in line), lines[-1])
    return f"the C compiler can not build Python extensions: {said}"
