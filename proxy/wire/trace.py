"""One line of text per message, for people who want to see what went over the wire.

Lengths stand for data: no parameter, row, COPY data, cancel key or password is ever shown. Statements and error
messages are, and may hold constants that somebody wrote into them, so a trace is for tests and debugging, not for logs.
Anything can be traced: what makes no sense is said to make none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from proxy.errors import ProtocolViolation
from proxy.wire import codes
from proxy.wire.backend import read_error_fields
from proxy.wire.buffer import Reader

_MOST_CHARACTERS: Final = 300
_PASSWORD: Final = re.compile(r"(?i)(\bpassword\s*)((?:e|u&)?'(?:[^']|'')*'?|\$(\w*)\$.*?(?:\$\3\$|$))", re.DOTALL)
_AUTHENTICATION: Final = {
    codes.AUTH_OK: "Ok",
    codes.AUTH_CLEARTEXT: "CleartextPassword",
    codes.AUTH_MD5: "MD5Password",
    codes.AUTH_SASL: "SASL",
    codes.AUTH_SASL_CONTINUE: "SASLContinue",
    codes.AUTH_SASL_FINAL: "SASLFinal",
}

Describer = Callable[[Reader], str]


def frontend_lines(data: bytes) -> list[str]:
    """What a client sent after its startup, a line per message; a part of a message comes out as such."""
    return [_line(frame, _FRONTEND) for frame in _frames(data)]


def backend_lines(data: bytes) -> list[str]:
    """What a server sent, a line per message; a part of a message comes out as such."""
    return [_line(frame, _BACKEND) for frame in _frames(data)]


def _frames(data: bytes) -> list[bytes]:
    frames = []
    while data:
        length = int.from_bytes(data[1:5], "big")
        size = length + 1 if len(data) >= codes.HEADER_BYTES and length >= 4 else len(data)
        frames.append(data[:size])
        data = data[size:]
    return frames


def _line(frame: bytes, describers: Mapping[int, Describer]) -> str:
    code = chr(frame[0]) if 0x20 < frame[0] < 0x7F else f"0x{frame[0]:02X}"
    if len(frame) < codes.HEADER_BYTES:
        return f"{code} incomplete: {_bytes(len(frame))}"
    length = int.from_bytes(frame[1:5], "big")
    if length < 4:
        return f"{code} impossible length {length}, {_bytes(len(frame))}"
    if len(frame) < length + 1:
        return f"{code} incomplete: {len(frame)} of {_bytes(length + 1)}"
    describer = describers.get(frame[0])
    if describer is None:
        return f"{code} unknown, {_bytes(length + 1)}"
    reader = Reader(frame[codes.HEADER_BYTES :])
    try:
        text = describer(reader)
        reader.expect_end()
    except ProtocolViolation:
        return f"{code} malformed, {_bytes(length + 1)}"
    return f"{code} {text}".rstrip()


# Pieces.


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _quoted(raw: bytes) -> str:
    text = _PASSWORD.sub(r"\1'…'", raw.decode("utf-8", "backslashreplace"))
    if len(text) > _MOST_CHARACTERS:
        text = text[:_MOST_CHARACTERS] + "…"
    return '"' + "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text) + '"'


def _name(reader: Reader) -> str:
    return _quoted(reader.cstring())


def _sizes(reader: Reader) -> str:
    """The lengths of the values that follow a count."""
    sizes = []
    for _ in range(reader.int16()):
        size = reader.int32()
        sizes.append("NULL" if size < 0 else _bytes(len(reader.take(size))))
    return ", ".join(sizes)


def _formats(reader: Reader) -> None:
    reader.take(2 * reader.int16())


def _nothing(_: Reader) -> str:
    return ""


def _length(reader: Reader) -> str:
    return _bytes(len(reader.rest()))


# Frontend.


def _parse(reader: Reader) -> str:
    name, sql = _name(reader), _name(reader)
    types = ", ".join(str(reader.int32()) for _ in range(reader.int16()))
    return f"stmt={name} {sql}" + (f" types={types}" if types else "")


def _bind(reader: Reader) -> str:
    portal, statement = _name(reader), _name(reader)
    _formats(reader)
    sizes = _sizes(reader)
    _formats(reader)
    return f"portal={portal} stmt={statement}" + (f" parameters: {sizes}" if sizes else "")


def _target(reader: Reader) -> str:
    """Of Describe and Close."""
    kind = reader.take(1)
    what = {b"S": "stmt", b"P": "portal"}.get(kind)
    if what is None:
        raise ProtocolViolation("neither a statement nor a portal")
    return f"{what}={_name(reader)}"


def _execute(reader: Reader) -> str:
    portal, most = _name(reader), reader.int32()
    return f"portal={portal}" + (f" max_rows={most}" if most else "")


def _function_call(reader: Reader) -> str:
    oid = reader.int32()
    _formats(reader)
    sizes = _sizes(reader)
    reader.int16()
    return f"function={oid}" + (f" arguments: {sizes}" if sizes else "")


_FRONTEND: Final[Mapping[int, Describer]] = {
    codes.BIND: _bind,
    codes.CLOSE: _target,
    codes.COPY_DATA: _length,
    codes.COPY_DONE: _nothing,
    codes.COPY_FAIL: _name,
    codes.DESCRIBE: _target,
    codes.EXECUTE: _execute,
    codes.FLUSH: _nothing,
    codes.FUNCTION_CALL: _function_call,
    codes.PARSE: _parse,
    codes.PASSWORD: _length,
    codes.QUERY: _name,
    codes.SYNC: _nothing,
    codes.TERMINATE: _nothing,
}


# Backend.


def _authentication(reader: Reader) -> str:
    kind = reader.int32()
    name = _AUTHENTICATION.get(kind, str(kind))
    rest = reader.rest()
    return f"{name} {_bytes(len(rest))}" if rest else name


def _key_data(reader: Reader) -> str:
    pid = reader.int32()
    return f"pid={pid} key: {_bytes(len(reader.rest()))}"


def _row(reader: Reader) -> str:
    count = reader.int16()
    rest = reader.rest()
    return f"{_count(count, 'column')}, {_bytes(len(rest))}"


def _description(reader: Reader) -> str:
    names = []
    for _ in range(reader.int16()):
        names.append(_name(reader))
        reader.take(18)
    return f"{_count(len(names), 'column')}: {', '.join(names)}" if names else "0 columns"


def _fields(reader: Reader) -> str:
    fields = read_error_fields(reader.rest())
    position = f" at {fields['P']}" if "P" in fields else ""
    message = _quoted(fields.get("M", "").encode())
    return f"{fields.get('V', fields.get('S', '?'))} SQLSTATE {fields.get('C', '?')} {message}{position}"


def _status(reader: Reader) -> str:
    return chr(reader.int8())


def _parameter(reader: Reader) -> str:
    return f"{_name(reader)} = {_name(reader)}"


def _notification(reader: Reader) -> str:
    pid, channel, payload = reader.int32(), _name(reader), reader.cstring()
    return f"pid={pid} channel={channel} payload: {_bytes(len(payload))}"


def _negotiation(reader: Reader) -> str:
    version = reader.int32()
    options = ", ".join(_name(reader) for _ in range(reader.int32()))
    return f"{version >> 16}.{version & 0xFFFF}" + (f" unknown: {options}" if options else "")


def _function_result(reader: Reader) -> str:
    size = reader.int32()
    return "NULL" if size < 0 else _bytes(len(reader.take(size)))


def _types(reader: Reader) -> str:
    return "types=" + ", ".join(str(reader.int32()) for _ in range(reader.int16()))


_BACKEND: Final[Mapping[int, Describer]] = {
    codes.AUTHENTICATION: _authentication,
    codes.BACKEND_KEY_DATA: _key_data,
    codes.BIND_COMPLETE: _nothing,
    codes.CLOSE_COMPLETE: _nothing,
    codes.COMMAND_COMPLETE: _name,
    codes.COPY_BOTH_RESPONSE: _length,
    codes.COPY_DATA: _length,
    codes.COPY_DONE: _nothing,
    codes.COPY_IN_RESPONSE: _length,
    codes.COPY_OUT_RESPONSE: _length,
    codes.DATA_ROW: _row,
    codes.EMPTY_QUERY: _nothing,
    codes.ERROR_RESPONSE: _fields,
    codes.FUNCTION_CALL_RESPONSE: _function_result,
    codes.NEGOTIATE_PROTOCOL: _negotiation,
    codes.NO_DATA: _nothing,
    codes.NOTICE_RESPONSE: _fields,
    codes.NOTIFICATION_RESPONSE: _notification,
    codes.PARAMETER_DESCRIPTION: _types,
    codes.PARAMETER_STATUS: _parameter,
    codes.PARSE_COMPLETE: _nothing,
    codes.PORTAL_SUSPENDED: _nothing,
    codes.READY_FOR_QUERY: _status,
    codes.ROW_DESCRIPTION: _description,
}
