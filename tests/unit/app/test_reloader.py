"""What the watch over the configuration's files finds by itself."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog

from proxy.app.reload import Reloader
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
    (tmp_path / "new.yaml").write_text(FILE % 4)
    (tmp_path / "new.yaml").rename(path)

    async def main() -> Settings:
        applied: asyncio.Future[Settings] = asyncio.get_running_loop().create_future()

        def apply(new: Settings, _: Changes) -> None:
            applied.set_result(new)

        reloader = Reloader(path, lambda: settings, apply, ReloadRecord(), structlog.get_logger(), read_at_ns)
        reloader.start()
        try:
            return await asyncio.wait_for(applied, PATIENCE_S)
        finally:
            await reloader.stop()

    assert asyncio.run(main()).pool.size == 4


def test_files_that_were_there_before_are_not_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "gatehouse.yaml"
    path.write_text("pool: {size: 3}\n")
    time.sleep(0.1)
    read_at_ns = time.time_ns()
    settings = load_settings(path)
    applied: list[Settings] = []

    async def main() -> None:
        reloader = Reloader(
            path,
            lambda: settings,
            lambda new, _: applied.append(new),
            ReloadRecord(),
            structlog.get_logger(),
            read_at_ns,
        )
        reloader.start()
        await asyncio.sleep(0.3)
        await reloader.stop()

    asyncio.run(main())
    assert applied == []
