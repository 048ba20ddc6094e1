"""The words about what fewer bits of a weight cost."""

import math

from gpt2demo.runs.precision import PrecisionCost

MEASURE = "Measure what it costs"
NOTHING_LOST = "32 bits are the model as it was trained: nothing is lost. Choose 16 or 8 to measure these."
NO_TEXT = (
    "There is no held-out text of this model here.",
    "What fewer bits cost is measured on a text.",
    "Paste one below, under “The text to read”, and press again.",
)
NAMES = {"bf16": "16 bits (bf16)", "int8": "8 bits (int8)"}


def cost(title: str, found: PrecisionCost, *, held_out: bool) -> str:
    """What was measured, in words."""
    text = "its held-out text" if held_out else "the text pasted below"
    more = found.loss_then - found.loss
    change = f"{abs(more):.4f} {'more' if more >= 0 else 'less'}"
    return (
        f"{title} on {found.tokens:,} tokens of {text}: with 32 bits a loss of {found.loss:.4f} nats per "
        f"token, with {NAMES[found.precision]} {found.loss_then:.4f}, {change}. Perplexity "
        f"{_number(found.loss)} becomes {_number(found.loss_then)}, {100 * found.same_guess:.1f} % of its "
        f"first guesses stay the same, and the weights take {found.weights_then / 1e6:,.2f} MB instead of "
        f"{found.weights / 1e6:,.2f}."
    )


def _number(nats: float) -> str:
    return f"{math.exp(nats):,.3f}" if nats < 20 else "∞"
