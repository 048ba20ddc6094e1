"""Models from the Hub: the size told first, fetched piece by piece, kept for when there is no network."""

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import quote

from gpt2demo.errors import FileError, LimitError, UserError
from gpt2demo.hub.announcement import (
    OFFICIAL_MODELS,
    Announcement,
    RemoteFile,
    announcement_from,
    check_revision,
    checked_repo,
    is_what_was_announced,
)
from gpt2demo.hub.archive import check_room
from gpt2demo.hub.config_file import read_config
from gpt2demo.hub.connection import OFFICIAL, Connection, Unreachable
from gpt2demo.hub.strict_json import read_json_object

MAX_BYTES_FOR_VISITORS = 600_000_000  # the smallest GPT-2 has 548 MB
MAX_RECORD_BYTES = 100_000
SHOW_SECONDS = 0.1  # between two records of progress
ATTEMPTS = 3  # in a row that may bring nothing
PAUSE = 1.0  # seconds before the second attempt
SLOWEST = 1_000.0  # bytes per second
ABANDONED = 600.0  # seconds after which a half-fetched file is surely nobody's work in progress


@dataclass(frozen=True, kw_only=True)
class DownloadStep:
    """How far a download is. The last one has the folder in which the model lies."""

    file: str  # that is being fetched
    done: int  # bytes of all files
    size: int  # all bytes
    folder: Path | None = None


class Hub:
    """Fetches models from the Hub into a folder of its own. Cheap to make; holds no connection."""

    def __init__(
        self,
        cache: Path,
        *,
        token: str | None = None,
        endpoint: str = OFFICIAL,
        max_bytes: int = MAX_BYTES_FOR_VISITORS,
        only_official: bool = False,
        memory_bytes: int | None = None,
        patience: float = 10.0,
    ) -> None:
        """token: the visitor's own, if he or she is signed in; the host's is never used. max_bytes: of one
        model. only_official: refuse all but OpenAI's four. memory_bytes: what a model may take in memory.
        patience: seconds to wait for a sign of life.
        """
        self.cache = cache
        self.max_bytes = max_bytes
        self.only_official = only_official
        self.memory_bytes = memory_bytes
        self._hub = Connection(endpoint=endpoint, token=token, patience=patience)

    def announce(self, name: str, revision: str | None = None) -> Announcement:
        """Asks what a model on the Hub consists of, without fetching it.

        name: gpt2, gpt2-medium, gpt2-large, gpt2-xl, or owner/name. revision: a commit, branch or tag. When
        the Hub cannot be reached, a public model that was fetched before is announced as it is here, with a
        notice. Raises a UserError with a sentence for everything that can go wrong.
        """
        repo = checked_repo(name)
        check_revision(revision)
        self._check_official(repo)
        where = f"/api/models/{repo}" + (f"/revision/{quote(revision)}" if revision else "")
        try:
            answer = self._hub.ask(f"{where}?blobs=true", about=repo)
        except Unreachable as error:
            known = self._remembered(repo, revision)
            if known is None:
                raise
            return replace(known, notices=(f"{error.got} The copy that was fetched before is used.",))
        announcement = announcement_from(repo, answer)
        self._check_size(announcement)
        if announcement.public:
            self._remember(announcement, repo, revision)
        return announcement

    def download(self, announcement: Announcement) -> Iterator[DownloadStep]:
        """Fetches a model. What was fetched before is not fetched again, and broken connections are resumed.

        Closing the generator stops the download; the next one goes on from there. Each file must be what was
        announced, to the last bit. Raises a UserError; for an impossible model already before its weights.
        """
        folder = self._folder(announcement)
        folder.mkdir(parents=True, exist_ok=True)
        missing = [file for file in announcement.files if not _is_there(folder, file)]
        check_room(folder, sum(file.size for file in missing))
        done = announcement.size - sum(file.size for file in missing)
        shown = 0.0
        for file in missing:
            for size in self._fetch(announcement, file, folder / file.name):
                if time.monotonic() - shown > SHOW_SECONDS:
                    shown = time.monotonic()
                    yield DownloadStep(file=file.name, done=done + size, size=announcement.size)
            done += file.size
            if file.name == "config.json":
                read_config(folder / file.name, memory_bytes=self.memory_bytes)
        last = announcement.files[-1].name
        yield DownloadStep(file=last, done=done, size=announcement.size, folder=folder)

    def fetched(self, announcement: Announcement) -> int:
        """How many bytes of a model are here already, whole files and begun ones."""
        folder, files = self._folder(announcement), announcement.files
        return sum(f.size if _is_there(folder, f) else _begun(folder / f.name) for f in files)

    def place_of(self, repo: str) -> Path:
        """The folder for everything that was ever fetched of a model."""
        return self.cache / repo.replace("/", "--")

    def _check_official(self, repo: str) -> None:
        if self.only_official and repo not in OFFICIAL_MODELS.values():
            raise LimitError(
                f"{repo} is not one of OpenAI's four.",
                "This server fetches no others.",
                f"Choose {', '.join(OFFICIAL_MODELS)}, or run this program on a machine of your own.",
            )

    def _check_size(self, announcement: Announcement) -> None:
        if announcement.size > self.max_bytes:
            raise LimitError(
                f"{announcement.repo} has {announcement.size / 1e9:,.2f} GB.",
                f"At most {self.max_bytes / 1e9:,.2f} GB are fetched here.",
                "Choose a smaller model, such as gpt2, or run this program on a machine of your own.",
            )

    def _folder(self, announcement: Announcement) -> Path:
        return self.place_of(announcement.repo) / announcement.revision

    def _record(self, repo: str, revision: str | None) -> Path:
        """Where it is noted what was announced under a name. No name of a branch begins with a point."""
        return self.place_of(repo) / f".{revision or ''}.json"

    def _remember(self, announcement: Announcement, repo: str, revision: str | None) -> None:
        path = self._record(repo, revision)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        unfinished.write_text(json.dumps(asdict(announcement)), encoding="utf-8")
        unfinished.replace(path)

    def _remembered(self, repo: str, revision: str | None) -> Announcement | None:
        """What was announced when the Hub could be reached, if all of it is here."""
        path = self._record(repo, revision)
        if not path.is_file():
            return None
        try:
            noted = read_json_object(path, max_bytes=MAX_RECORD_BYTES)
            files = tuple(RemoteFile(**file) for file in noted["files"])
            known = Announcement(**noted | {"files": files, "notices": ()})
        except (UserError, TypeError, KeyError):  # written by another version of this program
            return None
        return known if all(_is_there(self._folder(known), file) for file in files) else None

    def _fetch(self, announcement: Announcement, file: RemoteFile, target: Path) -> Iterator[int]:
        """Fetches one file, resuming it as often as needed. Yields how many of its bytes have arrived."""
        part, failures = _claim(target), 0
        try:
            while part.stat().st_size < file.size:
                before = part.stat().st_size
                try:
                    yield from self._receive(announcement, file, part)
                except Unreachable:
                    failures = 0 if part.stat().st_size > before else failures + 1
                    if failures == ATTEMPTS:
                        raise
                    time.sleep(PAUSE * failures)
            if not is_what_was_announced(part, file):
                part.unlink()
                raise FileError(
                    f"{file.name} of {announcement.repo} arrived damaged.",
                    "It must be the file that the Hub announced, bit for bit.",
                    "Try again.",
                )
            os.replace(part, target)
        finally:
            with suppress(FileNotFoundError):
                os.utime(part, (0, 0))  # nobody's any more

    def _receive(self, announcement: Announcement, file: RemoteFile, part: Path) -> Iterator[int]:
        """One connection's worth of a file, written behind what is there already."""
        at = part.stat().st_size
        path = f"/{announcement.repo}/resolve/{announcement.revision}/{file.name}"
        with self._hub.stream(path, about=announcement.repo, begin=at) as response, part.open("r+b") as out:
            if not response.headers.get("content-range", "").startswith(f"bytes {at}-"):
                at = 0  # the whole file comes
            out.seek(at)
            out.truncate()
            pace = _Pace(seconds=3 * self._hub.patience, at=at)
            for piece in response.iter_raw():
                at += len(piece)
                if at > file.size:
                    raise FileError(
                        f"{file.name} of {announcement.repo} is larger than the Hub announced.",
                        f"It must have {file.size:,} bytes.",
                        "Try again later.",
                    )
                out.write(piece)
                pace.check(at)
                yield at
        if at < file.size:
            raise Unreachable(
                "The connection to the Hub broke off.", "What has arrived is kept.", "Try again."
            )


class _Pace:
    """Notices a connection that is alive and brings next to nothing."""

    def __init__(self, *, seconds: float, at: int) -> None:
        self.seconds = seconds
        self.since, self.at = time.monotonic(), at

    def check(self, at: int) -> None:
        """at: how many bytes there are now. Raises Unreachable."""
        now = time.monotonic()
        if now - self.since < self.seconds:
            return
        if at - self.at < SLOWEST * (now - self.since):
            raise Unreachable(
                f"The Hub sent less than {SLOWEST / 1e3:.0f} kB per second.",
                "What has arrived is kept.",
                "Try again: it goes on from there.",
            )
        self.since, self.at = now, at


def _claim(target: Path) -> Path:
    """A file to collect the bytes of `target` in: one that somebody left half-full, or a new one."""
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    for left in target.parent.glob(f"{target.name}.*.part"):
        with suppress(FileNotFoundError):  # somebody else was faster
            if left.stat().st_mtime < time.time() - ABANDONED:
                left.rename(part)
                break
    part.touch()
    return part


def _begun(target: Path) -> int:
    """How many bytes of a file the next download can build on."""
    parts = (_size(part) for part in target.parent.glob(f"{target.name}.*.part"))
    return max(parts, default=0)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it got its name at this moment
        return 0


def _is_there(folder: Path, file: RemoteFile) -> bool:
    """Whether a file is here already. It was compared with its checksum before it got its name."""
    path = folder / file.name
    return path.is_file() and path.stat().st_size == file.size
