"""A PostgreSQL without SQL: keeps to the protocol, transactions and settings, and answers a SELECT with its own text.

So each row tells which statement it belongs to. What a proxy must never do raises `Breach`: send what is not a message, or
have a client's statement read or write without the tenant's context. It follows the manual's "Message Flow" and the
facts that the tests of `tests/integration/test_facts.py` state.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from proxy.errors import ProtocolViolation
from proxy.wire import backend, codes
from proxy.wire.buffer import Reader, frame, int16

_TYPES: Final = frozenset(b"QPBDECSHFXdcf")
_MOST_BYTES: Final = 8_000_000
_SMALL_BYTES: Final = 10_000
"""PostgreSQL's PQ_SMALL_MESSAGE_LIMIT: it hangs up on longer messages of the types that need none."""

_PIECE: Final = re.compile(rb"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|;|[^;'\"]", re.DOTALL)
_SET: Final = re.compile(rb"SET (LOCAL|SESSION) (\S+?) (?:TO|=) (.*)", re.DOTALL | re.IGNORECASE)
_PLAIN_SET: Final = re.compile(rb"SET (?!LOCAL |SESSION )(\S+?) (?:TO|=) (.*)", re.DOTALL | re.IGNORECASE)
_CONTEXT: Final = b"SELECT pg_catalog.set_config("
_TENANT: Final = "app.tenant_id"
_REPORTED: Final = {"timezone": b"TimeZone", "application_name": b"application_name", "datestyle": b"DateStyle"}
_ENDS: Final = (b"COMMIT", b"END", b"ROLLBACK", b"ABORT")
_READS: Final = (b"SELECT", b"COPY", b"INSERT", b"TABLE")


class Breach(AssertionError):
    """The proxy sent what it must not send."""


_BEGIN: Final = re.compile(rb"\s*(?:begin|start)\b", re.IGNORECASE)
_ABORTED: Final = "current transaction is aborted, commands ignored until end of transaction block"


class Fails(Exception):
    """An error that this PostgreSQL reports."""

    def __init__(self, sqlstate: str, position: int | None = None, message: str = "failed") -> None:
        super().__init__(sqlstate)
        self.message = message
        self.sqlstate = sqlstate
        self.position = position


@dataclass(slots=True)
class _Portal:
    sql: bytes
    values: tuple[bytes | None, ...]
    is_done: bool = False


@dataclass(slots=True)
class _Settings:
    """Set in the transaction: for the rest of it, and beyond it."""

    local: dict[str, bytes] = field(default_factory=dict)
    session: dict[str, bytes] = field(default_factory=dict)

    def copy(self) -> _Settings:
        return _Settings(dict(self.local), dict(self.session))


class Pretend:
    """One session. `tenant` is whose context must be in place when something reads or writes."""

    def __init__(self, tenant: bytes, parameters: dict[bytes, bytes]) -> None:
        self._tenant = tenant
        self._defaults = {name: parameters[reported] for name, reported in _REPORTED.items()}
        self._session: dict[str, bytes] = {}
        self._shown = dict(self._defaults)
        self._buffer = b""
        self._out: list[bytes] = []
        self._statements: dict[bytes, bytes] = {}
        self._portals: dict[bytes, _Portal] = {}
        self._status = codes.IDLE  # I outside a block, T in one, E in one that failed
        self._skips = False
        self._copy: str = ""  # "Q" or "E": by which protocol a COPY FROM STDIN runs
        self._rest_of_query: list[bytes] = []
        self._changed = _Settings()
        self._savepoints: list[tuple[bytes, _Settings]] = []

    def receive(self, data: bytes) -> bytes:
        """The replies to what comes next."""
        self._buffer += data
        while len(self._buffer) >= 5:
            code, length = self._buffer[0], int.from_bytes(self._buffer[1:5], "big")
            if code not in _TYPES or not 4 <= length <= (_MOST_BYTES if code in b"QPBFd" else _SMALL_BYTES):
                raise Breach(f"not a message: {self._buffer[:40]!r}")
            if len(self._buffer) <= length:
                break
            body, self._buffer = self._buffer[5 : length + 1], self._buffer[length + 1 :]
            self._message(code, body)
        replies = b"".join(self._out)
        self._out.clear()
        return replies

    # Messages.

    def _message(self, code: int, body: bytes) -> None:
        if self._copy:
            self._in_copy(code)
        elif code in b"dcf" or (self._skips and code not in b"SX"):
            return
        elif code == codes.SYNC:
            self._skips = False
            self._end_of_implicit()
            self._ready()
        elif code == codes.QUERY:
            self._statements.pop(b"", None)
            self._portals.pop(b"", None)
            self._rest_of_query = _split(body[:-1])
            self._go_on_with_query()
        elif code == codes.FUNCTION_CALL:
            self._fail(Fails("42883"))
            self._end_of_implicit()
            self._ready()
        elif code != codes.TERMINATE:
            try:
                self._extended(code, Reader(body))
            except (Fails, ProtocolViolation) as error:
                self._fail(error if isinstance(error, Fails) else Fails("08P01"))
                self._skips = True

    def _in_copy(self, code: int) -> None:
        if code in b"dHS":
            return
        protocol, self._copy = self._copy, ""
        if code == codes.COPY_DONE:
            self._out.append(backend.command_complete(b"COPY 1"))
        else:
            self._fail(Fails("57014" if code == codes.COPY_FAIL else "08P01"))
            self._rest_of_query.clear()
            self._skips = protocol == "E"
        if protocol == "Q":
            self._go_on_with_query()

    def _go_on_with_query(self) -> None:
        """The statements of a Query that are left, up to a COPY or to the end."""
        if self._rest_of_query == [b""]:
            self._rest_of_query.clear()
            self._out.append(backend.EMPTY_QUERY)
        try:
            if any(_is_wrong(sql) for sql in self._rest_of_query):
                raise Fails("42601", 1)
            while self._rest_of_query:
                sql = self._rest_of_query.pop(0)
                self._execute(sql, (), describes=True)
                if self._copy:
                    self._copy = "Q"
                    return
        except Fails as error:
            self._rest_of_query.clear()
            self._fail(error)
        self._end_of_implicit()
        self._ready()

    def _extended(self, code: int, reader: Reader) -> None:
        if code == codes.PARSE:
            name, sql = reader.cstring(), reader.cstring()
            reader.take(4 * reader.int16())
            reader.expect_end()
            self._parse(name[:63], sql)
        elif code == codes.BIND:
            self._bind(reader)
        elif code == codes.EXECUTE:
            name, most = reader.cstring()[:63], reader.int32()
            reader.expect_end()
            self._run_portal(name, most)
        elif code == codes.FLUSH:
            reader.expect_end()
        else:
            kind, name = reader.take(1), reader.cstring()[:63]
            reader.expect_end()
            self._describe_or_close(code, kind, name)

    def _parse(self, name: bytes, sql: bytes) -> None:
        if not name:
            self._statements.pop(b"", None)
        parts = _split(sql)
        if len(parts) > 1 or _is_wrong(parts[0]):
            raise Fails("42601", 1)
        self._refuse_in_failed(parts[0])
        if name in self._statements:
            raise Fails("42P05")
        self._statements[name] = parts[0]
        self._out.append(backend.PARSE_COMPLETE)

    def _bind(self, reader: Reader) -> None:
        portal, name = reader.cstring()[:63], reader.cstring()[:63]
        reader.take(2 * reader.int16())
        sizes = (reader.int32() for _ in range(reader.int16()))
        values = tuple(None if size == -1 else reader.take(size) for size in sizes)
        reader.take(2 * reader.int16())
        reader.expect_end()
        if name not in self._statements:
            raise Fails("26000")
        sql = self._statements[name]
        if len(values) != len(set(re.findall(rb"\$\d", sql))):
            raise Fails("08P01")
        self._refuse_in_failed(sql)
        if portal and portal in self._portals:
            raise Fails("42P03")
        self._portals[portal] = _Portal(sql, values)
        self._out.append(backend.BIND_COMPLETE)

    def _run_portal(self, name: bytes, most: int) -> None:
        portal = self._portals.get(name)
        if portal is None:
            raise Fails("34000", message=f'portal "{name.decode("utf-8", "replace")}" does not exist')
        if portal.sql == b"":
            self._out.append(backend.EMPTY_QUERY)
        elif portal.is_done and portal.sql[:6].upper() == b"SELECT":
            self._out.append(backend.command_complete(b"SELECT 0"))
        else:
            portal.is_done = True
            self._execute(portal.sql, portal.values, describes=False, most=most)
            if _BEGIN.match(portal.sql):
                del self._portals[name]  # PostgreSQL keeps it, but nobody has a use for it
            if self._copy:
                self._copy = "E"

    def _describe_or_close(self, code: int, kind: bytes, name: bytes) -> None:
        if kind not in (b"S", b"P"):
            raise Fails("08P01")
        if code == codes.CLOSE:
            if kind == b"S":
                self._statements.pop(name, None)
            else:
                self._portals.pop(name, None)
            self._out.append(backend.CLOSE_COMPLETE)
            return
        if kind == b"S" and name not in self._statements:
            raise Fails("26000")
        if kind == b"P" and name not in self._portals:
            raise Fails("34000", message=f'portal "{name.decode("utf-8", "replace")}" does not exist')
        sql = self._statements[name] if kind == b"S" else self._portals[name].sql
        self._refuse_in_failed(sql)
        if kind == b"S":
            self._out.append(frame(codes.PARAMETER_DESCRIPTION, int16(0)))
        gives_rows = sql[:6].upper() == b"SELECT" or sql[:5].upper() == b"SHOW "
        self._out.append(backend.row_description(["text"]) if gives_rows else backend.NO_DATA)

    # Statements.

    def _refuse_in_failed(self, sql: bytes) -> None:
        if self._status == codes.FAILED and not sql.upper().startswith(_ENDS):
            raise Fails("25P02", message=_ABORTED)

    def _execute(self, sql: bytes, values: tuple[bytes | None, ...], *, describes: bool, most: int = 0) -> None:
        self._refuse_in_failed(sql)
        words = sql.upper().split()
        if words and words[0] in (*_ENDS, b"BEGIN", b"START", b"SAVEPOINT", b"RELEASE"):
            self._control(words, sql)
        elif match := _SET.match(sql):
            self._set(match[1].upper() == b"LOCAL", match[2], match[3])
            self._out.append(backend.command_complete(b"SET"))
        elif match := _PLAIN_SET.match(sql):
            raise Breach(f"a SET for the server's session: {sql!r}")
        elif sql.startswith(_CONTEXT):
            for name, value in zip(values[::2], values[1::2], strict=True):
                self._set(True, name or b"", b"'" + (value or b"") + b"'")
            self._rows(b"context", "SELECT 1", describes=describes, most=most)
        elif words and words[0] == b"SHOW":
            self._rows(self._value(_name(words[1])), "SHOW", describes=describes, most=most)
        elif words and words[0] in _READS:
            self._read(sql, values, words, describes=describes, most=most)
        elif words:
            self._out.append(backend.command_complete(words[0]))

    def _read(
        self, sql: bytes, values: tuple[bytes | None, ...], words: list[bytes], *, describes: bool, most: int
    ) -> None:
        if self._changed.local.get(_TENANT) != self._tenant:
            raise Breach(f"without the tenant's context: {sql!r}")
        if b"1/0" in sql:
            raise Fails("22012")
        if words[0] == b"COPY" and b"STDIN" in words:
            self._out.append(frame(codes.COPY_IN_RESPONSE, b"\0" + int16(0)))
            self._copy = "?"
        elif words[0] == b"COPY":
            self._out.append(frame(codes.COPY_OUT_RESPONSE, b"\0" + int16(0)))
            self._out += [frame(codes.COPY_DATA, sql), frame(codes.COPY_DONE, b"")]
            self._out.append(backend.command_complete(b"COPY 1"))
        elif words[0] == b"SELECT":
            if b"notice" in sql:
                self._out.append(backend.notice_response("01000", "careful"))
            seen = b"|".join((sql, *(b"NULL" if value is None else value for value in values)))
            self._rows(seen, "SELECT 1", describes=describes, most=most)
        else:
            self._out.append(backend.command_complete(b"INSERT 0 1"))

    def _rows(self, value: bytes, tag: str, *, describes: bool, most: int) -> None:
        if describes:
            self._out.append(backend.row_description(["text"]))
        self._out.append(backend.data_row([value]))
        suspends = most == 1
        self._out.append(frame(codes.PORTAL_SUSPENDED, b"") if suspends else backend.command_complete(tag.encode()))

    def _control(self, words: list[bytes], sql: bytes) -> None:
        first = words[0]
        if first in (b"BEGIN", b"START"):
            self._status = codes.IN_TRANSACTION
            self._out.append(backend.command_complete(b"BEGIN"))
        elif first in (b"SAVEPOINT", b"RELEASE") or b"TO" in words:
            self._savepoint(first, words[-1].lower())
            self._out.append(backend.command_complete(b"ROLLBACK" if b"TO" in words else first))
        else:
            is_commit = first in (b"COMMIT", b"END") and self._status != codes.FAILED
            if self._status == codes.IDLE:
                if b"CHAIN" in words:
                    raise Fails("25P01")
                self._out.append(backend.notice_response("25P01", "there is no transaction in progress"))
            self._end(keep=is_commit)
            self._status = codes.IN_TRANSACTION if b"CHAIN" in words else codes.IDLE
            self._out.append(backend.command_complete(b"COMMIT" if is_commit else b"ROLLBACK"))

    def _savepoint(self, command: bytes, name: bytes) -> None:
        if self._status == codes.IDLE:
            raise Fails("25P01")
        if command == b"SAVEPOINT":
            self._savepoints.append((name, self._changed.copy()))
            return
        names = [known for known, _ in self._savepoints]
        if name not in names:
            raise Fails("3B001")
        at = len(names) - 1 - names[::-1].index(name)
        if command == b"RELEASE":
            del self._savepoints[at:]
            return
        self._changed = self._savepoints[at][1].copy()
        del self._savepoints[at + 1 :]
        self._status = codes.IN_TRANSACTION

    def _set(self, is_local: bool, name: bytes, value: bytes) -> None:
        key = _name(name)
        if value == b"'lots'":
            raise Fails("22023", 1)
        if value.upper() == b"DEFAULT":
            value = b"'" + self._defaults.get(key, b"") + b"'"
        self._changed.local.pop(key, None)
        (self._changed.local if is_local else self._changed.session)[key] = value.strip(b"'\"")

    def _value(self, name: str) -> bytes:
        changed = self._changed
        session = changed.session.get(name, self._session.get(name, self._defaults.get(name, b"")))
        return changed.local.get(name, session)

    # Ends.

    def _forget(self) -> None:
        self._changed = _Settings()
        self._savepoints = []
        self._portals.clear()

    def _end(self, *, keep: bool) -> None:
        if keep:
            self._session.update(self._changed.session)
        self._forget()

    def _end_of_implicit(self) -> None:
        if self._status == codes.IDLE:
            self._end(keep=True)

    def _fail(self, error: Fails) -> None:
        fields = {"S": "ERROR", "V": "ERROR", "C": error.sqlstate, "M": error.message}
        if error.position is not None:
            fields["P"] = str(error.position)
        self._out.append(backend.error_from_fields(fields))
        if self._status == codes.IDLE:
            self._end(keep=False)
        else:
            self._status = codes.FAILED

    def _ready(self) -> None:
        for name, reported in _REPORTED.items():
            value = self._value(name)
            if self._shown[name] != value:
                self._shown[name] = value
                self._out.append(backend.parameter_status(reported, value))
        self._out.append(backend.READY[self._status])


def _name(quoted: bytes) -> str:
    return quoted.replace(b'"', b"").decode("utf-8", "replace").lower()


def _split(text: bytes) -> list[bytes]:
    """The statements in a text; one that is empty if there are none, one that is wrong if a quote is not closed."""
    parts = [b""]
    position = 0
    while position < len(text):
        match = _PIECE.match(text, position)
        if match is None:
            return [b"'"]
        position = match.end()
        piece = match[0]
        if piece == b";":
            parts.append(b"")
        elif not piece.startswith((b"--", b"/*")):
            parts[-1] += piece
    return [part for part in (part.strip() for part in parts) if part] or [b""]


_VERBS: Final = (*_ENDS, b"BEGIN", b"START", b"SAVEPOINT", b"RELEASE", b"SET", b"SHOW", *_READS, b"CLOSE", b"UNLISTEN")
_SHAPES: Final = re.compile(
    rb"(?:BEGIN|START TRANSACTION|(?:COMMIT|ROLLBACK)(?: AND CHAIN)?|END|ABORT|SAVEPOINT [a-z]+|RELEASE [a-z]+"
    rb"|ROLLBACK TO [a-z]+|SET (?:LOCAL |SESSION )?[\w.\"]+ (?:TO|=) (?:'[^']*'|\w+)"
    rb"|SHOW \S+|SELECT\b.*|COPY \w+ FROM STDIN|COPY \w+ TO STDOUT"
    rb"|INSERT INTO .+|TABLE \w+|CLOSE ALL|UNLISTEN \*)?",
    re.DOTALL | re.IGNORECASE,
)


_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")


def _is_wrong(sql: bytes) -> bool:
    """Whether this PostgreSQL finds a syntax error: whatever it does not know, or bytes that are not text."""
    try:
        sql.decode()
    except UnicodeDecodeError:
        return True
    return _CONTROL.search(sql) is not None or _SHAPES.fullmatch(sql) is None
