"""What the watch over the configuration's files finds by itself."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog

from proxy.app.reload import Reloader
from proxy.app.users import ConfiguredUsers
from proxy.app.view import ReloadRecord
from proxy.settings.live import Changes
from proxy.settings.loading import load_settings
from proxy.settings.model import Settings
from tests.support import PATIENCE_S

FILE = "pool: {size: %d}\ntenants_file: tenants.yaml\n"


def test_a_change_between_the_first_load_and_the_watch_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "gatehouse.yaml"
    path.write_text(FILE % 3)
    (tmp_path / "tenants.yaml").write_text("{}\n")
    time.sleep(0.1)  # longer ago than a tick of the kernel's
    read_at_ns = time.time_ns()
    settings = load_settings(path)
    users = ConfiguredUsers.read(settings)
    (tmp_path / "new.yaml").write_text(FILE % 4)
    (tmp_path / "new.yaml").rename(path)

    async def main() -> Settings:
        applied: asyncio.Future[Settings] = asyncio.get_running_loop().create_future()

        def apply(new: Settings, _: Changes, __: ConfiguredUsers) -> None:
            applied.set_result(new)

        reloader = Reloader(path, lambda: (settings, users), apply, ReloadRecord(), structlog.get_logger(), read_at_ns)
        reloader.start()
        try:
            return await asyncio.wait_for(applied, PATIENCE_S)
        finally:
            await reloader.stop()

    assert asyncio.run(main()).pool.size == 4


def test_files_that_were_there_before_are_not_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "gatehouse.yaml"
    path.write_text("pool: {size: 3}\n")
    settings = load_settings(path)
    users = ConfiguredUsers.read(settings)

    async def is_wanted(read_at_ns: int) -> bool:
        reloader = Reloader(
            path, lambda: (settings, users), lambda *_: None, ReloadRecord(), structlog.get_logger(), read_at_ns
        )
        reloader.start()
        try:
            return reloader._wanted.is_set()
        finally:
            await reloader.stop()

    written_at_ns = path.stat().st_ctime_ns
    assert not asyncio.run(is_wanted(written_at_ns + 1_000_000_000))
    assert asyncio.run(is_wanted(written_at_ns - 1_000_000_000))
