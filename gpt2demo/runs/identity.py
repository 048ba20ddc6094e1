"""Who owns what: ids of runs, tokens of owners, and the sentences for what is not there."""

import hashlib
import re
import secrets
from pathlib import Path
from typing import NoReturn

from gpt2demo.errors import ConfigError, LimitError, NotFoundError

ID = re.compile("[A-Za-z0-9_-]{16}")
OWNER = re.compile("[A-Za-z0-9_-]{22,64}")  # 128 bits and more
NONCE = re.compile("[A-Za-z0-9_-]{1,64}")
MAX_TITLE = 80


def new_owner() -> str:
    """A token for somebody who comes for the first time: whoever shows it again owns the same runs."""
    return secrets.token_urlsafe(16)


def is_owner(owner: object) -> bool:
    """True for what can be an owner's token."""
    return isinstance(owner, str) and OWNER.fullmatch(owner) is not None


def owner_key(owner: str) -> str:
    """What is stored of an owner's token: enough to recognise it, too little to use it."""
    if not is_owner(owner):
        raise ConfigError(
            "Your browser did not say whose run this shall be.",
            "Every run belongs to a browser.",
            "Reload the page and try again.",
        )
    return hashlib.sha256(owner.encode()).hexdigest()


def new_id() -> str:
    """12 random bytes as 16 characters; none begins like the option of a command."""
    while True:
        if not (id := secrets.token_urlsafe(12)).startswith("-"):
            return id


def resolve_in(root: Path, id: str) -> Path:
    """The folder of a run below `root`: the only place where an id from outside becomes a path.

    Raises NotFoundError for anything that is not 16 letters, digits, - or _, and for links.
    """
    if not isinstance(id, str) or not ID.fullmatch(id) or (root / id).is_symlink():
        refuse_unknown()
    return root / id


def refuse_unknown() -> NoReturn:
    """Says the same of what does not exist and of what belongs to somebody else."""
    raise NotFoundError(
        "This run does not exist, or it is not yours.",
        "Only a run's owner may change it, and whoever has its link may watch it.",
        "Choose another run, or start a new one.",
    )


def checked_title(title: str) -> str:
    """A title in one visible line. Raises LimitError for a long one, ConfigError when nothing is left."""
    title = title if isinstance(title, str) else ""
    if len(title) <= 1_000:
        title = " ".join("".join(c if c.isprintable() else " " for c in title).split())
    if len(title) > MAX_TITLE:
        raise LimitError(
            f"The title has {len(title):,} characters.",
            f"At most {MAX_TITLE} can be shown.",
            "Shorten it.",
        )
    if not title:
        raise ConfigError("The title is empty.", "A run needs a name to be found by.", "Write a few words.")
    return title
