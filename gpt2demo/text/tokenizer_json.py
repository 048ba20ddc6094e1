"""The file `tokenizer.json`: how ours is written, and how one from anywhere is read without trusting it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from gpt2demo.errors import FileError

Kind = Literal["char", "bpe"]

END_OF_TEXT = "<|endoftext|>"  # GPT-2's only special token: it stands between two documents
MAX_VOCABULARY = 60_000
MAX_TOKEN_BYTES = 256
MAX_FILE_BYTES = 10_000_000

# GPT-2's words: contractions, letters, digits or signs, each with a space before it; then what space is left.
GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# At most so many characters each: without it, BPE on text without spaces takes time quadratic in its length.
SHORT_WORDS = r"[\s\S]{1,48}"


def bytes_to_unicode() -> dict[int, str]:
    """GPT-2's alphabet: one visible character for each of the 256 bytes.

    BPE programs work on text and split it at white space, but GPT-2 wants to work on bytes, so that no
    character of any language is ever unknown to it. So each byte borrows a character: the printable bytes
    stand for themselves ("A" is A), and the rest, among them space and newline, borrow those from U+0100 on.
    That is why a token with a leading space is spelled "Ġthe" in every GPT-2 vocabulary file: Ġ is U+0120.
    """
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    borrowed = iter(range(256, 512))
    return {byte: chr(byte) if byte in printable else chr(next(borrowed)) for byte in range(256)}


def spelled_bytes(kind: Kind, vocabulary: Sequence[str]) -> tuple[bytes, ...]:
    """The bytes that each token of a vocabulary stands for; <|endoftext|> stands for its own name."""
    if kind == "char":
        return tuple(token.encode() for token in vocabulary)
    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
    return tuple(bytes(byte_of[character] for character in token) for token in vocabulary)


def write_tokenizer_json(kind: Kind, vocabulary: Sequence[str], merges: Sequence[tuple[str, str]]) -> str:
    """The content of `tokenizer.json`: the vocabulary and the steps that use it."""
    ids = {token: i for i, token in enumerate(vocabulary)}
    content: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": _split(r"[\s\S]"),
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": "<unk>"},
    }
    if kind == "bpe":
        words = {"type": "Sequence", "pretokenizers": [_split(GPT2_WORDS), _split(SHORT_WORDS), _BYTE_LEVEL]}
        content |= {
            "pre_tokenizer": words,
            "decoder": _BYTE_LEVEL,
            "model": _BPE | {"vocab": ids, "merges": merges},
        }
        if END_OF_TEXT in ids:
            content["added_tokens"] = [{"id": ids[END_OF_TEXT], "content": END_OF_TEXT} | _SPECIAL]
    return json.dumps(content, ensure_ascii=False)


def _split(pattern: str) -> dict[str, Any]:
    """A step that cuts text into the matches of a pattern and what is between them."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
_SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
_BPE: dict[str, Any] = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


def read_tokenizer_json(path: Path) -> tuple[Kind, list[str], list[tuple[str, str]]]:
    """Kind, vocabulary and merges of a `tokenizer.json`, each of them checked. Raises FileError.

    Nothing else in the file is looked at: the patterns, normalisers and paddings that such a file may ask for
    can hang or crash the program that obeys them.
    """
    content = _read_json(path)
    model = content.get("model")
    if not isinstance(model, dict):
        _refuse("It has no model.")
    if model.get("type") == "WordLevel":
        vocabulary = _checked_vocabulary(model.get("vocab"), [])
        _check_characters(vocabulary)
        return "char", vocabulary, []
    if model.get("type", "BPE" if "merges" in model else None) == "BPE":  # older files do not name the type
        vocabulary = _checked_vocabulary(model.get("vocab"), content.get("added_tokens") or [])
        _check_byte_level(vocabulary)
        return "bpe", vocabulary, _checked_merges(model.get("merges"), set(vocabulary))
    _refuse(f"Its model is of type {str(model.get('type'))[:40]!r}.")


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, refusing what is too long, too deep, or no JSON by the standard."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError:
        _refuse(f"The file {path.name[:80]!r} cannot be read.")
    if len(data) > MAX_FILE_BYTES:
        _refuse(f"It is larger than {MAX_FILE_BYTES:,} bytes.")
    try:
        content = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, or a 5,000-digit number
        _refuse(f"It is not the JSON it should be ({str(error)[:80]}).")
    if not isinstance(content, dict):
        _refuse("It is not a JSON object.")
    return content


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _checked_vocabulary(vocabulary: object, added_tokens: object) -> list[str]:
    """The tokens by id, the added ones among them; refuses holes, doubles, and tokens out of measure."""
    if not isinstance(vocabulary, dict) or not isinstance(added_tokens, list):
        _refuse("It has no vocabulary.")
    ids = dict(vocabulary)
    for added in added_tokens:
        if not isinstance(added, dict) or not isinstance(added.get("content"), str):
            _refuse("One of its added tokens has no content.")
        if ids.setdefault(added["content"], added.get("id")) != added.get("id"):
            _refuse(f"It gives two ids to the token {added['content'][:40]!r}.")
    if not 1 <= len(ids) <= MAX_VOCABULARY:
        _refuse(f"It has {len(ids):,} tokens.")
    if any(type(i) is not int for i in ids.values()) or sorted(ids.values()) != list(range(len(ids))):
        _refuse(f"The ids of its {len(ids):,} tokens are not 0 to {len(ids) - 1:,}, each once.")
    return sorted(ids, key=ids.__getitem__)


def _check_characters(vocabulary: Sequence[str]) -> None:
    for token in vocabulary:
        if len(token) != 1 or "\ud800" <= token <= "\udfff":
            _refuse(f"Its token {token[:40]!r} is not one character.")


def _check_byte_level(vocabulary: Sequence[str]) -> None:
    alphabet = set(bytes_to_unicode().values())
    for token in vocabulary:
        if not alphabet.issuperset(token) or not token:
            _refuse(f"Its token {token[:40]!r} is not spelled in GPT-2's byte alphabet.")
        if len(token) > MAX_TOKEN_BYTES:
            _refuse(f"Its token {token[:40]!r}… is {len(token):,} bytes long.")
    if missing := alphabet.difference(vocabulary):
        _refuse(f"It lacks {len(missing)} of the 256 single bytes.")


def _checked_merges(merges: object, vocabulary: set[str]) -> list[tuple[str, str]]:
    """The merges as pairs; each pair and what it makes must be tokens, and no pair may come twice."""
    if not isinstance(merges, list) or len(merges) > MAX_VOCABULARY:
        _refuse(f"It has no list of at most {MAX_VOCABULARY:,} merges.")
    pairs: dict[tuple[str, str], None] = {}
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge  # older files write a pair as "t he"
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            _refuse(f"Its merge {str(merge)[:40]!r} is not a pair of tokens.")
        left, right = pair
        if not {left, right, left + right} <= vocabulary:
            _refuse(f"Its merge of {left[:40]!r} and {right[:40]!r} is not about tokens of its vocabulary.")
        if (left, right) in pairs:
            _refuse(f"It merges {left[:40]!r} and {right[:40]!r} twice.")
        pairs[left, right] = None
    return list(pairs)


def _refuse(problem: str) -> NoReturn:
    raise FileError(
        f"This tokenizer file cannot be used. {problem}",
        f"Needed is a tokenizer.json of characters or byte-level BPE with up to {MAX_VOCABULARY:,} tokens.",
        "Export it again from where it came, or train a tokenizer here.",
    )
