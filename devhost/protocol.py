"""What one connection may send: uvicorn's protocol with the limits that the real server (Kestrel) has by default.

The parser keeps a header line until it is whole, and uvicorn keeps every line, so both are bounded here, before any
application sees the request.
"""

from asyncio import TimerHandle
from typing import Any, NoReturn

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from devhost.http import Refused

MAX_TARGET_BYTES = 8 * 1024
MAX_HEADER_BYTES = 32 * 1024
MAX_HEADER_LINES = 100
# Above what a request line and a header section may have together.
_MAX_UNTOLD_BYTES = 48 * 1024
_LINGER_SECONDS = 1.0


class LimitedProtocol(HttpToolsProtocol):
    """Refuses a request line above 8 KiB (414) and a header section above 32 KiB or 100 lines (431).

    Trailers count as headers and go no further: they would otherwise pass for headers that nobody has checked.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._status = 400
        self._refused = False
        self._lingering: TimerHandle | None = None
        self._target_bytes = self._header_bytes = self._header_lines = 0
        self._in_head = True
        # Received since a message began or a piece of its body came: the parser may hold all of this in memory.
        self._untold_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Parse `data`, unless the connection was refused already."""
        if self._refused:
            return
        self._untold_bytes += len(data)
        super().data_received(data)
        if self._untold_bytes > _MAX_UNTOLD_BYTES and not self._refused:
            self._status = 431
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._target_bytes = self._header_bytes = self._header_lines = self._untold_bytes = 0
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request target."""
        self._target_bytes += len(url)
        if self._target_bytes > MAX_TARGET_BYTES:
            self._refuse(414)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a whole header line, or count a trailer."""
        self._header_bytes += len(name) + len(value) + 4
        self._header_lines += 1
        if self._header_bytes > MAX_HEADER_BYTES or self._header_lines > MAX_HEADER_LINES:
            self._refuse(431)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request. What names no path (CONNECT, `OPTIONS *`) reaches no function: 404."""
        self._in_head = False
        if self.url == b"*" or (self.parser.should_upgrade() and self.parser.get_method() == b"CONNECT"):
            self._refuse(404)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; how much of it is kept is for the reader of the body to say."""
        self._untold_bytes = 0
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the connection."""
        if self._lingering is not None:
            self._lingering.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer with the bare status of the refusal and end the connection; `msg` is uvicorn's and not sent."""
        self._refused = True
        cycle = self.cycle
        if self.transport.is_closing():
            return
        waiting = cycle is not None and not cycle.response_complete
        if self.pipeline or (waiting and (self._in_head or cycle.response_started)):
            self.transport.close()  # the client would take the status for the answer to an earlier request
            return
        if waiting:  # the application must not answer too, nor wait for the rest
            cycle.disconnected = True
            cycle.message_event.set()
        lines = [STATUS_LINE[self._status], b"content-length: 0\r\nconnection: close\r\n"]
        lines += [b"%s: %s\r\n" % header for header in self.server_state.default_headers]
        self.transport.write(b"".join((*lines, b"\r\n")))
        # Closing over unread data resets the connection, and the client would lose the status: let it finish first.
        self.transport.write_eof()
        self.flow.resume_reading()
        self._lingering = self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _refuse(self, status: int) -> NoReturn:
        """Stop the parser; uvicorn then calls `send_400_response`."""
        self._status = status
        raise Refused(status)
