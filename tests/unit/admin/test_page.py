from html.parser import HTMLParser

from proxy.admin.page import page
from proxy.admin.view import Check
from proxy.errors import TenantUnknown
from proxy.observe.gauges import ClientCount, PoolSnapshot
from tests.unit.admin.test_status import look
from tests.unit.admin.views import View

EVIL = "<img src=x onerror=alert(1)>\"'&"


class Outline(HTMLParser):
    """Which elements and attributes a page has, and whether its tags are balanced."""

    VOID = frozenset({"meta"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def evil_view() -> View:
    view = View(version=EVIL, checks=[Check(EVIL, False, EVIL)])
    view.stats.tenant(EVIL, EVIL).queries = 1
    view.stats.count_refused_login(TenantUnknown(EVIL))
    view.stats.login_refused[EVIL] = 1
    view.gauges.client_counts = [ClientCount(EVIL, "waiting", 1)]
    view.gauges.pool_snapshots = [
        PoolSnapshot(EVIL, EVIL, EVIL, cl_waiting=1, sv_active=3, max_size=2, closed={EVIL: 1})
    ]
    return view


def test_no_value_becomes_markup() -> None:
    text = page(look(evil_view()))
    outline = Outline(text)
    assert "<img" not in text
    assert "img" not in outline.seen
    assert "onerror" not in outline.attributes
    assert outline.open == []


def test_the_page_loads_nothing_from_elsewhere() -> None:
    outline = Outline(page(look(View())))
    assert outline.links == ["/status.json", "/metrics", "/readyz"]
    assert "style" not in outline.attributes, "the content security policy would drop it"


def test_the_title_says_what_is_wrong_for_who_has_many_tabs() -> None:
    assert "<title>Gatehouse</title>" in page(look(View()))
    assert "<title>⚠ 1 · Gatehouse</title>" in page(look(View(checks=[Check("x", False, required=False)])))
    assert "<title>✖ not ready · Gatehouse</title>" in page(look(View(checks=[Check("x", False)])))


def test_a_fresh_proxy_says_so() -> None:
    text = page(look(View()))
    assert "No pool yet" in text
    assert "No tenant has connected" in text


def test_a_pool_of_sessions_and_limits_that_were_reached_are_named() -> None:
    view = View()
    view.gauges.pool_snapshots = [PoolSnapshot("main", "saas", "gatehouse", "session")]
    view.stats.timeouts["idle_in_transaction"] += 3
    text = page(look(view))
    assert "<small>gatehouse on main, session mode</small>" in text
    assert "<td>idle in transaction</td><td>3</td>" in text


def test_pools_and_tenants_are_listed() -> None:
    view = View()
    view.stats.tenant("acme", "shared").queries = 1234
    view.gauges.pool_snapshots = [PoolSnapshot("main", "saas", "gatehouse", sv_active=7, sv_idle=5, max_size=20)]
    text = page(look(view))
    assert "<th>acme</th>" in text
    assert "1\u202f234" in text
    assert "7 lent, 12 of 20 open" in text
