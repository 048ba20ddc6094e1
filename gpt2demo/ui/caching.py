"""What a browser may keep: files whose address changes with their content need not be asked for again."""

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOREVER = "public, max-age=31536000, immutable"  # a year, the longest that browsers take seriously


class LongLived:
    """Lets browsers keep the page's scripts, so that a reload asks for none of them.

    Gradio's own have a fingerprint in their name, ours have it behind a question mark. Without this a
    browser asks for each of about a hundred files whether it has changed, which makes a reload wait.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as the page does, with one more header where it belongs."""
        if scope["type"] != "http" or not is_fingerprinted(scope):
            await self.app(scope, receive, send)
            return

        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 304):
                MutableHeaders(scope=message)["Cache-Control"] = FOREVER
            await send(message)

        await self.app(scope, receive, send_with_header)


def is_fingerprinted(scope: MutableMapping[str, Any]) -> bool:
    """True for an address that names one content for all time."""
    path = str(scope["path"])
    if path.startswith("/assets/"):  # Gradio's: index-DphvyggB.js
        return "-" in path.rsplit("/", 1)[1]
    return path.startswith("/gradio_api/file=") and scope["query_string"].startswith(b"v=")
