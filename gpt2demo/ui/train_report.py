"""What the form of the Train tab answers: facts about the text, the model and the time, as pieces of HTML."""

from gpt2demo.errors import UserError
from gpt2demo.text.display import display_token
from gpt2demo.training.config import TrainingConfig
from gpt2demo.training.estimate import Pace
from gpt2demo.ui.components import strip_value, token_line
from gpt2demo.ui.escape import Safe, tag
from gpt2demo.ui.text import train as words
from gpt2demo.ui.theme import hint, notice, pieces, stats
from gpt2demo.ui.train_planner import Planned

SHOWN_NOTICES = 4
HOPELESS = 100_000_000  # parameters from which training here is a thought experiment
REPEATS_THAT_HELP = 4


def refusal(error: UserError) -> Safe:
    """What is wrong with the form, in place; nothing that was filled in is lost."""
    kind = "info" if error.got == words.NO_TEXT[0] else "error"  # nobody has done anything wrong yet
    return notice(f"{error.got} {error.needed}", kind, todo=error.todo)


def text_report(planned: Planned) -> Safe:
    """What the text holds, as it looks through the tokenizer, and what to expect of it."""
    facts = planned.report
    several = f"of {facts.documents:,} documents" if facts.documents > 1 else "of 1 document"
    numbers = stats(
        [
            ("characters", f"{facts.characters:,}", several),
            ("tokens", f"{facts.tokens:,}", f"{facts.characters_per_token:.1f} characters each"),
            ("vocabulary", f"{facts.vocabulary:,}", "different tokens"),
            ("to learn from", f"{facts.train_tokens:,}", "tokens, the first part"),
            ("to test on", f"{facts.validation_tokens:,}", "tokens it never learns from"),
            ("lines", f"{facts.lines:,}", f"{facts.distinct_characters:,} different characters"),
        ]
    )
    changes = [f"{d.name}: {said}" for d in planned.run.corpus.documents for said in d.notices]
    more = len(changes) - SHOWN_NOTICES
    return pieces(
        numbers,
        *(notice(warning, "warning") for warning in facts.warnings),
        *(hint(change) for change in changes[:SHOWN_NOTICES]),
        hint(f"and {more:,} more such changes.") if more > 0 else None,
    )


def first_lines(planned: Planned) -> str:
    """The beginning of the text as the value of a TokenStrip."""
    ids = [token for line in planned.report.first_lines_tokens for token in line]
    exact = [planned.run.tokenizer.token_bytes(token) for token in ids]
    return strip_value(token_line(display_token(data, 24), data=data) for data in exact)


def model_report(planned: Planned, memory_bytes: int) -> Safe:
    """How big the model is, and whether this machine can hold its training."""
    fits, start = planned.memory <= memory_bytes, planned.run.start
    return pieces(
        stats(
            [
                (words.PARAMETERS, millions(planned.parameters), "numbers that it learns"),
                (words.MEMORY, size(planned.memory), f"while it learns; a run may use {size(memory_bytes)}"),
            ]
        ),
        hint(words.GOES_ON.format(title=start.title)) if start else None,
        notice(words.TOO_BIG, "warning") if planned.parameters > HOPELESS and not start else None,
        None if fits else notice(f"It needs {size(planned.memory)} of memory, too much here.", "error"),
    )


def estimate(planned: Planned, pace: Pace, waiting: int, wait: float | None = None) -> Safe:
    """What the budget buys on this machine, in sentences. waiting, wait: runs before it, and seconds."""
    config = planned.run.training
    steps, budget = _budget(config, pace)
    epochs = planned.report.epochs(steps, config.rows, config.length)
    read = config.rows * config.length
    lines = [
        f"{budget}: {times(epochs)} through the text. Each step reads {config.rows} passages of "
        f"{config.length} tokens and costs about {short(pace.step)}."
    ]
    if epochs > REPEATS_THAT_HELP:
        until = REPEATS_THAT_HELP * planned.report.train_tokens / read * pace.step
        lines.append(
            f"After about {duration(until)} it has read everything {REPEATS_THAT_HELP} times: from then on "
            "watch the validation loss, it may rise again (overfitting)."
        )
    return tag(
        "div",
        *(tag("p", line) for line in lines),
        hint(_source(pace, waiting, wait)),
        tag("p", learning(config), class_="gd-hint gd-full"),
        class_="gd-estimate",
        role="status",
    )


def learning(config: TrainingConfig) -> str:
    """The numbers by which a run learns, in a sentence."""
    name = next(name for name, key in words.OPTIMIZERS if key == config.optimizer)
    parts = [
        f"{name}, highest learning rate {config.learning_rate:.2g}",
        f"reached after {config.warmup:.0%} of the steps and {words.DECAYS[config.decay]}",
        f"weight decay {config.weight_decay:g}",
        f"gradients shortened to {config.gradient_clip:g}" if config.gradient_clip else "",
        f"{config.accumulation} batches per step" if config.accumulation > 1 else "",
        f"ends early after {config.patience} looks without a new best" if config.patience else "",
        f"seed {config.seed}",
    ]
    return "; ".join(part for part in parts if part) + "."


def _budget(config: TrainingConfig, pace: Pace) -> tuple[int, str]:
    """How many steps the run will make, and the beginning of the sentence that says so."""
    if config.minutes is None:
        steps = config.steps or 1
        verb = "steps take" if steps > 1 else "step takes"
        return steps, f"{steps:,} {verb} about {duration(pace.seconds(steps))}"
    seconds = 60 * config.minutes
    if pace.step > seconds:
        return 1, f"{duration(seconds).capitalize()} are too short: it makes a single step"
    steps = pace.steps(seconds)
    return steps, f"In {duration(seconds)} about {rounded(steps)} {'steps' if steps > 1 else 'step'}"


def _source(pace: Pace, waiting: int, wait: float | None) -> str:
    """Where the figures come from, and what comes before the run."""
    known = "Measured on this server with a throwaway model."
    source = known if pace.measured else "Reckoned, not measured: a rough figure."
    if not waiting:
        return source
    others = "Another run is training now" if waiting == 1 else f"{waiting} runs come before yours"
    when = f"in about {duration(max(1, round(wait)))}" if wait else "when it is its turn"
    return f"{source} {others}; yours begins {when}."


def rounded(count: int) -> str:
    """A number of which only the first two digits mean anything."""
    digits = max(0, len(str(count)) - 2)
    return f"{round(count, -digits):,}"


def times(epochs: float) -> str:
    """How many times through the text, in words."""
    if epochs < 0.095:
        return f"{epochs:.1%} of one time"
    return f"{epochs:.1f} times" if epochs < 9.5 else f"{epochs:,.0f} times"


def duration(seconds: float) -> str:
    """A time in the unit that people would choose."""
    for unit, length, limit in (("seconds", 1, 60), ("minutes", 60, 90), ("hours", 3_600, 48)):
        if seconds / length < limit:
            value = seconds / length
            shown = f"{value:.1f}".removesuffix(".0") if value < 9.5 else f"{value:.0f}"
            return f"{shown} {unit[:-1] if shown == '1' else unit}"
    return f"{seconds / 86_400:,.0f} days"


def short(seconds: float) -> str:
    """The time of one step."""
    return f"{1_000 * seconds:.0f} ms" if seconds < 0.95 else duration(seconds)


def millions(count: int) -> str:
    """A number of parameters: 0.83 M, 124 M, 1.6 billion."""
    if count >= 1e9:
        return f"{count / 1e9:.2g} billion"
    return f"{count / 1e6:.2g} M" if count < 1e8 else f"{count / 1e6:.0f} M"


def size(count: float) -> str:
    """A number of bytes: 210 MB, 3.4 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, count / 1e6):.0f} MB"
