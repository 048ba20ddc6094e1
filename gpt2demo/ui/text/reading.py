"""The words of the part that reads a text, below the Generate tab's columns."""

from gpt2demo.generation.reading import MAX_READ_CHARACTERS, MAX_READ_TOKENS

TITLE = "Read a text through the model's eyes"
ABOUT = (
    "The model reads any text token by token and says before each one how likely it is to come next. The "
    "stronger the colour, the more it surprised it. Underlined twice: what could be copied, because it "
    "stands word for word in the training text."
)
TEXT = "The text to read"
TEXT_INFO = (
    f"At most {MAX_READ_CHARACTERS:,} characters and {MAX_READ_TOKENS:,} tokens. To read what the model has "
    "just written, press Copy above and paste it here."
)
TEXT_PLACEHOLDER = "Paste any text …"
READ = "Read my text"
TRAINING = "A piece of training text"
HELD_OUT = "A piece of held-out text"
PIECES_INFO = (
    "Training text is what the model learnt from; held-out text was set apart and it never learnt from that. "
    "Press again for another piece."
)
STRIP = "The text as the model read it"
STRIP_PLACEHOLDER = "A piece of text is being read. Or paste your own and press Read."
COPIED_TOKEN = "stands in the training text"

TOKENS, CHARACTERS = "tokens", "characters"
PERPLEXITY, BITS = "perplexity", "bits per character"
RIGHT, COPIED = "guesses the next token right", "copied"
RIGHT_UNIT, RIGHT_SHORT = "of the tokens were its first guess", "right guesses"
PERPLEXITY_UNIT = "as unsure as between so many tokens"
BITS_UNIT = "the fewer, the more of it was foretold"
NO_NUMBER = "–"
WHICH = "Which text"
TABLE = "The same measures on three texts"
OWN, OF_TRAINING, OF_HELD_OUT = "this text", "training text", "held-out text"

NO_TEXT = (
    "The text that this model learnt from is not here (it was trained elsewhere), so nothing can be compared "
    "with it and no passage can be marked as copied."
)
NO_HELD_OUT = "The held-out text of this model is not here."
NO_PIECE = (
    "There is no such text of this model here.",
    "A model that was trained elsewhere comes without it.",
    "Choose a model that was trained here, or paste a text.",
)
KEY = "Underlined twice"
LEAST = "Shortest copy"
LEAST_INFO = (
    "How many characters in a row must stand in the training text to count as copied. 8: nearly every common "
    "phrase counts. 20: about four words. 100: only whole sentences."
)
LIMITS = (
    "What it does not show: a copied passage may be a common phrase that anybody would write, and the "
    "surprise is the model's, not a reader's. Right guesses and perplexity are per token, so compare models "
    "with different tokens by their bits per character."
)
ANY_TEXT = "Once upon a time there was a town by the sea."


def copied_unit(least: int) -> str:
    return f"of the characters, in passages of {least:,} or more"


def nothing_copied(least: int) -> str:
    return f"No passage of {least:,} characters or more stands in the training text."


def key_means(least: int) -> str:
    """What the double line means, after its name."""
    return f": stands word for word in the training text, {least:,} characters or more in a row."


def longest(count: int) -> str:
    """Before the longest passage."""
    return f"The longest has {count:,} characters: "


def read_by(title: str, step: int, tokens: int, start: str) -> str:
    """Under the text: who read it, and how it began."""
    return (
        f"Read by {title}, step {step:,}: {tokens:,} tokens, the first as if it came after {start}. "
        "Point at a token for its probability, its rank and what the model expected there."
    )


def unknown(count: int) -> str:
    """Where a tokenizer of words met others than its own."""
    return (
        f"{count:,} word{' is' if count == 1 else 's are'} not in the model's vocabulary: it read <unk> "
        "there, which bits per character leave out."
    )


def compared(tokens: int, part: bool, characters: int) -> str:
    """How the two lines to compare with were measured."""
    words = f"Measured on about {tokens:,} tokens from all over each part, in pieces read like your text."
    if part:
        words += (
            f" Only the first {characters:,} characters of its training text are here to look copies up in."
        )
    return words
