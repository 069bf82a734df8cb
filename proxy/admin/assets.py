"""The status page's style and script: part of the page, for it must work where nothing else can be loaded."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #f4f5f7; --card: #ffffff; --text: #1c2430; --soft: #5d6878; --line: #e1e5ea; --free: #e6e9ee;
  --good: #17803d; --warn: #9a6200; --bad: #c2261f; --good-bg: #e3f4e8; --warn-bg: #fdf1d8; --bad-bg: #fde5e3;
  --active: #2f6fd0; --idle: #9cc0f0; --busy: #c08a1e; --pinned: #8a4fc9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1a2029; --text: #dfe5ee; --soft: #93a0b3; --line: #2b3441; --free: #2b3441;
    --good: #5bd08a; --warn: #f0b957; --bad: #ff8078; --good-bg: #17321f; --warn-bg: #372a10; --bad-bg: #43191a;
    --active: #5b96f0; --idle: #34527f; --busy: #d9a441; --pinned: #b184ea;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main, footer { max-width: 1500px; margin: 0 auto; padding: 20px 24px 8px; }
footer { padding-bottom: 28px; color: var(--soft); font-size: 13px; }
header { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; }
h1 { font-size: 22px; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 16px; margin: 28px 0 8px; }
h2 small { font-weight: 400; color: var(--soft); margin-left: 6px; }
a { color: inherit; }
.pill { border-radius: 999px; padding: 2px 12px; font-weight: 650; font-size: 14px; }
.good { color: var(--good); background: var(--good-bg); }
.bad { color: var(--bad); background: var(--bad-bg); }
.warn { color: var(--warn); background: var(--warn-bg); }
.facts { color: var(--soft); }
.problems { list-style: none; margin: 16px 0 0; padding: 0; display: grid; gap: 6px; }
.problems li { border-radius: 8px; padding: 8px 14px; font-weight: 550; border-left: 4px solid currentColor; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 18px 0 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { margin: 0; font-size: 24px; font-weight: 620; line-height: 1.25; }
.tiles dd { font-variant-numeric: tabular-nums; }
.tiles dd + dd { font-size: 12.5px; font-weight: 400; color: var(--soft); line-height: 1.4; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 500; font-size: 13px; vertical-align: bottom; }
th:first-child, td:first-child, .left { text-align: left; }
tbody th { font-weight: 600; }
td small, th small { color: var(--soft); font-weight: 400; }
td.hot { color: var(--bad); font-weight: 700; }
td.warm { color: var(--warn); font-weight: 700; }
td.zero, .none { color: var(--soft); }
.none { padding: 14px; margin: 0; }
svg { display: block; }
rect.free { fill: var(--free); } rect.active { fill: var(--active); } rect.pinned { fill: var(--pinned); }
rect.idle { fill: var(--idle); } rect.busy { fill: var(--busy); }
.key { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 8px 2px 0; color: var(--soft); font-size: 13px; }
.key span { display: inline-flex; gap: 6px; align-items: center; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 0 16px; }
.columns { align-items: start; }
.columns td:first-child { white-space: normal; }
.checks { grid-column: span 2; }
.checks td + td { white-space: normal; overflow-wrap: break-word; text-align: left; }
#lost { display: none; position: sticky; top: 0; padding: 10px 24px; background: var(--bad); color: var(--card);
  font-weight: 650; }
.lost #lost { display: block; }
.lost main { opacity: .55; }
@media (max-width: 600px) { .checks { grid-column: auto; } main, footer { padding-left: 12px; padding-right: 12px; } }
"""

# Only the part that changes is replaced, so scrolling and selection elsewhere survive; a hidden tab asks nothing.
SCRIPT: Final = """
(function () {
  var pause = 3000, answered = new Date();
  function again() { setTimeout(look, pause); }
  async function look() {
    if (document.hidden) { return again(); }
    try {
      var answer = await fetch("/", {cache: "no-store", signal: AbortSignal.timeout(10000)});
      if (!answer.ok) { throw new Error(answer.status); }
      var page = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.querySelector("main").replaceWith(page.querySelector("main"));
      document.title = page.title;
      document.body.className = "";
      answered = new Date();
    } catch (error) {
      document.getElementById("since").textContent = answered.toLocaleTimeString();
      document.body.className = "lost";
      document.title = "\\u26a0 no answer \\u00b7 Gatehouse";
    }
    again();
  }
  again();
})();
"""


def _source(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


CONTENT_SECURITY_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        f"style-src {_source(STYLE)}",
        f"script-src {_source(SCRIPT)}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""Lets the page load nothing and run only its own script."""
