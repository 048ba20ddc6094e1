"""python -m gpt2demo inspect gives the arrays that the core computes, or says in a sentence why it cannot."""

import csv

import numpy as np
import pytest
import torch

from gpt2demo.__main__ import main
from gpt2demo.commands.inspect import VIEWS
from gpt2demo.commands.models import STARTER, met_tokens
from gpt2demo.inspection.attention import contributions, head_scores, head_steps, induction_score, rollout
from gpt2demo.inspection.capture import capture
from gpt2demo.inspection.importance import head_importance
from gpt2demo.inspection.intervention import Ablation, Patch, effect
from gpt2demo.inspection.lens import FOR_ATTRIBUTION, attribution, logit_lens, residual_norms
from gpt2demo.inspection.neurons import neuron_peaks
from gpt2demo.inspection.timeline import half_way
from gpt2demo.training.folder import RunFolder

TEXT = "Once =1 upon =1"
KINDS = ("previous", "first", "duplicate", "induction")
OFF = Ablation(heads=((1, 1),), neurons=((0, 7),), attention=(0,), mlps=(1,), fill="mean")
FOLDER = RunFolder(STARTER, read_only=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """All views of the starter at once: its arrays, and the folder with the tables."""
    folder = tmp_path_factory.mktemp("inspect")
    words = ["inspect", "--text", TEXT, "--what", *VIEWS, "--layer", "1", "--head", "2", "--csv"]
    words += ["--off", "1.1", "0.n7", "0.attention", "1.mlp", "--fill", "mean"]
    assert main([*words, "--out", str(folder / "seen.npz")]) == 0
    with np.load(folder / "seen.npz") as arrays:
        return dict(arrays), folder


@pytest.fixture(scope="module")
def met():
    return met_tokens(FOLDER)


@pytest.fixture(scope="module")
def expected(met):
    """The same from the core."""
    model, _ = FOLDER.load_model()
    ids = FOLDER.tokenizer().encode(TEXT)
    seen = capture(model, ids, what=["queries", "keys", "values", *FOR_ATTRIBUTION])
    lens = logit_lens(model, seen)
    said = attribution(model, seen, len(ids) - 1, int(lens.top_ids[-1, -1, 0]))
    (importance,) = head_importance(model, ids, fill="mean")
    *_, peaks = neuron_peaks(model, ids, 1, k=5)
    scores = head_scores(model, tokens=met)
    return {
        "tokens": np.array(ids),
        "attention": seen.attention,
        "allowed": seen.allowed,
        "residual": seen.residual,
        "rollout": rollout(seen.attention),
        "contributions": contributions(model, seen),
        "residual_norms": residual_norms(seen),
        "loss_without_head": importance.without,
        "loss": importance.loss,
        "neuron_places": peaks.places,
        "neuron_activations": peaks.activations,
        **{f"surgery_{name}": array for name, array in vars(effect(model, ids, [OFF])).items()},
        **{f"head_{name}": array for name, array in vars(head_steps(seen, 1, 2)).items()},
        **{f"lens_{name}": array for name, array in vars(lens).items()},
        **{f"attribution_{name}": value for name, value in vars(said).items()},
        **{
            f"score_{kind}": getattr(scores, kind) for kind in ("previous", "first", "duplicate", "induction")
        },
    }


def test_the_arrays_are_those_of_the_core(saved, expected):
    arrays, _ = saved
    over_time = {name for name in arrays if name.endswith("over_time")}
    assert set(arrays) - over_time - {"steps"} == set(expected)
    for name, value in expected.items():
        assert np.allclose(arrays[name], value, atol=1e-6, equal_nan=True), name


def test_the_timeline_ends_with_the_model_as_it_is(saved):
    arrays, _ = saved
    assert tuple(arrays["steps"]) == FOLDER.snapshot_steps()
    assert np.array_equal(arrays["attention_over_time"][-1], arrays["attention"])
    for kind in KINDS:
        assert np.array_equal(arrays[f"score_{kind}_over_time"][-1], arrays[f"score_{kind}"])
    assert not arrays["drift_over_time"][0].any() and arrays["drift_over_time"][-1].mean() > 1


def table(folder, name) -> list[dict[str, str]]:
    with (folder / f"seen.{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_hold_the_same_numbers(saved):
    arrays, folder = saved
    rows = table(folder, "attention")
    tokens = len(arrays["tokens"])
    assert len(rows) == tokens * (tokens + 1) // 2  # of the one head, and nothing of the future
    for row in rows:
        place = (1, 2, int(row["query"]), int(row["key"]))
        assert (int(row["layer"]), int(row["head"])) == place[:2]
        assert np.float32(row["attention"]) == arrays["attention"][place]
        assert np.float32(row["contribution"]) == arrays["contributions"][place]
    assert {row["key_token"] for row in rows} >= {"'=", "1", "·"}  # a spreadsheet would calculate a "="
    lens = table(folder, "lens")
    assert len(lens) == arrays["lens_entropy"].size
    assert lens[-1]["probability"] == "" and lens[-1]["rank"] == "0" and float(lens[0]["probability"]) >= 0
    parts = table(folder, "attribution")
    assert sum(float(row["logit"]) for row in parts) == pytest.approx(
        float(arrays["attribution_logit"]), abs=1e-4
    )
    (row,) = table(folder, "importance")
    assert float(row["loss_without"]) == arrays["loss_without_head"][1, 2]
    (row,) = table(folder, "heads")
    assert float(row["induction"]) == arrays["score_induction"][1, 2]
    assert len(table(folder, "timeline")) == len(FOLDER.snapshot_steps())
    assert len(table(folder, "norms")) == arrays["residual_norms"].size
    assert len(table(folder, "neurons")) == arrays["neuron_places"].size


def test_the_step_at_which_the_starter_learnt_to_repeat(met, capsys):
    assert main(["inspect", "--induction", "starter"]) == 0
    *lines, said, before = capsys.readouterr().out.splitlines()
    steps = FOLDER.snapshot_steps()
    assert len(lines) == len(steps)
    best = []
    for step in steps:
        model = FOLDER.load_model(step)[0]
        period = min(32, model.config.n_positions // 2)
        generator = np.random.default_rng(0)
        scores = []
        for _ in range(16):
            half = generator.choice(met, size=period, replace=False).tolist()
            scores.append(induction_score(capture(model, half * 2).attention, half * 2))
        best.append(np.mean(scores, axis=0).max())
    found = half_way(steps, best)
    assert best[-1] > 0.3 and best[0] < best[-1] / 2
    assert said == (
        f"The induction score of starter passes half its final value, {best[-1]:.3f}, at step {found.step:,}."
    )
    assert f"step {found.before:,}," in before


def test_another_step_position_and_token_can_be_asked_for(capsys):
    words = ["inspect", "--text", "Once upon a", "--what", "attribution", "attention"]
    assert main([*words, "--step", "0", "--position", "1", "--token", "the"]) == 0
    said = capsys.readouterr().out
    model, _ = FOLDER.load_model(0)
    tokenizer = FOLDER.tokenizer()
    ids = tokenizer.encode("Once upon a")
    with torch.no_grad():
        logits = model(torch.tensor([ids]))[0, 1]
    (token,) = tokenizer.encode(" the")
    assert f"·the after {tokenizer.continuation(ids[1:2]).replace(' ', '·')} (position 1)" in said
    assert f"has the logit {logits[token]:.3f}" in said and "(position 1) reads" in said


def test_a_patch_shows_both_distributions(tmp_path, capsys):
    text, other, out = "Once upon a", "One day the", tmp_path / "seen.npz"
    words = [
        "inspect",
        "--text",
        text,
        "--what",
        "surgery",
        "--patch",
        other,
        "--layer",
        "0",
        "--position",
        "2",
    ]
    assert main([*words, "--out", str(out), "--csv"]) == 0
    model, tokenizer = FOLDER.load_model()[0], FOLDER.tokenizer()
    patch = Patch(source=tuple(tokenizer.encode(other)), layer=1, position=2, source_position=2)
    told = effect(model, tokenizer.encode(text), [patch])
    rows = table(tmp_path, "surgery")
    assert [np.float32(row["after"]) for row in rows] == told.after.tolist()
    assert told.loss_after > told.loss_before + 1
    said = capsys.readouterr().out
    assert f"loss {told.loss_before:.4f} → {told.loss_after:.4f} nats per token" in said
    best = int(np.maximum(told.before, told.after).argmax())
    assert f"{told.before[best]:.1%} → " in said.splitlines()[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "There is no text. attention looks at one."),
        ("--what heads lens", "There is no text. lens looks at one."),
        ("--text a --layer 2", "layer is 2"),
        ("--text a --head -1", "head is -1"),
        ("--text a --position 1", "position is 1"),
        ("--text a --csv", "--csv is given without --out"),
        ("--text a --out nowhere/x.npz", "x.npz cannot be written"),
        ("--text a --what attribution --token abracadabra", "'abracadabra' is"),
        ("--text a --what surgery --off 1.x", "'1.x' is no part of a model"),
        ("--text a --what surgery --off 2.0", "layer is 2"),
        ("--text a --what surgery --patch b", "--patch is given without --layer"),
        ("--text aha --what surgery --patch a --layer 0", "source position is"),
        ("--text a --off 1.0", "Add --what surgery"),
        ("--text a --patch b --layer 0", "Add --what surgery"),
        ("--text a --step 7", "step 7 were not kept"),
        ("--induction nowhere", "no run in nowhere"),
    ],
)
def test_mistakes_are_told_in_sentences(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", *words.split()]) == 2
    told = capsys.readouterr().err
    assert says in told and "Traceback" not in told
    assert not any(tmp_path.iterdir())


def test_a_text_that_is_too_long_is_told_the_most_that_fits(capsys):
    assert main(["inspect", "--text", "Once upon a time " * 40]) == 2
    told = capsys.readouterr().err
    assert "would cost" in told and "At most 64 tokens of this model" in told
