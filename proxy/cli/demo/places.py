"""Where the demo and the tests keep what outlives a run, and where a run keeps its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from proxy.cli.demo.binaries import Account


def project_folder() -> Path | None:
    """The project's root when the package runs from a checkout, None when it was installed elsewhere."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "pyproject.toml").is_file() else None


def cache_candidates(name: str) -> list[Path]:
    """Folders that may hold the cache, best first: `name` in the checkout, the user's cache, the system's for root."""
    project = project_folder()
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    system = [Path("/var/cache/gatehouse")] if os.geteuid() == 0 else []
    return [*([project / name] if project else []), user_cache / "gatehouse", *system]


@contextlib.contextmanager
def workplace(candidates: Sequence[Path], account: Account) -> Iterator[Path]:
    """The first of `candidates` that we can write to and `account` can enter, made if need be.

    Where none will do (a home that others can not read, a read-only disk), a temporary folder, removed at the end.
    """
    for folder in candidates:
        if _usable(folder, account):
            yield folder
            return
    temporary = Path(tempfile.mkdtemp(prefix="gatehouse-"))
    try:
        temporary.chmod(0o711)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def new_run_folder(place: Path) -> Path:
    """A folder in `place` that one run has to itself; others can pass through it but not look."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=place))
    folder.chmod(0o711)
    return folder


def _usable(folder: Path, account: Account) -> bool:
    created = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if created:
            folder.chmod(0o711)
    except OSError:
        return False
    if os.access(folder, os.W_OK | os.X_OK) and account.can_enter(folder):
        return True
    if created:
        with contextlib.suppress(OSError):
            folder.rmdir()
    return False
