"""Models by name: what a page holds is a reference, and everybody who looks at the same model shares it."""

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path

from gpt2demo.errors import BusyError, NotFoundError, check_choice
from gpt2demo.generation.engine import Engine
from gpt2demo.generation.remote import RemoteEngine, Writer
from gpt2demo.model.anatomy import count_parameters
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.packed import PRECISIONS, packed
from gpt2demo.runs.keyed import KeyedLocks
from gpt2demo.runs.live import steps_made
from gpt2demo.runs.store import RunStore
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.journal import Journal

REFERENCE = re.compile(r"(?:starter|run:(?P<run>[A-Za-z0-9_-]{16}))(?:@(?P<step>[0-9]{1,9}))?")
STARTER_TITLE = "Starter"
ONE_THREAD = 5_000_000  # parameters: in smaller models threads would mostly wait for each other
ATTEMPTS = 5  # at reading weights that a worker keeps replacing

Stamp = tuple[str, int, int, int]  # a file's name, inode, size and time of change


@dataclass(frozen=True)
class ModelRef:
    """Names a model: the starter or a run's, as it was at a step, or (step None) the newest there is."""

    kind: str  # "starter" or "run"
    run_id: str | None = None
    step: int | None = None

    def __str__(self) -> str:
        name = "starter" if self.kind == "starter" else f"run:{self.run_id}"
        return name if self.step is None else f"{name}@{self.step}"

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """Reads "starter", "starter@100", "run:ID" or "run:ID@100"; raises NotFoundError for all else."""
        match = REFERENCE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise NotFoundError(
                f"There is no model called {str(text)[:40]!r}.",
                "A model is the starter or one that was trained here.",
                "Choose one under Models.",
            )
        step = int(match["step"]) if match["step"] is not None else None
        return cls("run" if match["run"] else "starter", match["run"], step)


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What the page says about a model."""

    ref: ModelRef  # as it was asked for
    kind: str  # "starter" or "run"
    title: str
    state: str  # of its run: running, done, …
    parameters: int
    step: int | None  # None: a run that has no weights yet
    val_loss: float | None  # nats per token, if it was measured at this very step
    measured: tuple[int, float] | None  # the last measurement up to this step: at which step, and the loss
    documents: tuple[str, ...]  # the names of the texts that it was trained on


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A model in memory, shared by everybody who looks at it: nobody may change anything in it."""

    ref: ModelRef  # with the step that the weights are from
    model: LanguageModel  # in eval mode, without gradients
    tokenizer: Tokenizer
    config: GPT2Config
    step: int
    facts: ModelDescription  # as it was when the model was loaded
    lock: threading.RLock = field(default_factory=threading.RLock)  # for one forward pass at a time
    writer: Writer | None = None  # the process in which texts are written; None: this one
    _engines: dict[str, Engine | RemoteEngine] = field(default_factory=dict)  # by precision
    _making: threading.Lock = field(default_factory=threading.Lock)

    @property
    def memory(self) -> int:
        """How many bytes the weights take, the copies to write with counted."""
        own = sum(p.numel() * p.element_size() for p in self.model.parameters())
        share = {"fp32": 1.0, "bf16": 0.5, "int8": 0.25}
        return int(own * (1 + sum(share[precision] for precision in self._engines)))

    def engine(self, precision: str = "fp32") -> Engine | RemoteEngine:
        """Who writes with this model, for everybody at once; made when somebody wants it first.

        It has a copy of the model of its own: hooks of somebody who looks into the model would slow it down.
        Raises ConfigError for a precision that there is not.
        """
        check_choice("precision", precision, PRECISIONS)
        with self._making:
            if precision not in self._engines:
                threads = 1 if count_parameters(self.config) < ONE_THREAD else None
                self._engines[precision] = (
                    Engine(packed(self.model, precision), threads=threads)
                    if self.writer is None
                    else self.writer.engine(self.model, self.tokenizer, precision, threads)
                )
            return self._engines[precision]


class ModelStore:
    """Loads models when they are asked for, and keeps those that were asked for last."""

    def __init__(
        self,
        store: RunStore,
        starter: Path,
        *,
        capacity_bytes: int = 1_000_000_000,
        writer: Writer | None = None,
    ) -> None:
        """starter: the run folder that comes with the program; it is only read. writer: as in LoadedModel."""
        self.writer = writer
        self.store = store
        self.starter = starter
        self.capacity_bytes = capacity_bytes
        self._guard = threading.Lock()  # held for looking into the table, never while loading
        self._loaded: OrderedDict[ModelRef, tuple[Stamp, LoadedModel]] = OrderedDict()  # last used last
        self._loading = KeyedLocks()

    def get(self, ref: ModelRef) -> LoadedModel:
        """The model that a reference names; the same object for everybody, as long as its file is the same.

        A reference without a step gives the newest weights on the disk, which change while a run goes on. A
        step whose file is gone is still served while it is in memory. Raises NotFoundError, FileError.
        """
        folder = self.folder(ref)
        for _ in range(ATTEMPTS):
            exact, file = self._resolve(ref, folder)
            with self._loading.hold(exact):
                stamp = _stamp(file)
                known = self._recall(exact, stamp)
                if known is not None:
                    return known
                if stamp is None:
                    continue  # it was replaced by a newer one at this moment
                try:
                    loaded = self._load(exact, folder)
                except NotFoundError:
                    if self._resolve(ref, folder)[0] == exact:
                        raise
                    continue  # it was replaced before this moment
                if _stamp(file) == stamp:  # else nobody knows of which step the weights are
                    self._keep(exact, stamp, loaded)
                    return loaded
        raise BusyError(
            "The weights of this run were being replaced.", "They must be whole.", "Try again in a moment."
        )

    def steps(self, ref: ModelRef) -> tuple[int, ...]:
        """The steps at which this model can be looked at, in order."""
        return self.folder(ref).snapshot_steps()

    def describe(self, ref: ModelRef) -> ModelDescription:
        """What there is to say about a model, without loading it. Raises NotFoundError."""
        folder = self.folder(ref)
        step = ref.step
        if step is None:
            step = folder.newest_step()
        elif step not in folder.snapshot_steps() and self._recall(ref, None) is None:
            raise folder.missing(step)
        if ref.run_id is None:
            title, state = STARTER_TITLE, folder.status().state
        else:
            summary = self.store.summary(ref.run_id)
            title, state = summary.title, summary.state
        measured = _measured(folder.journal(), step)
        return ModelDescription(
            ref=ref,
            kind=ref.kind,
            title=title,
            state=state,
            parameters=count_parameters(folder.config()),
            step=step,
            val_loss=measured[1] if measured and measured[0] == step else None,
            measured=measured,
            documents=folder.facts().documents,
        )

    def folder(self, ref: ModelRef) -> RunFolder:
        """The folder of the run that a model comes from, only to be read. Raises NotFoundError."""
        if ref.kind == "starter":
            return RunFolder(self.starter, read_only=True)
        return self.store.folder(ref.run_id or "")

    def _resolve(self, ref: ModelRef, folder: RunFolder) -> tuple[ModelRef, Path]:
        """The reference with its step, and the file that has these weights. Raises NotFoundError."""
        newest = folder.newest_step()
        step = newest if ref.step is None else ref.step
        if step is not None and step == newest:
            return replace(ref, step=step), folder.path / "model.safetensors"
        file = folder.snapshots / f"step-{step or 0:06d}.safetensors"
        if step is None or (not file.is_file() and self._recall(ref, None) is None):
            raise folder.missing(step)
        return ref, file

    def _recall(self, ref: ModelRef, stamp: Stamp | None) -> LoadedModel | None:
        """A model in memory that still agrees with its file, or whose file is gone."""
        with self._guard:
            known = self._loaded.get(ref)
            if known is None or (stamp is not None and known[0] != stamp):
                return None
            self._loaded.move_to_end(ref)
            return known[1]

    def _load(self, ref: ModelRef, folder: RunFolder) -> LoadedModel:
        model, step = folder.load_model(ref.step)
        return LoadedModel(
            ref=ref,
            model=model,
            tokenizer=folder.tokenizer(),
            config=model.config,
            step=step,
            facts=self.describe(ref),
            writer=self.writer,
        )

    def _keep(self, ref: ModelRef, stamp: Stamp, loaded: LoadedModel) -> None:
        """Adds a model to those in memory, and forgets those used longest ago when there are too many."""
        with self._guard:
            self._loaded[ref] = (stamp, loaded)
            self._loaded.move_to_end(ref)
            while len(self._loaded) > 1 and self._bytes() > self.capacity_bytes:
                self._loaded.popitem(last=False)

    def _bytes(self) -> int:
        return sum(loaded.memory for _, loaded in self._loaded.values())


def _stamp(file: Path) -> Stamp | None:
    """What changes when a file is replaced; None while there is none."""
    try:
        facts = file.stat()
    except OSError:
        return None
    return file.name, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _measured(journal: Journal, step: int | None) -> tuple[int, float] | None:
    """The last validation loss that was measured up to a step, with its step."""
    status = journal.status()
    made = steps_made(status, journal.last_step())
    if step is not None and step == made and status.final_val_loss is not None:
        return step, status.final_val_loss
    losses = [(r.step, r.val_loss) for r in journal.validation() if step is not None and r.step <= step]
    known = [(at, loss) for at, loss in losses if loss is not None]
    return known[-1] if known else None
