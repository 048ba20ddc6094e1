"""From a filled-in form to a run that could be started: text, tokenizer and report, each made only once."""

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from gpt2demo.errors import ConfigError, TextError, check_choice
from gpt2demo.model.anatomy import count_parameters
from gpt2demo.model.config import PRESETS, GPT2Config
from gpt2demo.runs.identity import MAX_TITLE
from gpt2demo.runs.models import LoadedModel, ModelRef, ModelStore
from gpt2demo.text.corpus import Corpus, document_from_text, read_files
from gpt2demo.text.documents import check_upload
from gpt2demo.text.report import CorpusReport, report
from gpt2demo.text.samples import SampleText
from gpt2demo.text.tokenizers import Tokenizer, train_tokenizer
from gpt2demo.training.config import planned_memory
from gpt2demo.training.plan import RunPlan, Start
from gpt2demo.ui.memo import Memo
from gpt2demo.ui.text import train as words
from gpt2demo.ui.train_form import SIZES, Form, fine_tuned, in_steps, shape, training, whole
from gpt2demo.ui.variant_words import differences

ROOT = Path(__file__).resolve().parents[2]
TEXTS_KEPT = 12  # in memory, of at most 12 MB each
REPORTS_KEPT = 64


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
            training=training(in_steps(form, settings, facts), model, fine_tuning=base is not None),
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
