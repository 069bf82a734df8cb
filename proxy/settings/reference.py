"""Write the reference of all keys, and an example that holds all of them, from the model: neither can fall behind.

python -m proxy.settings.reference docs/configuration.md config/full.yaml
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from proxy.settings.fields import Key, keys
from proxy.settings.model import Settings
from proxy.settings.places import PlacementEntry
from proxy.settings.secret import Secret

REGENERATE: Final = "python -m proxy.settings.reference docs/configuration.md config/full.yaml"

_INTRODUCTION: Final = f"""\
# Configuration

`gatehouse serve --config FILE` reads one YAML file, and the tenants file it names, if it names one.
`gatehouse check --config FILE` lists everything that is wrong with them, with file, line and column, and exits with 2.
A running proxy reads its files again on SIGHUP and when they change; files with problems are reported and change
nothing. `listen`, `endpoints`, `http`, `workers`, `context`, `log.format` and `log.level` are read at start only: a change
is taken over by a restart, and the log says so. Files that do not go together with what is in force until then, such as
one with a tenant's schema that is one of the old `shared_schemas`, change nothing either. What a client may do, and for
how long, holds for clients that are already there as well, except for the pool mode, which a client keeps for as long as
it stays.

`config/gatehouse.yaml` is a file to start from, `config/full.yaml` one with every key. This page and that file are
written from the program by `{REGENERATE}`.

## How values are written

- **duration**: a number with a unit, `ms`, `s`, `m`, `h` or `d`, as in `250ms`, `15s`, `1.5h`. A number alone is
  refused, because programs disagree on what it means.
- **timeout**: a duration, or `off` (or `0`) for no limit.
- **size**: a number of bytes, or one with a unit, `B`, `kB`, `MB`, `GB` or `TB`, each 1024 of the one before, as in
  PostgreSQL.
- **secret**: never the secret itself, but `{{env: NAME}}` for an environment variable or `{{file: PATH}}` for a file
  (one newline at its end is dropped). A client's password can also be a verifier, `{{scram: "SCRAM-SHA-256$…"}}`.
- **path**: relative to the configuration file.
- **true, false**: only these words; `yes`, `no`, `on` and `off` are text.

A section with nothing in it is a section left out. `none` means that there is no value unless you give one; `null`
says so in the file. A tenant's id has 1 to 63 letters, digits, `_` and `-` and begins with a letter or digit; names of
schemas, roles and databases may also have `$`. A file that gives two tenants the same schema, or a database that is
one tenant's own, is refused.

## Several workers

One process uses one core. With `workers: N` a small supervisor runs N processes that share the ports (SO_REUSEPORT; the
kernel deals out connections), replaces those that die, passes on reloads and stops, and answers the HTTP endpoint for
all of them. Limits hold for all together: each worker gets its share of `pool.size`, `session_size`, `min_size` and
`max_waiting`, a cluster's `max_connections`, `limits.max_clients`, `max_logins`, `max_clients_per_user` and
`max_clients_per_tenant`, a user's `max_clients`, and a tier's `max_server_connections`, `max_clients` and `max_pinned`.
The first workers get the remainder, and none less than 1 of what is limited at all, so a limit on clients below N counts
as N; servers fewer than N are refused. The price: workers do not lend each other anything, so a client can wait for a
server, or be refused, while another worker has room. Use as many workers as there are cores to spare, and no more than a
quarter of `pool.size`. A worker that dies takes its own clients along, and its share of the counters since the last scrape.
"""

_HEAD: Final = f"""\
# Every key with its default, or, where there is none, an example. Written from the program by
#   {REGENERATE}
# docs/configuration.md says how values are written. Start from gatehouse.yaml; this file is to look things up.
"""

_NAMES: Final = {"endpoints": "session", "clusters": "main", "users": "app", "tiers": "default", "tenants": "acme"}
_KINDS: Final = {"cluster": "main", "database": "saas", "model": "shared"}


def markdown() -> str:
    """docs/configuration.md: every key, its default, unit and reason."""
    return _INTRODUCTION + "".join(_chapter(key) for key in keys(Settings).values())


def full_example() -> str:
    """config/full.yaml: a file that loads and holds every key but alternatives (a secret is in one place only)."""
    lines = _HEAD.splitlines()
    for key in keys(Settings).values():
        lines += ["", *_example(key, "")]
    return "\n".join(lines) + "\n"


def _chapter(key: Key) -> str:
    title = f"\n## {key.name}\n\n{_sentence(key.field.description or '')}\n"
    if key.section is None:
        return f"{title}\nValue: {key.kind()}. Default: {_code(key)}.\n"
    about = f"{inspect.getdoc(key.section)}\n\nFor each name under `{key.name}`:\n\n" if key.is_named else ""
    rows = "".join(
        f"| `{name}` | {inner.kind()} | {_code(inner)} | {inner.field.description} |\n"
        for name, inner in _flat(key.section, "")
    )
    return f"{title}\n{about}| key | value | default | meaning |\n|---|---|---|---|\n{rows}"


def _flat(section: type[Any], prefix: str) -> Iterator[tuple[str, Key]]:
    for name, key in keys(section).items():
        if key.section is None or key.section is Secret:
            yield prefix + name, key
        else:
            yield from _flat(key.section, f"{prefix}{name}.")


def _code(key: Key) -> str:
    if key.is_required:
        return "needed"
    value = key.default()
    return "none" if value is None else f"`{_yaml(value)}`"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _example(key: Key, indent: str) -> Iterator[str]:
    yield from textwrap.wrap(
        key.field.description or "", 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
    )
    if key.section is None or key.section is Secret:
        yield f"{indent}{key.name}: {_yaml(_sample(key))}"
        return
    yield f"{indent}{key.name}:"
    indent += "  "
    if key.is_named:
        yield f"{indent}{_NAMES[key.name]}:"
        indent += "  "
    for inner in keys(key.section).values():
        if not _is_for_other_models(key, inner):
            yield from _example(inner, indent)


def _is_for_other_models(outer: Key, key: Key) -> bool:
    return outer.section is PlacementEntry and key.name in ("schema", "role")


def _sample(key: Key) -> Any:
    if key.field.examples:
        return key.field.examples[0]
    return _KINDS[key.name] if key.is_required else key.default()


def _yaml(value: Any) -> str:
    """A value in YAML's flow style, with quotes only where they are needed."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_yaml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_./-][A-Za-z0-9_./:-]*", value):
        return f'"{value}"' if re.fullmatch("[0-9.]+", value) else value
    return json.dumps(value)


def main(paths: list[str]) -> None:
    """Write the two files."""
    document, example = map(Path, paths)
    document.write_text(markdown(), encoding="utf-8")
    example.write_text(full_example(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
