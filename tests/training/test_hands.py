"""Several hands do one step together: the same step as one hand, and the same to the last bit every time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.text.batches import batch, encode_corpus
from gpt2demo.training.config import HANDS_PARAMETERS, hands_for, recipe, threads_for_products
from gpt2demo.training.hands import Hands, sharing_products
from gpt2demo.training.loop import new_state, train
from tests.training.conftest import LENGTH


@pytest.fixture
def calm(shape):
    """The little model without dropout, as the small sizes are."""
    return replace(shape, dropout=0.0)


@pytest.fixture
def make_state(calm):
    return lambda config: new_state(GPT2(calm, seed=config.seed), config)


def gradients_of(state):
    return [p.grad.clone() for p in state.model.parameters()]


def losses(state, data, config, steps=6):
    return [step.train_loss for step in train(state, data, config, steps=steps)]


def test_each_part_is_worked_on_by_a_thread_of_its_own_and_the_order_stays():
    meeting = threading.Barrier(3, timeout=20)

    def work(number):
        meeting.wait()  # only three at the same time get past this
        return number * number, threading.get_ident(), torch.get_num_threads()

    done = Hands(3).map(work, [2, 3, 4])
    assert [square for square, _, _ in done] == [4, 9, 16]
    assert len({thread for _, thread, _ in done}) == 3
    assert done[0][1] == threading.get_ident()
    assert [threads for _, _, threads in done[1:]] == [1, 1]


def test_what_goes_wrong_in_a_hand_is_raised():
    def work(number):
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        Hands(2).map(work, [1, 0])


def test_the_threads_end_with_the_hands():
    hands = Hands(2)
    [_, other] = hands.map(lambda _: threading.current_thread(), "ab")
    assert other.is_alive()
    del hands
    other.join(20)
    assert not other.is_alive()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(
    "changes", [{}, {"batch_size": 3}, {"accumulation": 3}, {"precision": "bf16"}], ids=str
)
def test_two_hands_find_the_same_gradients_as_one(make_config, make_state, data, optimizer, changes):
    found = {}
    for threads in (1, 2):
        config = make_config(optimizer, threads=threads, **changes)
        state = make_state(config)
        assert state.hands.count == threads
        next(train(state, data, config, steps=3))
        found[threads] = gradients_of(state)
    near = 2e-2 if "precision" in changes else 1e-5
    for one, two in zip(found[1], found[2], strict=True):
        torch.testing.assert_close(two, one, rtol=near, atol=near * one.abs().max().item())


def test_two_hands_share_padded_rows_by_their_tokens(make_config, make_state, lines, tokenizer):
    data = encode_corpus(lines, tokenizer, length=LENGTH, batches="padded")
    curves = []
    for threads in (1, 2):
        config = make_config("adamw", threads=threads, batches="padded", batch_size=5)
        curves.append(losses(make_state(config), data, config))
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)
    assert not torch.equal(
        *(y.sum(-1) for y in batch(data.train, seed=1, step=0, batch_size=2, length=LENGTH))
    )


def test_two_hands_repeat_themselves_to_the_last_bit(make_config, make_state, data):
    config = make_config("muon", threads=2, precision="bf16")
    first, second = make_state(config), make_state(config)
    assert losses(first, data, config, 12) == losses(second, data, config, 12)
    for one, two in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_who_has_several_hands(calm):
    config = recipe("muon", calm, threads=4, batch_size=8)
    assert hands_for(calm, config) == 4
    assert threads_for_products(calm, config) == 1
    assert hands_for(calm, replace(config, batch_size=3)) == 3
    large = GPT2Config(vocab_size=1_000, n_layer=12, n_embd=768, dropout=0.0)
    together = [
        (replace(calm, dropout=0.1), config),
        (replace(calm, n_experts=2), config),
        (calm, replace(config, quantization_aware=True)),
        (calm, replace(config, precision="fp16")),
        (large, config),
    ]
    assert 12 * 12 * 768**2 > HANDS_PARAMETERS
    for model, training in together:
        assert hands_for(model, training) == 1
        assert threads_for_products(model, training) == 4


def test_who_shares_out_products_is_as_before_afterwards():
    def elsewhere():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    torch.set_num_threads(2)
    with sharing_products(1):
        assert torch.get_num_threads() == 1
        Hands(2).map(lambda number: number, [1, 2])  # whose threads take one for themselves
    assert torch.get_num_threads() == 2 == elsewhere()
