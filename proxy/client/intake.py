"""Take the client's input apart: which frame is next, whether it may be taken now, and who handles it.

Bulk is streamed, never held: CopyData, and a Bind that is larger than a chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.client.deferral import fail_block
from proxy.client.large_bind import send_large_bind
from proxy.client.states import State
from proxy.errors import MessageTooLarge, ProtocolViolation, ProxyError
from proxy.wire import backend, codes
from proxy.wire.framing import FrameReader

if TYPE_CHECKING:
    from proxy.client.session import Session

_STREAM_OVER: Final = 64 * 1024
"""Bind and CopyData frames larger than this are passed on as they arrive."""
_COPY_FRAMES: Final = bytes((codes.COPY_DATA, codes.COPY_DONE, codes.COPY_FAIL))
_TEXT_FRAMES: Final = bytes((codes.QUERY, codes.PARSE, codes.FUNCTION_CALL))
_SHORT_FRAMES: Final = bytes((codes.DESCRIBE, codes.EXECUTE, codes.CLOSE))
_SHORT_BYTES: Final = 10_001
"""PostgreSQL takes no longer message of the kinds that need not be long (PQ_SMALL_MESSAGE_LIMIT, and the type)."""
_SMALL_BYTES: Final = 1024
"""Frames up to this size need no look at limits; the smallest max_query_size is as large."""
_EXTENDED_FRAMES: Final = bytes(
    (codes.BIND, codes.EXECUTE, codes.SYNC, codes.PARSE, codes.DESCRIBE, codes.CLOSE, codes.FLUSH)
)


class Intake:
    """What one client sent and nobody has handled yet."""

    __slots__ = ("_session", "_streaming", "reader")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._streaming = 0  # bytes left of a frame under way: positive to pass on, negative to skip
        self.reader = FrameReader()

    @property
    def is_streaming(self) -> bool:
        """Whether the server has got only a part of a message."""
        return self._streaming > 0

    @property
    def is_empty(self) -> bool:
        """Whether everything that came was handled."""
        return self._streaming == 0 and self.reader.held == 0

    def fail_segment(self, error: ProxyError) -> None:
        """Answer the frames at the front of the input, which no server will see, with `error`."""
        if self.reader.peek() and self.reader.code in _EXTENDED_FRAMES:
            if self._session.status != codes.IDLE:
                fail_block(self._session)
            self._session.extended.refuse(error)
            return
        if self.reader.has_whole_frame():
            self.reader.take_frame()
        session = self._session
        if session.status != codes.IDLE:
            fail_block(session)
        session.reply(backend.error_response(error) + backend.READY[session.status])

    def step(self) -> bool:
        """Handle the next frame; False when there is none, or it has to wait."""
        if self._streaming:
            return self._stream()
        session, reader = self._session, self.reader
        state = session.state
        if state == State.WAITING or state == State.BUSY or not reader.peek():
            return False
        code, size = reader.code, reader.size
        if size > session.limits.max_message_bytes:
            raise MessageTooLarge(
                f"a message of {size} bytes is larger than the limit of {session.limits.max_message_bytes} bytes",
                hint="Raise limits.max_message_size, or send less at once.",
            )
        if state == State.COPY_IN:
            return self._copy_frame(code)
        if code in _COPY_FRAMES:
            if state == State.BATCH and session.extended.awaits_copy:
                return False
            # Left over from a COPY that failed: PostgreSQL ignores them too.
            return self._start_stream(forward=False)
        extended = session.extended
        if extended.is_skipping and code != codes.SYNC and code != codes.TERMINATE:
            if code not in _EXTENDED_FRAMES and code not in _TEXT_FRAMES:
                raise ProtocolViolation(f"invalid frontend message type {code}")
            return self._start_stream(forward=False)
        if size > _SMALL_BYTES:
            if code == codes.BIND:
                if size > _STREAM_OVER and reader.held >= _STREAM_OVER:
                    return send_large_bind(extended, reader)
            else:
                self._check_size(code, size)
        if not reader.has_whole_frame():
            return False
        if code == codes.QUERY:
            return session.simple.query(reader)
        if code in _EXTENDED_FRAMES:
            return extended.frame(code, reader)
        if code == codes.FUNCTION_CALL:
            return session.simple.function_call(reader)
        if code == codes.TERMINATE:
            session.hang_up(None)
            return False
        raise ProtocolViolation(f"invalid frontend message type {code}")

    def _check_size(self, code: int, size: int) -> None:
        """Bound what is held whole before it is looked at."""
        if code not in _TEXT_FRAMES and (code not in _SHORT_FRAMES or size > _SHORT_BYTES):
            raise ProtocolViolation("invalid message length")
        limit = self._session.limits.max_query_bytes
        if size > limit:
            raise MessageTooLarge(
                f"a query of {size} bytes is larger than the limit of {limit} bytes",
                hint="Raise limits.max_query_size, or send data as parameters or by COPY.",
            )

    def _copy_frame(self, code: int) -> bool:
        if code == codes.COPY_DATA:
            self._session.extended.waits_behind_data = False
            return self._start_stream(forward=True)
        if self.reader.size > _SHORT_BYTES:
            raise ProtocolViolation("invalid message length")
        if not self.reader.has_whole_frame():
            return False
        frame = self.reader.take_frame()
        if code in (codes.COPY_DONE, codes.COPY_FAIL):
            self._session.send(frame)
            self._session.state = State.BATCH if self._session.extended.in_batch else State.BUSY
            return True
        if code in (codes.SYNC, codes.FLUSH):
            self._session.extended.waits_behind_data = code == codes.SYNC or self._session.extended.waits_behind_data
            return True  # the server would ignore it (manual, "COPY Operations")
        if code == codes.TERMINATE:
            self._session.hang_up(None)
            return False
        raise ProtocolViolation(f"unexpected message type 0x{code:02X} during COPY from stdin")

    def _start_stream(self, *, forward: bool) -> bool:
        """Pass on, or skip, the next frame without holding it whole."""
        self._streaming = self.reader.size if forward else -self.reader.size
        return self._stream()

    def stream_rest(self, count: int) -> None:
        """The next `count` bytes of input belong to a frame whose head was sent already."""
        self._streaming = count

    def skip_rest(self) -> None:
        """The rest of the frame under way is for nobody."""
        self._streaming = -abs(self._streaming)

    def _stream(self) -> bool:
        left = self._streaming
        data = self.reader.take_some(abs(left))
        if left > 0:
            self._session.send(data)
            self._streaming = left - len(data)
        else:
            self._streaming = left + len(data)
        return bool(data) and self._streaming == 0
