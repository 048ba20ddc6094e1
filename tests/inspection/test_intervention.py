"""Surgery: nothing changes nothing, each cut does what the wiring says, and the model stays as it was."""

import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gpt2demo.errors import ConfigError, LimitError, TextError
from gpt2demo.inspection.capture import capture
from gpt2demo.inspection.importance import head_importance, rows_that_fit
from gpt2demo.inspection.intervention import Ablation, Patch, effect, surgery_hooks
from tests.inspection.induction_model import START, V, induction_model
from tests.inspection.wild import IDS, VARIANTS, C, H, L, T, hooks, wild

TEXT = (START, 4, 8, 3, 4)  # 8 comes next
ALIKE = np.log(V)  # nats: the surprise of a model that says nothing


@pytest.fixture(params=VARIANTS)
def variant(request):
    return wild(request.param)


def test_no_surgery_changes_nothing_to_the_last_bit(variant):
    itself = [Patch(source=tuple(IDS), layer=i, position=4, source_position=4) for i in range(L + 1)]
    for surgery in ([], [Ablation()], itself):
        told = effect(variant, IDS, surgery)
        assert np.array_equal(told.before, told.after)
        assert np.array_equal(told.losses_before, told.losses_after)
        assert told.loss_before == told.loss_after
    logits = variant(torch.tensor([IDS]))
    assert np.allclose(told.before, logits[0, -1].softmax(-1), atol=1e-6)
    assert np.allclose(
        told.losses_before, F.cross_entropy(logits[0, :-1], torch.tensor(IDS[1:]), reduction="none")
    )


def weights_without(variant, layer: int, head: int):
    """The same model with a head whose part of c_proj is zero: what switching it off must come to."""
    block = variant.h[layer].attn
    kept = block.c_proj.weight.clone()
    columns = slice(head * C // H, (head + 1) * C // H)
    block.c_proj.weight[:, columns] = 0
    loss = F.cross_entropy(variant(torch.tensor([IDS]))[0, :-1], torch.tensor(IDS[1:])).item()
    block.c_proj.weight[:] = kept
    return loss


def test_a_head_that_is_off_is_one_that_writes_nothing(variant):
    *_, importance = head_importance(variant, IDS)
    for layer, head in np.ndindex(L, H):
        told = effect(variant, IDS, [Ablation(heads=((layer, head),))])
        assert told.loss_after == pytest.approx(weights_without(variant, layer, head), abs=1e-5)
        assert importance.without[layer, head] == pytest.approx(told.loss_after, abs=1e-5)
        assert abs(told.loss_after - told.loss_before) > 1e-3
        mean = effect(variant, IDS, [Ablation(heads=((layer, head),), fill="mean")])
        assert abs(mean.loss_after - told.loss_after) > 1e-5
    assert importance.loss == pytest.approx(told.loss_before, abs=1e-5)
    assert np.allclose(importance.change, importance.without - importance.loss)


def written(model, surgery) -> tuple[np.ndarray, np.ndarray]:
    """What heads and MLPs of an operated model add to the stream."""
    seen = capture(
        model, IDS, what=["head_outputs", "mlp_outputs", "hidden"], change=surgery_hooks(model, T, surgery)
    )
    return seen.head_outputs, seen.mlp_outputs, seen.hidden, seen.residual


def test_capture_sees_what_came_of_the_surgery(variant):
    heads, mlps, hidden, _ = written(variant, [])
    again, *_ = written(variant, [Ablation(heads=((1, 0),), fill="mean")])
    assert np.allclose(again[1, 0], heads[1, 0].mean(0), atol=1e-5)
    assert np.array_equal(again[1, 1], heads[1, 1])
    _, silent, *_ = written(variant, [Ablation(mlps=(1,))])
    assert not silent[1].any() and np.array_equal(silent[0], mlps[0])
    _, steady, *_ = written(variant, [Ablation(mlps=(0,), fill="mean")])
    assert np.allclose(steady[0], mlps[0].mean(0), atol=1e-5)
    last = hidden.shape[-1] - 1
    changed = written(variant, [Ablation(neurons=((0, last),))])[2]
    assert hidden[0, :, last].any() and not changed[0, :, last].any()
    assert np.array_equal(changed[0, :, :last], hidden[0, :, :last])


def test_a_layer_without_attention_adds_only_its_mlp():
    model = wild()
    *_, mlps, _, stream = (None, *written(model, [Ablation(attention=(0,))]))
    assert np.allclose(stream[1] - stream[0], mlps[0], atol=1e-5)
    *_, before = written(model, [])
    added = before[1] - before[0] - written(model, [])[1][0]
    *_, mlps, _, stream = (None, *written(model, [Ablation(attention=(0,), fill="mean")]))
    assert np.allclose(stream[1] - stream[0] - mlps[0], added.mean(0), atol=1e-4)


def test_both_heads_of_the_induction_circuit_are_needed_and_no_other():
    model = induction_model()
    told = effect(model, TEXT, [])
    assert told.before.argmax() == 8 and told.before[8] > 0.999
    for head in ((0, 0), (1, 0)):
        told = effect(model, TEXT, [Ablation(heads=(head,))])
        assert told.after == pytest.approx(np.full(V, 1 / V), abs=1e-3)
    for head in ((0, 1), (1, 1)):
        told = effect(model, TEXT, [Ablation(heads=(head,)), Ablation(mlps=(0, 1))])
        assert np.array_equal(told.before, told.after)
    *_, importance = head_importance(model, [*TEXT, 8, 3])
    assert importance.loss == pytest.approx(4 / 6 * ALIKE, abs=1e-3)  # nothing says the first four
    assert importance.change[:, 0] == pytest.approx(2 / 6 * ALIKE, abs=1e-3)
    assert importance.change[:, 1] == pytest.approx(0, abs=1e-6)


def test_a_patch_moves_what_the_model_knows_from_one_text_to_another():
    model, other = induction_model(), (START, 4, 5, 3, 4)
    told = effect(model, TEXT, [Patch(source=other, layer=1, position=2, source_position=2)])
    assert told.before.argmax() == 8 and told.after.argmax() == 5 and told.after[5] > 0.999
    told = effect(model, TEXT, [Patch(source=other, layer=1, position=3, source_position=3)])
    assert told.after.argmax() == 8  # nobody reads there
    told = effect(model, TEXT, [Patch(source=(START, 9, 8), layer=0, position=4, source_position=2)])
    assert told.after.argmax() == 3  # it takes itself for an 8, which a 3 followed
    told = effect(model, TEXT, [Patch(source=other, layer=2, position=4, source_position=4)])
    assert told.after.argmax() == 5  # all is said by then
    assert told.losses_after == pytest.approx(told.losses_before)


def test_parts_give_what_one_batch_gives():
    model, lock = wild(), threading.Lock()
    (whole,) = head_importance(model, IDS)
    *early, last = head_importance(model, IDS, max_bytes=1, guard=lock)
    assert len(early) == L * H and not lock.locked() and hooks(model) == 0
    assert np.allclose(last.without, whole.without, atol=1e-6)
    assert np.isnan(early[0].without).all() and np.isnan(early[2].without).sum() == L * H - 2
    assert rows_that_fit(model, 10, 10**6) == 10**6 // (4 * 10 * (8 * C + 2 * 4 * C))


def test_one_token_has_no_loss_but_a_next_token():
    told = effect(wild(), [3], [Ablation(heads=((0, 0),))])
    assert (
        np.isnan(told.loss_before) and told.losses_after.size == 0 and told.before.sum() == pytest.approx(1)
    )
    with pytest.raises(TextError, match="single token"):
        head_importance(wild(), [3])


@pytest.mark.parametrize(
    "wrong",
    [
        Ablation(heads=((L, 0),)),
        Ablation(heads=((0, H),)),
        Ablation(attention=(-1,)),
        Ablation(mlps=(L,)),
        Ablation(neurons=((0, 4 * C),)),
        Ablation(neurons=((L, 0),)),
        Patch(source=tuple(IDS), layer=L + 1, position=0, source_position=0),
        Patch(source=tuple(IDS), layer=0, position=T, source_position=0),
        Patch(source=tuple(IDS), layer=0, position=0, source_position=T),
        Patch(source=(1,) * 25, layer=0, position=0, source_position=0),
    ],
)
def test_what_there_is_not_cannot_be_changed(wrong):
    model = wild()
    with pytest.raises(LimitError):
        effect(model, IDS, [wrong])
    assert hooks(model) == 0


def test_limits_are_told_before_anything_is_computed():
    model = wild(n_positions=1024)
    for work in (lambda ids: effect(model, ids, []), lambda ids: head_importance(model, ids)):
        with pytest.raises(LimitError, match="513 tokens.*At most 512"):
            work([1] * 513)
    with pytest.raises(ConfigError, match="fill"):
        Ablation(fill="noise")
    with pytest.raises(ConfigError, match="fill"):
        head_importance(model, IDS, fill="noise")


def test_no_hook_and_no_lock_is_left_after_a_failure(monkeypatch):
    model, lock = wild(), threading.Lock()

    def fail(*args):
        raise KeyError("broken")

    monkeypatch.setattr(model.h[1].mlp, "forward", fail)
    patch = Patch(source=tuple(IDS), layer=1, position=0, source_position=0)
    for work in (
        lambda: effect(model, IDS, [patch], guard=lock),
        lambda: list(head_importance(model, IDS, guard=lock)),
    ):
        with pytest.raises(KeyError, match="broken"):
            work()
        assert hooks(model) == 0 and not lock.locked()
