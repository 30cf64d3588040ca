"""uvicorn around a host: its socket, its signals, and the order of a graceful stop."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Generator

import uvicorn

from devhost.errors import HostError
from devhost.host import Host
from devhost.protocol import LimitedProtocol

GRACE_SECONDS = 30


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which would end the process by the signal after a graceful stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to `serve`."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; connections wait there until the app is loaded. HostError when there is none to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError, TypeError) as error:  # the latter two: a port or a name out of bounds
        listener.close()
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise HostError(f"cannot listen on {host}:{port}: {reason}") from error
    return listener


async def serve(host: Host, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; then let requests and invocations finish, and close the app's services.

    A second signal does not wait for them.
    """
    config = uvicorn.Config(
        host.asgi,
        interface="asgi3",
        http=LimitedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await server.serve(sockets=[listener])
    finally:
        await host.stop(grace_seconds=0 if server.force_exit else GRACE_SECONDS)
