"""Models come in, from files and from the Hub, and go out there: with limits, and told as they move."""

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gpt2demo.errors import BusyError, FileError, LimitError
from gpt2demo.hub.announcement import OFFICIAL_VOCABULARY, Announcement
from gpt2demo.hub.config_file import check_memory
from gpt2demo.hub.connection import OFFICIAL
from gpt2demo.hub.download import MAX_BYTES_FOR_VISITORS, Hub
from gpt2demo.hub.push import PushStep, push
from gpt2demo.model.config import preset
from gpt2demo.model.memory import FLOAT
from gpt2demo.runs.export import export_to
from gpt2demo.runs.imported import import_source
from gpt2demo.runs.store import RunStore
from gpt2demo.training.folder import RunFolder

MOST_FILES = 12  # that make up one model
TRANSFERS = 2  # to and from the Hub at once, for all visitors
PATIENCE = 120.0  # seconds to wait for other imports, each of which takes seconds
CACHE_BYTES = 8_000_000_000  # of fetched models; those used longest ago make room
SPARE_BYTES = 1_000_000  # for a run's small files
LOOSE_TITLE = "Uploaded model"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A model on the Hub that could be fetched."""

    announcement: Announcement
    here: int  # bytes of it that were fetched before


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A model that came in and is a run now."""

    run: str  # its id
    title: str
    trainable: bool  # a run of this program, which can go on
    notices: tuple[str, ...] = ()  # sentences about what was left out


@dataclass(frozen=True, kw_only=True)
class FetchStep:
    """How far a model from the Hub is. At the end `folder` is where it lies, then `arrived` its run."""

    done: int  # bytes
    size: int
    seconds_left: float | None = None  # None before it can be guessed
    folder: Path | None = None
    arrived: Arrived | None = None


def fetch(hub: Hub, announcement: Announcement) -> Generator[FetchStep, None, None]:
    """Downloads a model and tells how far it is. Closing the generator stops it; the bytes stay."""
    began, first = time.monotonic(), None
    for step in hub.download(announcement):
        first = step.done if first is None else first
        passed, came = time.monotonic() - began, step.done - first
        left = (step.size - step.done) * passed / came if came and passed > 1 else None
        yield FetchStep(done=step.done, size=step.size, seconds_left=left, folder=step.folder)


def default_cache() -> Path:
    """Where fetched models are kept, for the page and for the command line."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "gpt2demo"


class Exchange:
    """The doors of a server with visitors. Safe to use from many threads."""

    def __init__(
        self,
        store: RunStore,
        cache: Path,
        *,
        max_bytes: int = MAX_BYTES_FOR_VISITORS,
        cache_bytes: int = CACHE_BYTES,
        endpoint: str = OFFICIAL,
        patience: float = 10.0,
    ) -> None:
        """cache: for what the Hub sends. max_bytes: of one model, also when it comes out of a zip."""
        self.store = store
        self.cache = cache
        self.max_bytes = max_bytes
        self.cache_bytes = cache_bytes
        self.endpoint = endpoint
        self.patience = patience
        self.hub = Hub(
            cache,
            endpoint=endpoint,
            max_bytes=max_bytes,
            memory_bytes=store.memory_bytes,
            patience=patience,
        )
        self._guard = threading.Lock()  # held for looking at the next line only
        self._moving: list[str] = []  # what is on its way to or from the Hub
        self._importing = threading.Lock()  # an import holds a model in memory twice

    # -- in --------------------------------------------------------------------------------------------------

    def announce(self, name: str) -> Offer:
        """What a model on the Hub would bring. Raises a UserError, also for one that cannot fit in here."""
        announcement = self.hub.announce(name)
        if announcement.parameters is not None:  # one of OpenAI's four, whose shape is known
            size = announcement.repo.rpartition("/")[2]
            check_memory(preset(size, vocab_size=OFFICIAL_VOCABULARY), self.store.memory_bytes)
        return Offer(announcement=announcement, here=self.hub.fetched(announcement))

    def fetch(self, owner: str, name: str) -> Generator[FetchStep, None, None]:
        """Fetches a model from the Hub and makes it a run of this owner. The last step has the run.

        Closing the generator stops the download; the next one goes on from there. Raises a UserError.
        """
        found = self.announce(name).announcement
        needed = _room_for(found.size, found.parameters)
        self.store.check_room(owner, needed)
        with self._transfer(found.repo):
            self._tidy(found)
            with closing(fetch(self.hub, found)) as steps:
                for step in steps:
                    folder = step.folder
                    yield step
            assert folder is not None
            title = found.repo.rpartition("/")[2]
            arrived = self._adopt(owner, folder, needed, title=title, name=f"hub:{name}")
        arrived = replace(arrived, notices=(*found.notices, *arrived.notices))
        yield FetchStep(done=found.size, size=found.size, folder=folder, arrived=arrived)

    def take_in(self, owner: str, files: Sequence[Path]) -> Arrived:
        """Makes a run of this owner from a zip, or from the loose files of one model. Raises a UserError."""
        if not files:
            raise FileError(
                "There is no file.",
                "A model is a zip file, or its config.json, model.safetensors and tokenizer together.",
                "Choose one.",
            )
        if len(files) > MOST_FILES:
            raise LimitError(
                f"These are {len(files):,} files.",
                f"A model has at most {MOST_FILES}.",
                "Choose those of one model only.",
            )
        size = sum(file.stat().st_size for file in files)
        if len(files) == 1 and files[0].name != "config.json":
            return self._adopt(owner, files[0], _room_for(size), name=files[0].name)
        with tempfile.TemporaryDirectory(dir=self.store.unfinished) as place:
            folder = Path(place) / LOOSE_TITLE
            folder.mkdir()
            for file in files:
                shutil.copyfile(file, folder / file.name)
            return self._adopt(owner, folder, _room_for(size), title=LOOSE_TITLE, name="FOLDER")

    def _adopt(self, owner: str, source: Path, needed: int, *, title: str = "", name: str) -> Arrived:
        made = []

        def make(path: Path) -> None:
            made.append(
                import_source(
                    source,
                    path,
                    memory_bytes=self.store.memory_bytes,
                    max_bytes=self.max_bytes,
                    title=title,
                    name=name,
                )
            )

        if not self._importing.acquire(timeout=PATIENCE):
            raise BusyError(
                "Other models are being taken in.", "One at a time has room.", "Try again in a minute."
            )
        try:
            run = self.store.adopt(owner, title or source.stem[:80] or LOOSE_TITLE, make, needed=needed)
        finally:
            self._importing.release()
        facts = self.store.folder(run).facts()
        trainable = facts.settings is not None
        return Arrived(run=run, title=facts.title, trainable=trainable, notices=made[0].notices)

    # -- out -------------------------------------------------------------------------------------------------

    def push(
        self, folder: RunFolder, name: str, *, token: str, private: bool, overwrite: bool
    ) -> Iterator[PushStep]:
        """Sends a model to the Hub as the visitor whose token it is. The last step has its address.

        The token is used and forgotten. Raises a UserError that never contains it.
        """
        with (
            self._transfer(f"push {secrets.token_hex(8)}"),
            tempfile.TemporaryDirectory(dir=self.store.unfinished) as place,
        ):
            yield PushStep(doing="Packing the model and its card.")
            packed = export_to(folder, Path(place) / "model").path
            yield from push(
                packed,
                name,
                token=token,
                private=private,
                replace=overwrite,
                endpoint=self.endpoint,
                patience=self.patience,
            )

    # -- limits ----------------------------------------------------------------------------------------------

    @contextmanager
    def _transfer(self, what: str) -> Iterator[None]:
        """Raises BusyError when too much is on its way, or the very same."""
        with self._guard:
            if what in self._moving:
                raise BusyError(
                    f"{str(what)[:60]} is on its way already, for you or for somebody else.",
                    "It moves once at a time.",
                    "Try again when it is there.",
                )
            if len(self._moving) >= TRANSFERS:
                raise BusyError(
                    f"{TRANSFERS} models are on their way to or from the Hub.",
                    "This server moves no more at once.",
                    "Try again in a minute.",
                )
            self._moving.append(what)
        try:
            yield
        finally:
            with self._guard:
                self._moving.remove(what)

    def _tidy(self, coming: Announcement) -> None:
        """Deletes the models that were fetched longest ago until there is room for the one that comes."""
        own = self.hub.place_of(coming.repo)
        own.mkdir(parents=True, exist_ok=True)
        os.utime(own)  # used now
        with self._guard:
            needed = {own, *map(self.hub.place_of, self._moving)}
        places = sorted((p for p in self.cache.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime)
        sizes = {place: sum(f.stat().st_size for f in place.rglob("*") if f.is_file()) for place in places}
        over = sum(sizes.values()) + coming.size - self.hub.fetched(coming) - self.cache_bytes
        for place in places:
            if over <= 0:
                return
            if place not in needed:
                shutil.rmtree(place, ignore_errors=True)
                over -= sizes[place]


def _room_for(size: int, parameters: int | None = None) -> int:
    """What the run of a model may take: if nobody knows better, each number may come half as long."""
    return (2 * size if parameters is None else FLOAT * parameters) + SPARE_BYTES
