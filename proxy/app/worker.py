"""One of several processes: a Gatehouse with a share of everything, and the supervisor's orders to follow.

It ends when its line does: without a supervisor nobody would replace it, reload it or show its figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from functools import partial

import structlog

from proxy.app.gatehouse import Gatehouse
from proxy.app.loop import settle
from proxy.app.users import ConfiguredUsers
from proxy.app.worker_link import Begin, CancelPost, Door, Ready, Reload, Reloaded, Report, Stop, receive, send
from proxy.client.services import ClientServices
from proxy.errors import ConfigError
from proxy.observe import logs
from proxy.settings.model import TenantEntry

_MARGIN_S = 1.0
"""How much longer than PostgreSQL another worker may take to deliver a cancel request."""


async def work(line: int) -> None:
    """Work until told to stop. `line` is the descriptor of this worker's end. Raises ConfigError as Gatehouse does."""
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=line))
    begin = await receive(reader)
    if not isinstance(begin, Begin):  # the supervisor died meanwhile
        writer.close()
        return
    settings, place = begin.settings, begin.place
    logs.configure(settings.log.format, settings.log.level)
    structlog.contextvars.bind_contextvars(worker=place.index)
    gatehouse = Gatehouse(settings, None, place)
    gatehouse.heed_signals()
    await gatehouse.start()
    settle()
    services = gatehouse.services
    post = CancelPost(place, services.cancel_keys.worker_of, lambda: services.limits.cancel_timeout_s + _MARGIN_S)
    services.pass_cancel = post.pass_on
    door = Door(place, _reporter(gatehouse), partial(_cancel, services))
    await door.open()
    send(writer, Ready())
    orders = asyncio.get_running_loop().create_task(_follow(reader, writer, gatehouse, settings.tenants))
    try:
        await gatehouse.serve_forever()
    finally:
        door.close()
        is_orphan = orders.done()
        orders.cancel()
        await asyncio.gather(orders, return_exceptions=True)
        if is_orphan:
            with contextlib.suppress(OSError):  # not empty: the next worker's to remove
                place.folder.rmdir()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _follow(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    gatehouse: Gatehouse,
    tenants: dict[str, TenantEntry],
) -> None:
    """Do as the supervisor says. `tenants` are all that it has named so far, also in settings that were refused here."""
    while True:
        match await receive(reader):
            case Reload() as order:
                tenants = order.tenants.applied_to(tenants)
                send(writer, Reloaded(_reload(order, tenants, gatehouse)))
            case Stop() as order:
                gatehouse.request_stop(at_once=order.at_once)
            case None:
                gatehouse.request_stop(at_once=False)
                return


def _reload(order: Reload, tenants: dict[str, TenantEntry], gatehouse: Gatehouse) -> str:
    try:
        settings = order.settings.model_copy(update={"tenants": tenants})
        gatehouse.apply(settings, order.changes, ConfiguredUsers.verified_by(settings, order.verifiers))
    except ConfigError as error:
        return str(error)
    except Exception as error:
        structlog.get_logger().exception("configuration not reloaded; the old one stays in force")
        return f"{type(error).__name__}: {error}"
    return ""


def _cancel(services: ClientServices, pid: int, key: bytes, done: Callable[[], None]) -> None:
    target = services.cancel_keys.find(pid, key)
    if target is not None:
        target.cancel(done)
    else:
        done()


def _reporter(gatehouse: Gatehouse) -> Callable[[], Report]:
    from proxy.observe.metrics import GatehouseCollector

    collector = GatehouseCollector(gatehouse.view.stats, gatehouse.view.gauges)
    return lambda: Report(collector.snapshot(), gatehouse.view.readiness(), collector.process_values())
