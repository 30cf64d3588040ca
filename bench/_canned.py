"""A server that answers every request with the same bytes and looks at nothing: it shows what the load client can do.

It serves a fixed time and then ends by itself.
"""

import asyncio
import sys
from typing import cast

import uvloop

_BODY = b'{"status":"ok"}'
_ANSWER = (
    b"HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class _Canned(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer each request; the client's have no body and come whole."""
        self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))


async def _serve(seconds: float) -> None:
    server = await asyncio.get_running_loop().create_server(_Canned, "127.0.0.1", 0)
    async with server:
        print(f"Serving http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.sleep(seconds)


if __name__ == "__main__":
    uvloop.run(_serve(float(sys.argv[1])))
