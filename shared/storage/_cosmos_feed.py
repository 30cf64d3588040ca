"""Reading the change feed of a container, page by page.

A position is the SDK's own continuation token: it says of each physical partition how far its feed was read, and which
container that was. The SDK goes through the partitions in turn and follows their splits.
"""

import base64
import json
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import Any

from azure.cosmos.aio import ContainerProxy

from shared.storage._cosmos_requests import Hooks
from shared.storage.documents import FEED_START, MAX_PAGE, Change, Item, Position, shown
from shared.storage.errors import UnknownPosition

CONTAINER_MADE_ANEW = "1024"  # the sub-status of a refusal: the container of that name is not the one that is meant


def page_after(after: Position, limit: int) -> Callable[[ContainerProxy, Hooks], Awaitable[list[Change]]]:
    """What reads the next page of a container's feed. ValueError for a limit, UnknownPosition for a position."""
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"limit must be 1..{MAX_PAGE}")
    start = type(after) is int and after == FEED_START
    scope: dict[str, Any] = {"start_time": "Beginning"} if start else {"continuation": _token(after)}

    async def send(proxy: ContainerProxy, hooks: Hooks) -> list[Change]:
        answers: list[Mapping[str, str]] = []
        feed = proxy.query_items_change_feed(
            max_item_count=limit,
            response_hook=lambda headers, _body: answers.append(headers),
            **scope,
            **(hooks if start else _refusing(hooks)),
        )
        page: AsyncIterable[Item]
        try:
            async for page in feed.by_page():
                items = [item async for item in page]
                # What the iterator tells is the client's last answer, to whomever. This one is ours.
                position = _resumable(answers[-1]["etag"])
                return [Change(position, json.dumps(shown(item), separators=(",", ":"))) for item in items]
        except ValueError as error:  # the SDK's word for the token of another container
            raise _unknown() from error
        return []

    return send


def _unknown() -> UnknownPosition:
    return UnknownPosition("a position that this container's feed never gave; perhaps the container was made anew")


def _token(position: Position) -> str:
    """The position, if it is a token. The SDK takes a plain number for one, too, and others for a start anew."""
    try:
        state = json.loads(base64.b64decode(str(position), validate=True))
        parts = state["continuation"]["continuation"]
        texts = [text for each in parts for text in (each["token"], each["range"]["min"], each["range"]["max"])]
    except (ValueError, TypeError, KeyError):
        raise _unknown() from None
    if not isinstance(position, str) or not texts or not all(isinstance(text, str) for text in texts):
        raise _unknown()
    return position


def _resumable(token: str) -> str:
    """The token with an empty text where a partition was not read yet: the SDK writes a null, which it then refuses."""
    state = json.loads(base64.b64decode(token))
    for each in state["continuation"]["continuation"]:
        each["token"] = each["token"] or ""
    return base64.b64encode(json.dumps(state).encode()).decode()


def _refusing(hooks: Hooks) -> Hooks:
    """Hooks that end the call when the container was made anew: the SDK would ask the new one to go on from there."""
    answered = hooks["raw_response_hook"]

    def watched(response: Any) -> None:
        answered(response)
        if response.http_response.headers.get("x-ms-substatus") == CONTAINER_MADE_ANEW:
            raise _unknown()

    return {**hooks, "raw_response_hook": watched}
