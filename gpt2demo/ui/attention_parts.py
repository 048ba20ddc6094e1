"""Pieces of the Attention tab: examples that suit a model, what comes next, what its heads are good at."""

import math
from typing import NamedTuple

from gpt2demo.figures.attention import attention_figure
from gpt2demo.figures.text import percent
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.writing import generate
from gpt2demo.inspection.attention import SEQUENCES, THRESHOLDS, HeadScores, badges, rollout
from gpt2demo.inspection.capture import MAX_CAPTURE_TOKENS, Activations
from gpt2demo.inspection.probe import fitting_part
from gpt2demo.model.config import GPT2Config
from gpt2demo.runs.models import LoadedModel
from gpt2demo.text.display import display_token, display_tokens
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.ui.bars import Bar, bars
from gpt2demo.ui.components import head_grid_value, plot_value, select_line, strip_value, token_line
from gpt2demo.ui.escape import Safe, join, tag
from gpt2demo.ui.text import attention as words
from gpt2demo.ui.theme import hint, notice, section

EXAMPLE_TOKENS = 40  # few enough for a map whose cells can be pointed at
REPEATED_TOKENS = 10
EXPECTED = 8  # so many candidates for the next token are shown
FEWEST_HEADS, MOST_HEADS = 8, 24  # in the table


class Head(NamedTuple):
    """One head and how much it is of each kind."""

    layer: int
    head: int
    scores: dict[str, float]
    badge: str  # "" or the kind that it is called

    @property
    def strength(self) -> float:
        """By what factor it exceeds what makes a head deserve a name; scores of two kinds do not compare."""
        return max(score / THRESHOLDS[kind] for kind, score in self.scores.items())


def token_limit(config: GPT2Config) -> int:
    """How many tokens can be looked at: what the page can show, and what the model can read."""
    return min(MAX_CAPTURE_TOKENS, config.n_positions)


def example_texts(tokenizer: Tokenizer, limit: int, own: str) -> dict[str, str]:
    """Texts that this model can read, by the words of their buttons, the best first; never empty.

    own: the beginning of the text that the model was trained on, or "".
    """
    limit = min(limit, EXAMPLE_TOKENS)
    found = {words.EXAMPLE_NAME: _first_that_fits(tokenizer, limit)}
    if own and not tokenizer.unknown(own):
        line = max(own.splitlines()[:3], key=len)
        found[words.EXAMPLE_OWN] = fitting_part(tokenizer, line, limit)
        found[words.EXAMPLE_TWICE] = _twice(tokenizer, line, limit)
    good = {name: text for name, text in found.items() if text}
    anything = "".join(tokenizer.continuation([i]) for i in range(min(limit, tokenizer.vocab_size)))
    return good or {words.EXAMPLE_OWN: fitting_part(tokenizer, anything, limit)}


def _first_that_fits(tokenizer: Tokenizer, limit: int) -> str:
    """The longest story with a made-up name, without its last token, which is left for the model to guess."""
    for text in words.NAME_TEXTS:
        if not tokenizer.unknown(text) and len(ids := tokenizer.encode(text)) <= limit:
            return fitting_part(tokenizer, text, len(ids) - 1)
    return ""


def _twice(tokenizer: Tokenizer, line: str, limit: int) -> str:
    """Some words of a line, and the same once more but for the last token."""
    part = fitting_part(tokenizer, line, max(1, min(REPEATED_TOKENS, limit // 2))).strip()
    whole = " ".join(part.split()[:-1]) or part  # the last word may be cut
    text = f"{whole} {whole}" if " " in whole else whole + whole
    return fitting_part(tokenizer, text, max(1, min(limit, len(tokenizer.encode(text)) - 1)))


def expected(loaded: LoadedModel, ids: list[int]) -> Safe:
    """What this model expects after these tokens, as bars."""
    greedy = SamplingConfig(temperature=0.0, max_new_tokens=1)
    step = next(generate(loaded.model, ids, greedy, guard=loaded.lock))
    draw = loaded.tokenizer.token_bytes
    best = [(display_token(draw(one.id), 18), math.exp(one.logprob)) for one in step.top[:EXPECTED]]
    rows = [Bar(name, share, percent(share)) for name, share in best]
    rest = max(0.0, 1.0 - math.fsum(share for _, share in best))
    others = loaded.config.vocab_size - len(best)
    token = tag("b", display_token(draw(ids[-1]), 18), class_="gd-text-mono")
    return join(
        section(words.NEXT_TITLE),
        tag("p", words.NEXT_AFTER, token, words.NEXT_EXPECTED.format(index=len(ids) - 1), class_="gd-hint"),
        bars(rows, caption=words.NEXT_CAPTION),
        hint(f"{words.NEXT_OTHERS.format(count=others)}: {percent(rest)}") if others > 0 else None,
    )


def ranked(scores: HeadScores) -> list[Head]:
    """All heads, the strongest first."""
    names = badges(scores)
    layers, heads = scores.previous.shape
    every = [
        Head(
            layer, head, {kind: float(getattr(scores, kind)[layer, head]) for kind in THRESHOLDS},
            str(names[layer, head]),
        )
        for layer in range(layers)
        for head in range(heads)
    ]  # fmt: skip
    return sorted(every, key=lambda one: -one.strength)


def best_of(heads: list[Head], kind: str) -> Head:
    """The head that is most of this kind."""
    return max(heads, key=lambda one: one.scores[kind])


def score_table(heads: list[Head], scores: HeadScores, step: int) -> Safe:
    """The strongest heads with their scores; a score that earns its name is bold and has a dot."""
    named = sum(1 for one in heads if one.badge)
    shown = heads[: min(max(named, FEWEST_HEADS), MOST_HEADS)]
    titles = [words.LAYER, words.HEAD, *words.KINDS.values(), words.CALLED]
    rows = [
        tag(
            "tr",
            tag("td", one.layer),
            tag("td", one.head),
            *(_score_cell(one.scores[kind], THRESHOLDS[kind]) for kind in words.KINDS),
            tag("td", words.KINDS.get(one.badge, "–")),
        )
        for one in shown
    ]
    table = tag(
        "table",
        tag("caption", words.SCORES_CAPTION, class_="gd-sr"),
        tag("thead", tag("tr", *(tag("th", title, scope="col") for title in titles))),
        tag("tbody", *rows),
        class_="gd-scores",
    )
    measured = words.SCORES_HINT.format(step=step, period=scores.period, sequences=SEQUENCES)
    return join(
        section(words.SCORES_TITLE, measured),
        None if named else notice(words.SCORES_NONE),
        tag("div", table, class_="gd-scroll"),
        hint(words.SCORES_PART.format(shown=len(shown), all=len(heads))) if len(shown) < len(heads) else None,
    )


def _score_cell(score: float, threshold: float) -> Safe:
    text = f"{score:.2f}"
    return tag("td", tag("strong", f"● {text}") if score >= threshold else text)


def meanings() -> Safe:
    """What each kind of head does, and from which score on a head is called so."""
    lines = []
    for kind, name in words.KINDS.items():
        from_here = words.MEANING_FROM.format(threshold=THRESHOLDS[kind])
        lines += [tag("dt", name), tag("dd", f"{words.KIND_MEANINGS[kind]} {from_here}")]
    return join(section(words.MEANINGS_TITLE, level=3), tag("dl", *lines, class_="gd-meanings"))


def best_name(head: Head, kind: str) -> str:
    """What the button says that chooses the head."""
    return f"{words.KINDS[kind]} · layer {head.layer}, head {head.head} · score {head.scores[kind]:.2f}"


def strip(loaded: LoadedModel, ids: list[int]) -> str:
    """The text in tokens, the last one selected."""
    glyphs = display_tokens(loaded.tokenizer, ids)
    lines = [
        token_line(glyph, data=loaded.tokenizer.token_bytes(i)) for glyph, i in zip(glyphs, ids, strict=True)
    ]
    return strip_value([*lines, select_line(len(ids) - 1)])


def grid(loaded: LoadedModel, activations: Activations, heads: list[Head], chosen: Head | None) -> str:
    """All heads; without a chosen one the browser keeps the one it has."""
    ids = activations.tokens.tolist()
    names = {(one.layer, one.head): words.KINDS.get(one.badge, "") for one in heads}
    return head_grid_value(
        activations.attention,
        display_tokens(loaded.tokenizer, ids),
        [
            [names[layer, head] for head in range(loaded.config.n_head)]
            for layer in range(loaded.config.n_layer)
        ]
        if names
        else None,
        layer=chosen.layer if chosen else None,
        head=chosen.head if chosen else None,
        exact=[loaded.tokenizer.token_bytes(i) for i in ids],
        title=f"{loaded.facts.title}, step {loaded.step:,}",
        allowed=activations.allowed,
    )


def flow(loaded: LoadedModel, activations: Activations) -> str:
    """Attention multiplied through all layers, as a map."""
    glyphs = display_tokens(loaded.tokenizer, activations.tokens.tolist())
    figure = attention_figure(rollout(activations.attention)[-1], glyphs, stretch=True)
    return plot_value(figure, name=f"attention rollout step {loaded.step}")
