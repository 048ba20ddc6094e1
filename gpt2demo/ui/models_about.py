"""The panel about the model in hand: its shape, where its parameters are, and how it came to be."""

import time

from gpt2demo.errors import UserError
from gpt2demo.model.anatomy import parameters_by_part
from gpt2demo.model.config import GPT2Config
from gpt2demo.runs.models import ModelRef, ModelStore
from gpt2demo.training.config import TrainingConfig
from gpt2demo.training.folder import RunFacts
from gpt2demo.ui.escape import Safe, tag
from gpt2demo.ui.text import models as words
from gpt2demo.ui.theme import facts, hint, notice, pieces, section
from gpt2demo.ui.variant_words import construction


def about(models: ModelStore, ref: ModelRef) -> Safe:
    """Everything that was decided about a model before it learned anything, and the command for it."""
    try:
        description = models.describe(ref)
        folder = models.folder(ref)
        config, made = folder.config(), folder.facts()
    except UserError as error:
        return pieces(section(words.ABOUT), notice(f"{error.got} {error.needed}", "error", todo=error.todo))
    return tag(
        "div",
        section(words.ABOUT, description.title),
        facts(_shape(config)),
        section(words.BUILT, level=3),
        facts(construction(config)),
        section(words.PARTS, level=3),
        _parts(config),
        hint(words.PARTS_HINT) if config.architecture == "gpt2" and config.tie_word_embeddings else None,
        section(words.RECIPE, level=3),
        hint(words.ELSEWHERE_RECIPE)
        if made.settings is None
        else facts(_recipe(made.settings, made.started_from)),
        section(words.TEXT, level=3),
        facts(_text(made)),
        section(words.COMMAND, level=3),
        tag("code", made.command, class_="gd-about-command", tabindex="0"),
        hint(words.COMMAND_HINT),
        class_="gd-about",
        data_model=str(ref),
    )


def _shape(config: GPT2Config) -> list[tuple[str, str]]:
    if config.architecture != "gpt2":  # layers, heads and channels are those of the GPT-2 of equal size
        return [
            ("context", f"{config.n_positions:,} tokens"),
            ("vocabulary", f"{config.vocab_size:,} tokens"),
        ]
    return [
        ("layers", f"{config.n_layer}"),
        ("heads in each layer", f"{config.n_head}, of {config.head_dim} channels"),
        ("channels", f"{config.n_embd:,}"),
        ("context", f"{config.n_positions:,} tokens"),
        ("vocabulary", f"{config.vocab_size:,} tokens"),
        ("dropout", f"{config.dropout:g}"),
    ]


def _parts(config: GPT2Config) -> Safe:
    """A table of the parts with their numbers of parameters, each with a bar for its share of the whole."""
    parts = parameters_by_part(config)
    whole = sum(parts.values())
    rows = []
    for name, count in parts.items():
        share = 100 * count / whole
        bar = tag("i", style=f"--w:{share:.2f}%", aria_hidden="true")
        cells = (tag("td", f"{count:,}"), tag("td", bar, class_="gd-about-bar"), tag("td", _percent(share)))
        rows.append(tag("tr", tag("th", name, scope="row"), *cells))
    total = (tag("td", f"{whole:,}"), tag("td"), tag("td", "100 %"))
    rows.append(tag("tr", tag("th", words.ALL_PARTS, scope="row"), *total, class_="gd-about-sum"))
    return tag("table", tag("tbody", *rows), class_="gd-facts gd-about-parts")


def _percent(share: float) -> str:
    return f"{share:.0f} %" if share >= 9.5 else f"{share:.1f} %"


def _recipe(how: TrainingConfig, started_from: str) -> list[tuple[str, str]]:
    budget = f"{how.steps:,} steps" if how.steps is not None else f"{how.minutes:g} minutes"
    clip = f"{how.gradient_clip:g}" if how.gradient_clip else "never shortened"
    return [
        ("began with", started_from or words.RANDOM_NUMBERS),
        ("budget", budget),
        ("optimizer", words.OPTIMIZERS.get(how.optimizer, how.optimizer)),
        ("highest learning rate", f"{how.learning_rate:g}"),
        ("it rises", f"for the first {how.warmup:.0%} of the steps"),
        ("then falls", words.FALLS[how.decay].format(end=how.final_learning_rate)),
        ("one step reads", words.BATCHES[how.batches].format(rows=how.rows, length=how.length)),
        ("weight decay", f"{how.weight_decay:g}"),
        ("longest gradient", clip),
        ("seed", f"{how.seed}"),
        *([("looks at held-out text", f"every {how.evaluate_every:,} steps")] if how.evaluate_every else []),
        *([("patience", f"{how.patience} looks")] if how.patience else []),
        ("precision", words.PRECISIONS[how.precision]),
        *([("memory", words.CHECKPOINTING)] if how.gradient_checkpointing else []),
        *([("rounding", words.ROUNDING)] if how.quantization_aware else []),
    ]


def _text(made: RunFacts) -> list[tuple[str, object]]:
    tokens = f"{made.tokens:,}" if made.tokens else words.UNMEASURED
    moment = time.gmtime(made.created)
    day = f"{moment.tm_mday} {time.strftime('%B %Y, %H:%M', moment)} UTC"
    read: list[tuple[str, object]] = [
        ("text", ", ".join(made.documents)),
        ("characters", f"{made.characters:,}"),
        ("tokens", tokens),
    ]
    return [
        *(read if made.documents else [("text", words.ELSEWHERE_TEXT)]),
        ("tokenizer", words.TOKENIZERS.get(made.tokenizer, made.tokenizer)),
        ("made", day),
    ]
