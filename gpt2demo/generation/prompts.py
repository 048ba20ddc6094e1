"""What a person asks a model to continue: read into tokens, with its limits."""

from dataclasses import dataclass

from gpt2demo.errors import LimitError, TextError, is_number
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.text.tokenizers import Tokenizer

MAX_PROMPT_CHARACTERS = 20_000


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt as the model gets it."""

    text: str
    ids: tuple[int, ...]  # never empty
    from_start: bool  # nothing was given: it begins after the start token, which is no part of the text


def read_prompt(tokenizer: Tokenizer, text: object) -> Prompt:
    """Turns what a person typed into tokens; nothing at all becomes the token that texts begin after.

    Raises TextError for what is no text or has characters that the tokenizer does not know, LimitError beyond
    20,000 characters.
    """
    if not isinstance(text, str):
        raise TextError(
            f"The prompt is {type(text).__name__}, not text.", "It must be text.", "Type a few words."
        )
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise LimitError(
            f"The prompt has {len(text):,} characters.",
            f"At most {MAX_PROMPT_CHARACTERS:,} can be read.",
            "Keep its last part: a model only sees the end of a long text anyway.",
        )
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # as texts for training are read
    ids = tokenizer.encode(text)
    return Prompt(text=text, ids=tuple(ids) or (tokenizer.start_id,), from_start=not ids)


def sampling(
    temperature: object, top_k: object, top_p: object, seed: object, max_new_tokens: object
) -> SamplingConfig:
    """Reads the five settings as a page or a program gives them: top-k 0 and top-p 1 switch these rules off.

    Raises LimitError for whatever is out of range or no number.
    """
    return SamplingConfig(
        temperature=temperature,  # type: ignore[arg-type]  # the config refuses all that does not fit
        top_k=None if is_number(top_k) and top_k == 0 else top_k,  # type: ignore[arg-type]
        top_p=None if is_number(top_p) and top_p == 1 else top_p,  # type: ignore[arg-type]
        seed=seed,  # type: ignore[arg-type]
        max_new_tokens=max_new_tokens,  # type: ignore[arg-type]
    )
