"""What fewer bits cost a model: its loss on one text, as it was trained and in a copy with fewer bits."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpt2demo.errors import NotFoundError
from gpt2demo.generation.reading import perplexity, read_text, readable
from gpt2demo.generation.records import TokenStep
from gpt2demo.generation.writing import Guard
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.packed import weight_bytes
from gpt2demo.runs.reading import Learnt, sample
from gpt2demo.text.tokenizers import Tokenizer


@dataclass(frozen=True, kw_only=True)
class PrecisionCost:
    """What a model loses on a text, and what it saves, when its weights have fewer bits."""

    precision: str  # of the copy: "bf16" or "int8"
    tokens: int  # that both have read
    loss: float  # of the model as it was trained, in nats per token
    loss_then: float  # of the copy, on the same tokens
    same_guess: float  # share of the tokens before which both had the same first guess
    weights: int  # bytes
    weights_then: int


def precision_cost(
    model: LanguageModel,
    copy: LanguageModel,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    precision: str,
    guard: Guard | None = None,
) -> PrecisionCost:
    """Lets a model and its copy in fewer bits (`packed`) read the same texts, each after a start token.

    In int8 all tokens that are read at once share one step width, so that it comes out a little worse here
    than where a text is written token by token. Raises TextError and LimitError for a text of more than
    20,000 characters or 4,096 tokens.
    """
    ids = [tokenizer.encode(readable(text)) for text in texts]

    def read(reader: LanguageModel) -> list[TokenStep]:
        steps = [read_text(reader, one, start_id=tokenizer.start_id, guard=guard) for one in ids]
        return [step for text in steps for step in text]

    exact, rounded = read(model), read(copy)
    same = sum(a.likeliest.best_id == b.likeliest.best_id for a, b in zip(exact, rounded, strict=True))
    return PrecisionCost(
        precision=precision,
        tokens=len(exact),
        loss=perplexity(exact).nats,
        loss_then=perplexity(rounded).nats,
        same_guess=same / len(exact),
        weights=weight_bytes(model),
        weights_then=weight_bytes(copy),
    )


def texts_to_measure(model: LanguageModel, known: Learnt | None, own: object) -> tuple[str, ...]:
    """A text of one's own, or where that is empty pieces of the model's held-out text.

    Raises NotFoundError where there is neither, TextError and LimitError for an own text that cannot be read.
    """
    if own != "":
        return (readable(own),)
    if known is None or not known.held_out:
        raise NotFoundError(
            "There is no held-out text of this model here.",
            "What fewer bits cost is measured on a text.",
            "Give a text to measure on.",
        )
    return sample(model, known.held_out)
