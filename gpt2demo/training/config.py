"""Every choice that a training run makes, and the recipes that choose well."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from gpt2demo.errors import ConfigError, LimitError, check_choice, check_range
from gpt2demo.model.anatomy import count_parameters, flops_per_token
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.memory import MemoryByPart, memory_by_part
from gpt2demo.text.batches import BATCHES

MAX_STEPS = 1_000_000
MAX_MINUTES = 24 * 60
MAX_BATCH = 512
MAX_ACCUMULATION = 256
HANDS_PARAMETERS = 30_000_000  # each hand holds gradients of its own: larger models share out each product
BACKWARD = 3  # a step costs three times its forward pass
USUAL_RATE = 1e11  # multiplications and additions per second of two cores, where nothing was measured yet
PROCESS_SHARE = 1.3  # a process takes up to so many times its tensors (README, "Costs")
OPTIMIZERS = ("adamw", "adam", "muon")
DECAYS = ("cosine", "linear", "constant", "wsd")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What a run does, apart from the model and the text. Made by `recipe`, which knows good numbers.

    The budget is given either in steps or in minutes. Raises ConfigError or LimitError.
    """

    optimizer: str  # "adamw", "adam" or "muon"
    learning_rate: float  # the highest one, reached after the warmup
    batch_size: int  # B: windows of text that are read at once
    length: int  # T: tokens in one window
    steps: int | None = None
    minutes: float | None = None
    decay: str = (
        "linear"  # how the learning rate falls: "cosine", "linear", "constant": not, "wsd": at the end
    )
    warmup: float = 0.03  # share of the steps in which the learning rate rises
    final_learning_rate: float = 0.0  # as a share of the highest one
    weight_decay: float = 0.0
    gradient_clip: float = 0.0  # longest gradient allowed; 0 lets every gradient pass
    beta2: float = 0.95  # how slowly AdamW forgets the size of past gradients
    seed: int = 1337
    threads: int = 2
    milestones: int = 12  # how many times the run keeps its weights and writes a sample
    snapshot_megabytes: float = 100.0  # room for those kept weights, together
    checkpoint_seconds: float = (
        10.0  # at least so long between two checkpoints, from which a killed run goes on
    )
    sample_prompt: str = ""
    batches: str = "packed"  # documents end to end, or "padded": each in a row of its own
    precision: str = "fp32"  # in which matrices are multiplied; "fp16" on a GPU only
    gradient_checkpointing: bool = False  # keep no intermediate results of a block, compute them once more
    quantization_aware: bool = False  # round in the forward pass as int8 will, to lose less by it later
    accumulation: int = 1  # so many batches are read one after the other before one step is made
    evaluate_every: int | None = None  # steps between two looks at the held-out text; None: twenty looks
    patience: int = 0  # so many looks without a new best end the run; 0: it goes on to its end

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            check_choice(name, getattr(self, name), allowed)
        if (self.steps is None) == (self.minutes is None):
            raise ConfigError(
                "The run has " + ("no budget." if self.steps is None else "two budgets, steps and minutes."),
                "It needs exactly one: a number of steps or a number of minutes.",
                "Fill in one of them.",
            )
        if self.steps is not None:
            self._check_whole("steps", 1, MAX_STEPS)
        if self.minutes is not None:
            check_range("minutes", self.minutes, 0.05, MAX_MINUTES)
        check_range("learning_rate", self.learning_rate, 1e-7, 1.0)
        self._check_whole("batch_size", 1, MAX_BATCH)
        self._check_whole("length", 2, 1_024)
        check_range("warmup", self.warmup, 0.0, 0.5)
        check_range("final_learning_rate", self.final_learning_rate, 0.0, 1.0)
        check_range("weight_decay", self.weight_decay, 0.0, 1.0)
        check_range("gradient_clip", self.gradient_clip, 0.0, 1_000.0)
        check_range("beta2", self.beta2, 0.0, 0.9999)
        self._check_whole("seed", 0, 2**63 - 1)
        self._check_whole("threads", 1, 64)
        self._check_whole("milestones", 0, 100)
        check_range("snapshot_megabytes", self.snapshot_megabytes, 0, 10_000)
        check_range("checkpoint_seconds", self.checkpoint_seconds, 0.0, 3_600.0)
        self._check_whole("accumulation", 1, MAX_ACCUMULATION)
        if self.evaluate_every is not None:
            self._check_whole("evaluate_every", 1, MAX_STEPS)
        self._check_whole("patience", 0, 1_000)
        if not isinstance(self.sample_prompt, str):
            raise ConfigError(
                f"The sample prompt is a {type(self.sample_prompt).__name__}.",
                "It must be text.",
                "Leave it empty or write a few words.",
            )
        if len(self.sample_prompt) > 1_000:
            raise LimitError(
                f"The sample prompt has {len(self.sample_prompt):,} characters.",
                "At most 1,000 are used.",
                "Shorten it.",
            )

    def _check_whole(self, name: str, low: int, high: int) -> None:
        """Refuses what is no whole number in this range, and turns 12.0, as JSON may say it, into 12."""
        check_range(name, getattr(self, name), low, high, integer=True)
        object.__setattr__(self, name, int(getattr(self, name)))

    @property
    def rows(self) -> int:
        """How many windows of text one step reads, all batches together."""
        return self.batch_size * self.accumulation

    def to_json(self) -> dict[str, Any]:
        """All fields by name, ready for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TrainingConfig":
        """Reads what `to_json` wrote; raises ConfigError for anything else."""
        try:
            return cls(**data)
        except TypeError as error:
            raise ConfigError(
                f"The run's settings cannot be read ({str(error)[:120]}).",
                "They must be the ones that this program wrote.",
                "Start a new run with the same text.",
            ) from error


_CHOICES: Mapping[str, tuple[object, ...]] = {
    "optimizer": OPTIMIZERS,
    "decay": DECAYS,
    "batches": BATCHES,
    "precision": PRECISIONS,
    "gradient_checkpointing": (False, True),
    "quantization_aware": (False, True),
}

# nanoGPT's documented numbers for a laptop CPU: the yardstick that the literature has.
ADAMW: Mapping[str, Any] = {
    "learning_rate": 1e-3,
    "decay": "cosine",
    "warmup": 0.05,
    "final_learning_rate": 0.1,
    "weight_decay": 0.1,
    "gradient_clip": 1.0,
    "beta2": 0.99,
    "steps": 2_000,
}
# Adam as in its paper (Kingma and Ba 2015), at a rate that never changes: what many tutorials do.
ADAM: Mapping[str, Any] = {
    "learning_rate": 1e-3,
    "decay": "constant",
    "warmup": 0.0,
    "weight_decay": 0.0,
    "gradient_clip": 0.0,
    "beta2": 0.999,
    "steps": 2_000,
}
# Found by measurement (README, "Speed"): about a third of AdamW's tokens for the same loss.
MUON: Mapping[str, Any] = {
    "learning_rate": 0.03,
    "decay": "linear",
    "warmup": 0.03,
    "final_learning_rate": 0.0,
    "weight_decay": 0.1,
    "gradient_clip": 0.0,
    "beta2": 0.95,
    "steps": 600,
}


def recipe(optimizer: str, model: GPT2Config, *, fine_tuning: bool = False, **changes: Any) -> TrainingConfig:
    """Good numbers for this optimiser and this size of model; `changes` replace single ones.

    The learning rate falls with the width beyond 128 channels, as larger models want smaller steps; in
    fine-tuning faster, so that what a large model has learnt before is not washed away.
    """
    check_choice("optimizer", optimizer, OPTIMIZERS)
    numbers: dict[str, Any] = dict({"adamw": ADAMW, "adam": ADAM, "muon": MUON}[optimizer])
    numbers["learning_rate"] *= min(1.0, 128 / model.n_embd) ** (1.5 if fine_tuning else 0.5)
    numbers |= {"optimizer": optimizer, "batch_size": 12, "length": model.n_positions}
    numbers["precision"] = usual_precision() if model.architecture == "gpt2" else "fp32"
    if changes.get("minutes") is not None:
        numbers["steps"] = None
    numbers |= {name: value for name, value in changes.items() if value is not None}
    config = TrainingConfig(**numbers)
    if optimizer == "muon" and changes.get("learning_rate") is None:
        config = replace(config, learning_rate=config.learning_rate * _patience(model, config))
    return config


def _patience(model: GPT2Config, config: TrainingConfig) -> float:
    """The longer a run, the smaller its steps may be: by the third root, down to a half. → 1/2 … 1

    Minutes are turned into steps as for a usual machine, so that the same command says the same anywhere.
    """
    steps = config.steps
    if steps is None:
        assert config.minutes is not None
        steps = int(60 * config.minutes * USUAL_RATE / flops_per_step(model, config))
    share: float = (MUON["steps"] / max(1, steps)) ** (1 / 3)
    return min(1.0, max(1 / 2, share))


def flops_per_step(model: GPT2Config, config: TrainingConfig) -> float:
    """Multiplications and additions of one step of training, all rows together."""
    return float(BACKWARD * config.rows * config.length * flops_per_token(model, config.length))


def hands_for(model: GPT2Config, config: TrainingConfig) -> int:
    """How many hands a run has: as many as threads, where the halves of a batch can be computed apart.

    Dropout draws from a single stream of random numbers, experts are watched by hooks, and rounding in the
    forward pass changes the model for a moment: these have one hand, and so has everything on a GPU.
    """
    together = model.dropout or model.n_experts > 1 or config.quantization_aware or config.precision == "fp16"
    if together or count_parameters(model) > HANDS_PARAMETERS:
        return 1
    return min(config.threads, config.batch_size)


def threads_for_products(model: GPT2Config, config: TrainingConfig) -> int:
    """How many threads share out each product of matrices: all that the hands leave over."""
    return config.threads if hands_for(model, config) == 1 else 1


def usual_precision() -> str:
    """bf16 on a processor that multiplies such numbers itself, which is faster there and loses nothing."""
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "fp32"


def planned_memory(model: GPT2Config, training: TrainingConfig) -> MemoryByPart:
    """What a step of this run will need, predicted before anything is allocated."""
    return memory_by_part(
        model,
        batch_size=training.batch_size,
        length=training.length,
        optimizer=training.optimizer,
        precision=training.precision,
        gradient_checkpointing=training.gradient_checkpointing,
        quantization_aware=training.quantization_aware,
        hands=hands_for(model, training),
    )


def check_fits(model: GPT2Config, training: TrainingConfig, *, memory_bytes: int) -> None:
    """Refuses a run that would need more memory than there is, before anything is allocated.

    Raises LimitError with the predicted need and the largest batch that fits.
    """

    if planned_memory(model, training).peak > memory_bytes:
        lent = f"This machine lends {_amount(memory_bytes)} to a run."
        raise too_large(model, training, memory_bytes=memory_bytes, there=lent)


def too_large(model: GPT2Config, training: TrainingConfig, *, memory_bytes: int, there: str) -> LimitError:
    """What is said of a run that does not fit: what it needs, what there is, and the largest batch that fits.

    there: the second sentence. The batch is one below the run's own that needs at most `memory_bytes`.
    """

    def need(batch_size: int) -> int:
        return planned_memory(model, replace(training, batch_size=batch_size)).peak

    largest = bisect_right(range(1, training.batch_size), memory_bytes, key=need)
    return LimitError(
        f"Training {count_parameters(model):,} parameters with batches of {training.batch_size} × "
        f"{training.length} tokens needs about {_amount(need(training.batch_size))} of memory.",
        there,
        f"The largest batch that fits is {largest}." if largest >= 1 else "Choose a smaller model.",
    )


def ran_out(model: GPT2Config, training: TrainingConfig, *, free: int) -> LimitError:
    """What is said when memory ran out although the run had been let in. free: bytes when it began.

    The advice leaves room for what a process takes besides its tensors.
    """
    there = f"{_amount(free)} were free when it began, and memory ran out."
    refusal = too_large(model, training, memory_bytes=int(free / PROCESS_SHARE), there=there)
    if planned_memory(model, training).peak > free / PROCESS_SHARE:
        return refusal
    half = max(1, training.batch_size // 2)
    todo = f"Something else may have taken it: go on later, or begin anew with batches of {half}."
    return LimitError(refusal.got, there, todo)


def _amount(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
