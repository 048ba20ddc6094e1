"""What the form of the Train tab says, and the model and training that it means. Nothing in it is trusted."""

from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

from gpt2demo.errors import ConfigError, check_choice, check_range
from gpt2demo.model.config import GPT2Config, preset
from gpt2demo.text.batches import BATCHES
from gpt2demo.text.report import CorpusReport
from gpt2demo.training.config import MAX_MINUTES, MAX_STEPS, TrainingConfig, recipe
from gpt2demo.training.precision import device_for

MAX_EPOCHS = 1_000


@dataclass(frozen=True, kw_only=True)
class Form:
    """The values of all controls, as they come: their types are hopes."""

    source: Any = "sample"  # "sample", "upload" or "paste"
    sample: Any = ""
    files: Any = None  # paths of uploads
    encoding: Any = None  # of those uploads that are not Unicode
    pasted: Any = ""
    begin: Any = "new"  # with random numbers, or "hand": with the model in hand
    hand: Any = "starter"  # that model, as the text of a ModelRef
    tokenizer: Any = "char"
    vocabulary: Any = 1_024
    size: Any = "nano"
    context: Any = None  # None: what the size has
    dropout: Any = None
    architecture: Any = None  # here and below None, and 0 for a number: as the size, or GPT-2, has it
    n_layer: Any = None
    n_head: Any = None
    n_embd: Any = None
    n_inner: Any = None
    norm: Any = None
    activation: Any = None
    positions: Any = None
    attention: Any = None
    attention_window: Any = None
    global_tokens: Any = None
    n_experts: Any = None
    experts_per_token: Any = None
    parts: Any = None  # those of PARTS that the model has
    init: Any = None
    batches: Any = None
    precision: Any = None
    knobs: Any = None  # those of KNOBS that are on
    decay: Any = ""  # here and below "" and None: as the optimiser's recipe has it
    warmup: Any = None
    final_learning_rate: Any = None
    weight_decay: Any = None
    gradient_clip: Any = None
    accumulation: Any = None
    evaluate_every: Any = None
    patience: Any = None
    budget: Any = "minutes"  # "minutes", "steps" or "epochs"
    minutes: Any = 2.0
    steps: Any = 600
    epochs: Any = 4
    optimizer: Any = "muon"
    batch: Any = None
    rate: Any = None  # None or 0: what suits optimizer and size
    seed: Any = None
    title: Any = ""
    prompt: Any = ""

    @classmethod
    def of(cls, values: tuple[Any, ...]) -> "Form":
        """From the values in the order of the fields."""
        return cls(**dict(zip(FIELDS, values, strict=True)))


FIELDS = tuple(field.name for field in fields(Form))
SIZES = ("n_layer", "n_head", "n_embd", "n_inner")  # where 0 is the size's own
VARIANTS = (
    *("architecture", "norm", "activation", "positions", "attention", "attention_window", "global_tokens"),
    *("n_experts", "experts_per_token", "init"),
)
PARTS = ("bias", "tie_word_embeddings", "lm_head_bias")
LEARNING = (
    *("warmup", "final_learning_rate", "weight_decay", "gradient_clip"),
    *("accumulation", "evaluate_every", "patience"),
)
KNOBS = ("gradient_checkpointing", "quantization_aware")


def shape(form: Form, vocab_size: int) -> GPT2Config:
    """The model that a form describes."""
    name = form.size if isinstance(form.size, str) else str(form.size)[:40]
    changes = {field: whole(getattr(form, field)) for field in (*SIZES, *VARIANTS)}
    changes |= {field: None for field in SIZES if changes[field] == 0}
    if form.parts is not None:
        check_all("The parts of the model", form.parts, PARTS)
        changes |= {part: part in form.parts for part in PARTS}
    return preset(
        name, vocab_size=vocab_size, n_positions=whole(form.context), dropout=form.dropout, **changes
    )


def variant_fields(variants: Any) -> dict[str, Any]:
    """What a program says about variants, {"norm": "post"}, as fields of a Form. Raises ConfigError."""
    said = {} if variants is None else variants
    known = (*SIZES, *VARIANTS, *PARTS, "dropout", "n_positions")
    if not isinstance(said, dict) or not set(said) <= set(known):
        raise ConfigError(
            f"The variants are {str(said)[:80]}.", f"Known are {', '.join(known)}.", "Choose among these."
        )
    usual = GPT2Config()
    for part in PARTS:
        check_choice(part, said.get(part, True), (True, False))
    parts = [part for part in PARTS if said.get(part, getattr(usual, part))]
    rest = {name: value for name, value in said.items() if name not in (*PARTS, "n_positions")}
    return {**rest, "context": said.get("n_positions"), "parts": parts}


def check_all(what: str, chosen: Any, known: tuple[str, ...]) -> None:
    """Refuses what is no list of words that are known."""
    if isinstance(chosen, list | tuple) and all(word in known for word in chosen):
        return
    raise ConfigError(
        f"{what} are {str(chosen)[:60]!r}.", f"They are a list of {', '.join(known)}.", "Choose among these."
    )


def fine_tuned(form: Form, base: GPT2Config) -> GPT2Config:
    """The same model, with another dropout where one was chosen."""
    return base if form.dropout is None else replace(base, dropout=form.dropout)


def training(form: Form, model: GPT2Config, *, fine_tuning: bool = False) -> TrainingConfig:
    """The training that a form describes; see `in_steps` for a budget in epochs."""
    check_choice("batches", form.batches, (None, *BATCHES))
    check_all("The knobs", form.knobs or (), KNOBS)
    length = whole(form.context) if fine_tuning else None
    if isinstance(length, int):
        length = min(length, model.n_positions)
    config = recipe(
        form.optimizer if isinstance(form.optimizer, str) else str(form.optimizer)[:40],
        model,
        fine_tuning=fine_tuning,
        length=length,
        batch_size=whole(form.batch),
        learning_rate=None if form.rate == 0 else form.rate,
        seed=whole(form.seed),
        sample_prompt=form.prompt or None,
        batches=form.batches,
        precision=form.precision,
        **{knob: knob in (form.knobs or ()) for knob in KNOBS},
        decay=form.decay if form.decay != "" else None,
        **{name: written(getattr(form, name)) for name in LEARNING},
        **_budget(form),
    )
    device_for(config.precision)  # refuses what this machine cannot compute
    return config


def in_steps(form: Form, config: TrainingConfig, facts: CorpusReport) -> Form:
    """The same form, with a budget in epochs turned into steps. config: the training that it describes."""
    if form.budget != "epochs":
        return form
    steps = max(1, round(form.epochs / facts.epochs(1, config.rows, config.length)))
    return replace(form, budget="steps", steps=steps)


def _budget(form: Form) -> dict[str, Any]:
    """The budget as a recipe takes it; how many steps an epoch has is not known before the batch is."""
    if form.budget == "minutes":
        check_range("The time to learn, in minutes,", form.minutes, 0.05, MAX_MINUTES)
        return {"minutes": form.minutes}
    if form.budget == "steps":
        check_range("The number of steps", form.steps, 1, MAX_STEPS, integer=True)
        return {"steps": whole(form.steps)}
    if form.budget == "epochs":
        check_range("The number of times through the text", form.epochs, 0.1, MAX_EPOCHS)
        return {"steps": 1}
    raise ConfigError(
        f"{str(form.budget)[:40]!r} is no kind of budget.",
        "It is given in minutes, steps or times through the text (epochs).",
        "Choose one of these.",
    )


def written(value: Any) -> Any:
    """A number as it stands in a text field; None for an empty one; everything else for the core to judge."""
    if not isinstance(value, str):
        return whole(value)
    with suppress(ValueError):
        return whole(float(value)) if value.strip() else None
    return value[:40]


def whole(value: Any) -> Any:
    """12.0, as a slider may say it, as 12; everything else as it is, for the core to judge."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
