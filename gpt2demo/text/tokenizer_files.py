"""Tokenizer files from anywhere, read without trusting them: only vocabulary and merges are taken."""

import json
import re
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from gpt2demo.errors import FileError, NotFoundError
from gpt2demo.text.tokenizer_json import WORD_SPECIALS, Kind, bytes_to_unicode

MAX_VOCABULARY = 60_000
MAX_TOKEN_BYTES = 256
MAX_FILE_BYTES = 16_000_000

_NOT_IN_A_WORD = re.compile(r"[\s\ud800-\udfff]")


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
        if vocabulary[: len(WORD_SPECIALS)] == list(WORD_SPECIALS):
            _check_words(vocabulary)
            return "word", vocabulary, []
        _check_characters(vocabulary)
        return "char", vocabulary, []
    if model.get("type", "BPE" if "merges" in model else None) == "BPE":  # older files do not name the type
        vocabulary = _checked_vocabulary(model.get("vocab"), content.get("added_tokens") or [])
        _check_byte_level(vocabulary)
        return "bpe", vocabulary, _checked_merges(model.get("merges"), set(vocabulary))
    _refuse(f"Its model is of type {reprlib.repr(model.get('type'))[:60]}.")


def read_gpt2_files(folder: Path) -> tuple[Kind, list[str], list[tuple[str, str]]]:
    """Kind, vocabulary and merges of GPT-2's own tokenizer, from whichever of its files are in a folder.

    OpenAI's `encoder.json` and `vocab.bpe`, the same two as the Hub calls them, or a `tokenizer.json`. Raises
    NotFoundError when none are there, FileError for what is not byte-level BPE.
    """
    for tokens, merges in (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")):
        if (folder / tokens).is_file() and (folder / merges).is_file():
            vocabulary = _checked_vocabulary(_read_json(folder / tokens), [])
            _check_byte_level(vocabulary)
            return "bpe", vocabulary, _checked_merges(_read_merges(folder / merges), set(vocabulary))
    if not (folder / "tokenizer.json").is_file():
        raise NotFoundError(
            f"There is no tokenizer in {folder.name[:80]!r}.",
            "Needed are GPT-2's encoder.json and vocab.bpe, its vocab.json and merges.txt, or its "
            "tokenizer.json.",
            "Give the folder that holds them.",
        )
    found = read_tokenizer_json(folder / "tokenizer.json")
    if found[0] != "bpe":
        _refuse("It is not byte-level BPE, as GPT-2's is.")
    return found


def _read_merges(path: Path) -> list[str]:
    """The lines of a file of merges, one "left right" each, without the version on the first."""
    try:
        lines = _read(path).decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except ValueError as error:
        _refuse(f"Its merges are not UTF-8 ({str(error)[:80]}).")
    return [line for line in lines[lines[0].startswith("#version") :] if line]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError:
        _refuse(f"The file {path.name[:80]!r} cannot be read.")
    if len(data) > MAX_FILE_BYTES:
        _refuse(f"It is larger than {MAX_FILE_BYTES:,} bytes.")
    return data


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, refusing what is too long, too deep, or no JSON by the standard."""
    try:
        content = json.loads(_read(path).decode("utf-8-sig"), parse_constant=_no_constant)
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


def _check_words(vocabulary: Sequence[str]) -> None:
    for token in vocabulary:
        if not token or _NOT_IN_A_WORD.search(token):
            _refuse(f"Its token {token[:40]!r} is not one word.")
        if len(token.encode()) > MAX_TOKEN_BYTES:
            _refuse(f"Its token {token[:40]!r}… is longer than {MAX_TOKEN_BYTES} bytes.")


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
            _refuse(f"Its merge {reprlib.repr(merge)[:60]} is not a pair of tokens.")
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
        f"Needed is a tokenizer.json of characters, words or byte-level BPE with up to {MAX_VOCABULARY:,} "
        "tokens.",
        "Export it again from where it came, or train a tokenizer here.",
    )
