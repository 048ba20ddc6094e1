"""What the form of the Train tab says, and the run that it describes. Nothing in it is trusted."""

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from gpt2demo.errors import ConfigError, TextError, check_range
from gpt2demo.model.anatomy import count_parameters
from gpt2demo.model.config import GPT2Config, preset
from gpt2demo.text.corpus import Corpus, document_from_text, read_files
from gpt2demo.text.documents import check_upload
from gpt2demo.text.report import CorpusReport, report
from gpt2demo.text.samples import SampleText
from gpt2demo.text.tokenizers import Tokenizer, train_tokenizer
from gpt2demo.training.config import MAX_MINUTES, MAX_STEPS, TrainingConfig, planned_memory, recipe
from gpt2demo.training.folder import RunPlan
from gpt2demo.ui.memo import Memo
from gpt2demo.ui.text import train as words

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
    tokenizer: Any = "char"
    vocabulary: Any = 1_024
    size: Any = "nano"
    context: Any = None  # None: what the size has
    dropout: Any = None
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

    def __init__(self, samples: tuple[SampleText, ...]) -> None:
        self.samples = {sample.key: sample for sample in samples}
        self._texts: Memo[Corpus] = Memo(TEXTS_KEPT)
        self._tokenizers: Memo[Tokenizer] = Memo(REPORTS_KEPT)
        self._reports: Memo[CorpusReport] = Memo(REPORTS_KEPT)

    def plan(self, form: Form) -> Planned:
        """The run that a form describes. Raises a UserError that says what is missing or too much."""
        key, corpus = self._corpus(form)
        tokenizer = self._tokenizer(form, key, corpus)
        model = shape(form, tokenizer.vocab_size)
        parameters = count_parameters(model)
        facts = self._reports.get(
            (key, tokenizer.sha256, parameters, model.n_positions),
            lambda: report(corpus, tokenizer, parameters=parameters, n_positions=model.n_positions),
        )
        settings = training(form, model, facts)  # refuses an unknown optimiser before the title names it
        run = RunPlan(
            title=self._title(form, corpus),
            preset=form.size,
            model=model,
            training=settings,
            corpus=corpus,
            tokenizer=tokenizer,
            sources=self._sources(form),
        )
        return Planned(run=run, report=facts)

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

    def _title(self, form: Form, corpus: Corpus) -> str:
        """What somebody wrote, or what tells this run from the others."""
        if isinstance(form.title, str) and form.title.strip():
            return form.title
        sample = self.samples.get(form.sample) if form.source == "sample" else None
        text = sample.title if sample else Path(corpus.documents[0].name).stem
        names = dict((key, name) for name, key in words.OPTIMIZERS)
        return f"{text[:40]}, {form.size}, {names.get(form.optimizer, form.optimizer)}"

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
    return preset(name, vocab_size=vocab_size, n_positions=whole(form.context), dropout=form.dropout)


def training(form: Form, model: GPT2Config, facts: CorpusReport) -> TrainingConfig:
    """The training that a form describes."""
    config = recipe(
        form.optimizer if isinstance(form.optimizer, str) else str(form.optimizer)[:40],
        model,
        batch_size=whole(form.batch),
        learning_rate=None if form.rate == 0 else form.rate,
        seed=whole(form.seed),
        sample_prompt=form.prompt or None,
        **_budget(form),
    )
    if form.budget != "epochs":
        return config
    steps = round(form.epochs * facts.train_tokens / (config.batch_size * config.length))
    return replace(config, steps=max(1, steps))


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


def whole(value: Any) -> Any:
    """12.0, as a slider may say it, as 12; everything else as it is, for the core to judge."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
