"""The loop learns, repeats itself to the last bit, and stops before a NaN could touch the weights."""

import dataclasses
import math
import re

import pytest
import torch

from gpt2demo.errors import DivergedError
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.text.batches import IGNORED, Rows, TokenData, batch, encode_corpus, size
from gpt2demo.text.tokenizers import train_tokenizer
from gpt2demo.training import loop
from gpt2demo.training.course import Course
from gpt2demo.training.evaluation import cross_entropy, evaluate
from gpt2demo.training.hands import Hands
from gpt2demo.training.loop import new_state, train
from gpt2demo.training.schedule import learning_rate_share


def weights(state):
    return {name: p.detach().clone() for name, p in state.model.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(params=["adamw", "adam", "muon"])
def optimizer(request):
    return request.param


def test_the_loss_falls(optimizer, make_config, make_state, data, tokenizer):
    config = make_config(optimizer, learning_rate=0.03 if optimizer == "muon" else 0.01, steps=60)
    records = list(train(make_state(config), data, config, steps=60))
    first, last = records[0], records[-1]
    assert abs(first.train_loss - math.log(tokenizer.vocab_size)) < 0.3  # an untrained model guesses
    assert last.train_loss < 0.75 * first.train_loss and last.val_loss < 0.75 * first.val_loss
    assert last.val_accuracy > 0.3 > first.val_accuracy


def test_a_step_says_what_happened(make_config, make_state, data):
    config = make_config(steps=40, warmup=0.1, final_learning_rate=0.1, gradient_clip=0.001)
    state = make_state(config)
    records = list(train(state, data, config, steps=40))
    assert [r.step for r in records] == list(range(41)) and state.step == 40
    assert [r.tokens for r in records] == [4 * 16 * i for i in range(41)]
    assert [r.step for r in records if r.val_loss is not None] == list(range(0, 41, 2))
    assert records[0].learning_rate == config.learning_rate / 5  # 4 steps of warmup
    assert records[4].learning_rate == config.learning_rate
    assert records[-1].learning_rate == 0.0  # the last one only measures
    assert all(r.gradient_norm > 0.01 for r in records)  # measured before it is clipped
    elapsed = [r.elapsed for r in records]
    assert elapsed == sorted(elapsed) and elapsed[0] > 0 and records[-1].tokens_per_second > 0


def test_gradients_are_clipped_only_when_asked(make_config, make_state, data):
    for limit in (0.0, 0.01):
        config = make_config(gradient_clip=limit)
        state = make_state(config)
        record = next(train(state, data, config, steps=24))
        used = torch.cat([p.grad.flatten() for p in state.model.parameters()]).norm().item()
        assert used == pytest.approx(limit or record.gradient_norm, rel=1e-3)


def test_the_finished_model_is_measured_but_not_changed(optimizer, make_config, make_state, data):
    config = make_config(optimizer, steps=3)
    state = make_state(config)
    steps = train(state, data, config, steps=3)
    for _ in range(3):
        next(steps)
    before = weights(state)
    last = next(steps)
    assert last.step == 3 and same(before, weights(state))
    again = list(train(state, data, config, steps=3))  # a run that is done can be measured once more
    assert [r.train_loss for r in again] == [last.train_loss] and same(before, weights(state))


def test_two_halves_equal_one_whole_bit_for_bit(optimizer, make_config, make_state, data, results):
    config = make_config(optimizer, gradient_clip=1.0)
    whole, halves = make_state(config), make_state(config)
    expected = list(train(whole, data, config, steps=24))
    got = []
    for record in train(halves, data, config, steps=24):
        got.append(record)
        if record.step == 11:
            break
    torch.rand(100)  # what else uses the global generator in between does not matter
    got += train(halves, data, config, steps=24)
    assert results(got) == results(expected)
    assert same(weights(whole), weights(halves))


@pytest.fixture(scope="module")
def rows(lines, tokenizer):
    """Documents that are cut into several rows each, the last of them padded."""
    return encode_corpus(lines, tokenizer, length=16, batches="padded")


def test_padded_halves_equal_one_whole_bit_for_bit(optimizer, make_config, make_state, rows, results):
    config = make_config(optimizer, batches="padded")
    whole, halves = make_state(config), make_state(config)
    expected = list(train(whole, rows, config, steps=24))
    first = train(halves, rows, config, steps=24)
    got = [next(first) for _ in range(9)]
    got += train(halves, rows, config, steps=24)
    assert results(got) == results(expected) and same(weights(whole), weights(halves))
    assert expected[-1].train_loss < 0.9 * expected[0].train_loss
    settings = {"seed": config.seed, "batch_size": config.batch_size, "length": config.length}
    foretold = [(batch(rows.train, step=i, **settings)[1] != IGNORED).sum().item() for i in range(24)]
    assert expected[-1].tokens == sum(foretold) < 24 * 4 * 16  # padding is not counted as read


@pytest.mark.parametrize("text", ["data", "rows"])
def test_small_batches_added_up_are_one_large_batch(text, optimizer, make_config, shape, request):
    read = request.getfixturevalue(text)
    how = {"batches": "padded" if text == "rows" else "packed", "steps": 6, "gradient_clip": 1.0}
    large = make_config(optimizer, batch_size=8, **how)
    runs = []
    for at_once, times in ((8, 1), (4, 2), (3, 3), (1, 8)):
        config = make_config(optimizer, batch_size=at_once, accumulation=times, **how)
        state = new_state(GPT2(dataclasses.replace(shape, dropout=0.0), seed=1), large)
        runs.append(list(train(state, read, config, steps=6)))
        assert config.rows == at_once * times
    whole, halves, others, ones = runs
    for records in (halves, ones):  # the same eight windows, in smaller pieces
        assert [r.tokens for r in records] == [r.tokens for r in whole]
        for name in ("train_loss", "gradient_norm"):
            found, expected = ([getattr(r, name) for r in run] for run in (records, whole))
            assert found[0] == pytest.approx(expected[0], rel=1e-5)
            assert found == pytest.approx(expected, rel=1e-2)  # each step makes rounding count more
    assert others[0].train_loss != pytest.approx(whole[0].train_loss, rel=1e-5)  # nine are others


def test_a_run_looks_at_the_held_out_text_as_often_as_it_is_told(make_config, make_state, data):
    config = make_config(steps=20, evaluate_every=7)
    records = list(train(make_state(config), data, config, steps=20))
    assert [r.step for r in records if r.val_loss is not None] == [0, 7, 14, 20]


def test_padding_changes_neither_loss_nor_gradient(make_config, make_state, rows):
    assert isinstance(rows.train, Rows)
    inputs, targets = rows.train.read(torch.arange(20))
    assert (targets == IGNORED).any()
    model = make_state(make_config()).model.eval()
    outcomes = []
    for filling in (0, 7):
        model.zero_grad()
        loss = cross_entropy(model(inputs.where(targets != IGNORED, filling)), targets)
        loss.backward()
        outcomes.append((loss.item(), model.wte.weight.grad.clone()))
    assert outcomes[0][0] == pytest.approx(outcomes[1][0], abs=1e-6)
    assert torch.allclose(outcomes[0][1], outcomes[1][1], atol=1e-6)


def test_a_padded_evaluation_is_the_mean_over_real_tokens(make_config, make_state, rows, monkeypatch):
    model = make_state(make_config()).model
    monkeypatch.setattr("gpt2demo.training.evaluation.EVALUATION_BATCH", 16 * 7)  # of different padding
    result = evaluate(model, rows.train, length=16, max_tokens=10**6)
    assert result.tokens == size(rows.train)
    model.eval()
    logprobs, right = [], 0
    with torch.no_grad():
        for i in range(len(rows.train)):
            x, y = rows.train.read(torch.tensor([i]))  # by itself a row has no padding
            chances = model(x)[0].log_softmax(-1)
            logprobs += chances[range(y.shape[1]), y[0]].tolist()
            right += int((chances.argmax(-1) == y[0]).sum())
    assert result.loss == pytest.approx(-sum(logprobs) / len(logprobs), abs=1e-5)
    assert result.accuracy == pytest.approx(right / len(logprobs))


def test_a_model_of_words_learns_in_padded_batches(make_config, lines, shape):
    tokenizer = train_tokenizer("word", lines.texts, 40)
    data = encode_corpus(lines, tokenizer, length=16, batches="padded")
    config = make_config(learning_rate=0.01, steps=40)
    model = GPT2(dataclasses.replace(shape, vocab_size=tokenizer.vocab_size), seed=1)
    records = list(train(new_state(model, config), data, config, steps=40))
    assert records[-1].val_loss < 0.6 * records[0].val_loss


@pytest.mark.parametrize("change", [{"seed": 8}, {"batch_size": 5}, {"learning_rate": 0.0011}])
def test_every_setting_counts(change, make_config, make_state, data, results):
    config, changed = make_config(), make_config(**change)
    model_of = make_state(config).model.state_dict()
    runs = []
    for c in (config, changed):
        state = make_state(c)
        state.model.load_state_dict(model_of)
        runs.append(results([r for r in train(state, data, c, steps=3)]))
    assert runs[0] != runs[1]


def test_dropout_is_on_while_training_and_off_while_measuring(make_config, make_state, data):
    config = make_config(steps=4)
    state = make_state(config)
    seen = []
    hook = state.model.drop.register_forward_hook(lambda module, *_: seen.append(module.training))
    next(train(state, data, config, steps=4))
    hook.remove()
    assert seen[-1] is True and set(seen[:-1]) == {False} and len(seen) > 1


def test_an_evaluation_is_the_mean_over_its_windows_and_changes_nothing(make_config, make_state, data):
    model = make_state(make_config()).model
    model.train()
    torch.manual_seed(3)
    expected_random = torch.rand(3)
    torch.manual_seed(3)
    result = evaluate(model, data.validation, length=16, max_tokens=64)
    assert torch.equal(torch.rand(3), expected_random)
    assert model.training and all(p.grad is None for p in model.parameters())
    assert result.tokens == 64 and 0 <= result.accuracy <= 1
    one = data.validation[:17]
    model.eval()
    with torch.no_grad():
        by_hand = cross_entropy(model(one[None, :16]), one[None, 1:]).item()
    assert evaluate(model, one, length=16, max_tokens=10**6).loss == pytest.approx(by_hand, abs=1e-6)


def test_a_long_evaluation_in_parts_equals_one_in_a_single_piece(make_config, make_state, data, monkeypatch):
    model = make_state(make_config()).model
    whole = evaluate(model, data.train, length=16, max_tokens=10**6)
    monkeypatch.setattr("gpt2demo.training.evaluation.EVALUATION_BATCH", 16 * 7)  # the last part is shorter
    parts = evaluate(model, data.train, length=16, max_tokens=10**6)
    assert parts.tokens == whole.tokens and parts.accuracy == whole.accuracy
    assert parts.loss == pytest.approx(whole.loss, abs=1e-6)


def test_several_hands_see_what_one_sees(make_state, make_config, data):
    model = make_state(make_config()).model
    whole = {"length": 16, "max_tokens": 16 * 23}
    one, three = (evaluate(model, data.validation, hands=hands, **whole) for hands in (None, Hands(3)))
    assert one.loss == pytest.approx(three.loss, rel=1e-6)
    assert (one.accuracy, one.tokens) == (pytest.approx(three.accuracy), three.tokens)


def test_a_large_vocabulary_is_evaluated_in_small_parts(make_config, make_state, data, monkeypatch):
    model, rows = make_state(make_config()).model, []
    whole = evaluate(model, data.train, length=16, max_tokens=640)
    monkeypatch.setattr("gpt2demo.training.evaluation.EVALUATION_LOGITS", 3 * 16 * model.config.vocab_size)
    handle = model.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    parts = evaluate(model, data.train, length=16, max_tokens=640)
    handle.remove()
    assert max(rows) == 3 and sum(rows) == 40
    assert parts.loss == pytest.approx(whole.loss, abs=1e-6)


def test_cross_entropy_is_minus_the_mean_log_probability():
    logits = torch.tensor([[[0.0, math.log(3.0)], [0.0, 0.0]]])  # probabilities 1/4, 3/4 and 1/2, 1/2
    loss = cross_entropy(logits, torch.tensor([[1, 0]]))
    assert loss.item() == pytest.approx(-(math.log(3 / 4) + math.log(1 / 2)) / 2)


@pytest.mark.parametrize("poison", [math.nan, math.inf, 3e38])
def test_no_update_is_made_with_what_is_not_a_number(poison, optimizer, make_config, make_state, data):
    config = make_config(optimizer, learning_rate=0.02)
    state = make_state(config)
    steps = train(state, data, config, steps=24)
    for _ in range(5):
        next(steps)
    with torch.no_grad():
        state.model.ln_f.weight[3] = poison
    before = weights(state)
    with pytest.raises(DivergedError) as caught:
        next(steps)
    after = weights(state)
    assert all(torch.equal(before[n].nan_to_num(7.5), after[n].nan_to_num(7.5)) for n in before)
    assert state.step == 5 and state.tokens == 5 * 64
    sentence = str(caught.value)
    rate = 0.02 * learning_rate_share(5, Course(24), config)
    assert (
        sentence.startswith("At step 5 the loss became ") and f"at the learning rate {rate:.3g}." in sentence
    )
    assert re.search(r"with a gradient of length (nan|inf|[\d.e+]+) ", sentence)
    assert "with a tenth of the learning rate" in sentence


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_finite_loss_with_an_infinite_gradient_is_refused_too(clip, make_config, make_state, data):
    config = make_config(gradient_clip=clip)
    state = make_state(config)
    before = weights(state)
    state.model.wpe.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(DivergedError, match=r"the loss became 2\.\d+ with a gradient of length (nan|inf)"):
        next(train(state, data, config, steps=24))
    assert same(before, weights(state)) and state.step == 0


def test_a_far_too_high_learning_rate_ends_in_a_sentence_or_in_numbers(make_config, make_state, data):
    config = make_config(learning_rate=1.0, gradient_clip=0.0)
    state = make_state(config)
    try:
        records = list(train(state, data, config, steps=24))
        assert all(math.isfinite(r.train_loss) for r in records)
    except DivergedError as error:
        assert f"At step {state.step} " in str(error)
    assert all(bool(p.isfinite().all()) for p in state.model.parameters())


def test_a_text_of_one_window_is_enough(make_config, make_state, data):
    config = make_config(steps=3)
    tiny = TokenData(train=data.train[:17], validation=data.validation[:17])
    assert len(list(train(make_state(config), tiny, config, steps=3))) == 4


def little(tokenizer, **variant):
    sizes = {"n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2, "dropout": 0.0}
    return make_model(GPT2Config(vocab_size=tokenizer.vocab_size, **sizes, **variant))


@pytest.mark.parametrize(
    "variant",
    [
        {"architecture": "lstm"},
        {"architecture": "bigram"},
        {"norm": "post", "positions": "rotary", "attention": "local", "attention_window": 4},
        {"n_experts": 3, "positions": "none", "bias": False},
    ],
    ids=str,
)
def test_every_variant_learns(variant, optimizer, make_config, data, tokenizer):
    config = make_config(optimizer, learning_rate=0.01 if optimizer == "adamw" else 0.03, steps=60)
    records = list(train(new_state(little(tokenizer, **variant), config), data, config, steps=60))
    assert records[-1].train_loss < 0.9 * records[0].train_loss


def test_the_balance_of_the_experts_is_part_of_what_is_learned(make_config, data, tokenizer, monkeypatch):
    config = make_config("adamw", steps=2)
    gates, losses = [], []
    for weight in (0.0, 10.0):
        monkeypatch.setattr(loop, "BALANCE", weight)
        state = new_state(little(tokenizer, n_experts=3), config)
        losses.append(next(train(state, data, config, steps=2)).train_loss)
        gates.append(state.model.h[0].mlp.router.gate.weight.grad.clone())
        assert not state.model.h[0].mlp.router._forward_hooks
    assert losses[0] == losses[1]  # what is told is the loss of the text alone
    assert not torch.allclose(gates[0], gates[1])
