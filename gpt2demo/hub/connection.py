"""Asking the Hub: one door to the network, which leads nowhere else and does not stay open for ever."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

import httpx2
from huggingface_hub import get_session
from huggingface_hub.errors import OfflineModeIsEnabled

from gpt2demo.errors import BusyError, FileError, NotFoundError, UserError
from gpt2demo.hub.strict_json import parse_json_object

OFFICIAL = "https://huggingface.co"
STORAGE = (".huggingface.co", ".hf.co")  # where the official Hub keeps large files
MAX_REDIRECTS = 5
MAX_ANSWER_BYTES = 8_000_000  # of a description, not of a file


class Unreachable(BusyError):
    """The Hub does not answer, or not as it should. What was fetched before can still be used."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach the Hub. Neither the host's own token nor another endpoint is ever used.

    token: the visitor's, sent to the endpoint alone. patience: seconds to wait for a sign of life. The
    standard client would follow any redirection and cannot be stopped between two pieces, so the requests are
    made here, over its session.
    """

    endpoint: str = OFFICIAL
    token: str | None = field(default=None, repr=False)
    patience: float = 10.0

    def ask(self, path: str, *, about: str) -> dict[str, Any]:
        """What the Hub answers at a path, a JSON object. about: the name to use in sentences about faults."""
        deadline = time.monotonic() + 3 * self.patience
        data = b""
        with self.stream(path, about=about) as response:
            for piece in response.iter_raw():  # as it comes: else a slow one would be waited for
                data += piece
                if len(data) > MAX_ANSWER_BYTES:
                    _refuse_answer(about, f"is larger than {MAX_ANSWER_BYTES:,} bytes")
                if time.monotonic() > deadline:
                    raise _slow(3 * self.patience)
        try:
            return parse_json_object(data)
        except ValueError as error:
            _refuse_answer(about, str(error))

    @contextmanager
    def stream(self, path: str, *, about: str, begin: int = 0) -> Iterator[httpx2.Response]:
        """The Hub's answer, to be read piece by piece. begin: the first byte that is wanted of a file.

        Redirections are followed within the Hub and to its own storage only. Raises Unreachable for a network
        or a server at fault, another UserError for what the Hub refuses.
        """
        url = self.endpoint + path
        try:
            for _ in range(MAX_REDIRECTS):
                self._check_place(url, about)
                with get_session().stream(
                    "GET",
                    url,
                    headers=self._headers(url, begin),
                    follow_redirects=False,
                    timeout=self.patience,
                ) as response:
                    if not response.has_redirect_location:
                        if response.status_code >= 400:
                            raise refusal(response.status_code, response.headers, about, token=self.token)
                        yield response
                        return
                    url = urljoin(url, response.headers["location"])
        except httpx2.TimeoutException as error:
            raise _slow(self.patience) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OfflineModeIsEnabled) as error:
            raise Unreachable(
                "The Hub cannot be reached.",
                "A model that was never fetched before comes over the internet.",
                "Check the connection and try again, or take a model that is here already.",
            ) from error
        raise FileError(
            f"The Hub sends {about} round in circles.",
            f"At most {MAX_REDIRECTS} redirections are followed.",
            "Try again later.",
        )

    def _headers(self, url: str, begin: int) -> dict[str, str]:
        headers = {"user-agent": "gpt2demo", "accept-encoding": "identity"}
        if begin:
            headers["range"] = f"bytes={begin}-"
        if self.token is not None and _origin(url) == _origin(self.endpoint):
            headers["authorization"] = f"Bearer {self.token}"
        return headers

    def _check_place(self, url: str, about: str) -> None:
        """Refuses an address that is neither the Hub's nor its storage's."""
        origin = _origin(url)
        scheme, host, port = origin
        stored = self.endpoint == OFFICIAL and (scheme, port) == ("https", 443) and host.endswith(STORAGE)
        if origin != _origin(self.endpoint) and not stored:
            raise FileError(
                f"The Hub sends {about} to another server ({host[:60]}).",
                "Only the Hub itself is asked for files.",
                "Choose another model.",
            )


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:  # not a number
        port = 0
    return (
        parts.scheme,
        (parts.hostname or "").lower(),
        port or {"http": 80, "https": 443}.get(parts.scheme, 0),
    )


def _slow(seconds: float) -> Unreachable:
    return Unreachable(
        f"The Hub was silent or very slow for {seconds:.0f} seconds.",
        "What has arrived is kept.",
        "Try again: it goes on from there.",
    )


def _refuse_answer(about: str, problem: str) -> NoReturn:
    raise FileError(
        f"The Hub's answer about {about} {problem}.",
        "It must be the description of a model.",
        "Try again later, or choose another model.",
    )


def refusal(status: int, headers: Any, about: str, *, token: str | None) -> UserError:
    """The sentences for a status from 400 to 599. headers: of the answer, for what only they say."""
    code = headers.get("x-error-code", "")
    if code == "GatedRepo":
        return NotFoundError(
            f"{about} is gated: its author lets in whom he or she knows.",
            "You must have asked for access on its page, and be signed in.",
            f"Open {OFFICIAL}/{about}, ask there, then sign in here and try again.",
        )
    if code == "RevisionNotFound":
        return NotFoundError(
            f"{about} has no such version.",
            "A version is a branch, a tag, or a commit.",
            "Leave the version out.",
        )
    if status in (401, 404) or code == "RepoNotFound":
        return NotFoundError(
            f"The Hub knows no model called {about}, or it is private"
            + (" and not yours." if token else "."),
            "Only public models, and your own once you are signed in, can be fetched.",
            "Check how its name is written, owner included: owner/name.",
        )
    if status == 403:
        return NotFoundError(
            f"The Hub does not give {about} away: it is private or was disabled.",
            "You need the right to read it.",
            "Choose another model.",
        )
    if status == 429:
        wait = headers.get("retry-after", "")
        return BusyError(
            "The Hub has had too many requests from here.",
            "It answers only so many in five minutes, to all visitors of this page together.",
            f"Try again in {wait} seconds."
            if wait.isdigit() and len(wait) < 6
            else "Try again in five minutes.",
        )
    if status >= 500:
        return Unreachable(
            f"The Hub has a fault of its own (status {status}).",
            "It must work to send a model.",
            "Try again in some minutes.",
        )
    return FileError(
        f"The Hub refuses {about} (status {status}).", "It must send the files.", "Choose another model."
    )
