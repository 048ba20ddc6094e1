"""A text in the making: what one visitor's session remembers of it, and how it is drawn."""

import codecs
import math
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from gpt2demo.errors import TextError
from gpt2demo.figures.text import percent
from gpt2demo.generation.prompts import Prompt
from gpt2demo.generation.records import Logits, TokenStep, Written, chosen_instead
from gpt2demo.generation.road import mark_seen
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.writing import context_window
from gpt2demo.model.config import GPT2Config
from gpt2demo.runs.models import LoadedModel
from gpt2demo.text.display import display_token
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.ui.components import select_line, status_line, strip_start, token_line
from gpt2demo.ui.text import generate as words

MAX_LOGITS_BYTES = 8_000_000  # of scores kept in one session; the oldest are forgotten first
SHOWN_PROMPT_TOKENS = 1_000  # of a longer prompt only the end is drawn
SURPRISE_BITS = 8.0  # the surprise at which the tint is full: one in 256
HOVER_ALTERNATIVES = 8


@dataclass(frozen=True, kw_only=True)
class Found:
    """A text as the outcome of a beam search."""

    beams: int  # how many texts were followed
    place: int  # of this one among them, 1 for the likeliest
    logprob: float  # natural log of the probability of all of it


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A prompt and what was written after it. Every change is a new Draft, so they can be shared."""

    made_by: str  # the sentence that says which model wrote it
    ref: str  # the model in hand when it was begun
    began_at: int  # the step of the weights that it was begun with
    step: int  # the step of the weights that wrote last
    config: GPT2Config
    tokenizer: Tokenizer  # but not the model: a session holds no weights
    prompt: Prompt
    rules: SamplingConfig  # the settings that it was written with last, its seed among them
    precision: str = "fp32"  # in how many bits the model wrote last
    sample: int = 0  # which of the samples that were written together; their seeds follow each other
    branched: int | None = None  # at which step it leaves the text that it was taken from
    found: Found | None = None  # how beam search found it, if it did and nobody has written on since
    key: str = field(default_factory=lambda: secrets.token_hex(4))  # tells the texts of a session apart
    steps: tuple[TokenStep, ...] = ()
    logits: tuple[Logits | None, ...] = ()  # per step; None where they had to be forgotten
    taken: frozenset[int] = frozenset()  # the steps whose token a person put there
    strip: str = ""  # the value of the token strip so far
    finished: bool = True  # False while it is being written

    @property
    def lead(self) -> int:
        """How many tokens of the strip come before the first one written."""
        return min(len(self.prompt.ids), SHOWN_PROMPT_TOKENS) + (len(self.prompt.ids) > SHOWN_PROMPT_TOKENS)

    @property
    def written(self) -> tuple[int, ...]:
        """The ids after the prompt."""
        return tuple(step.id for step in self.steps)

    @property
    def text(self) -> str:
        """The prompt and its continuation."""
        return self.prompt.text + self.tokenizer.continuation(self.written)

    @property
    def seed(self) -> int:
        """What named the luck of its draws."""
        return int(self.rules.seed)

    def before(self, index: int) -> tuple[int, ...]:
        """All ids before a step: the prompt's, and those written by then."""
        return (*self.prompt.ids, *self.written[:index])

    def by(self, loaded: LoadedModel, rules: SamplingConfig, precision: str, made_by: str) -> "Draft":
        """The same text, to be continued by these weights with these settings."""
        return replace(self, step=loaded.step, rules=rules, precision=precision, made_by=made_by, found=None)

    def belongs_to(self, ref: str, prompt: object) -> bool:
        """Whether it is this model's continuation of this prompt, so that it can be continued."""
        same = isinstance(prompt, str) and prompt.replace("\r\n", "\n") == self.prompt.text
        return same and ref == self.ref


class Flow:
    """Tokens as one text that can be read: a character of several tokens comes with the last."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def add(self, data: bytes) -> str:
        """What a token adds to the text on the page; "" while a character is not complete."""
        return "".join(map(_readable, self._decoder.decode(data)))


def begin(loaded: LoadedModel, ref: str, prompt: Prompt, rules: SamplingConfig, made_by: str) -> Draft:
    """A text of which only the prompt is there."""
    return drawn(
        Draft(
            made_by=made_by,
            ref=ref,
            began_at=loaded.step,
            step=loaded.step,
            config=loaded.config,
            tokenizer=loaded.tokenizer,
            prompt=prompt,
            rules=rules,
        )
    )


def ended(draft: Draft, status: str, message: str) -> Draft:
    """The same text, no longer being written, with a last sentence about it and what a reader has to know."""
    note = "\n".join([message, *notes(draft)])
    return replace(added(draft, [], status_line(status, note)), finished=True)


def stopped(draft: Draft) -> Draft:
    """The same text, stopped by a person; one that was finished before the click stays as it is."""
    return draft if draft.finished else ended(draft, "stopped", f"{words.STOPPED} {facts_line(draft)}")


def failed(draft: Draft) -> Draft:
    """The same text, ended by a bug of ours; one that was finished before stays as it is."""
    return draft if draft.finished else ended(draft, "failed", words.FAILED)


def take(draft: Draft, index: int, id_: int, config: SamplingConfig) -> Draft:
    """A branch: the text up to a place, and there another token than the one that was written."""
    logits = draft.logits[index] if index < len(draft.logits) else None
    if logits is None:
        raise TextError(words.FORGOTTEN, "", "")
    step = chosen_instead(logits, id_, config, index, mark_seen(draft.before(index), len(logits)))
    branch = replace(
        draft,
        steps=(*draft.steps[:index], step),
        logits=draft.logits[: index + 1],
        taken=frozenset(i for i in draft.taken if i < index) | {index},
        branched=index,
        found=None,
        key=secrets.token_hex(4),
        strip="",
    )
    return drawn(branch)


def selection(draft: Draft, index: int | None) -> str:
    """The line that marks the token whose road the panel shows."""
    return select_line(None if index is None else draft.lead + index)


def most_undecided(draft: Draft, first: int = 0) -> int | None:
    """The step from `first` on where most could have come, if possible the beginning of a word."""
    places = range(first, len(draft.steps))
    data = [draft.tokenizer.token_bytes(step.id) for step in draft.steps]
    starts = [i for i in places if data[i].startswith(b" ") and data[i].strip()]
    return max(starts or places, key=lambda i: draft.steps[i].entropy, default=None)


def facts_line(draft: Draft, speed: float | None = None) -> str:
    """Who wrote this, how fast, and how to get the same again."""
    if (found := draft.found) is not None:
        count = len(draft.steps)
        chance = percent(math.exp(found.logprob / max(1, count)))
        return words.found(draft.made_by, count, speed, found.beams, chance)
    return words.facts(draft.made_by, len(draft.steps), speed, draft.seed)


def notes(draft: Draft) -> list[str]:
    """What a reader has to know about the part of the text that the model saw."""
    n_positions = draft.config.n_positions
    prompt = draft.prompt
    found = [words.STOP_STRING] if draft.steps and draft.steps[-1].end == "stop" else []
    if draft.began_at != draft.step:
        found.append(words.begun_earlier(draft.began_at))
    if prompt.from_start:
        start = display_token(draft.tokenizer.token_bytes(prompt.ids[0]))
        found.append(words.from_start(start))
    if len(prompt.ids) > n_positions:
        first = draft.tokenizer.decode(prompt.ids[-n_positions:][:12])
        found.append(words.prompt_cut(len(prompt.ids), n_positions, " ".join(first.split())[:40]))
    read = context_window(prompt.ids, draft.written, n_positions)
    if len(read) < min(len(prompt.ids), n_positions) + len(draft.steps):
        found.append(words.context_slid(n_positions, max(1, n_positions // 2)))
    return found


def step_line(
    tokenizer: Tokenizer, step: TokenStep, flow: Flow, *, mark: str = "", others: int = HOVER_ALTERNATIVES
) -> str:
    """A token that was written or read as a line of the strip.

    mark: what is said of one that stands out. others: how many alternatives are told.
    """
    data = tokenizer.token_bytes(step.id)
    top = step.top[:others]
    return token_line(
        display_token(data, 60),
        raw=flow.add(data),
        data=data,
        probability=math.exp(step.logprob),
        rank=step.rank,
        entropy_bits=step.entropy / math.log(2),
        tint=min(1.0, -step.logprob / math.log(2) / SURPRISE_BITS),
        alternatives=[(display_token(tokenizer.token_bytes(a.id), 24), math.exp(a.logprob)) for a in top],
        mark=mark,
    )


def drawn(draft: Draft) -> Draft:
    """The same text with a strip that is drawn from the beginning."""
    flow = Flow()
    lines = [strip_start(), *_prompt_lines(draft, flow)]
    lines += [step_line(draft.tokenizer, step, flow) for step in draft.steps]
    return replace(draft, strip="".join(lines))


def _prompt_lines(draft: Draft, flow: Flow) -> Iterator[str]:
    tokenizer, ids = draft.tokenizer, draft.prompt.ids
    hidden = len(ids) - SHOWN_PROMPT_TOKENS
    if hidden > 0:
        yield token_line("…", raw=words.earlier(hidden), prompt=True)
    for id_ in ids[max(0, hidden) :]:
        data = tokenizer.token_bytes(id_)
        yield token_line(display_token(data, 60), raw=flow.add(data), data=data, prompt=True)


def flow_after(draft: Draft) -> Flow:
    """A flow that stands behind the last token."""
    flow = Flow()
    for id_ in (*draft.prompt.ids[-SHOWN_PROMPT_TOKENS:], *draft.written):
        flow.add(draft.tokenizer.token_bytes(id_))
    return flow


def added(draft: Draft, new: Sequence[Written], lines: str, *, share: int = 1) -> Draft:
    """The text with more tokens, whose scores are kept as long as there is room.

    share: among how many texts the room is divided.
    """
    return forgetting(
        replace(
            draft,
            steps=(*draft.steps, *(step for step, _ in new)),
            logits=(*draft.logits, *(scores for _, scores in new)),
            strip=draft.strip + lines,
        ),
        share,
    )


def forgetting(draft: Draft, share: int) -> Draft:
    """The same text without the oldest of its scores, if they take more than their share of the room."""
    room = max(1, MAX_LOGITS_BYTES // share // (4 * draft.config.vocab_size))
    forgotten = max(0, len(draft.logits) - room)
    return replace(draft, logits=(*(None for _ in range(forgotten)), *draft.logits[forgotten:]))


def _readable(character: str) -> str:
    """A character of a running text: itself, or a name for what would be invisible or turn the line round."""
    if character.isprintable() or character in "\n\t\u200c\u200d":
        return character
    return display_token(character.encode("utf-8", "surrogateescape"))
