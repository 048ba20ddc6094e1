"""A text in the making: what one visitor's session remembers of it, and how it grows token by token."""

import codecs
import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from gpt2demo.errors import TextError
from gpt2demo.generation.prompts import Prompt
from gpt2demo.generation.records import Logits, TokenStep, chosen_instead
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.writing import context_window, generate_with_logits
from gpt2demo.model.config import GPT2Config
from gpt2demo.runs.models import LoadedModel
from gpt2demo.text.display import display_token
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.ui.components import select_line, status_line, strip_start, token_line
from gpt2demo.ui.text import generate as words

MAX_LOGITS_BYTES = 8_000_000  # of scores kept in one session; the oldest are forgotten first
SHOWN_PROMPT_TOKENS = 1_000  # of a longer prompt only the end is drawn
YIELD_SECONDS = 0.14
SURPRISE_BITS = 8.0  # the surprise at which the tint is full: one in 256
HOVER_ALTERNATIVES = 8
SPEED_TOKENS = 5  # of fewer no speed is told


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
    seed: int
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

    def by(self, loaded: LoadedModel, seed: int, made_by: str) -> "Draft":
        """The same text, to be continued by these weights."""
        return replace(self, step=loaded.step, seed=seed, made_by=made_by)

    def belongs_to(self, ref: str, prompt: object) -> bool:
        """Whether it is this model's continuation of this prompt, so that it can be continued."""
        same = isinstance(prompt, str) and prompt.replace("\r\n", "\n") == self.prompt.text
        return same and ref == self.ref


@dataclass
class Turn:
    """What a session wants from whoever writes in it: "write" on, "stop" and keep it, or "leave"."""

    wanted: str = "write"


class Flow:
    """Tokens as one text that can be read: a character of several tokens comes with the last."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def add(self, data: bytes) -> str:
        """What a token adds to the text on the page; "" while a character is not complete."""
        return "".join(map(_readable, self._decoder.decode(data)))


def begin(loaded: LoadedModel, ref: str, prompt: Prompt, seed: int, made_by: str) -> Draft:
    """A text of which only the prompt is there."""
    return _drawn(
        Draft(
            made_by=made_by,
            ref=ref,
            began_at=loaded.step,
            step=loaded.step,
            config=loaded.config,
            tokenizer=loaded.tokenizer,
            prompt=prompt,
            seed=seed,
        )
    )


def write(
    draft: Draft, loaded: LoadedModel, config: SamplingConfig, *, seconds: float = math.inf
) -> Generator[Draft, None, None]:
    """Lets the model write on; yields the text as it has grown, a few times a second and at the end.

    The model's lock is held for one token at a time. seconds: stops after so long.
    """
    flow = _flow_after(draft)
    draft = replace(draft, finished=False)
    yield (draft := _add(draft, [], status_line("running", words.WRITING)))
    steps: list[tuple[TokenStep, Logits]] = []
    lines: list[str] = []
    started = shown = time.monotonic()
    count = 0
    tokens = generate_with_logits(
        loaded.model, draft.prompt.ids, config, written=draft.written, guard=loaded.lock
    )
    for step, logits in tokens:
        count += 1
        steps.append((step, logits))
        lines.append(step_line(loaded.tokenizer, step, flow))
        now = time.monotonic()
        if now - shown >= YIELD_SECONDS:
            lines.append(status_line("running", words.writing(count, count / (now - started))))
            yield (draft := _add(draft, steps, "".join(lines)))
            steps, lines, shown = [], [], now
        if now - started > seconds:
            break
    speed = count / max(time.monotonic() - started, 1e-6)
    draft = replace(_add(draft, steps, "".join(lines)), finished=True)
    yield _add(draft, [], status_line("done", "\n".join([facts_line(draft, count, speed), *notes(draft)])))


def stopped(draft: Draft) -> Draft:
    """The same text, no longer being written; one that was finished before the click stays as it is."""
    if draft.finished:
        return draft
    message = "\n".join([f"{words.STOPPED} {facts_line(draft)}", *notes(draft)])
    return replace(_add(draft, [], status_line("stopped", message)), finished=True)


def take(draft: Draft, index: int, id_: int, config: SamplingConfig) -> Draft:
    """Puts another token at a place, and forgets what was written after it."""
    logits = draft.logits[index] if index < len(draft.logits) else None
    if logits is None:
        raise TextError(words.FORGOTTEN, "", "")
    step = chosen_instead(logits, id_, config, index)
    branch = replace(
        draft,
        steps=(*draft.steps[:index], step),
        logits=draft.logits[: index + 1],
        taken=frozenset(i for i in draft.taken if i < index) | {index},
        strip="",
    )
    return _drawn(branch)


def select(draft: Draft, index: int | None) -> Draft:
    """Marks the token whose road the panel shows."""
    return replace(draft, strip=draft.strip + select_line(None if index is None else draft.lead + index))


def most_undecided(draft: Draft, first: int = 0) -> int | None:
    """The step from `first` on where most could have come, if possible the beginning of a word."""
    places = range(first, len(draft.steps))
    data = [draft.tokenizer.token_bytes(step.id) for step in draft.steps]
    starts = [i for i in places if data[i].startswith(b" ") and data[i].strip()]
    return max(starts or places, key=lambda i: draft.steps[i].entropy, default=None)


def facts_line(draft: Draft, count: int | None = None, speed: float | None = None) -> str:
    """Who wrote this, how fast, and how to get the same again."""
    return words.facts(
        draft.made_by, len(draft.steps), speed if count and count >= SPEED_TOKENS else None, draft.seed
    )


def notes(draft: Draft) -> list[str]:
    """What a reader has to know about the part of the text that the model saw."""
    n_positions = draft.config.n_positions
    prompt = draft.prompt
    found = []
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


def step_line(tokenizer: Tokenizer, step: TokenStep, flow: Flow) -> str:
    """A written token as a line of the strip."""
    data = tokenizer.token_bytes(step.id)
    top = step.top[:HOVER_ALTERNATIVES]
    return token_line(
        display_token(data, 60),
        raw=flow.add(data),
        data=data,
        probability=math.exp(step.logprob),
        rank=step.rank,
        entropy_bits=step.entropy / math.log(2),
        tint=min(1.0, -step.logprob / math.log(2) / SURPRISE_BITS),
        alternatives=[(display_token(tokenizer.token_bytes(a.id), 24), math.exp(a.logprob)) for a in top],
    )


def _drawn(draft: Draft) -> Draft:
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


def _flow_after(draft: Draft) -> Flow:
    """A flow that stands behind the last token."""
    flow = Flow()
    for id_ in (*draft.prompt.ids[-SHOWN_PROMPT_TOKENS:], *draft.written):
        flow.add(draft.tokenizer.token_bytes(id_))
    return flow


def _add(draft: Draft, new: Sequence[tuple[TokenStep, Logits]], lines: str) -> Draft:
    """The text with more tokens, whose scores are kept as long as there is room."""
    logits = (*draft.logits, *(scores for _, scores in new))
    room = max(1, MAX_LOGITS_BYTES // (4 * draft.config.vocab_size))
    forgotten = max(0, len(logits) - room)
    return replace(
        draft,
        steps=(*draft.steps, *(step for step, _ in new)),
        logits=(*(None for _ in logits[:forgotten]), *logits[forgotten:]),
        strip=draft.strip + lines,
    )


def _readable(character: str) -> str:
    """A character of a running text: itself, or a name for what would be invisible or turn the line round."""
    if character.isprintable() or character in "\n\t\u200c\u200d":
        return character
    return display_token(character.encode("utf-8", "surrogateescape"))
