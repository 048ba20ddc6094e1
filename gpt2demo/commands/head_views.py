"""What `inspect` shows of the heads of a model: what each one does, matters, and became."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2demo.commands.models import moments
from gpt2demo.commands.views import SHOWN, Row, Subject, View
from gpt2demo.errors import LimitError
from gpt2demo.inspection.attention import THRESHOLDS, HeadScores, badges, head_scores
from gpt2demo.inspection.capture import MAX_CAPTURE_BYTES, capture_bytes
from gpt2demo.inspection.importance import head_importance
from gpt2demo.inspection.timeline import captures_over_time, drift_over_time, half_way, scores_over_time

KINDS = tuple(THRESHOLDS)


def heads_view(subject: Subject) -> View:
    """How much each head behaves like four known kinds, on random tokens."""
    scores = head_scores(subject.model, tokens=subject.met, seed=subject.seed)
    names = badges(scores)
    lines = [f"heads: on {scores.period} random tokens, repeated", f"  {'head':6}" + _titles()]
    for layer, head in subject.heads():
        numbers = "".join(f"{getattr(scores, kind)[layer, head]:11.3f}" for kind in KINDS)
        lines.append(f"  {layer}.{head:<4}{numbers}  {names[layer, head]}".rstrip())
    return View(
        arrays={f"score_{kind}": getattr(scores, kind) for kind in KINDS},
        columns=("layer", "head", *KINDS),
        rows=((*at, *_scores_of(scores, *at)) for at in subject.heads()),
        lines=lines,
    )


def importance_view(subject: Subject) -> View:
    """How much worse the text is foretold without each head."""
    *_, found = head_importance(subject.model, subject.text.tokens.tolist(), fill=subject.fill)
    lines = [f"importance: the loss is {found.loss:.4f} nats per token; without a head it changes by"]
    order = sorted(subject.heads(), key=lambda at: -abs(found.change[at]))
    lines += [f"  {found.change[at]:+8.4f}  head {at[0]}.{at[1]}" for at in order[:SHOWN]]
    return View(
        arrays={"loss": np.array(found.loss), "loss_without_head": found.without},
        columns=("layer", "head", "loss", "loss_without"),
        rows=((*at, found.loss, found.without[at]) for at in subject.heads()),
        lines=lines,
    )


def timeline_view(subject: Subject) -> View:
    """Heads and drift at each kept step, and with a text its attention."""
    folder, steps = subject.folder, subject.folder.snapshot_steps()
    arrays: dict[str, NDArray[Any]] = {"steps": np.array(steps)}
    if subject.seen is not None:
        ids = subject.seen.tokens.tolist()
        _check_room(subject, len(steps) * capture_bytes(subject.model.config, len(ids)))
        captured = [
            one.seen.attention for one in captures_over_time(moments(folder), ids, max_tokens=len(ids))
        ]
        arrays["attention_over_time"] = np.stack(captured)
    told = list(scores_over_time(moments(folder), tokens=subject.met, seed=subject.seed))
    drift = np.stack([one.tokens for one in drift_over_time(moments(folder))])
    for kind in KINDS:
        arrays[f"score_{kind}_over_time"] = np.stack([getattr(one.scores, kind) for one in told])
    arrays["drift_over_time"] = drift
    best = {kind: arrays[f"score_{kind}_over_time"].max(axis=(1, 2)) for kind in KINDS}
    lines = [
        "timeline: the best head of each kind, and how far tokens have moved",
        f"  {'step':>8}" + _titles(),
    ]
    lines[-1] += f"{'drift':>11}"
    for i, step in enumerate(steps):
        lines.append(
            f"  {step:8}" + "".join(f"{best[k][i]:11.3f}" for k in KINDS) + f"{drift[i].mean():11.3f}"
        )
    for kind in KINDS:
        half = half_way(steps, best[kind])
        lines.append(f"  {kind}: half of the final {half.final:.3f} is passed by step {half.step}")
    return View(
        arrays=arrays,
        columns=("step", "layer", "head", *KINDS),
        rows=((one.step, *at, *_scores_of(one.scores, *at)) for one in told for at in subject.heads()),
        lines=lines,
    )


def _check_room(subject: Subject, needed: int) -> None:
    if needed > MAX_CAPTURE_BYTES:
        raise LimitError(
            f"Keeping what goes on inside at every step would cost {needed / 1e6:,.1f} MB.",
            f"At most {MAX_CAPTURE_BYTES / 1e6:,.0f} MB are kept.",
            "Give a shorter text, or leave it out to see the heads alone.",
        )


def _titles() -> str:
    return "".join(f"{kind:>11}" for kind in KINDS)


def _scores_of(scores: HeadScores, layer: int, head: int) -> Row:
    return tuple(getattr(scores, kind)[layer, head] for kind in KINDS)
