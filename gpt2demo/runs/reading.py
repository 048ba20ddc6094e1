"""A text read through a model's eyes, beside the text that the model learnt from and what was held out."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gpt2demo.generation.reading import Measures, characters_begun, measures, read_text, readable
from gpt2demo.generation.records import TokenStep
from gpt2demo.generation.writing import Guard
from gpt2demo.model.anatomy import count_parameters
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.text.batches import Part, Rows, encode_corpus
from gpt2demo.text.copies import LEAST, Copies, Passage, covered, passage_length
from gpt2demo.text.corpus import encode_documents
from gpt2demo.text.display import display_tokens
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.training.evaluation import VALIDATION_WORK
from gpt2demo.training.folder import RunFolder

PIECES, PIECE_TOKENS = 8, 256  # so much of each part is read to compare with, of large models less
NEAREST_SPACE = 200  # characters in which a piece looks for a place to begin at
UNKNOWN_HERE, UNKNOWN_THERE = "\ufdd0", "\ufdd1"  # for <unk>: two unknown words need not be the same word
SEAM = "\ufdd2"  # between pieces that are looked up together


@dataclass(frozen=True, kw_only=True, eq=False)
class Learnt:
    """What is here of the text that a model learnt from, and of what was held out from it."""

    copies: Copies  # the training text, as its tokens spell it, to look passages up in
    training: tuple[str, ...]  # pieces from all over it, always the same
    held_out: tuple[str, ...]  # the same of the held-out text; none where that is not here
    characters: int  # of the training text that is here
    whole: bool  # False: that is only its beginning


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What a model made of a text, token by token and on the whole."""

    text: str  # as it was read
    ids: tuple[int, ...]
    steps: tuple[TokenStep, ...]  # one for each token: they come after a start token
    measures: Measures
    unknown: int  # words that the tokenizer does not know
    spelled: str  # the text as its tokens spell it, in which the passages are counted
    least: int  # how many characters make a passage
    passages: tuple[Passage, ...] | None  # that stand in the training text; None where that is not here
    marked: tuple[bool, ...]  # for each token, whether all of it stands in such passages

    @property
    def copied(self) -> float | None:
        """The share of the characters that stand in copied passages."""
        return None if self.passages is None else covered(self.passages) / max(1, len(self.spelled))

    @property
    def longest(self) -> str:
        """The longest passage that stands in the training text; "" where there is none."""
        best = max(self.passages or (), key=lambda p: p.end - p.start, default=None)
        return "" if best is None else self.spelled[best.start : best.end]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What the same measures come to on text that the model knows, or ought to be able to foretell."""

    measures: Measures
    copied: float  # the share of the characters that stand in passages of the training text


def learnt(folder: RunFolder) -> Learnt:
    """The text of a run, parted as it was for training. Raises NotFoundError for a model without one."""
    facts, corpus, tokenizer = folder.facts(), folder.corpus(), folder.tokenizer()
    whole = sum(map(len, corpus.texts)) >= facts.characters
    if whole:
        settings = facts.training
        data = encode_corpus(
            corpus, tokenizer, length=settings.length, batches=settings.batches, may_be_short=True
        )
        training, held_out = _ids(data.train), _ids(data.validation)
    else:
        training, held_out = encode_documents(corpus, tokenizer), tokenizer.encode(folder.held_out())
    spelled = spell(tokenizer, training, unknown=UNKNOWN_THERE)
    size = max(1, int(PIECE_TOKENS * len(spelled) / max(1, len(training))))
    return Learnt(
        copies=Copies(spelled),
        training=pieces(tokenizer.decode(training), size),
        held_out=pieces(tokenizer.decode(held_out), size),
        characters=len(spelled),
        whole=whole,
    )


def read(
    model: LanguageModel,
    tokenizer: Tokenizer,
    text: object,
    known: Learnt | None = None,
    *,
    least: object = LEAST,
    guard: Guard | None = None,
) -> Reading:
    """Scores every token of a text, and looks for passages of at least so many characters that were learnt.

    Each token is scored, the first one after the token that texts begin after. guard: the shared model's
    lock, held for one forward pass at a time. Raises TextError, LimitError.
    """
    text, least = readable(text), passage_length(least)
    ids = tokenizer.encode(text)
    steps = read_text(model, ids, start_id=tokenizer.start_id, guard=guard)
    spelled = spell(tokenizer, ids, unknown=UNKNOWN_HERE)
    passages = None if known is None else known.copies.passages(spelled, least)
    return Reading(
        text=text,
        ids=tuple(ids),
        steps=steps,
        measures=measures(steps, tokenizer),
        unknown=sum(id_ == tokenizer.unknown_id for id_ in ids),
        spelled=spelled,
        least=least,
        passages=passages,
        marked=_marked(tokenizer, ids, passages or ()),
    )


def compare(
    model: LanguageModel,
    tokenizer: Tokenizer,
    known: Learnt,
    *,
    held_out: bool,
    least: int = LEAST,
    guard: Guard | None = None,
) -> Compared | None:
    """The measures of the training text or of the held-out text, each piece read like a text of its own.

    At most 2,048 tokens from all over the part, of models above 24 million parameters fewer. None where that
    part is not here.
    """
    chosen = sample(model, known.held_out if held_out else known.training)
    if not chosen:
        return None
    steps: list[TokenStep] = []
    spelled = []
    for piece in chosen:
        ids = tokenizer.encode(piece)
        steps += read_text(model, ids, start_id=tokenizer.start_id, guard=guard)
        spelled.append(spell(tokenizer, ids, unknown=UNKNOWN_HERE))
    passages = known.copies.passages(SEAM.join(spelled), least)
    return Compared(
        measures=measures(steps, tokenizer), copied=covered(passages) / max(1, sum(map(len, spelled)))
    )


def sample(model: LanguageModel, chosen: tuple[str, ...]) -> tuple[str, ...]:
    """As many of the pieces of a text as a model of this size reads in a moment, from all over it."""
    affordable = int(VALIDATION_WORK / count_parameters(model.config)) // PIECE_TOKENS
    return chosen[:: -(-len(chosen) // max(1, min(affordable, PIECES)))] if chosen else ()


def pieces(text: str, size: int, count: int = PIECES) -> tuple[str, ...]:
    """So many pieces of a text at equal distances, or as many as fit: each begins with a line or a word."""
    count = min(count, max(1, len(text) // size))
    starts = [i * max(0, len(text) - size) // max(1, count - 1) for i in range(count)]
    found = (_tidy(text, start, size) for start in starts)
    return tuple(dict.fromkeys(piece for piece in found if piece.strip()))


def _tidy(text: str, start: int, size: int) -> str:
    """A piece of a text that begins after the next end of a line, or else after the next space."""
    near = text[start : start + min(NEAREST_SPACE, size // 2)]
    if start:
        start += max(near.find("\n"), 0) or max(near.find(" "), 0)
    return text[start : start + size].strip()


def spell(tokenizer: Tokenizer, ids: Iterable[int], *, unknown: str) -> str:
    """The text that tokens spell, with a character of one's own choice for each unknown word."""
    data = [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]
    if tokenizer.unknown_id is not None:
        data[tokenizer.unknown_id] = unknown.encode()
    return b"".join([data[i] for i in ids]).decode("utf-8", errors="ignore")  # of a character that was cut


def _ids(part: Part) -> list[int]:
    """The tokens of a part, one after the other; where rows share one it is there once."""
    if isinstance(part, Rows):
        part = part.tokens[int(part.starts[0]) : int(part.ends[-1])] if len(part) else part.tokens[:0]
    ids: list[int] = part.tolist()
    return ids


def _marked(tokenizer: Tokenizer, ids: Sequence[int], passages: Sequence[Passage]) -> tuple[bool, ...]:
    """Which tokens stand in passages with all that they have of characters, be it a part of one."""
    data = [UNKNOWN_HERE.encode() if i == tokenizer.unknown_id else tokenizer.token_bytes(i) for i in ids]
    ends = np.cumsum([characters_begun(one) for one in data])
    inside = np.zeros(int(ends[-1]) + 1, dtype=bool)
    for passage in passages:
        inside[passage.start : passage.end] = True
    starts = [0, *ends[:-1].tolist()]
    return tuple(
        bool(inside[max(0, start - (one[0] & 0xC0 == 0x80)) : end].all())
        for one, start, end in zip(data, starts, ends.tolist(), strict=True)
    )


def to_json(
    reading: Reading, tokenizer: Tokenizer, compared: Mapping[str, Compared | None]
) -> dict[str, Any]:
    """A reading in the words of JSON, with what it is compared to under the names that are given."""
    glyphs = display_tokens(tokenizer, reading.ids)
    return {
        **_measured(reading.measures),
        "unknown_words": reading.unknown,
        "copied": reading.copied,
        "longest_copy": reading.longest,
        "passages": [
            asdict(passage) | {"text": reading.spelled[passage.start : passage.end]}
            for passage in reading.passages or ()
        ],
        "compared": {
            name: None if one is None else _measured(one.measures) | {"copied": one.copied}
            for name, one in compared.items()
        },
        "by_token": [
            {
                "token": glyph,
                "id": step.id,
                "bits": -step.logprob / math.log(2),
                "rank": step.rank,
                "copied": marked,
            }
            for glyph, step, marked in zip(glyphs, reading.steps, reading.marked, strict=True)
        ],
    }


def _measured(measures: Measures) -> dict[str, Any]:
    """JSON knows no infinity."""
    values = asdict(measures).items()
    return {name: None if value is not None and math.isinf(value) else value for name, value in values}
