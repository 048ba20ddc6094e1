"""What is decided before a run begins, and the command that a person can type to decide the same again."""

import shlex
from dataclasses import dataclass, fields, replace
from typing import Any

from gpt2demo.errors import LimitError
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.config import preset as named_size
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.text.corpus import Corpus
from gpt2demo.text.tokenizers import MIN_VOCABULARY, Tokenizer
from gpt2demo.training.config import TrainingConfig, recipe

# Fields of TrainingConfig that are options of the command and say how a run learns.
LEARNING = (
    *("learning_rate", "decay", "warmup", "final_learning_rate", "weight_decay", "gradient_clip", "beta2"),
    *("accumulation", "evaluate_every", "patience"),
)
SIZES = ("batch_size", "length", "accumulation")  # of a step
NOT_ASKED = ("vocab_size", "layer_norm_epsilon")  # the tokenizer says it; nobody changes it


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
    fine_tuning = plan.start is not None
    usual = recipe(training.optimizer, plan.model, steps=1, fine_tuning=fine_tuning)
    sizes = {name: getattr(training, name) for name in ("steps", "minutes", *SIZES)}
    rate = recipe(training.optimizer, plan.model, fine_tuning=fine_tuning, **sizes).learning_rate
    usual = replace(usual, learning_rate=rate)  # which depends on how long the run is
    whole = plan.model.n_positions if plan.start else training.length
    for option, value, expected in (
        ("--context", training.length, whole),
        ("--batches", training.batches, usual.batches),
        ("--batch-size", training.batch_size, usual.batch_size),
        *(
            (f"--{name.replace('_', '-')}", getattr(training, name), getattr(usual, name))
            for name in LEARNING
        ),
        ("--threads", training.threads, usual.threads),
        ("--sample-prompt", training.sample_prompt, usual.sample_prompt),
        ("--snapshot-megabytes", training.snapshot_megabytes, usual.snapshot_megabytes),
    ):
        if value != expected:
            words += [option, value]
    words += ["--precision", training.precision]  # the usual one depends on the machine
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
        if field.name in NOT_ASKED or value == getattr(usual, field.name):
            continue
        if isinstance(value, bool):
            words += [f"--{option}" if value else f"--no-{option}"]
        else:
            words += ["--context" if field.name == "n_positions" else f"--{option}", value]
    return words
