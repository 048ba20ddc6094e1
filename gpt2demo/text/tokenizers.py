"""Text ↔ numbers: a character tokenizer and GPT-2's byte-level BPE, kept as a Hugging Face `tokenizer.json`.

Both are nothing but a list of tokens; a token's place in the list is its id. BPE also has merges, the rules
by which it was grown: start with single bytes, then join the two neighbours that stand together most often,
again and again, until the vocabulary is full.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NoReturn

import tokenizers
from tokenizers.trainers import BpeTrainer

from gpt2demo.errors import ConfigError, TextError, check_range
from gpt2demo.text.tokenizer_json import (
    END_OF_TEXT,
    MAX_VOCABULARY,
    Kind,
    bytes_to_unicode,
    read_tokenizer_json,
    spelled_bytes,
    write_tokenizer_json,
)

MIN_BPE_VOCABULARY = 260  # 256 bytes, <|endoftext|>, and a few merges
MAX_TRAINING_CHARACTERS = 5_000_000


class Tokenizer:
    """Turns text into token ids and back. Immutable, so that threads can share it."""

    def __init__(self, kind: Kind, vocabulary: Sequence[str], merges: Sequence[tuple[str, str]] = ()) -> None:
        """Token i is vocabulary[i], for bpe in the alphabet of `bytes_to_unicode`; only bpe has merges."""
        self.kind = kind
        self.vocabulary = tuple(vocabulary)
        self.merges = tuple(merges)
        self._ids = {token: i for i, token in enumerate(self.vocabulary)}
        self._bytes = spelled_bytes(kind, self.vocabulary)
        self._engine = tokenizers.Tokenizer.from_str(self.to_json()) if kind == "bpe" else None

    @property
    def vocab_size(self) -> int:
        """How many tokens there are; for BPE on a short text fewer than were asked for."""
        return len(self.vocabulary)

    @property
    def end_id(self) -> int | None:
        """The id of <|endoftext|>; None for characters, where a newline parts documents."""
        return self._ids.get(END_OF_TEXT) if self.kind == "bpe" else None

    @property
    def start_id(self) -> int:
        """What to begin with when nobody gave a prompt: the newline.

        Not <|endoftext|>: a model trained on a single document has hardly ever seen that.
        """
        newline = "\n" if self.kind == "char" else bytes_to_unicode()[ord("\n")]
        return self._ids.get(newline, 0)

    def encode(self, text: str) -> list[int]:
        """The token ids of a text. Raises TextError for characters that this tokenizer cannot write."""
        if unknown := self.unknown(text):
            _refuse_unknown(unknown)
        if self._engine is None:
            return list(map(self._ids.__getitem__, text))
        encodings = self._engine.encode_batch_fast(list(_pieces(text)), add_special_tokens=False)
        return list(chain.from_iterable(encoding.ids for encoding in encodings))

    def unknown(self, text: str) -> str:
        """The characters of a text that `encode` would refuse, each once, in order of appearance.

        For bpe only halves of surrogate pairs, which are no characters at all.
        """
        if self.kind == "char":
            missing = set(text) - self._ids.keys()
        else:
            missing = set(re.findall("[\ud800-\udfff]", text))
        return "".join(dict.fromkeys(c for c in text if c in missing)) if missing else ""

    def token_bytes(self, token_id: int) -> bytes:
        """Exactly the bytes that a token stands for; <|endoftext|> stands for its own name."""
        if not 0 <= token_id < self.vocab_size:
            check_range("The token id", token_id, 0, self.vocab_size - 1, integer=True)
        return self._bytes[token_id]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some tokens; bytes that are not whole characters become �."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")

    def to_json(self) -> str:
        """The content of `tokenizer.json`."""
        return write_tokenizer_json(self.kind, self.vocabulary, self.merges)

    @cached_property
    def sha256(self) -> str:
        """The fingerprint of `tokenizer.json`, the same that `sha256sum` prints."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Writes `tokenizer.json`; a reader sees the old file or the new one, never half of one."""
        path = Path(path)
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            with unfinished.open("wb") as file:
                file.write(self.to_json().encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Reads a `tokenizer.json` of characters or byte-level BPE, from anywhere.

        Only the vocabulary and the merges are taken. The steps that such a file may also describe (patterns,
        normalisers, padding) can hang or crash a program, so ours are used instead. Raises FileError.
        """
        return cls(*read_tokenizer_json(Path(path)))


def train_tokenizer(kind: str, texts: Sequence[str], vocab_size: int = 1024) -> Tokenizer:
    """Makes a tokenizer for some texts.

    char: every character of the texts, by code point, and the newline, which parts documents and starts
    lines; `vocab_size` is not used.
    bpe: <|endoftext|>, the 256 bytes, and merges of pairs that occur at least twice until there are
    `vocab_size` tokens, so a short text gives fewer. Learnt from at most 5 million characters, in pieces
    taken evenly from longer texts: more hardly changes the merges.
    """
    if kind == "char":
        characters = sorted({"\n"}.union(*texts))
        check_range("The number of different characters", len(characters), 1, MAX_VOCABULARY)
        return Tokenizer("char", characters)
    if kind != "bpe":
        raise ConfigError(
            f"There is no {kind[:40]!r} tokenizer.", "It is either 'char' or 'bpe'.", "Choose one of them."
        )
    check_range("The vocabulary size", vocab_size, MIN_BPE_VOCABULARY, MAX_VOCABULARY, integer=True)
    # The words are cut by the very steps that are saved, so what is learnt and what is used cannot differ.
    engine = tokenizers.Tokenizer.from_str(write_tokenizer_json("bpe", (), ()))
    trainer = BpeTrainer(
        vocab_size=int(vocab_size),
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=list(bytes_to_unicode().values()),
        show_progress=False,
    )
    engine.train_from_iterator(_training_sample(texts), trainer)
    model = json.loads(engine.to_str())["model"]
    vocabulary = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return Tokenizer("bpe", vocabulary, [(left, right) for left, right in model["merges"]])


def _training_sample(texts: Sequence[str], piece: int = 16_384) -> Iterator[str]:
    """The texts without <|endoftext|>, or evenly chosen pieces of them if they are long."""
    parts = [part for text in texts for part in text.split(END_OF_TEXT)]
    if sum(map(len, parts)) > MAX_TRAINING_CHARACTERS:
        parts = [part[i : i + piece] for part in parts for i in range(0, len(part), piece)]
        keep = MAX_TRAINING_CHARACTERS // piece
        parts = [parts[i * len(parts) // keep] for i in range(keep)] if len(parts) > keep else parts
    yield from (part.encode("utf-8", "ignore").decode() for part in parts)  # drops halves of surrogate pairs


_PIECE_END = re.compile(r"(?<=\S)(?=[ \n])")


def _pieces(text: str, size: int = 4_000) -> Iterator[str]:
    """Cuts a long text where its words end anyway, between a character and the white space after it.

    The ids stay the same, and the pieces can be encoded side by side: four times as fast.
    """
    start = 0
    while start < len(text):
        end = _PIECE_END.search(text, start + size)
        stop = end.start() if end else len(text)
        yield text[start:stop]
        start = stop


def _refuse_unknown(unknown: str) -> NoReturn:
    if all("\ud800" <= character <= "\udfff" for character in unknown):
        raise TextError(
            f"The text has half a character, {unknown[0]!r}, which its tokenizer does not know.",
            "Halves (of surrogate pairs) are left over where a text was cut or copied badly.",
            "Delete it, or copy the text again.",
        )
    shown = " ".join(repr(character) for character in unknown[:5]) + (" …" if len(unknown) > 5 else "")
    plural = "characters that its" if len(unknown) > 1 else "character that its"
    raise TextError(
        f"The text has {len(unknown):,} {plural} tokenizer does not know: {shown}.",
        "A character tokenizer can only write the characters it was made from.",
        "Leave them out, or train with the BPE tokenizer, which can write everything.",
    )
