"""What `inspect` shows of a text: for each view its arrays, a table for spreadsheets, and lines to print."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2demo.commands.models import met_tokens
from gpt2demo.inspection.attention import contributions, head_steps, rollout
from gpt2demo.inspection.capture import Activations
from gpt2demo.inspection.lens import Attribution, Lens, attribution, logit_lens, residual_norms
from gpt2demo.inspection.neurons import neuron_peaks
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.text.display import display_token, display_tokens
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.training.folder import RunFolder

SHOWN = 8  # lines of a printed table
NARROW = 12  # characters of a printed token

Row = tuple[object, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What is looked at."""

    model: LanguageModel
    tokenizer: Tokenizer
    folder: RunFolder
    step: int
    seen: Activations | None  # with all that the chosen views need; None without a text
    layer: int | None
    head: int | None
    position: int
    token: int | None
    off: tuple[str, ...]  # parts to switch off
    fill: str
    patch: tuple[int, ...] | None  # another text
    seed: int

    @property
    def text(self) -> Activations:
        """What was seen of the text."""
        assert self.seen is not None, "the command refuses a view that needs a text and gets none"
        return self.seen

    def glyphs(self, ids: Iterable[int]) -> list[str]:
        """Tokens as they are drawn, whole."""
        return display_tokens(self.tokenizer, ids)

    def short(self, token: int) -> str:
        """A token as it is printed in a narrow column."""
        return display_token(self.tokenizer.token_bytes(int(token)), NARROW)

    @cached_property
    def met(self) -> NDArray[np.int64] | None:
        """The tokens of the text that the model learnt from, where that is here."""
        return met_tokens(self.folder)

    def heads(self) -> Iterator[tuple[int, int]]:
        """The chosen heads: one, those of a layer, or all."""
        for layer, head in np.ndindex(self.model.config.n_layer, self.model.config.n_head):
            if self.layer in (None, layer) and self.head in (None, head):
                yield layer, head


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One view of a model."""

    arrays: Mapping[str, NDArray[Any]]  # as they stand in the .npz file
    columns: tuple[str, ...]  # of the table
    rows: Iterable[Row]
    lines: Sequence[str]  # to print


def attention_view(subject: Subject) -> View:
    """Who reads whom, and what comes of it; for a single head also how it came to that."""
    seen, place = subject.text, subject.position
    flow, written = rollout(seen.attention), contributions(subject.model, seen)
    arrays = {"attention": seen.attention, "allowed": seen.allowed, "residual": seen.residual}
    arrays |= {"rollout": flow, "contributions": written}
    layers, heads, tokens, _ = seen.attention.shape
    lines = [f"attention: {tokens} tokens, {layers} layers × {heads} heads"]
    name, shares = "all layers together (rollout)", flow[-1, place]
    if subject.layer is not None and subject.head is not None:
        steps = vars(head_steps(seen, subject.layer, subject.head))
        arrays |= {f"head_{step}": array for step, array in steps.items()}
        name, shares = f"layer {subject.layer}, head {subject.head}", steps["weights"][place]
    glyphs = [subject.short(token) for token in seen.tokens]
    lines.append(f"  {glyphs[place]} (position {place}) reads, {name}:")
    best = np.argsort(-shares[: place + 1], kind="stable")[:SHOWN]
    lines += [f"  {shares[i]:7.1%}  {glyphs[i]} (position {i})" for i in best]
    return View(
        arrays=arrays,
        columns=("layer", "head", "query", "query_token", "key", "key_token", "attention", "contribution"),
        rows=_attention_rows(subject, written),
        lines=lines,
    )


def _attention_rows(subject: Subject, written: NDArray[np.float32]) -> Iterator[Row]:
    seen = subject.text
    glyphs = subject.glyphs(seen.tokens.tolist())
    for layer, head in subject.heads():
        for i, j in zip(*map(np.ndarray.tolist, seen.allowed.nonzero()), strict=True):
            weight, length = seen.attention[layer, head, i, j], written[layer, head, i, j]
            yield layer, head, i, glyphs[i], j, glyphs[j], weight, length


def lens_view(subject: Subject) -> View:
    """What each layer would say if the model ended there."""
    seen, place = subject.text, subject.position
    lens = logit_lens(subject.model, seen, k=min(5, subject.model.config.vocab_size))
    lines = [
        f"lens: what would follow {subject.short(seen.tokens[place])} (position {place}) after each layer"
    ]
    for layer, (ids, shares) in enumerate(
        zip(lens.top_ids[:, place], lens.top_probabilities[:, place], strict=True)
    ):
        said = "  ".join(f"{subject.short(i)} {p:.0%}" for i, p in zip(ids, shares, strict=True))
        lines.append(f"  {layer:3}  {lens.entropy[layer, place]:6.2f} nats  {said}")
    return View(
        arrays={f"lens_{name}": array for name, array in vars(lens).items()},
        columns=(
            "layer",
            "position",
            "token",
            "top_token",
            "top_probability",
            "entropy",
            "probability",
            "rank",
        ),
        rows=_lens_rows(subject, lens),
        lines=lines,
    )


def _lens_rows(subject: Subject, lens: Lens) -> Iterator[Row]:
    glyphs = subject.glyphs(subject.text.tokens.tolist())
    for (layer, i), entropy in np.ndenumerate(lens.entropy):
        (best,) = subject.glyphs([int(lens.top_ids[layer, i, 0])])
        share, true = lens.top_probabilities[layer, i, 0], lens.probability[layer, i]
        yield layer, i, glyphs[i], best, share, entropy, true, lens.rank[layer, i]


def norms_view(subject: Subject) -> View:
    """How long the residual stream's vectors are."""
    norms = residual_norms(subject.text)
    lines = ["norms: length of the residual stream  (first token, mean of the others)"]
    for layer, row in enumerate(norms):
        others = row[1:].mean() if len(row) > 1 else np.nan
        lines.append(f"  {layer:3} {row[0]:10.2f} {others:10.2f}")
    glyphs = subject.glyphs(subject.text.tokens.tolist())
    return View(
        arrays={"residual_norms": norms},
        columns=("layer", "position", "token", "norm"),
        rows=((layer, i, glyphs[i], norm) for (layer, i), norm in np.ndenumerate(norms)),
        lines=lines,
    )


def attribution_view(subject: Subject) -> View:
    """Who speaks for a token, and who against it."""
    lens = logit_lens(subject.model, subject.text, k=1)
    likeliest = int(lens.top_ids[-1, subject.position, 0])
    token = likeliest if subject.token is None else subject.token
    parts = attribution(subject.model, subject.text, subject.position, token)
    named = list(_named_parts(parts))
    before = subject.short(subject.text.tokens[subject.position])
    lines = [
        f"attribution: {subject.short(token)} after {before} (position {subject.position}) has the logit "
        f"{parts.logit:.3f}, of which"
    ]
    for name, layer, head, share in sorted(named, key=lambda part: -abs(part[3]))[:SHOWN]:
        lines.append(f"  {share:+8.3f}  {name}" + (f" {layer}" if head is None else f" {layer}.{head}"))
    arrays = {f"attribution_{name}": np.asarray(value) for name, value in vars(parts).items()}
    return View(arrays=arrays, columns=("part", "layer", "head", "logit"), rows=named, lines=lines)


def _named_parts(parts: Attribution) -> Iterator[tuple[str, object, object, float]]:
    """Every part: its name, layer and head where it has one, and its share of the logit."""
    for name in ("embedding", "place", "norms", "output_bias"):
        yield name, "", None, getattr(parts, name)
    for layer, heads in enumerate(parts.heads):
        for head, share in enumerate(heads):
            yield "head", layer, head, float(share)
        yield "attention bias", layer, None, float(parts.biases[layer])
        yield "mlp", layer, None, float(parts.mlps[layer])


def neurons_view(subject: Subject) -> View:
    """Which tokens excite the neurons of one layer most: the chosen one, or the last."""
    layer = subject.model.config.n_layer - 1 if subject.layer is None else subject.layer
    tokens = subject.text.tokens
    *_, peaks = neuron_peaks(subject.model, tokens.tolist(), layer, k=5)
    lines = [f"neurons: those of layer {layer} that are excited most, and where"]
    for neuron in np.argsort(-peaks.activations[:, 0], kind="stable")[:SHOWN]:
        found = zip(peaks.places[neuron], peaks.activations[neuron], strict=True)
        said = "  ".join(f"{subject.short(tokens[i])} ({i}) {value:.2f}" for i, value in found)
        lines.append(f"  {neuron:5}  {said}")
    glyphs = subject.glyphs(tokens.tolist())
    return View(
        arrays={"neuron_places": peaks.places, "neuron_activations": peaks.activations},
        columns=("layer", "neuron", "best", "position", "token", "activation"),
        rows=(
            (
                layer,
                neuron,
                best + 1,
                int(peaks.places[neuron, best]),
                glyphs[peaks.places[neuron, best]],
                value,
            )
            for (neuron, best), value in np.ndenumerate(peaks.activations)
        ),
        lines=lines,
    )
