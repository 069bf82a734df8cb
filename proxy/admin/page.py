"""The status page: one self-contained HTML document, drawn from a `Status`.

Readable at 3 a.m.: what is wrong comes first, then the numbers that say how much. Every value from outside is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape

from proxy.admin.assets import SCRIPT, STYLE
from proxy.admin.figures import NOTHING, duration, number, rate, seconds, size
from proxy.admin.rates import Rates, Traffic
from proxy.admin.status import Problem, Status, TenantRow
from proxy.admin.view import Check
from proxy.observe.gauges import PoolSnapshot

_BAR = 140
_LONG_WAIT_S = 1.0


def page(status: Status) -> str:
    """The whole document."""
    body = "".join(
        [
            _header(status),
            _problems(status.problems),
            _tiles(status),
            _pools(status),
            _tenants(status),
            _causes(status),
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{_title(status)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<noscript><meta http-equiv="refresh" content="5"></noscript>'
        f"<style>{STYLE}</style></head><body>"
        '<div id="lost" role="alert">Gatehouse does not answer. What you see is from <span id="since"></span>.</div>'
        f"<main>{body}</main>"
        '<footer>Refreshes every 3 s · <a href="/status.json">status.json</a> · <a href="/metrics">metrics</a> · '
        f'<a href="/readyz">readyz</a></footer><script>{SCRIPT}</script></body></html>'
    )


def _title(status: Status) -> str:
    if not status.ready:
        return "✖ not ready · Gatehouse"
    if status.problems:
        return f"⚠ {number(len(status.problems))} · Gatehouse"
    return "Gatehouse"


def _header(status: Status) -> str:
    pill = '<span class="pill good">ready</span>' if status.ready else '<span class="pill bad">not ready</span>'
    loaded = duration(status.now - status.config.loaded_at)
    facts = [
        f"version {escape(status.version)}",
        f"up {duration(status.uptime_seconds)}",
        f"configuration loaded {loaded} ago",
        f"{datetime.fromtimestamp(status.now, UTC):%Y-%m-%d %H:%M:%S} UTC",
    ]
    return f'<header><h1>Gatehouse</h1>{pill}<span class="facts">{" · ".join(facts)}</span></header>'


def _problems(problems: Iterable[Problem]) -> str:
    items = [
        f'<li class="{"bad" if problem.is_severe else "warn"}">{escape(problem.text)}</li>' for problem in problems
    ]
    return f'<ul class="problems">{"".join(items)}</ul>' if items else ""


def _tiles(status: Status) -> str:
    clients, servers, rates = status.clients, status.servers, status.rates
    longest = seconds(status.maxwait_seconds if clients["waiting"] else None)
    tiles = [
        (
            "Clients",
            number(sum(clients.values())),
            f"{number(clients['active'])} active · {number(clients['idle'])} idle",
        ),
        ("Waiting", number(clients["waiting"]), f"longest {longest}"),
        (
            "Servers",
            number(sum(servers.values())),
            f"{number(servers['active'])} lent · {number(servers['idle'])} idle",
        ),
        ("Queries / s", rate(rates.queries if rates else None), f"{number(status.total.queries)} in all"),
        (
            "Transactions / s",
            rate(rates.transactions if rates else None),
            f"{number(status.total.transactions)} in all",
        ),
        ("Query time", *_times(rates, status.total)),
        ("Traffic / s", *_bytes_per_second(rates, status.total)),
    ]
    drawn = [f"<div><dt>{title}</dt><dd>{value}</dd><dd>{more}</dd></div>" for title, value, more in tiles]
    return f'<dl class="tiles">{"".join(drawn)}</dl>'


def _times(rates: Rates | None, total: Traffic) -> tuple[str, str]:
    overall = total.query_seconds / total.query_count if total.query_count else None
    return seconds(rates.query_seconds if rates else overall), f"mean · {seconds(overall)} in all"


def _bytes_per_second(rates: Rates | None, total: Traffic) -> tuple[str, str]:
    value = size(rates.received_bytes + rates.sent_bytes) if rates else NOTHING
    return value, f"{size(total.received_bytes)} in · {size(total.sent_bytes)} out"


def _pools(status: Status) -> str:
    title = f"<h2>Pools{_shown(len(status.pools), status.pools_total)}</h2>"
    if not status.pools:
        return f'{title}<div class="scroll"><p class="none">No pool yet: the first client opens one.</p></div>'
    heads = ["Pool", "Servers", "Clients", "Waiting", "Longest wait", "Waits", "Timed out", "Refused"]
    heads += ["Opened", "Closed", "Resets", "Failed resets", "Failed connects"]
    return f"{title}{_table(heads, map(_pool_row, status.pools), left=2)}{_KEY}"


def _pool_row(pool: PoolSnapshot) -> str:
    longest = pool.maxwait_seconds if pool.cl_waiting else None
    closed = ", ".join(f"{reason} {count}" for reason, count in sorted(pool.closed.items()))
    waiting = "hot" if pool.maxwait_seconds >= _LONG_WAIT_S else "warm"
    return "".join(
        [
            f"<th>{escape(pool.database)} <small>{escape(pool.user)} on {escape(pool.cluster)}{_mode(pool)}</small></th>",
            f'<td class="left">{_bar(pool)}</td>',
            _cell(pool.cl_active),
            _cell(pool.cl_waiting, waiting),
            f"<td>{seconds(longest)}</td>",
            _cell(pool.waits_total),
            _cell(pool.wait_timeouts_total, "warm"),
            _cell(pool.refused_total, "warm"),
            _cell(pool.opened_total),
            f'<td title="{escape(closed)}">{number(sum(pool.closed.values()))}</td>',
            _cell(pool.resets_total),
            _cell(pool.reset_failures_total, "warm"),
            _cell(pool.connect_errors_total, "warm"),
        ]
    )


def _mode(pool: PoolSnapshot) -> str:
    return "" if pool.mode == "transaction" else f", {escape(pool.mode)} mode"


def _bar(pool: PoolSnapshot) -> str:
    """The pool's servers as one bar: lent, pinned, busy with themselves, idle, and what may still be opened."""
    busy = pool.sv_used + pool.sv_login + pool.sv_recovering
    parts = [
        ("active", pool.sv_active - pool.sv_pinned),
        ("pinned", pool.sv_pinned),
        ("busy", busy),
        ("idle", pool.sv_idle),
    ]
    opened = pool.sv_active + busy + pool.sv_idle
    scale = _BAR / max(pool.max_size, opened, 1)
    x, drawn = 0.0, [f'<rect class="free" width="{_BAR}" height="12" rx="3"/>']
    for name, count in parts:
        if count > 0:
            drawn.append(f'<rect class="{name}" x="{x:.1f}" width="{count * scale:.1f}" height="12"/>')
            x += count * scale
    said = ", ".join(f"{count} {name}" for name, count in parts) + f", at most {pool.max_size}"
    words = f"{number(pool.sv_active)} lent, {number(opened)} of {number(pool.max_size)} open"
    bar = f'<svg width="{_BAR}" height="12" role="img" aria-label="{said}"><title>{said}</title>{"".join(drawn)}</svg>'
    return f"{bar}<small>{words}</small>"


_KEY = '<div class="key">{}</div>'.format(
    "".join(
        f'<span><svg width="12" height="12"><rect class="{name}" width="12" height="12" rx="3"/></svg>{meaning}</span>'
        for name, meaning in [
            ("active", "lent"),
            ("pinned", "pinned to a client"),
            ("busy", "login, reset or rollback"),
            ("idle", "idle"),
            ("free", "not open"),
        ]
    )
)


def _tenants(status: Status) -> str:
    order = "busiest first" if status.tenants else ""
    title = f"<h2>Tenants{_shown(len(status.tenants), status.tenants_total, order)}</h2>"
    if not status.tenants:
        return f'{title}<div class="scroll"><p class="none">No tenant has connected since the start.</p></div>'
    heads = [
        "Tenant",
        "Placement",
        "Queries / s",
        "Transactions / s",
        "Query time",
        "Wait",
        "Active",
        "Waiting",
        "Idle",
    ]
    heads += ["Queries", "In", "Out", "Injections", "Errors", "Pins"]
    return f"{title}{_table(heads, map(_tenant_row, status.tenants), left=2)}"


def _tenant_row(row: TenantRow) -> str:
    total, rates = row.total, row.rates
    return "".join(
        [
            f"<th>{escape(row.tenant)}</th>",
            f'<td class="left">{escape(row.placement)}</td>',
            f"<td>{rate(rates.queries if rates else None)}</td>",
            f"<td>{rate(rates.transactions if rates else None)}</td>",
            f"<td>{seconds(rates.query_seconds if rates else None)}</td>",
            f"<td>{seconds(rates.wait_seconds if rates else None)}</td>",
            _cell(row.clients.get("active", 0)),
            _cell(row.clients.get("waiting", 0), "warm"),
            _cell(row.clients.get("idle", 0)),
            _cell(total.queries),
            f"<td>{size(total.received_bytes)}</td>",
            f"<td>{size(total.sent_bytes)}</td>",
            _cell(total.context_injections),
            _cell(total.errors),
            _cell(total.pins),
        ]
    )


def _causes(status: Status) -> str:
    registry, config = status.registry, status.config
    attempts = status.logins_total + sum(status.logins_refused.values())
    tables: list[tuple[str, Mapping[str, int], str]] = [
        (
            "Logins refused",
            status.logins_refused,
            f"of {number(attempts)}",
        ),
        ("Errors by kind", status.errors, "its own"),
        ("Statements refused", status.guard_refusals, ""),
        ("Time limits", status.timeouts, "clients over them"),
        (
            "Registry",
            {
                "tenants": registry.tenants,
                "hits": registry.hits,
                "misses": registry.misses,
                "negative": registry.negative_hits,
                "served stale": registry.stale_served,
                "source errors": registry.errors,
            },
            "tenant lookups",
        ),
        (
            "Process",
            {
                "connections": status.connections_total,
                "cancel requests": status.cancels_total,
                "reloads taken": config.reloads_ok,
                "reloads refused": config.reloads_failed,
            },
            "since the start",
        ),
    ]
    sections = [_checks(status.checks), *(_section(*table) for table in tables)]
    return f'<div class="columns">{"".join(sections)}</div>'


def _checks(checks: Iterable[Check]) -> str:
    rows = "".join(
        f"<tr><td>{escape(check.name)}</td>"
        f'<td class="{"" if check.ok else "hot" if check.required else "warm"}">'
        f"{escape(check.detail or ('ok' if check.ok else 'failed'))}</td></tr>"
        for check in checks
    )
    table = f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'
    return f'<section class="checks"><h2>Checks</h2>{table}</section>'


def _section(title: str, values: Mapping[str, int], more: str) -> str:
    head = f"<h2>{title}<small>{more}</small></h2>"
    if not values:
        return f'<section>{head}<div class="scroll"><p class="none">None.</p></div></section>'
    rows = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td>{_cell(count)}</tr>" for name, count in values.items()
    )
    return f'<section>{head}<div class="scroll"><table><tbody>{rows}</tbody></table></div></section>'


def _table(heads: list[str], rows: Iterable[str], *, left: int) -> str:
    titles = "".join(
        f'<th{" class=left" if position < left else ""} scope="col">{title}</th>'
        for position, title in enumerate(heads)
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(count: float, mark: str = "") -> str:
    name = mark if count else "zero"
    return f'<td class="{name}">{number(count)}</td>' if name else f"<td>{number(count)}</td>"


def _shown(shown: int, total: int, more: str = "") -> str:
    words = [f"{number(shown)} of {number(total)}"] if total > shown else []
    words += [more] if more else []
    return f"<small>{', '.join(words)}</small>" if words else ""
