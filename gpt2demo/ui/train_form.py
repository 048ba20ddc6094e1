"""What the form of the Train tab says, and the run that it describes. Nothing in it is trusted."""

import hashlib
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from gpt2demo.errors import ConfigError, TextError, check_choice, check_range
from gpt2demo.model.anatomy import count_parameters
from gpt2demo.model.config import PRESETS, GPT2Config, preset
from gpt2demo.runs.identity import MAX_TITLE
from gpt2demo.runs.models import LoadedModel, ModelRef, ModelStore
from gpt2demo.text.batches import BATCHES
from gpt2demo.text.corpus import Corpus, document_from_text, read_files
from gpt2demo.text.documents import check_upload
from gpt2demo.text.report import CorpusReport, report
from gpt2demo.text.samples import SampleText
from gpt2demo.text.tokenizers import Tokenizer, train_tokenizer
from gpt2demo.training.config import MAX_MINUTES, MAX_STEPS, TrainingConfig, planned_memory, recipe
from gpt2demo.training.plan import RunPlan, Start
from gpt2demo.training.precision import device_for
from gpt2demo.ui.memo import Memo
from gpt2demo.ui.text import train as words
from gpt2demo.ui.variant_words import differences

ROOT = Path(__file__).resolve().parents[2]
TEXTS_KEPT = 12  # in memory, of at most 12 MB each
REPORTS_KEPT = 64
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


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A run that could be started, and what its text holds."""

    run: RunPlan
    report: CorpusReport

    @property
    def parameters(self) -> int:
        """How many numbers the model learns."""
        return count_parameters(self.run.model)

    @property
    def memory(self) -> int:
        """About how many bytes training needs."""
        return planned_memory(self.run.model, self.run.training).peak


class Planner:
    """Turns forms into plans. What was read, cut and counted once is remembered for everybody."""

    def __init__(self, samples: tuple[SampleText, ...], models: ModelStore) -> None:
        self.samples = {sample.key: sample for sample in samples}
        self.models = models
        self._texts: Memo[Corpus] = Memo(TEXTS_KEPT)
        self._tokenizers: Memo[Tokenizer] = Memo(REPORTS_KEPT)
        self._reports: Memo[CorpusReport] = Memo(REPORTS_KEPT)

    def plan(self, form: Form) -> Planned:
        """The run that a form describes. Raises a UserError that says what is missing or too much."""
        key, corpus = self._corpus(form)
        base = self._base(form)
        tokenizer = base.tokenizer if base else self._tokenizer(form, key, corpus)
        model = fine_tuned(form, base.config) if base else shape(form, tokenizer.vocab_size)
        settings = training(form, model, fine_tuning=base is not None)
        parameters = count_parameters(model)
        facts = self._reports.get(
            (key, tokenizer.sha256, parameters, settings.length, settings.batches),
            lambda: report(
                corpus,
                tokenizer,
                parameters=parameters,
                n_positions=settings.length,
                batches=settings.batches,
            ),
        )
        run = RunPlan(
            title=self._title(form, corpus, model, base),
            preset=self.models.folder(base.ref).facts().preset if base else form.size,
            model=model,
            training=in_epochs(form, settings, facts),
            corpus=corpus,
            tokenizer=tokenizer,
            sources=self._sources(form),
            start=self._start(form, base) if base else None,
        )
        return Planned(run=run, report=facts)

    def _base(self, form: Form) -> LoadedModel | None:
        """The model that the run goes on from; None: it begins with random numbers."""
        check_choice("The beginning", form.begin, ("new", "hand"))
        return self.models.get(ModelRef.parse(form.hand)) if form.begin == "hand" else None

    def _start(self, form: Form, base: LoadedModel) -> Start:
        """What is noted about the model that the run goes on from."""
        return Start(
            model=base.model,
            name=base.ref.run_id or "starter",
            title=f"{base.facts.title}, step {base.step:,}",
            preset=self.models.folder(base.ref).facts().preset,
            step=ModelRef.parse(form.hand).step,
        )

    def _corpus(self, form: Form) -> tuple[Hashable, Corpus]:
        """The text, and a key that no other text has."""
        if form.source == "sample":
            if not isinstance(form.sample, str) or form.sample not in self.samples:
                raise ConfigError(
                    f"There is no sample called {str(form.sample)[:40]!r}.",
                    "There are " + ", ".join(self.samples) + ".",
                    "Choose one of these.",
                )
            sample = self.samples[form.sample]
            return form.sample, self._texts.get(("sample", form.sample), sample.read)
        if form.source == "paste":
            text = form.pasted if isinstance(form.pasted, str) else ""
            if not text.strip():
                raise TextError(*words.NO_TEXT)
            key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            return key, self._texts.get(
                ("paste", key), lambda: Corpus((document_from_text("Pasted text", text),))
            )
        if form.source == "upload":
            paths = [form.files] if isinstance(form.files, str) else form.files
            if not isinstance(paths, list) or not paths:
                raise TextError(*words.NO_TEXT)
            paths = tuple(str(path) for path in paths)
            check_upload([_bytes(path) for path in paths])
            encoding = form.encoding if isinstance(form.encoding, str) and form.encoding else None
            upload = ("upload", paths, encoding)  # gradio puts the fingerprint of a file into its path
            return upload, self._texts.get(upload, lambda: read_files(paths, encoding))
        raise ConfigError(
            f"{str(form.source)[:40]!r} is no place to take a text from.",
            "It is a sample, an upload or pasted text.",
            "Choose one of these.",
        )

    def _tokenizer(self, form: Form, key: Hashable, corpus: Corpus) -> Tokenizer:
        size = 0 if form.tokenizer == "char" else whole(form.vocabulary)
        kind = form.tokenizer if isinstance(form.tokenizer, str) else str(form.tokenizer)[:40]
        made: Tokenizer = self._tokenizers.get(
            (key, kind, repr(size)[:40]), lambda: train_tokenizer(kind, corpus.texts, size)
        )
        return made

    def _title(self, form: Form, corpus: Corpus, model: GPT2Config, base: LoadedModel | None) -> str:
        """What somebody wrote, or what tells this run from the others."""
        if isinstance(form.title, str) and form.title.strip():
            return form.title
        sample = self.samples.get(form.sample) if form.source == "sample" else None
        text = (sample.title if sample else Path(corpus.documents[0].name).stem)[:30]
        if base is not None:
            return words.FROM.format(text=text, base=base.facts.title)[:MAX_TITLE]
        names = dict((key, name) for name, key in words.OPTIMIZERS)
        different = [
            f"{field} {value}"
            for field in SIZES[:-1]
            if (value := getattr(model, field)) != PRESETS[form.size][field]
        ]
        different += [differences(model)] if model.variants else []
        return ", ".join([text, form.size, names[form.optimizer], *different])[:MAX_TITLE]

    def _sources(self, form: Form) -> tuple[str, ...]:
        """How the text is written in the command that repeats the run, where it came with the program."""
        sample = self.samples.get(form.sample) if form.source == "sample" else None
        files = sample.files if sample else ()
        if len(files) == 1 and files[0].is_relative_to(ROOT):  # several were joined into one document
            return (files[0].relative_to(ROOT).as_posix(),)
        return ()


def _bytes(path: str) -> int:
    """The size of a file; 0 for one that is not there, which may still be remembered."""
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return 0


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
    """The training that a form describes; see `in_epochs` for a budget in epochs."""
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


def in_epochs(form: Form, config: TrainingConfig, facts: CorpusReport) -> TrainingConfig:
    """The same training, with a budget in epochs turned into steps."""
    if form.budget != "epochs":
        return config
    return replace(config, steps=max(1, round(form.epochs / facts.epochs(1, config.rows, config.length))))


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
