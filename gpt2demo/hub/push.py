"""An exported model goes to the Hub, into the visitor's own account and with the visitor's own token."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from gpt2demo.errors import BusyError, ConfigError, FileError, NotFoundError, UserError
from gpt2demo.hub.connection import OFFICIAL, Connection, Unreachable

# What others need to use the model. The text, the diary and the checkpoints stay at home.
NEEDED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
PUSHED = ("README.md", *NEEDED)
TOKEN = re.compile(r"[!-~]{8,4000}")  # printable ASCII, as a header of a request must be
NAME = re.compile(r"(?!.*(--|\.\.|\.git$|\.ipynb$))[A-Za-z0-9][\w.-]{0,94}[A-Za-z0-9]", re.ASCII)
USER = re.compile(r"[\w.-]{1,96}", re.ASCII)
EMPTY = {".gitattributes", "README.md"}  # all that a repository has at its birth


@dataclass(frozen=True, kw_only=True)
class PushStep:
    """How far a push is. The last one has the address of the model."""

    doing: str  # a sentence
    url: str | None = None


def push(
    folder: Path,
    name: str,
    *,
    token: str | None,
    private: bool = True,
    replace: bool = False,
    endpoint: str = OFFICIAL,
    patience: float = 10.0,
) -> Iterator[PushStep]:
    """Pushes an exported folder as a new model called `name` in the account that the token belongs to.

    token: the visitor's. Without one nothing happens: no token of the host is looked for. private: only its
    owner sees the model. replace: also into a repository that holds something. patience: seconds to wait for
    the Hub's first answer. Raises a UserError that never contains the token.
    """
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise ConfigError(
            "There is no access token of yours.",
            "A model is sent as yourself, never as this server.",
            "Make a token with the right to write at huggingface.co/settings/tokens, and enter it whole.",
        )
    files = _files(folder)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(
            f"{str(name)[:60]!r} is no name for a model on the Hub.",
            "It must be 2 to 96 letters, digits, points and lines, with a letter or digit at both ends.",
            "Choose another name, such as my-first-gpt2.",
        )
    yield PushStep(doing="Asking the Hub who you are.")
    hub = Connection(endpoint=endpoint, token=token, patience=patience)
    repo = f"{_user(hub)}/{name}"
    api = HfApi(endpoint=endpoint, token=token)
    yield PushStep(doing=f"Making the repository {repo}.")
    _make(hub, api, repo, private=private, replace=replace)
    size = sum(file.stat().st_size for file in files)
    yield PushStep(doing=f"Sending {size / 1e6:,.1f} MB to {repo}.")
    with _sentences(repo):
        api.create_commit(
            repo,
            [CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file) for file in files],
            commit_message="A model trained with gpt2demo",
        )
    yield PushStep(doing=f"{repo} is on the Hub.", url=f"{endpoint}/{repo}")


def _files(folder: Path) -> list[Path]:
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise FileError(
            f"The exported folder has no {missing[0]}.",
            f"Needed are {', '.join(NEEDED)}.",
            "Export the run as a folder first.",
        )
    return [folder / name for name in PUSHED if (folder / name).is_file()]


def _user(hub: Connection) -> str:
    """The name of the account that the token belongs to."""
    try:
        name = hub.ask("/api/whoami-v2", about="your account").get("name")
    except NotFoundError:
        raise ConfigError(
            "The Hub does not accept your access token.",
            "It may be incomplete, or have expired.",
            "Make a new one at huggingface.co/settings/tokens, and enter it whole.",
        ) from None
    if not isinstance(name, str) or not USER.fullmatch(name):
        raise FileError(
            "The Hub does not say whose access token this is.", "It must name you.", "Try again later."
        )
    return name


def _make(hub: Connection, api: HfApi, repo: str, *, private: bool, replace: bool) -> None:
    """Makes the repository. One that is there may be used when it is empty, or on request."""
    try:
        with _sentences(repo):
            api.create_repo(repo, private=private)
    except _ExistsError:
        if replace:
            return
        there = hub.ask(f"/api/models/{repo}", about=repo).get("siblings")
        names = [entry.get("rfilename") for entry in there or [] if isinstance(entry, dict)]
        if not isinstance(there, list) or not set(names) <= EMPTY:
            raise


class _ExistsError(ConfigError):
    """There is a repository of this name."""


@contextmanager
def _sentences(repo: str) -> Iterator[None]:
    """Turns what the library raises into sentences; nothing of it is kept, as its requests hold the token."""
    try:
        yield
    except HfHubHTTPError as error:
        raise _refusal(repo, error.response.status_code) from None
    except (httpx2.HTTPError, httpx2.StreamError, OSError, RuntimeError, ValueError, KeyError):
        raise Unreachable(
            f"Sending to {repo} broke off.",
            "The Hub must answer until everything has arrived.",
            "Check the connection and push again.",
        ) from None


def _refusal(repo: str, status: int) -> UserError:
    if status == 409:
        return _ExistsError(
            f"You have a repository called {repo} already.",
            "A model is pushed into a new one.",
            "Choose another name, or allow it to be replaced.",
        )
    if status in (401, 402, 403):
        return ConfigError(
            f"The Hub does not let you write to {repo} (status {status}).",
            "Your access token must include the right to write repositories.",
            "Make one that does at huggingface.co/settings/tokens.",
        )
    if status == 429:
        return BusyError(
            "The Hub has had too many requests.", "It answers only so many.", "Try again in five minutes."
        )
    if status >= 500:
        return Unreachable(
            f"The Hub has a fault of its own (status {status}).",
            "It must work.",
            "Try again in some minutes.",
        )
    return FileError(
        f"The Hub refuses {repo} (status {status}).", "It must take the files.", "Try again later."
    )
