"""What somebody wants to look at: a text of a length that fits, and the tokens that a search means."""

import numpy as np
from numpy.typing import NDArray

from gpt2demo.errors import LimitError, TextError
from gpt2demo.text.corpus import Corpus, encode_documents
from gpt2demo.text.display import display_token
from gpt2demo.text.tokenizers import Tokenizer

MAX_PROBE_CHARACTERS = 4_000  # checked before a text is cut into tokens
_DRAWN = "·↵→◌<"  # what only the display form of a token begins or ends with


def probe_ids(tokenizer: Tokenizer, text: object) -> list[int]:
    """The tokens of a text that somebody wants to look at.

    Raises TextError when there is nothing or when the tokenizer does not know a character, LimitError for a
    text that is far too long, before any work is spent on it.
    """
    return tokenizer.encode(_checked(text))


def fitting_part(tokenizer: Tokenizer, text: str, tokens: int) -> str:
    """The beginning of a text that has at most so many tokens, in whole characters."""
    part = text[:MAX_PROBE_CHARACTERS]
    whole = ids = tokenizer.encode(part)
    keep = tokens
    while len(ids) > tokens:  # once, unless the cut makes the last word fall into more pieces
        part = b"".join(map(tokenizer.token_bytes, whole[:keep])).decode("utf-8", errors="ignore")
        ids = tokenizer.encode(part)
        keep -= 1
    return part


def find_tokens(tokenizer: Tokenizer, query: object) -> tuple[int, ...]:
    """The tokens that a search means, the best first.

    A word is looked for as a single token: with a space in front, as it stands in a text, then as it is,
    then as it is drawn ("·the", "<0xE4>"). What is no single token gives the tokens it is made of. Raises
    TextError and LimitError as `probe_ids` does.
    """
    text = _checked(query)
    spellings = [spelling for spelling in (" " + text, text) if not tokenizer.unknown(spelling)]
    known = (ids for ids in map(tokenizer.encode, spellings) if tokenizer.unknown_id not in ids)
    found = [ids[0] for ids in known if len(ids) == 1]
    if any(glyph in text for glyph in _DRAWN):
        everything = range(tokenizer.vocab_size)
        found += [i for i in everything if display_token(tokenizer.token_bytes(i)) == text]
    in_a_text = f" {text}" if tokenizer.kind == "bpe" and text[0].isalnum() else text
    return tuple(dict.fromkeys(found or tokenizer.encode(in_a_text)))


def token_counts(tokenizer: Tokenizer, corpus: Corpus) -> NDArray[np.int64]:
    """How often each token occurs in a text.  → (V,)"""
    ids = encode_documents(corpus, tokenizer)
    return np.bincount(np.array(ids, dtype=np.int64), minlength=tokenizer.vocab_size)


def _checked(text: object) -> str:
    if not isinstance(text, str) or not text:
        raise TextError("There is no text.", "A few words are needed.", "Write some, or pick an example.")
    if len(text) > MAX_PROBE_CHARACTERS:
        raise LimitError(
            f"The text has {len(text):,} characters.",
            f"At most {MAX_PROBE_CHARACTERS:,} can be looked at.",
            "Give a shorter part of it.",
        )
    return text
