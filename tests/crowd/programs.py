"""What a client does, act by act, as its author's random numbers say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from proxy.wire import codes, frontend
from proxy.wire.buffer import frame
from tests.crowd import texts
from tests.crowd.playing import Member, Turn, flushed
from tests.crowd.texts import Text
from tests.crowd.values import BINARY, TEXT, bind
from tests.differential.harness import c, d, e, p, q

_NAMES: Final = ("a", "b", "c", "")
_PORTALS: Final = ("", "", "p1", "p2")
_SAVEPOINTS: Final = ("one", "two")
_BEGINS: Final = (
    "BEGIN",
    "BEGIN",
    "BEGIN",
    "START TRANSACTION",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "BEGIN READ ONLY",
    "begin isolation level serializable, read only",
)
_ENDS: Final = ("COMMIT", "COMMIT", "COMMIT", "ROLLBACK", "END", "ABORT")


class Author:
    """Writes one client's program.

    `is_steady`: it keeps the settings by which texts are understood, so what its statements mean does not depend on when a
    server is given them ("constants" of the differences). Others prepare what has such constants where they run it.
    `has_blocks`: it may begin transactions, and end them.
    """

    def __init__(
        self,
        random: Random,
        client: int,
        member: Member,
        favourites: Sequence[Text],
        *,
        is_harsh: bool,
        has_blocks: bool,
    ) -> None:
        self._random = random
        self._favourites = favourites
        self._is_harsh = is_harsh
        self._has_blocks = has_blocks
        self._client = client
        self._place = member.place
        self._is_steady = self._chance(0.4)
        self._changes = texts.CHANGES + texts.GENTLE_CHANGES if is_harsh else texts.GENTLE_CHANGES
        self._pins = self._chance(0.3)
        self._prepared: dict[str, Text] = {}
        self._own = str(10 + client)
        self._opens = False

    # Words.

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _text(self) -> Text:
        kinds: list[Sequence[Text]] = [self._favourites] * 10 + [texts.READS] * 3 + [texts.WRITES] * 2
        if self._chance(0.3):
            kinds.append(texts.FAILING)
        if self._is_steady:
            kinds += [texts.LITERALS] * 2
        text = self._random.choice(self._random.choice(kinds))
        return self._text() if text.is_literal and not self._is_steady else self._owned(text)

    def _owned(self, text: Text) -> Text:
        sql = text.sql.replace("{own}", self._own)
        values = tuple(
            tuple(None if value is None else value.replace("{own}", self._own) for value in choices)
            for choices in text.values
        )
        return Text(sql, values, text.types, text.is_literal)

    def _plain(self) -> str:
        """A statement without parameters, for a Query."""
        while (text := self._text()).values or (self._opens and text.sql == texts.UNREADABLE):
            pass
        if self._chance(0.15):
            text = self._random.choice(texts.LITERALS)
        return text.sql

    def _values(self, text: Text) -> list[str | None]:
        values = [self._random.choice(choices) for choices in text.values]
        if self._chance(0.03):
            values.append("1")
        return values

    def _forms(self, count: int) -> Sequence[int]:
        """Of so many parameters: all text, all binary, or each its own. Now and then a number that does not fit."""
        if self._chance(0.02):
            return [TEXT] * (count + 2)
        each = [self._random.choice((TEXT, BINARY)) for _ in range(count)]
        return self._random.choice(((), (), (), (TEXT,), (BINARY,), each))

    def _results(self) -> Sequence[int]:
        return (BINARY,) if self._chance(0.3) else ()

    def _setting(self) -> tuple[str, str]:
        choices = list(texts.OTHERS.items())
        choices += [("search_path", texts.SEARCH_PATHS.get(self._place, texts.SEARCH_PATHS["other"]))] * 2
        if not self._is_steady:
            choices += list(texts.UNDERSTANDING.items()) * 2
        name, values = self._random.choice(choices)
        return name, self._random.choice(values)

    def _change_of_setting(self, *, in_block: bool, in_string: bool = False) -> str:
        name, value = self._setting()
        while in_string and name in texts.LONG_LIVED:
            name, value = self._setting()
        is_list = name == "search_path"
        written = value if is_list else f"'{value}'"
        is_local = in_block and self._chance(0.4)
        forms = [f"SET {'LOCAL ' if is_local else ''}{name} TO {written}"] * 4
        flat = value.replace('"$user"', "pg_catalog")
        forms += [f"SELECT set_config('{name.strip()}', '{flat}', {str(is_local or self._chance(0.2)).lower()})"] * 2
        forms += [f"RESET {name}", f"SET {name} TO DEFAULT"]
        if self._chance(0.2):
            forms = ["RESET ALL"]
        return self._random.choice(forms)

    # Batches.

    def _item(self, *, in_block: bool) -> bytes:
        """A few messages of the extended protocol, about one statement."""
        names = _NAMES if self._chance(0.1) else tuple(self._prepared)
        name = self._random.choice(names or _NAMES)
        kind = self._random.random()
        if kind < 0.35 and name in self._prepared:
            return self._run(name, self._prepared[name])
        if kind < 0.4:
            return d(name, "S")
        name = self._random.choice(_NAMES)
        if kind < 0.47:
            self._prepared.pop(name, None)
            return c(name)
        if kind < 0.52:
            return self._settled(in_block=in_block)
        if kind < 0.6 and not self._is_steady:
            text = self._random.choice(texts.LITERALS)
            return c(name) + p(text.sql, name) + self._run(name, text) + c(name)
        if kind < 0.66:
            return self._declare(name)
        return self._declare(name) + self._run(name, self._prepared[name])

    def _settled(self, *, in_block: bool) -> bytes:
        """A change of settings, by Parse or with the values in Bind."""
        if self._chance(0.3):
            name, value = self._setting()
            lasts = "true" if in_block and self._chance(0.5) else "false"
            called = [name.strip(), value.replace("'", "").replace('"$user"', "pg_catalog"), lasts]
            text = "SELECT set_config($1, $2, $3)"
            return c("set") + p(text, "set") + bind("set", "", called) + e()
        return p(self._change_of_setting(in_block=in_block)) + bind("", "", []) + d() + e()

    def _declare(self, name: str) -> bytes:
        text = self._text()
        closes = bool(name) and self._chance(0.8)
        if closes or name not in self._prepared or not name:
            self._prepared[name] = text
        return (c(name) if closes else b"") + p(text.sql, name, *text.types)

    def _run(self, name: str, text: Text) -> bytes:
        portal = self._random.choice(_PORTALS)
        messages = c(portal, "P") if portal and self._chance(0.7) else b""
        values = self._values(text)
        messages += bind(name, portal, values, self._forms(len(values)), self._results())
        if self._chance(0.7):
            messages += d(portal)
        rows = self._random.choice((0, 0, 0, 1, 2))
        messages += e(portal, rows)
        return messages + (e(portal, rows) if rows and self._chance(0.5) else b"")

    def _batch(self, *, in_block: bool) -> list[Turn]:
        items = [self._item(in_block=in_block) for _ in range(self._random.randint(1, 4))]
        if self._opens:
            items.insert(0, p("SHOW work_mem") + bind("", "", []) + e())
        if self._chance(0.2):
            cuts = sorted(self._random.sample(range(len(items) + 1), min(2, len(items))))
            pieces = [items[i:j] for i, j in zip([0, *cuts], [*cuts, len(items)], strict=True)]
            turns = [flushed(self._client, b"".join(piece)) for piece in pieces[:-1] if piece]
            return [*turns, Turn(self._client, b"".join(pieces[-1]) + frontend.SYNC)]
        if self._chance(0.15) and len(items) > 1:
            return [Turn(self._client, frontend.SYNC.join(items) + frontend.SYNC, count=len(items))]
        return [Turn(self._client, b"".join(items) + frontend.SYNC)]

    # Queries.

    def _query(self, sql: str, *, pins: bool = False, alone: bool = False) -> Turn:
        return Turn(self._client, q(sql), pins=pins, alone=alone)

    def _either(self, sql: str, *, pins: bool = False, alone: bool = False) -> Turn:
        """By a Query, or by the unnamed statement."""
        if self._chance(0.5):
            return self._query(sql, pins=pins, alone=alone)
        self._prepared.pop("", None)
        messages = p(sql) + bind("", "", []) + d() + e() + frontend.SYNC
        return Turn(self._client, messages, pins=pins, alone=alone)

    def _string(self, *, in_block: bool) -> list[Turn]:
        parts = [self._plain() for _ in range(self._random.choice((1, 1, 1, 2, 3)))]
        begins = len(parts) > 1 and not in_block and self._has_blocks and self._chance(0.4)
        if len(parts) > 1 and self._chance(0.5):
            change = self._change_of_setting(in_block=in_block or begins, in_string=True)
            parts[self._random.randrange(len(parts))] = change
        if not begins:
            return [self._query("; ".join(parts))]
        end = self._random.choice(("COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN"))
        turns = [self._query("; ".join(["BEGIN", *parts, end]))]
        return turns if end in _ENDS else [*turns, *self._set(in_block=True), self._either(self._random.choice(_ENDS))]

    def _set(self, *, in_block: bool) -> list[Turn]:
        return [self._either(self._change_of_setting(in_block=in_block))]

    # Blocks.

    def _block(self) -> list[Turn]:
        turns = [self._either(self._random.choice(_BEGINS))]
        before = dict(self._prepared)
        inner: list[Callable[[], list[Turn]]] = [
            lambda: self._string(in_block=True),
            lambda: self._batch(in_block=True),
            lambda: self._batch(in_block=True),
            lambda: self._set(in_block=True),
            self._savepoint,
            self._cursor,
            self._portal,
            self._dropped_table,
        ]
        # What can not be read fails a block that was deferred here: "deferred begin" of the differences.
        self._opens = True
        for _ in range(self._random.randint(0, 6)):
            turns += self._random.choice(inner)()
            self._opens = False
        if self._chance(0.1):
            turns += [self._either(self._random.choice(("COMMIT AND CHAIN", "ROLLBACK AND CHAIN")))]
            turns += self._string(in_block=True)
        self._opens = False
        if self._chance(0.8):  # what was prepared in a block that failed is not there
            self._prepared = {name: text for name, text in before.items() if self._prepared.get(name) is text}
        return [*turns, self._either(self._random.choice(_ENDS))]

    def _savepoint(self) -> list[Turn]:
        name = self._random.choice(_SAVEPOINTS)
        if self._chance(0.5):
            turns = [self._either(f"SAVEPOINT {name}"), *self._set(in_block=True)]
            turns += self._string(in_block=True) if self._chance(0.5) else self._batch(in_block=True)
            return [*turns, self._either(self._random.choice((f"ROLLBACK TO {name}", f"RELEASE {name}")))]
        forms = [f"SAVEPOINT {name}"] * 2 + [f"ROLLBACK TO {name}"] * 2 + [f"RELEASE {name}"]
        turns = [self._either(self._random.choice(forms))]
        return turns + self._set(in_block=True) if self._chance(0.5) else turns

    def _cursor(self) -> list[Turn]:
        text = self._random.choice(
            ("SELECT g FROM generate_series(1, 6) g", "SELECT v FROM kept ORDER BY id", "SELECT t FROM moments")
        )
        turns = [self._either(f"DECLARE cur CURSOR FOR {text}")]
        forms = ("FETCH 2 FROM cur", "MOVE 1 IN cur", "FETCH ALL FROM cur", "CLOSE cur", "FETCH 0 FROM cur")
        return turns + [self._either(self._random.choice(forms)) for _ in range(self._random.randint(1, 3))]

    def _portal(self) -> list[Turn]:
        """A portal that gives its rows bit by bit, others working in between."""
        first = p("SELECT g, t FROM generate_series(1, 7) g, moments m WHERE m.id = 1", "many")
        first = (
            c("many") + c("p9", "P") + first + bind("many", "p9", [], results=self._results()) + d("p9") + e("p9", 2)
        )
        return [Turn(self._client, first + frontend.SYNC)] + [
            Turn(self._client, e("p9", 2) + frontend.SYNC) for _ in range(self._random.randint(1, 4))
        ]

    def _dropped_table(self) -> list[Turn]:
        name = self._random.choice(("tt", "alike"))
        return [
            self._either(f"CREATE TEMP TABLE {name} (v text) ON COMMIT DROP"),
            self._query(f"INSERT INTO {name} VALUES ('mine'); SELECT v FROM {name}"),
            self._either(f"SELECT * FROM {name}"),
        ]

    # What belongs to a session, and the rest.

    def _kept_table(self) -> list[Turn]:
        turns = [
            self._either("CREATE TEMP TABLE IF NOT EXISTS tt (v timestamptz)", pins=True),
            self._either("INSERT INTO tt VALUES ('2020-05-06 07:08')", pins=True),
            self._either("SELECT v FROM tt", pins=True),
        ]
        return [*turns, self._either("DROP TABLE tt", pins=True)] if self._chance(0.6) else turns

    def _sql_prepared(self) -> list[Turn]:
        turns = [
            self._either("PREPARE told (int) AS SELECT t, $1 FROM moments WHERE id = $1", pins=True),
            self._either("EXECUTE told (1)", pins=True),
            self._either("EXPLAIN (COSTS OFF) EXECUTE told (2)", pins=True),
        ]
        return [*turns, self._either("DEALLOCATE told", pins=True)] if self._chance(0.6) else turns

    def _held_cursor(self) -> list[Turn]:
        turns = [self._either("DECLARE held CURSOR WITH HOLD FOR SELECT t FROM moments ORDER BY id", pins=True)]
        turns += [self._either("FETCH 1 FROM held", pins=True) for _ in range(2)]
        return [*turns, self._either("CLOSE held", pins=True)] if self._chance(0.6) else turns

    def _listen(self) -> list[Turn]:
        forms = ("LISTEN news", "LISTEN olds", "UNLISTEN news", "UNLISTEN *", "SELECT pg_advisory_lock({own})")
        return [self._either(self._random.choice(forms).replace("{own}", self._own), pins=True)]

    def _notify(self) -> list[Turn]:
        channel = self._random.choice(("news", "olds"))
        return [self._either(f"NOTIFY {channel}, 'from {self._client}'")]

    def _copy(self) -> list[Turn]:
        data = frame(codes.COPY_DATA, f"{self._own}\ta\n{self._own}\té\n".encode())
        if self._chance(0.2):
            data += frame(codes.COPY_DATA, b"x\ty\n")
        end = frontend.copy_fail(b"no more") if self._chance(0.15) else frontend.COPY_DONE
        form = self._random.randrange(4)
        if form == 0:
            return [Turn(self._client, q("COPY plain FROM STDIN"), "GZ"), Turn(self._client, data + end, feeds=True)]
        if form == 1:
            run = p("COPY plain FROM STDIN") + bind("", "", []) + e() + frontend.SYNC
            self._prepared.pop("", None)
            return [Turn(self._client, run, "GZ"), Turn(self._client, data + end + frontend.SYNC)]
        if form == 2:
            return [self._either("COPY moments TO STDOUT")]
        return [self._either("COPY (SELECT t, x FROM moments ORDER BY id) TO STDOUT (FORMAT csv)")]

    def _definition(self) -> list[Turn]:
        sql = self._random.choice(self._changes)
        if self._has_blocks and self._chance(0.2):
            sql = f"BEGIN; {sql}; {self._random.choice(('COMMIT', 'ROLLBACK'))}"
            return [self._query(sql, alone=True)]
        return [self._either(sql, alone=True)]

    def _forget(self) -> list[Turn]:
        forms = ["DEALLOCATE a", "DEALLOCATE ALL", "CLOSE ALL", "DISCARD PLANS", "DISCARD TEMP", "UNLISTEN *"]
        forms.append("SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;")
        if self._place != "schema":  # directly it would take the role away, too
            forms += ["DISCARD ALL"] * 2
        sql = self._random.choice(forms)
        if sql in ("DEALLOCATE ALL", "DISCARD ALL"):
            self._prepared.clear()
        return [self._query(sql) if ";" in sql else self._either(sql)]

    def _leave(self) -> list[Turn]:
        """Go, and come again as at first; now and then out of a block."""
        turns: list[Turn] = []
        if self._has_blocks and self._chance(0.4):
            turns += [
                self._either(self._random.choice(_BEGINS)),
                *self._set(in_block=True),
                *self._batch(in_block=True),
            ]
        self._prepared.clear()
        return [*turns, Turn(self._client, b"", "", 0, returns=True)]

    def act(self) -> list[Turn]:
        """The next few turns."""
        acts: list[Callable[[], list[Turn]]] = [
            lambda: self._string(in_block=False),
            lambda: self._batch(in_block=False),
            lambda: self._set(in_block=False),
        ] * 2
        acts += [lambda: self._batch(in_block=False)] * 2
        acts += [self._block] * 3 if self._has_blocks else []
        acts += [self._leave, self._definition, self._forget, self._notify, self._copy]
        if self._is_harsh:
            acts += [self._definition] * 3
        if self._pins:
            acts += [self._kept_table, self._sql_prepared, self._held_cursor, self._listen]
        return self._random.choice(acts)()
