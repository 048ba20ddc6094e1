"""What fewer bits cost: the figure is the difference of two losses on the same tokens, and never made up."""

import math

import pytest
import torch

from gpt2demo.errors import LimitError, NotFoundError, TextError
from gpt2demo.generation.reading import read_text
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.packed import packed
from gpt2demo.runs.precision import precision_cost, texts_to_measure
from gpt2demo.runs.reading import Learnt
from gpt2demo.text.copies import Copies
from gpt2demo.text.tokenizers import train_tokenizer

TEXTS = ("the cat sat on the mat, ", "and the dog sat on the log.")
TOKENIZER = train_tokenizer("char", TEXTS)


@pytest.fixture(scope="module")
def model() -> GPT2:
    shape = GPT2Config(vocab_size=TOKENIZER.vocab_size, n_positions=16, n_embd=16, n_layer=2, n_head=2)
    model = GPT2(shape, seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 8  # so that rounding is seen
    return model


def known(held_out: tuple[str, ...]) -> Learnt:
    return Learnt(copies=Copies("x"), training=("x",), held_out=held_out, characters=1, whole=True)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_it_is_the_loss_of_both_on_the_same_tokens(model, precision):
    copy = packed(model, precision)
    cost = precision_cost(model, copy, TOKENIZER, TEXTS, precision=precision)
    losses = []
    for one in (model, copy):
        steps = [
            step
            for text in TEXTS
            for step in read_text(one, TOKENIZER.encode(text), start_id=TOKENIZER.start_id)
        ]
        losses.append(-math.fsum(step.logprob for step in steps) / len(steps))
    assert (cost.tokens, cost.precision) == (sum(map(len, TEXTS)), precision)
    assert (cost.loss, cost.loss_then) == pytest.approx(losses) and cost.loss != cost.loss_then
    assert 0 < cost.same_guess <= 1 and cost.weights_then < cost.weights
    same = precision_cost(model, model, TOKENIZER, TEXTS, precision="fp32")
    assert same.loss == same.loss_then and same.same_guess == 1


def test_there_are_limits_and_a_text_is_needed(model):
    def cost(text: object) -> None:
        precision_cost(model, model, TOKENIZER, [text], precision="int8")  # type: ignore[list-item]

    with pytest.raises(LimitError, match="20,001 characters"):
        cost("a" * 20_001)
    with pytest.raises(LimitError, match="5,000 tokens"):
        cost("a" * 5_000)
    for wrong in ("", None, 7, ["the"]):
        with pytest.raises(TextError):
            cost(wrong)
    assert texts_to_measure(model, known(TEXTS), "") == TEXTS
    assert texts_to_measure(model, known(TEXTS), "the\r\ncat") == ("the\ncat",)
    for nothing in (None, known(())):
        assert texts_to_measure(model, nothing, "the cat") == ("the cat",)
        with pytest.raises(NotFoundError, match="no held-out text"):
            texts_to_measure(model, nothing, "")
