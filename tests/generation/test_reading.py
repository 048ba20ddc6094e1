"""Reading a text: bits per character from first principles, with tokens of every kind, and limits in words"""

from __future__ import annotations

import math

import pytest
import torch

from gpt2demo.errors import UserError
from gpt2demo.generation.reading import (
    MAX_READ_CHARACTERS,
    characters_begun,
    measures,
    perplexity,
    read_text,
    readable,
)
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.text.tokenizers import Tokenizer, train_tokenizer

TEXT = (
    "Der Bär — 山の熊 — sat \U0001f43b there, and the bear sat.\nThe sea was still, and the bear sat there.\n"
)


def model_for(tokenizer: Tokenizer) -> GPT2:
    """Weights large enough that no two tokens are equally likely."""
    shape = GPT2Config(vocab_size=tokenizer.vocab_size, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    model = GPT2(shape, seed=3).eval()
    with torch.no_grad():
        model.wte.weight.mul_(20)
    return model


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_bits_per_character_from_first_principles(kind: str) -> None:
    tokenizer = train_tokenizer(kind, [TEXT], 270)
    model, ids = model_for(tokenizer), tokenizer.encode(TEXT[:30])
    assert kind == "char" or len(ids) > len(TEXT[:30]), "characters of several tokens are among them"
    text = [tokenizer.start_id, *ids][-16:]  # one window, so that a plain forward pass is the same
    with torch.inference_mode():
        logprobs = model(torch.tensor([text[:-1]]))[0].double().log_softmax(-1)
    nats = [-float(logprobs[i, id_]) for i, id_ in enumerate(text[1:])]
    whole = "".join(map(chr, b"".join(map(tokenizer.token_bytes, text[1:]))))
    begun = sum(not 0x80 <= ord(byte) < 0xC0 for byte in whole)
    found = measures(read_text(model, text), tokenizer)
    assert found.tokens == len(nats) == 15 and found.characters == begun
    assert found.bits_per_character == pytest.approx(sum(nats) / math.log(2) / begun)
    assert found.perplexity == pytest.approx(math.exp(sum(nats) / len(nats)))
    first = sum(int(logprobs[i].argmax()) == id_ for i, id_ in enumerate(text[1:]))
    assert found.accuracy == pytest.approx(first / 15)


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_with_a_start_token_every_character_counts_and_without_all_but_the_first(kind: str) -> None:
    tokenizer = train_tokenizer(kind, [TEXT], 300)
    model, ids = model_for(tokenizer), tokenizer.encode(TEXT)
    every = measures(read_text(model, ids, start_id=tokenizer.start_id), tokenizer)
    assert every.characters == len(TEXT) and every.tokens == len(ids)
    rest = measures(read_text(model, ids), tokenizer)
    assert rest.tokens == len(ids) - 1
    assert rest.characters == len(TEXT) - characters_begun(tokenizer.token_bytes(ids[0]))


def test_the_same_uncertainty_per_character_is_the_same_for_all_tokenizers() -> None:
    """A model that knows nothing is as unsure as between all its tokens, however long these are."""
    for kind in ("char", "bpe"):
        tokenizer = train_tokenizer(kind, [TEXT], 300)
        model = model_for(tokenizer)
        with torch.no_grad():
            model.wte.weight.zero_()
        ids = tokenizer.encode(TEXT)
        found = measures(read_text(model, ids, start_id=tokenizer.start_id), tokenizer)
        assert found.perplexity == pytest.approx(tokenizer.vocab_size)
        expected = len(ids) * math.log2(tokenizer.vocab_size) / len(TEXT)
        assert found.bits_per_character == pytest.approx(expected)


def test_special_and_unknown_words_count_in_neither_bits_nor_characters() -> None:
    tokenizer = train_tokenizer("word", ["the bear sat there , the bear sat ."] * 2, 50)
    model = model_for(tokenizer)
    ids = tokenizer.encode("The dragon sat")
    assert tokenizer.unknown_id in ids
    steps = read_text(model, [*ids, tokenizer.end_id], start_id=tokenizer.start_id)
    found = measures(steps, tokenizer)
    kept = [step for step in steps if step.id not in tokenizer.special_ids]
    assert found.tokens == 4 and len(kept) == 2 and found.characters == len(" the sat")
    assert found.bits_per_character == pytest.approx(-sum(s.logprob for s in kept) / math.log(2) / 8)
    assert found.perplexity == perplexity(steps).perplexity
    nothing = measures(read_text(model, [1, 1], start_id=2), tokenizer)
    assert nothing.bits_per_character is None and nothing.characters == 0


def test_which_tokens_are_special() -> None:
    assert train_tokenizer("char", [TEXT]).special_ids == frozenset()
    bpe = train_tokenizer("bpe", [TEXT], 260)
    assert bpe.special_ids == {bpe.end_id} and bpe.token_bytes(bpe.end_id) == b"<|endoftext|>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no text"),
        (None, "not given"),
        (["a"], "list, not text"),
        (7, "int, not text"),
        ("x" * (MAX_READ_CHARACTERS + 1), "20,001 characters"),
    ],
    ids=str,
)
def test_what_cannot_be_read(text: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        readable(text)


def test_line_ends_are_read_as_texts_for_training_are() -> None:
    assert readable("a\r\nb\rc\n") == "a\nb\nc\n" and len(readable("x" * MAX_READ_CHARACTERS)) == 20_000
