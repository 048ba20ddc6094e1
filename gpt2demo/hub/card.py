"""The model card: what anybody should know who finds the model somewhere, as the README.md beside it."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from gpt2demo.model.anatomy import count_parameters
from gpt2demo.model.config import GPT2Config

MOST_POINTS = 12  # of the curve
MOST_DOCUMENTS = 12


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """What was measured at one step. Losses in nats per token."""

    step: int
    tokens: int  # read for training before this step
    train_loss: float
    val_loss: float


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """Everything that a card says. Texts may come from anywhere: the card escapes them."""

    title: str
    config: GPT2Config
    tokenizer: str  # "char", "word" or "bpe"
    step: int  # updates made
    created: float  # seconds since 1970
    command: str  # that makes the same model again
    documents: tuple[str, ...] = ()  # names of the texts; none: it was trained elsewhere
    characters: int = 0
    tokens: int = 0
    curve: tuple[CurvePoint, ...] = ()
    final_val_loss: float | None = None
    final_val_tokens: int | None = None
    seconds: float = 0.0  # of training
    optimizer: str = ""
    sample: str = ""  # something that it wrote

    def __post_init__(self) -> None:
        if self.step < 0 or self.characters < 0 or self.tokens < 0 or self.seconds < 0:
            raise ValueError("counts cannot be negative")


def model_card(facts: CardFacts) -> str:
    """The text of README.md, in Markdown with the front matter that the Hub reads.

    No licence is chosen: that is the author's to do, and the card says so.
    """
    plain = facts.config.is_plain_gpt2
    parts = [
        _front_matter(plain),
        f"# {inline(facts.title)}",
        _what_it_is(facts),
        _how_to_load(plain),
        "## What it was trained on",
        _data(facts),
        "## How it was trained",
        _training(facts),
        _curve(facts.curve),
        _result(facts),
        *(("## What it writes", _fenced(facts.sample)) if facts.sample else ()),
        "## Licence",
        "Its author has not chosen one yet. Until there is one, nobody else may use the model further. "
        "To choose: write `license: mit`, for example, between the lines of dashes at the top of this file. "
        "Mind the rights of whoever wrote the texts.",
        "Trained with gpt2demo.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def format_notice(config: GPT2Config) -> str | None:
    """For a model that GPT-2's format cannot express: the sentences that say so; None for any other."""
    if config.is_plain_gpt2:
        return None
    different = ", ".join(f"{name} = {value}" for name, value in config.variants.items())
    return (
        f"GPT-2's format cannot express this model ({different}), so other programs refuse it. "
        "This file is for gpt2demo, which loads it and goes on training it."
    )


def inline(text: str, most: int = 100) -> str:
    """Text from anywhere as it can stand in a line of Markdown: literally, whatever is in it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~:@.$^=-])", r"\\\1", line)


def _front_matter(plain: bool) -> str:
    tags = ["text-generation", "gpt2", "gpt2demo"] if plain else ["gpt2demo"]
    lines = ["---", *(["library_name: transformers", "pipeline_tag: text-generation"] if plain else [])]
    return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _what_it_is(facts: CardFacts) -> str:
    config = facts.config
    kinds = {"char": "characters", "word": "words", "bpe": "pieces of words (byte-level BPE)"}
    rows = [
        ("parameters", f"{count_parameters(config):,}"),
        ("layers", f"{config.n_layer}"),
        ("heads in each", f"{config.n_head}"),
        ("channels", f"{config.n_embd:,}"),
        ("context", f"{config.n_positions:,} tokens"),
        ("vocabulary", f"{config.vocab_size:,} {kinds.get(facts.tokenizer, 'tokens')}"),
        *((name, str(value)) for name, value in config.variants.items()),
    ]
    table = "\n".join(f"| {inline(name)} | {inline(value)} |" for name, value in rows)
    return (
        f"A small language model of the GPT-2 family, as it was after {facts.step:,} training steps.\n\n"
        f"| | |\n|---|---|\n{table}"
    )


def _how_to_load(plain: bool) -> str:
    if not plain:
        return (
            "GPT-2's format cannot express this model, so `transformers` refuses it. gpt2demo loads it:\n\n"
            + _fenced('python -m gpt2demo generate --model FOLDER --prompt "…"')
        )
    return _fenced(
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model = AutoModelForCausalLM.from_pretrained("FOLDER")\n'
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
        "python",
    )


def _data(facts: CardFacts) -> str:
    if not facts.documents:
        return "It was trained elsewhere; what on is not known here."
    names = ", ".join(map(inline, facts.documents[:MOST_DOCUMENTS]))
    if len(facts.documents) > MOST_DOCUMENTS:
        names += f" and {len(facts.documents) - MOST_DOCUMENTS:,} more"
    size = f"{facts.characters:,} characters" + (f", {facts.tokens:,} tokens" if facts.tokens else "")
    return f"{names}: {size}. The last part was held out to test on."


def _training(facts: CardFacts) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(facts.created))
    how = f"Begun on {day}"
    if facts.seconds:
        how += f"; {facts.seconds:,.0f} seconds of training"
    if facts.optimizer:
        how += f", optimiser {inline(facts.optimizer)}"
    return f"{how}. The same model again:\n\n{_fenced(facts.command)}"


def _curve(points: Sequence[CurvePoint]) -> str:
    """A table of at most a dozen of the measured points, the first and the last among them."""
    if not points:
        return ""
    last = len(points) - 1
    places = sorted({round(i * last / max(1, MOST_POINTS - 1)) for i in range(MOST_POINTS)})
    rows = [
        f"| {p.step:,} | {p.tokens:,} | {p.train_loss:.4f} | {p.val_loss:.4f} |"
        for p in (points[place] for place in places)
    ]
    head = "| step | tokens read | training loss | validation loss |\n|---:|---:|---:|---:|"
    return "\n".join([head, *rows]) + "\n\nLosses are in nats per token."


def _result(facts: CardFacts) -> str:
    if facts.final_val_loss is None:
        return ""
    over = f", over {facts.final_val_tokens:,} held-out tokens" if facts.final_val_tokens else ""
    return f"Result: a validation loss of **{facts.final_val_loss:.4f}** nats per token{over}."


def _fenced(text: str, language: str = "") -> str:
    """Text as it is, in a frame that nothing in it can close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    shown = "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
    return f"{fence}{language}\n{shown}\n{fence}"
