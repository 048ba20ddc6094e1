"""How well a model foretells a text: the loss, and looks at a text that it is not trained on."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt2demo.model.anatomy import count_parameters
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.text.batches import IGNORED, Part, validation_windows
from gpt2demo.training.config import TrainingConfig
from gpt2demo.training.hands import Hands

VALIDATION_TOKENS = 8_192  # how much held-out text each point of the validation curve reads at most
LEAST_VALIDATION = 2_048  # ... and at least, and between them
VALIDATION_SHARE = 0.01  # of what the run learns from, so that a short run does not spend its time on looks
VALIDATION_WORK = 5e10  # ... and at most this many parameters times tokens: large models read less
EVALUATION_BATCH = 8_192  # tokens in one forward pass of an evaluation
EVALUATION_LOGITS = 2**24  # ... and about this many scores at most, or GPT-2's would need gigabytes


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well a model foretells a text it has not been trained on."""

    loss: float  # nats per token
    accuracy: float  # share of tokens whose right next token was the first guess
    tokens: int


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss: minus the logarithm of the probability that the right next token was given, on average.

    Padding does not count, and logarithms are taken in full precision.  (B, T, V), (B, T) → () in nats per
    token.
    """
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)


def evaluate(
    model: LanguageModel, part: Part, *, length: int, max_tokens: int, hands: Hands | None = None
) -> Evaluation:
    """Measures the model on the same windows (or rows) of a held-out text, every time it is asked.

    `max_tokens` bounds how many tokens are read, in evenly spaced windows of `length`. hands: who share them.
    """
    inputs, targets = validation_windows(part, length=length, max_tokens=max_tokens)  # (N, T) each
    hands = hands or Hands(1)
    most = max(1, min(EVALUATION_BATCH, EVALUATION_LOGITS // model.config.vocab_size) // length)
    rows = max(1, min(most, -(-len(inputs) // hands.count)))

    @torch.no_grad()
    def look(start: int) -> tuple[float, int, int]:
        x = inputs[start : start + rows].to(model.device)
        y = targets[start : start + rows].to(model.device)
        logits = model(x)
        count = count_targets(y)
        return cross_entropy(logits, y).item() * count, int((logits.argmax(-1) == y).sum()), count

    was_training = model.training
    model.eval()
    starts = range(0, len(inputs), rows)
    seen = [one for group in _groups(starts, hands.count) for one in hands.map(look, group)]
    model.train(was_training)
    tokens = sum(count for _, _, count in seen)
    loss, right = sum(loss for loss, _, _ in seen), sum(right for _, right, _ in seen)
    return Evaluation(loss=loss / tokens, accuracy=right / tokens, tokens=tokens)


def _groups(starts: range, size: int) -> list[range]:
    return [starts[i : i + size] for i in range(0, len(starts), size)]


def count_targets(targets: Tensor) -> int:
    """How many tokens are foretold: all that are not padding.  (B, T) → a number"""
    return int((targets != IGNORED).sum())


def validation_tokens(model: LanguageModel, config: TrainingConfig, steps: int) -> int:
    """How many held-out tokens one point of the validation curve reads: fixed for a run, and affordable."""
    most = int(VALIDATION_SHARE * steps * config.rows * config.length)
    affordable = int(VALIDATION_WORK / count_parameters(model.config))
    return max(2 * config.length, min(max(most, LEAST_VALIDATION), VALIDATION_TOKENS, affordable))
