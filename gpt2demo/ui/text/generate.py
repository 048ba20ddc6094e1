"""The words of the Generate tab."""

from collections.abc import Sequence

TITLE = "Write with the model"
ABOUT = (
    "The model reads your beginning and adds one token (a word or a part of one) at a time: it works out how "
    "likely every token it knows is to come next, and one of them is drawn."
)
PROMPT = "How the text begins (prompt)"
PROMPT_INFO = "Leave it empty and the model begins by itself."
PROMPT_PLACEHOLDER = "Type the beginning of a story …"
EXAMPLES = "Beginnings from the text it learnt from"
GENERATE = "Generate"
STEP = "Step"
STOP = "Stop"
BUTTONS = "Generate writes a new text. Step adds one token to it and shows how that token was chosen."
TEXT = "The text"
TEXT_PLACEHOLDER = "Press Generate, and the model writes here."
HOW_TO_LOOK = (
    "Underlined: your prompt. Point at a token for its probability; click it to see how it was chosen."
)
KEEP = "Keep beside"
KEEP_HINT = "A text that is kept stays when you press Generate, beside the new one."
COPY = "Copy"
SAVE = "Save as text"
SAVE_NAME = "gpt2demo.txt"
SAVE_ALL = "Save as JSON"
SAVE_ALL_NAME = "gpt2demo.json"

CHOOSING = "How a token is chosen"
CHOOSING_ABOUT = (
    "Move these and watch the bars: they act on the model's stored scores, without running it again."
)
TEMPERATURE = "Temperature"
TEMPERATURE_INFO = (
    "How daring the choice is. 0: always the likeliest token, so the same text each time (greedy). 1: the "
    "model's own probabilities. 2: rare tokens become nearly as likely as common ones."
)
TOP_K = "Keep the best (top-k)"
TOP_K_INFO = "0: off, every token may be drawn. 1: always the likeliest. 40: the draw is among the best 40."
TOP_P = "Keep a share (top-p)"
TOP_P_INFO = "1: off. 0.9: the fewest tokens that together reach 90 %. Near 0: only the likeliest one."
MIN_P = "Keep what comes near the best (min-p)"
MIN_P_INFO = (
    "0: off. 0.1: only tokens at least a tenth as likely as the likeliest; where the model is sure, few are "
    "left. 1: only the likeliest."
)
PENALTY = "Say less again (repetition penalty)"
PENALTY_INFO = (
    "1: off. 1.2: tokens that are in the text already get lower scores. 2: words hardly return, not even "
    "those that should, such as “the”."
)
STOPS = "Stop at (stop strings)"
STOPS_INFO = (
    "One on each line, at most four: the text ends as soon as one of them is written. "
    "\\n stands for a line break, \\t for a tab, \\\\ for one \\. Empty: it runs to its length."
)
PRECISION = "Bits of a weight (precision)"
PRECISION_INFO = (
    "How exactly the model writes. fp32: as it was trained. bf16: half the memory, nearly the same text. "
    "int8: a quarter of it, and the chances shift a little; so does what others write at the same moment."
)
PRECISIONS = (("32 (fp32)", "fp32"), ("16 (bf16)", "bf16"), ("8 (int8)", "int8"))
SAMPLES = "Texts side by side (samples)"
SAMPLES_INFO = "1: one text. 4: four from the same beginning, with four seeds in a row, all written at once."
BEAMS = "Search instead of drawing (beam search)"
BEAMS_INFO = (
    "4: the four likeliest texts are followed at once, and what they end in is dull and repeats itself, "
    "because the likeliest text is the one that surprises least. There is no luck in it: temperature, "
    "filters, seed, samples and stop strings do not count. Off: each token is drawn."
)
BEAMS_OFF = "off"
HOW_MUCH = "What is written"
LENGTH = "Length"
LENGTH_INFO = "How many tokens Generate writes: 1 is a single token, 300 about a page."
SEED = "Seed"
SEED_INFO = "Names the luck of the draw: the same seed, prompt and settings give the same text."
FRESH = "Surprise me: a new seed for every new text"

RESET = "Back to the prompt"
RANK, TOKEN, SCORE, FILTERS, CHANCE = "Rank", "Token", "Score (logit)", "Filters", "Chance"
PENALISED = "after penalty"
CHOSEN = "◆ written"
STAYS = "stays"
REST = "all others"

TAKE = "Take another token here"
TAKE_INFO = "A second text beside this one: the same up to here, then your token, then the model writes on."
TAKE_BUTTON = "Continue with it"
BARS = "Chances of the next token"
BARS_PLACEHOLDER = "Click a token of the text to see what else could have come there."
TABLE = "The road of each token, in numbers"

WRITING = "Writing …"
STOPPED = "Stopped."
FAILED = (
    "It ends here: something failed in the program, which is our mistake and not yours. "
    "What is written stays. Press Generate to try again."
)
NOTHING_YET = (
    "Nothing is written after the prompt yet. Press Step: how the first token was chosen appears here."
)
CHOOSE_FIRST = "One of the model's other choices at a place in the text is needed."
PUT_AWAY = "This text was put away, because it had not been touched for an hour."
NO_TOKEN = "Click a token of the text: its whole road from score to chance appears here."
PROMPT_TOKEN = (
    "This token is from your prompt: the model read it and did not choose it. Click a token after it."
)
FORGOTTEN = (
    "The scores behind this token are no longer kept, to save memory. "
    "Click one written later, or generate anew."
)


STOP_STRING = "It ended because a stop string was written."


def writing(count: int, speed: float | None) -> str:
    """While it goes on."""
    pace = f", {_speed(speed)}" if speed is not None else ""
    return f"Writing … {_tokens(count)} so far{pace}."


def following(beams: int, count: int, speed: float | None) -> str:
    """While a beam search goes on."""
    pace = f", {_speed(speed)}" if speed is not None else ""
    texts = "1 text" if beams == 1 else f"{beams} texts"
    return f"Following the likeliest {texts} … {_tokens(count)} so far{pace}."


def ahead(count: int) -> str:
    """While others are served first."""
    texts = "1 text is" if count == 1 else f"{count:,} texts are"
    return f"{texts} ahead of you. Yours begins by itself."


def broken_off(problem: str) -> str:
    """When something went wrong in the middle of a text."""
    return f"It ends here. {problem} What is written stays."


def sample(seed: int) -> str:
    """Above one of several texts."""
    return f"Seed {seed}"


def branch(index: int, token: str) -> str:
    """Above a text that leaves another one."""
    return f"Branch at token {index + 1}: {token}"


def beam(place: int, logprob: float) -> str:
    """Above a text that beam search has found."""
    number = f"{logprob:.2f}".replace("-", "−")
    return f"Beam {place}: log p {number}"


def column_gone(title: str) -> str:
    """When a branch needed the place of an older text."""
    return (
        f"Four texts fit side by side, so the oldest went (“{title}”). "
        f"Press “{KEEP}” above those that shall stay."
    )


def facts(made_by: str, count: int, speed: float | None, seed: int) -> str:
    """Under a text: who wrote it, how long it is, how fast it went, and how to get it again."""
    length = _tokens(count)
    pace = f", {_speed(speed)}" if speed is not None else ""
    return f"{made_by} {length}{pace}, seed {seed}."


def found(made_by: str, count: int, speed: float | None, beams: int, chance: str) -> str:
    """Under a text that beam search has found. chance: of a token, in the geometric mean."""
    pace = f", {_speed(speed)}" if speed is not None else ""
    return (
        f"{made_by} {_tokens(count)}{pace}, beam search with {beams} beams. "
        f"log p: the natural logarithm of the whole text's probability, as if each token had had a chance of "
        f"{chance}."
    )


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count:,} tokens"


def _speed(speed: float) -> str:
    return f"{speed:,.0f} tokens/s" if speed >= 10 else f"{speed:.1f} tokens/s"


def made_by(title: str, step: int, *, newest: bool, planned: int | None, training: bool) -> str:
    """Which model wrote it, at which step of its training."""
    name = f"Written by {title}"
    if training and newest:
        of = f" of {planned:,}" if planned else ""
        return f"{name}: step {step:,}{of}, still training, its newest saved weights."
    if newest:
        return f"{name} (step {step:,} of its training, the last)."
    return f"{name} (as it was at step {step:,} of its training)."


def begun_earlier(step: int) -> str:
    return f"It was begun by the weights of step {step:,}, before the training went on."


def from_start(token: str) -> str:
    return (
        f"There was no prompt, so it began after the start token {token}, as if at the beginning of a text."
    )


def prompt_cut(tokens: int, n_positions: int, first: str) -> str:
    return (
        f"The prompt has {tokens:,} tokens, and this model reads {n_positions:,} at once: "
        f"it read the last {n_positions:,}, from “{first}…” on."
    )


def context_slid(n_positions: int, kept: int) -> str:
    return (
        f"The model reads at most {n_positions:,} tokens at once (its context). Whenever they were full, it "
        f"kept the last {kept:,}, forgot those before, and went on."
    )


def earlier(count: int) -> str:
    return f"… {count:,} tokens before this …\n"


def unknown_prompt(characters: str) -> str:
    return (
        f"Your prompt has characters that this model does not know ({characters}), so an example is shown. "
        "Your prompt is kept above."
    )


def panel_title(index: int, token: str) -> str:
    return f"Token {index + 1} of the continuation: {token}"


def after(text: str) -> str:
    return f"It came after “{text}”."


def chosen(probability: str, rank: int, vocab_size: int, between: float, *, taken: bool) -> str:
    """How likely the token was for the model, and how sure the model was."""
    place = "the likeliest" if rank == 1 else f"number {rank:,}"
    how = "You put it here. " if taken else ""
    unsure = (
        f"It was as unsure as between {between:,.0f} equally likely tokens."
        if between >= 1.5
        else "It was almost certain."
        if rank == 1
        else "It was almost certain of another."
    )
    return f"{how}The model gave it {probability}: {place} of {vocab_size:,} tokens. {unsure}"


def settings(rules: Sequence[str], cuts: Sequence[tuple[str, int]], kept: int, vocab_size: int) -> str:
    """What the present settings do at this place. rules: their names with values; cuts: how many each cut."""
    if cuts and cuts[0][0] == "temperature 0":
        return "With temperature 0 only the likeliest token stays: nothing is left to chance."
    left = (
        f"all {vocab_size:,} tokens stay" if kept == vocab_size else f"{kept:,} of {vocab_size:,} tokens stay"
    )
    gone = [f"{rule} cuts {count:,}" for rule, count in cuts]
    return f"With {', '.join(rules)}, {left} in the draw{': ' if gone else ''}{', '.join(gone)}."


def now_cut(token: str, cut_by: str) -> str:
    return f"With these settings {token} could not have been drawn: {cut_by} cuts it."


def scaled(temperature: float) -> str:
    return "÷ temperature" if temperature == 0 else f"÷ {temperature:g} (temperature)"


def cut(cut_by: str) -> str:
    return f"cut by {cut_by}"


def rest_kept(kept: int, count: int) -> str:
    return "cut" if kept == 0 else (STAYS if kept == count else f"{kept:,} stay")
