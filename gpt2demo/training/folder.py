"""A run is a folder: its model, its text, its settings and its diary, each in a file that others can read."""

import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import safetensors

from gpt2demo.errors import ConfigError, FileError, LimitError, NotFoundError
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.config import preset as named_size
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.weights import load_gpt2_tensors, to_gpt2_tensors
from gpt2demo.text.batches import encode_corpus
from gpt2demo.text.corpus import Corpus, Document
from gpt2demo.text.tokenizers import MIN_VOCABULARY, Tokenizer
from gpt2demo.training.config import TrainingConfig, recipe
from gpt2demo.training.files import read_json, read_tensors, write_json, write_tensors
from gpt2demo.training.journal import Journal, RunStatus
from gpt2demo.training.lock import is_held

AT_WORK = ("starting", "running")  # the states in which a worker must be alive


@dataclass(frozen=True, kw_only=True)
class Start:
    """A model that has learnt already, from which a run goes on (fine-tuning)."""

    model: LanguageModel
    name: str  # what the command calls it: "starter" or the folder of a run
    title: str  # what people call it
    preset: str
    step: int | None = None  # None: its newest


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Everything that is decided before a run begins: what it learns from, what it is, and how it learns.

    sources: how the texts are written in the command that repeats the run, if not by their names. start: the
    weights to begin with, if not random ones. Raises ConfigError for a size without a name, LimitError for
    windows longer than the model's context, TextError for a sample prompt that the tokenizer cannot write,
    ValueError for a tokenizer that is another model's.
    """

    title: str
    preset: str  # the named size that the model was made from
    model: GPT2Config
    training: TrainingConfig
    corpus: Corpus
    tokenizer: Tokenizer
    sources: tuple[str, ...] = ()
    tokenizer_options: tuple[str, ...] = ()  # where kind and size of the tokenizer do not say it all
    start: Start | None = None

    def __post_init__(self) -> None:
        if self.start is None:
            named_size(self.preset, vocab_size=self.model.vocab_size)  # refuses what no command could ask for
        if self.model.vocab_size != self.tokenizer.vocab_size:
            raise ValueError(
                f"the model has {self.model.vocab_size} tokens, its tokenizer {self.tokenizer.vocab_size}"
            )
        if self.training.length > self.model.n_positions:
            raise LimitError(
                f"The windows are {self.training.length} tokens long.",
                f"This model reads at most {self.model.n_positions} at once.",
                f"The nearest value that works is {self.model.n_positions}.",
            )
        self.tokenizer.encode(self.training.sample_prompt)  # refuses characters that the model will not know

    @property
    def names(self) -> tuple[str, ...]:
        """What the documents are called."""
        return tuple(document.name for document in self.corpus.documents)


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

    @classmethod
    def create(cls, path: Path, plan: RunPlan) -> "RunFolder":
        """Makes the folder of a new run, with everything a worker needs; nothing is trained yet.

        Raises ConfigError when the folder already holds something, TextError for a text that is too short or
        that the tokenizer cannot write.
        """
        training = plan.training
        data = encode_corpus(plan.corpus, plan.tokenizer, length=training.length, batches=training.batches)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConfigError(
                f"{path.name} exists and is not empty.",
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


def options_for(tokenizer: Tokenizer) -> tuple[str, ...]:
    """The options of the command that make such a tokenizer from the same text."""
    if tokenizer.kind == "char":
        return ("--tokenizer", "char")
    vocab_size = max(tokenizer.vocab_size, MIN_VOCABULARY[tokenizer.kind])
    return ("--tokenizer", tokenizer.kind, "--vocab-size", str(vocab_size))


def command_for(plan: RunPlan, out: str) -> str:
    """The command that makes the same run again in the folder `out`, without what it would do anyway."""
    training = plan.training
    words: list[Any] = ["python", "-m", "gpt2demo", "train", "--text", *(plan.sources or plan.names)]
    words += ["--title", plan.title, *_model_options(plan), "--optimizer", training.optimizer]
    words += ["--steps", training.steps] if training.steps is not None else ["--minutes", training.minutes]
    usual = recipe(training.optimizer, plan.model, steps=1, fine_tuning=plan.start is not None)
    whole = plan.model.n_positions if plan.start else training.length
    for option, value, expected in (
        ("--context", training.length, whole),
        ("--batches", training.batches, usual.batches),
        ("--batch-size", training.batch_size, usual.batch_size),
        ("--learning-rate", training.learning_rate, usual.learning_rate),
        ("--threads", training.threads, usual.threads),
        ("--sample-prompt", training.sample_prompt, usual.sample_prompt),
        ("--snapshot-megabytes", training.snapshot_megabytes, usual.snapshot_megabytes),
        ("--precision", training.precision, usual.precision),
    ):
        if value != expected:
            words += [option, value]
    words += ["--gradient-checkpointing"] * training.gradient_checkpointing
    words += ["--quantization-aware"] * training.quantization_aware
    words += ["--seed", training.seed, "--out", out]
    return shlex.join(str(word) for word in words)


def _model_options(plan: RunPlan) -> list[Any]:
    """The options that give the model, as random numbers of a size or as one that has learnt already."""
    if plan.start is None:
        usual = named_size(plan.preset, vocab_size=plan.model.vocab_size)
        tokenizer = plan.tokenizer_options or options_for(plan.tokenizer)
        return [*tokenizer, "--preset", plan.preset, *_shape_options(plan.model, usual)]
    step = ["--from-step", plan.start.step] if plan.start.step is not None else []
    usual = plan.start.model.config
    return ["--from", plan.start.name, *step, *_shape_options(plan.model, usual)]


def _shape_options(model: GPT2Config, usual: GPT2Config) -> list[Any]:
    """The options that make this model out of the named size that it began as."""
    words: list[Any] = []
    for field in fields(GPT2Config):
        value, option = getattr(model, field.name), field.name.replace("_", "-")
        if field.name in _NOT_ASKED or value == getattr(usual, field.name):
            continue
        if isinstance(value, bool):
            words += [f"--{option}" if value else f"--no-{option}"]
        else:
            words += ["--context" if field.name == "n_positions" else f"--{option}", value]
    return words


_NOT_ASKED = ("vocab_size", "layer_norm_epsilon")  # the tokenizer says it; nobody changes it
