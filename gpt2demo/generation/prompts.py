"""What a person asks of a model, prompt and settings: read, with all limits."""

import re
from dataclasses import dataclass, replace

from gpt2demo.errors import LimitError, TextError, check_choice, check_range, is_number
from gpt2demo.generation.beams import MAX_BEAMS
from gpt2demo.generation.sampling import LEAST_TOP_P, MAX_TOP_K, SamplingConfig
from gpt2demo.model.packed import PRECISIONS
from gpt2demo.text.tokenizers import Tokenizer

MAX_PROMPT_CHARACTERS = 20_000
MAX_SAMPLES = 4
ESCAPES = {r"\n": "\n", r"\t": "\t", "\\\\": "\\"}
ESCAPE = re.compile(r"\\[nt\\]")


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
    temperature: object,
    top_k: object,
    top_p: object,
    min_p: object = 0,
    repetition_penalty: object = 1,
    seed: object = 0,
    max_new_tokens: object = 1,
    stop: object = (),
) -> SamplingConfig:
    """Reads the settings as a page or a program gives them; top-k 0, top-p 1 and min-p 0 switch a rule off.

    stop: a list of strings, as they are. Raises LimitError for what is out of range, missing or no number.
    """
    check_range("top-k", top_k, 0, MAX_TOP_K, integer=True)
    check_range("min-p", min_p, 0.0, 1.0)
    if top_p is None:  # which the config would take for "off": but somebody has left a field empty
        check_range("top-p", top_p, LEAST_TOP_P, 1.0)
    return SamplingConfig(
        temperature=temperature,  # type: ignore[arg-type]  # the config refuses all that does not fit
        top_k=top_k or None,  # type: ignore[arg-type]
        top_p=None if is_number(top_p) and top_p == 1 else top_p,  # type: ignore[arg-type]
        min_p=min_p or None,  # type: ignore[arg-type]
        repetition_penalty=repetition_penalty,  # type: ignore[arg-type]
        seed=seed,  # type: ignore[arg-type]
        max_new_tokens=max_new_tokens,  # type: ignore[arg-type]
        stop=stop,  # type: ignore[arg-type]
    )


def stop_lines(text: object) -> tuple[str, ...]:
    r"""Stop strings as a person types them: one per line, with \n for a line break, \t for a tab, \\ for \.

    Raises TextError for what is no text.
    """
    if not isinstance(text, str):
        raise TextError(
            f"The stop strings are {type(text).__name__}, not text.",
            "They must be text, one on each line.",
            "Leave the field empty to let the text run to its length.",
        )
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return tuple(ESCAPE.sub(lambda found: ESCAPES[found[0]], line) for line in lines if line)


def samples(number: object, config: SamplingConfig) -> list[SamplingConfig]:
    """The settings of one to four texts that are written side by side: their seeds follow each other."""
    check_range("The number of samples", number, 1, MAX_SAMPLES, integer=True)
    return [replace(config, seed=int(config.seed) + i) for i in range(int(number))]  # type: ignore[call-overload]


def beams(number: object) -> int:
    """How many texts a beam search follows; 0 where tokens are drawn instead. Raises LimitError."""
    check_range("The number of beams", number, 0, MAX_BEAMS, integer=True)
    return int(number)  # type: ignore[call-overload,no-any-return]


def precision(name: object) -> str:
    """In how many bits a model writes: "fp32", "bf16" or "int8". Raises ConfigError for all else."""
    check_choice("The precision", name, PRECISIONS)
    return str(name)
