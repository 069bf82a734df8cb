"""Structured logs: one event per line, JSON for machines or a console for people.

Fields have fixed names wherever they occur: event, level, timestamp (ISO 8601, UTC), tenant, user, client (address),
connection_id, sqlstate, kind. Python's own `logging` (asyncio, aiohttp) goes through the same processors. Values come
from clients, too: whatever is not plain printable text is quoted, so that nobody forges a line or sends escapes to a
terminal. A stream that can no longer be written to costs lines, never a connection.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from proxy.errors import ErrorKind, ProxyError
from proxy.observe.redact import redact_fields

LogFormat = Literal["console", "json", "auto"]
LEVELS: Final = ("debug", "info", "warning", "error")

_LEVEL_NAMES: Final = {logging.getLevelNamesMapping()[name.upper()]: name for name in LEVELS}
_TALKATIVE: Final = ("watchfiles",)
"""Its line for each change in a folder would be another change, where the log is a file in that folder."""
_FIRST: Final = ("tenant", "user", "client", "connection_id", "sqlstate", "kind")
_COLORS: Final = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_DIM: Final = "\x1b[2m"
_OFF: Final = "\x1b[0m"
_encode_json: Final = json.JSONEncoder(default=str).encode
_PLAIN_PUNCTUATION: Final = frozenset("-_./:@+%*[](),<>")
_ERROR_LEVELS: Final = {
    ErrorKind.SERVER: logging.ERROR,
    ErrorKind.CONTEXT: logging.ERROR,
    ErrorKind.CONFIG: logging.ERROR,
    ErrorKind.SHUTDOWN: logging.INFO,
}


def configure(format: LogFormat = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Set up structlog and Python's logging for this process, to `stream` (standard error).

    `auto` means console on a terminal, else JSON; the console is coloured on a terminal unless NO_COLOR is set. Raises
    ValueError for a level or format that does not exist.
    """
    if level not in LEVELS:
        raise ValueError(f"log level must be one of {', '.join(LEVELS)}, not {level!r}")
    if format not in ("console", "json", "auto"):
        raise ValueError(f"log format must be console, json or auto, not {format!r}")
    stream = sys.stderr if stream is None else stream
    on_terminal = stream.isatty()
    as_json = format == "json" or (format == "auto" and not on_terminal)
    colored = on_terminal and not os.environ.get("NO_COLOR")
    render: Processor = _render_json if as_json else _console(colored)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    lines = _Lines(stream)
    processors = [*_processors(), render]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", lines)),
        cache_logger_on_first_use=False,
    )
    _configure_stdlib(stream, threshold, render)
    global _teller
    _teller = _Teller(tuple(processors), lines, threshold)  # the list is structlog's own now


def tell(level: int, event: str, fields: Mapping[str, object], *, always: bool = False) -> None:
    """Write an event by a shorter way than a logger's, for what is said of each client; `always`: whatever the log level is.

    `level` is one of Python's `logging`. The line is the same as a logger's. Where nothing was configured, it goes where
    loggers' lines go then.
    """
    if _teller is None:
        structlog.get_logger().log(level, event, **fields)
    elif always or level >= _teller.threshold:
        _teller.tell(level, event, fields)


class _Teller:
    """Runs the processors of every logger, without a logger's objects around them."""

    def __init__(self, processors: tuple[Processor, ...], lines: _Lines, threshold: int) -> None:
        self.threshold = threshold
        self._processors = processors
        self._lines = lines

    def tell(self, level: int, event: str, fields: Mapping[str, object]) -> None:
        """Write it."""
        entry: Any = {**fields, "event": event}
        method = _LEVEL_NAMES[level]
        for process in self._processors:
            entry = process(None, method, entry)
        self._lines.write(f"{entry}\n")


_teller: _Teller | None = None


def connection_logger(connection_id: str, **fields: object) -> FilteringBoundLogger:
    """A logger whose every event carries the connection's id and `fields` (client; user and tenant once known)."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger.bind(connection_id=connection_id, **fields)


def log_proxy_error(logger: FilteringBoundLogger, error: ProxyError, **fields: object) -> None:
    """Log an error that Gatehouse reports: what the client is told, and what only the log may know.

    What a client did wrong is a warning, what is wrong with a server or with Gatehouse an error.
    """
    known: dict[str, object] = {
        "sqlstate": error.sqlstate,
        "kind": error.kind.value,
        "hint": error.hint,
        "details": error.details,
    }
    present = {name: value for name, value in known.items() if value is not None}
    context = {name: value for name, value in error.log_context.items() if name not in ("event", "level")}
    logger.log(_ERROR_LEVELS.get(error.kind, logging.WARNING), error.message, **{**context, **fields, **present})


def _processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_secrets,
    ]


class _Lines(io.TextIOBase):
    """A stream that loses what can not be written, where the data path would get the exception."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:  # `suppress` would take longer
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass
        return len(text)


def _configure_stdlib(stream: TextIO, threshold: int, render: Processor) -> None:
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        foreign_pre_chain=[*_processors()[:-1], structlog.stdlib.add_logger_name, mask_secrets],
    )
    handler = logging.StreamHandler(_Lines(stream))
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(threshold)
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.WARNING)


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: mask what looks like a secret, by field name and by form."""
    return redact_fields(event)


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    head = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return _encode_json({**head, **event})


def _console(colored: bool) -> Callable[[WrappedLogger, str, EventDict], str]:
    def render(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
        return _console_line(event, colored)

    return render


def _console_line(event: EventDict, colored: bool) -> str:
    moment = str(event.pop("timestamp", ""))[11:23]
    level = str(event.pop("level", "info"))
    message = _printable(str(event.pop("event", "")))
    trace = event.pop("exception", None)
    names = [name for name in _FIRST if name in event]
    names += [name for name in event if name not in _FIRST]
    label = f"{level.upper():<7}"
    if colored:
        label = f"{_COLORS.get(level, _COLORS['error'])}{label}{_OFF}"
        moment = f"{_DIM}{moment}{_OFF}"
        pairs = [f"{_DIM}{name}={_OFF}{_plain(event[name])}" for name in names]
    else:
        pairs = [f"{name}={_plain(event[name])}" for name in names]
    line = f"{moment} {label} {message}" + ("  " + " ".join(pairs) if pairs else "")
    return f"{line}\n{trace}" if trace else line


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    if text and all(letter.isalnum() or letter in _PLAIN_PUNCTUATION for letter in text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _printable(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]
