"""Speaking to a witness over HTTP: one request, a bounded time, a bounded answer, and no redirects."""

from __future__ import annotations

from urllib.parse import urljoin

from shared.core.deadline import remaining
from shared.ledger.witness import Post, WitnessSilent

TIMEOUT_SECONDS = 5.0
MOST_BYTES = 64 * 1024


def witness_at(url: str) -> Post:
    """What posts to the witness with this address (checked by the settings)."""
    target = urljoin(url.rstrip("/") + "/", "add-checkpoint")

    async def post(body: bytes) -> tuple[int, bytes]:
        import aiohttp

        seconds = remaining(TIMEOUT_SECONDS)
        if seconds <= 0:
            raise WitnessSilent
        timeout = aiohttp.ClientTimeout(total=seconds)
        headers = {"Content-Type": "text/plain; charset=utf-8", "Accept-Encoding": "identity"}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers, auto_decompress=False) as session,
                session.post(target, data=body, allow_redirects=False) as answer,
            ):
                content = await answer.content.read(MOST_BYTES + 1)
                while len(content) <= MOST_BYTES and (more := await answer.content.read(MOST_BYTES + 1)):
                    content += more
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise WitnessSilent from error
        if len(content) > MOST_BYTES or answer.status >= 500:
            raise WitnessSilent
        return answer.status, content

    return post
