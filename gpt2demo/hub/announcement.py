"""What a model on the Hub consists of: its files, their sizes and checksums, before any of it is fetched."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not typed so

from gpt2demo.errors import ConfigError, FileError
from gpt2demo.hub.config_file import MAX_CONFIG_BYTES
from gpt2demo.hub.source import WEIGHTS, no_weights
from gpt2demo.hub.strict_json import fields_of
from gpt2demo.model.anatomy import count_parameters
from gpt2demo.model.config import preset
from gpt2demo.text.tokenizer_files import MAX_FILE_BYTES

# The four that OpenAI published (Radford et al. 2019), by the names of our sizes.
OFFICIAL_MODELS: Mapping[str, str] = {
    name: f"openai-community/{name}" for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
}
OFFICIAL_VOCABULARY = 50_257
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
REVISION = re.compile(r"[0-9a-f]{40}|(?!\.+$)[\w.-]{1,64}", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a model on the Hub. Small ones are known by git's SHA-1, large ones by SHA-256."""

    name: str
    size: int  # in bytes
    sha1: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """What a download would bring, before anything of it is fetched."""

    repo: str  # owner/name
    revision: str  # the commit, so that it stays the same whatever its author does
    files: tuple[RemoteFile, ...]  # in the order in which they are fetched: the weights last
    parameters: int | None  # known for OpenAI's own
    public: bool  # everybody may have it: it can be used from the cache without asking the Hub
    notices: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(file.size for file in self.files)


def checked_repo(name: str) -> str:
    """The repository that a name means: one of OpenAI's four, or owner/name. Raises ConfigError."""
    repo = OFFICIAL_MODELS.get(name, name) if isinstance(name, str) else ""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(
            f"{str(name)[:60]!r} is no name of a model on the Hub.",
            "It must be owner/name, of letters, digits, points and lines.",
            f"Or choose {', '.join(OFFICIAL_MODELS)}.",
        ) from error
    return repo


def check_revision(revision: str | None) -> None:
    """Raises ConfigError for what cannot be a commit, a branch or a tag; None is the newest."""
    if revision is not None and not REVISION.fullmatch(revision):
        raise ConfigError(
            f"The version is {revision[:40]!r}.",
            "It must be a commit, a branch or a tag: letters, digits, points, lines.",
            "Leave it out.",
        )


def announcement_from(repo: str, answer: Mapping[str, Any]) -> Announcement:
    """What the Hub's description of a model says, each part of it checked."""
    fields = fields_of(answer, "the Hub's answer", {"sha": str, "siblings": list})
    if not COMMIT.fullmatch(fields["sha"]):
        raise FileError(
            f"The Hub names the version {fields['sha'][:40]!r} of {repo}.",
            "It must be a commit.",
            "Try again later.",
        )
    entries = [entry for entry in fields["siblings"] if isinstance(entry, dict)]
    there = {str(entry.get("rfilename")): entry for entry in entries}
    names = _needed(repo, there)
    official = next((name for name, path in OFFICIAL_MODELS.items() if path == repo), None)
    return Announcement(
        repo=repo,
        revision=fields["sha"],
        files=tuple(_remote_file(repo, name, there[name]) for name in names),
        parameters=count_parameters(preset(official, vocab_size=OFFICIAL_VOCABULARY)) if official else None,
        public=answer.get("private") is False and not answer.get("gated") and not answer.get("disabled"),
    )


def _needed(repo: str, there: Mapping[str, Any]) -> tuple[str, ...]:
    """The files to fetch, the weights last. Raises FileError when the model is not complete."""
    if WEIGHTS not in there:
        raise no_weights(repo, there)
    tokenizer = next((files for files in TOKENIZERS if all(file in there for file in files)), None)
    missing = "config.json" if "config.json" not in there else "tokenizer.json" if tokenizer is None else None
    if tokenizer is None or missing:
        raise FileError(
            f"{repo} has no {missing}.",
            "A model needs its config.json, its weights and its tokenizer.",
            "Choose another model.",
        )
    return ("config.json", *tokenizer, WEIGHTS)


def _remote_file(repo: str, name: str, entry: Mapping[str, Any]) -> RemoteFile:
    size, large = entry.get("size"), entry.get("lfs")
    limit = {"config.json": MAX_CONFIG_BYTES, WEIGHTS: None}.get(name, MAX_FILE_BYTES)
    if type(size) is not int or size < 1 or (limit is not None and size > limit):
        raise FileError(
            f"{name} of {repo} has {size if type(size) is int else 'an unknown number of'} bytes.",
            f"It must have 1 to {limit:,} bytes." if limit else "Its size must be known.",
            "Choose another model.",
        )
    sha256 = large.get("sha256") if isinstance(large, dict) else None
    sha1 = entry.get("blobId") if not isinstance(large, dict) else None
    return RemoteFile(
        name=name,
        size=size,
        sha1=sha1 if isinstance(sha1, str) and COMMIT.fullmatch(sha1) else None,
        sha256=sha256 if isinstance(sha256, str) and SHA256.fullmatch(sha256) else None,
    )


def is_what_was_announced(path: Path, file: RemoteFile) -> bool:
    """Whether a file has the announced size and the announced checksum."""
    if path.stat().st_size != file.size:
        return False
    if file.sha256 is None and file.sha1 is None:
        return True
    if file.sha256 is not None:
        digest, wanted = hashlib.sha256(), file.sha256
    else:
        digest, wanted = hashlib.sha1(f"blob {file.size}\0".encode()), str(file.sha1)  # as git does
    with path.open("rb") as content:
        while piece := content.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest() == wanted
