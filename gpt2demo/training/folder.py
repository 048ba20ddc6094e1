"""A run is a folder: its model, its text, its settings and its diary, each in a file that others can read."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import safetensors

from gpt2demo.errors import FileError, NotFoundError
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.weights import load_gpt2_tensors, to_gpt2_tensors
from gpt2demo.text.batches import encode_corpus, windows_in
from gpt2demo.text.corpus import Corpus, Document
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.training.config import TrainingConfig
from gpt2demo.training.files import check_free, read_json, read_tensors, write_json, write_tensors
from gpt2demo.training.journal import Journal, RunStatus
from gpt2demo.training.lock import is_held
from gpt2demo.training.plan import RunPlan, command_for

AT_WORK = ("starting", "running")  # the states in which a worker must be alive


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a run was made from, written once when it begins."""

    title: str
    created: float  # seconds since 1970
    preset: str
    tokenizer: str  # "char", "word" or "bpe"
    documents: tuple[str, ...]  # the names of the files
    characters: int
    tokens: int = 0  # for training and validation together; 0: a folder from before they were counted
    windows: int = 0  # of the training text, or rows, which are an epoch; 0: from before they were counted
    command: str  # what a person types to make the same run
    started_from: str = ""  # the model whose weights it began with; "": random numbers
    settings: TrainingConfig | None  # None: it was trained elsewhere, and is only looked at here

    @property
    def training(self) -> TrainingConfig:
        """How the run learns. Raises NotFoundError for a model that was trained elsewhere."""
        if self.settings is None:
            raise NotFoundError(
                f"{self.title} was trained elsewhere.",
                "There is no training of it here that could be shown or continued.",
                "Start a new run, or choose one that was trained here.",
            )
        return self.settings


class RunFolder:
    """The folder of one run. Making this object reads nothing; each method reads what it needs.

    read_only: for runs that came with the program.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only

    @property
    def snapshots(self) -> Path:
        """Where the weights of earlier steps are kept, in half precision."""
        return self.path / "snapshots"

    @property
    def start(self) -> Path:
        """The weights that a run began with, where it is a fine-tuning."""
        return self.path / "start.safetensors"

    @property
    def lock(self) -> Path:
        """Held by the worker for as long as it works."""
        return self.path / "worker.lock"

    @property
    def heartbeat(self) -> Path:
        """Touched by the worker for as long as it works and gets somewhere."""
        return self.path / "worker.beat"

    @classmethod
    def create(cls, path: Path, plan: RunPlan) -> "RunFolder":
        """Makes the folder of a new run, with everything a worker needs; nothing is trained yet.

        Raises ConfigError when the folder already holds something, TextError for a text that is too short or
        that the tokenizer cannot write.
        """
        training = plan.training
        data = encode_corpus(plan.corpus, plan.tokenizer, length=training.length, batches=training.batches)
        check_free(
            path,
            "A new run needs a folder of its own.",
            "Choose another name, or continue the run that is there.",
        )
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path)
        write_json(path / "corpus.json", {"documents": [asdict(d) for d in plan.corpus.documents]})
        folder.save_tokenizer(plan.tokenizer, plan.model.n_positions)
        write_json(path / "config.json", plan.model.to_json())
        write_json(
            path / "run.json",
            {
                "title": plan.title,
                "created": time.time(),
                "preset": plan.preset,
                "tokenizer": plan.tokenizer.kind,
                "documents": plan.names,
                "characters": sum(map(len, plan.corpus.texts)),
                "tokens": len(data.tokens),
                "windows": windows_in(data.train, training.length),
                "command": command_for(plan, path.name),
                "started_from": plan.start.title if plan.start else "",
                "training": training.to_json(),
            },
        )
        if plan.start is not None:
            write_tensors(folder.start, to_gpt2_tensors(plan.start.model), {"step": "0"})
        folder.journal().tell(state="waiting", wanted="run")
        return folder

    def facts(self) -> RunFacts:
        """What the run was made from. Raises NotFoundError when there is no run in this folder."""
        if not (self.path / "run.json").is_file():
            raise NotFoundError(
                f"There is no run in {self.path.name}.",
                "A run's folder holds a run.json.",
                "Choose another run, or start a new one.",
            )
        data = read_json(self.path / "run.json")
        try:
            training = data.pop("training")
            settings = None if training is None else TrainingConfig.from_json(training)
            return RunFacts(**data | {"documents": tuple(data["documents"]), "settings": settings})
        except (KeyError, TypeError) as error:
            raise self._foreign("run.json", error) from error

    def journal(self) -> Journal:
        """The run's diary."""
        return Journal(self.path / "run.sqlite", read_only=self.read_only)

    def status(self) -> RunStatus:
        """How the run is doing. One that says it is at work while nobody is was interrupted."""
        status = self.journal().status()
        if status.state not in AT_WORK or self.read_only or is_held(self.lock):
            return status
        status = self.journal().status()  # once more: it may have ended in the meantime, as it should
        if status.state not in AT_WORK:
            return status
        message = "The training process ended unexpectedly. Nothing before the last checkpoint is lost."
        return replace(status, state="interrupted", message=message)

    def corpus(self) -> Corpus:
        """The texts that the run learns from. Raises NotFoundError for a model that came without."""
        if not (self.path / "corpus.json").is_file():
            raise NotFoundError(
                "The text that this model learnt from is not here.",
                "A model that was trained elsewhere comes without it.",
                "Choose a model that was trained here.",
            )
        data = read_json(self.path / "corpus.json")
        try:
            documents = [Document(**d | {"notices": tuple(d["notices"])}) for d in data["documents"]]
        except (KeyError, TypeError) as error:
            raise self._foreign("corpus.json", error) from error
        return Corpus(tuple(documents))

    def held_out(self) -> str:
        """Text from the held-out part that was kept by itself; "" where there is none.

        The starter's folder has some, as its corpus is only the beginning of what it was trained on.
        """
        path = self.path / "held_out.txt"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def tokenizer(self) -> Tokenizer:
        """The run's own tokenizer."""
        return Tokenizer.load(self.path / "tokenizer.json")

    def save_tokenizer(self, tokenizer: Tokenizer, n_positions: int) -> None:
        """Writes the tokenizer, for this program and every other. n_positions: how long a text may be."""
        tokenizer.save(self.path / "tokenizer.json")
        write_json(
            self.path / "tokenizer_config.json",
            {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": n_positions}
            | tokenizer.special_names,
        )

    def config(self) -> GPT2Config:
        """The shape of the run's model."""
        return GPT2Config.from_json(read_json(self.path / "config.json"))

    def save_model(self, model: LanguageModel, step: int) -> None:
        """Writes the newest weights under GPT-2's names, for this program and every other."""
        write_tensors(self.path / "model.safetensors", to_gpt2_tensors(model), {"step": str(step)})

    def save_snapshot(self, model: LanguageModel, step: int) -> None:
        """Keeps the weights of a step for looking back, in half precision to save room."""
        self.snapshots.mkdir(exist_ok=True)
        halves = {name: tensor.half() for name, tensor in to_gpt2_tensors(model).items()}
        write_tensors(self.snapshots / f"step-{step:06d}.safetensors", halves, {"step": str(step)})

    def snapshot_steps(self) -> tuple[int, ...]:
        """The steps whose weights can be looked at, in order; the newest ones are in full precision."""
        kept = {int(p.stem.removeprefix("step-")) for p in self.snapshots.glob("step-*.safetensors")}
        newest = self.newest_step()
        return tuple(sorted(kept | ({newest} if newest is not None else set())))

    def newest_step(self) -> int | None:
        """The step of the newest weights that can be used, or None before there are any."""
        path = self.path / "model.safetensors"
        return model_file_step(path) if path.is_file() else None

    def missing(self, step: int | None) -> NotFoundError:
        """What to say where the weights of a step are not there: which ones are. None: there are none yet."""
        known = ", ".join(map(str, self.snapshot_steps()))
        if step is None or not known:
            return NotFoundError(
                "This run has no weights yet.", "The first are kept within seconds.", "Wait a moment."
            )
        return NotFoundError(
            f"The weights of step {step} were not kept.",
            f"This run has those of the steps {known}.",
            "Choose one of these.",
        )

    def first_model(self, seed: int) -> LanguageModel:
        """The model as training begins: random numbers, or the weights of the model that it goes on from."""
        model = make_model(self.config(), seed=seed)
        if self.start.is_file():
            load_gpt2_tensors(model, read_tensors(self.start))
        return model

    def load_model(self, step: int | None = None) -> tuple[LanguageModel, int]:
        """The model as it was at a step (default: the newest), in eval mode. → model, step

        Raises NotFoundError, naming the steps there are, for a step that was not kept.
        """
        newest, wanted = self.newest_step(), step
        step = newest if step is None else step
        if step is None or (step != newest and step not in self.snapshot_steps()):
            raise self.missing(step)
        name = "model.safetensors" if step == newest else f"snapshots/step-{step:06d}.safetensors"
        model = make_model(self.config()).eval()
        load_gpt2_tensors(model, read_tensors(self.path / name))
        if step == newest != self.newest_step():  # the worker wrote newer weights while these were read
            return self.load_model(wanted)
        return model.requires_grad_(False), step

    def _foreign(self, name: str, error: Exception) -> FileError:
        return FileError(
            f"The {name} of {self.path.name} lacks something, or has too much ({str(error)[:120]}).",
            "It must be the file that this program wrote.",
            "Choose another run.",
        )


def model_file_step(path: Path) -> int:
    """Reads from a safetensors header which step its weights belong to, without reading the weights."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
        return int(metadata.get("step", "0"))
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise FileError(
            f"{path.name} cannot be read ({str(error)[:120]}).",
            "It must be a whole safetensors file.",
            "Continue the run, which writes it anew, or choose another run.",
        ) from error
