"""Text ↔ numbers: characters, words, or GPT-2's byte-level BPE, kept as a Hugging Face `tokenizer.json`.

All are nothing but a list of tokens; a token's place in the list is its id. BPE also has merges, the rules
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
from tokenizers.trainers import BpeTrainer, WordLevelTrainer

from gpt2demo.errors import ConfigError, TextError, check_range
from gpt2demo.text.tokenizer_files import MAX_VOCABULARY, read_gpt2_files, read_tokenizer_json
from gpt2demo.text.tokenizer_json import (
    END_OF_TEXT,
    PUNCTUATION,
    WORD_SPECIALS,
    Kind,
    bytes_to_unicode,
    spelled_bytes,
    write_tokenizer_json,
)

MIN_VOCABULARY = {"word": 5, "bpe": 260}  # the special tokens and a word; the bytes and a few merges
MAX_TRAINING_CHARACTERS = 5_000_000
MIN_FREQUENCY = 2  # what comes up only once teaches nothing
PAD_ID, UNK_ID, BOS_ID, EOS_ID = range(4)  # of the word tokenizer


class Tokenizer:
    """Turns text into token ids and back. Immutable, so that threads can share it."""

    def __init__(self, kind: Kind, vocabulary: Sequence[str], merges: Sequence[tuple[str, str]] = ()) -> None:
        """Token i is vocabulary[i], for bpe in the alphabet of `bytes_to_unicode`; only bpe has merges.

        A word vocabulary begins with <pad>, <unk>, <bos> and <eos>.
        """
        self.kind = kind
        self.vocabulary = tuple(vocabulary)
        self.merges = tuple(merges)
        self._ids = {token: i for i, token in enumerate(self.vocabulary)}
        self._bytes = spelled_bytes(kind, self.vocabulary)
        self._engine = tokenizers.Tokenizer.from_str(self.to_json()) if kind != "char" else None

    @property
    def vocab_size(self) -> int:
        """How many tokens there are; on a short text fewer than were asked for."""
        return len(self.vocabulary)

    @property
    def special_names(self) -> dict[str, str]:
        """What `tokenizer_config.json` says, for other libraries, about the special tokens of words."""
        roles = ("pad_token", "unk_token", "bos_token", "eos_token")
        return dict(zip(roles, WORD_SPECIALS, strict=True)) if self.kind == "word" else {}

    @property
    def end_id(self) -> int | None:
        """The id of <|endoftext|> or <eos>; None for characters, where a newline parts documents."""
        return EOS_ID if self.kind == "word" else self._ids.get(END_OF_TEXT)

    @property
    def start_id(self) -> int:
        """What to begin with when nobody gave a prompt: <bos>, or the newline.

        Not <|endoftext|>: a model trained on a single document has hardly ever seen that.
        """
        if self.kind == "word":
            return BOS_ID
        newline = "\n" if self.kind == "char" else bytes_to_unicode()[ord("\n")]
        return self._ids.get(newline, 0)

    @property
    def unknown_id(self) -> int | None:
        """The id of <unk>, which stands for every word outside the vocabulary; only words have one."""
        return UNK_ID if self.kind == "word" else None

    @property
    def special_ids(self) -> frozenset[int]:
        """The ids that stand for no characters of a text: <|endoftext|>, or <pad>, <unk>, <bos> and <eos>."""
        if self.kind == "word":
            return frozenset((PAD_ID, UNK_ID, BOS_ID, EOS_ID))
        return frozenset(() if self.end_id is None else (self.end_id,))

    @property
    def pad_id(self) -> int:
        """What fills a row behind its last token. Only words have a <pad>; the others repeat their end.

        Which token it is changes nothing: no token sees the later ones, and the loss does not count it.
        """
        if self.kind == "word":
            return PAD_ID
        return self.start_id if self.end_id is None else self.end_id

    @property
    def separator(self) -> list[int]:
        """What stands between two documents, and after one by itself: <|endoftext|>, <eos> or a newline."""
        return self.encode("\n") if self.end_id is None else [self.end_id]

    def encode(self, text: str, *, specials: bool = False) -> list[int]:
        """The token ids of a text. Raises TextError for characters that this tokenizer cannot write.

        specials: as a document of its own, with the token that texts begin after and the one that ends them.
        """
        return self.encode_batch([text], specials=specials)[0]

    def encode_batch(self, texts: Sequence[str], *, specials: bool = False) -> list[list[int]]:
        """The same as `encode` for each of many texts, side by side on all processors."""
        if specials:
            start, end = [self.start_id], self.separator
            return [start + ids + end for ids in self.encode_batch(texts)]
        for text in texts:
            if unknown := self.unknown(text):
                _refuse_unknown(unknown)
        if self._engine is None:
            return [list(map(self._ids.__getitem__, text)) for text in texts]
        ends = WORD_ENDS[self.kind]
        pieces = [list(_pieces(text, ends)) for text in texts]
        whole = [_without_halves(piece) for piece in chain.from_iterable(pieces)]
        encodings = iter(self._engine.encode_batch_fast(whole, add_special_tokens=False))
        return [list(chain.from_iterable(next(encodings).ids for _ in parts)) for parts in pieces]

    def unknown(self, text: str) -> str:
        """The characters of a text that `encode` would refuse, each once, in order of appearance.

        For bpe only halves of surrogate pairs, which are no characters at all. For words none: what is not in
        the vocabulary becomes <unk>.
        """
        if self.kind == "word":
            return ""
        if self.kind == "char":
            missing = set(text) - self._ids.keys()
        else:
            missing = set(re.findall("[\ud800-\udfff]", text))
        return "".join(dict.fromkeys(c for c in text if c in missing)) if missing else ""

    def pad_or_cut(self, ids: Sequence[int], length: int) -> list[int]:
        """Exactly so many ids: the first ones, or all of them and padding behind."""
        return [*ids[:length], *[self.pad_id] * (length - len(ids))]

    def token_bytes(self, token_id: int) -> bytes:
        """Exactly the bytes that a token adds to a text; a special token stands for its own name.

        A word comes with the space before it, as in GPT-2's own tokens.
        """
        if not 0 <= token_id < self.vocab_size:
            check_range("The token id", token_id, 0, self.vocab_size - 1, integer=True)
        return self._bytes[token_id]

    def continuation(self, ids: Iterable[int]) -> str:
        """The text that some tokens add to what stands before them; what is no whole character becomes �."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some tokens by themselves; bytes that are not whole characters become �.

        char and bpe give back every text as it was. Words do not: capital letters, line breaks, unknown words
        and the width of spaces are lost.
        """
        text = self.continuation(ids)
        return text.removeprefix(" ") if self.kind == "word" else text

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
        """Reads a `tokenizer.json` of characters, words or byte-level BPE, from anywhere.

        Only the vocabulary and the merges are taken. The steps that such a file may also describe (patterns,
        normalisers, padding) can hang or crash a program, so ours are used instead. Raises FileError.
        """
        return cls(*read_tokenizer_json(Path(path)))


def load_gpt2_tokenizer(folder: str | Path) -> Tokenizer:
    """GPT-2's own tokenizer: 50,257 tokens, from OpenAI's files on disk or from those of the Hub.

    folder: holds `encoder.json` and `vocab.bpe`, `vocab.json` and `merges.txt`, or `tokenizer.json`. The ids
    are GPT-2's for every text whose words have at most 65,536 characters. Raises NotFoundError, FileError.
    """
    return Tokenizer(*read_gpt2_files(Path(folder)))


def train_tokenizer(
    kind: str, texts: Sequence[str], vocab_size: int = 1024, *, min_frequency: int = MIN_FREQUENCY
) -> Tokenizer:
    """Makes a tokenizer for some texts.

    char: every character of the texts, by code point, and the newline, which parts documents and starts
    lines; the sizes are not used.
    word: the special tokens, then the most frequent words, in small letters, that occur at least
    `min_frequency` times and have at most 48 characters, `vocab_size` tokens together. All others are <unk>.
    bpe: <|endoftext|>, the 256 bytes, and merges of pairs that occur at least `min_frequency` times until
    there are `vocab_size` tokens, so a short text gives fewer. Learnt from at most 5 million characters, in
    pieces taken evenly from longer texts: more hardly changes the merges.
    """
    if kind == "char":
        characters = sorted({"\n"}.union(*texts))
        check_range("The number of different characters", len(characters), 1, MAX_VOCABULARY)
        return Tokenizer("char", characters)
    if kind not in MIN_VOCABULARY:
        raise ConfigError(
            f"There is no {kind[:40]!r} tokenizer.", "It is 'char', 'word' or 'bpe'.", "Choose one of them."
        )
    check_range("The vocabulary size", vocab_size, MIN_VOCABULARY[kind], MAX_VOCABULARY, integer=True)
    check_range("The minimum frequency", min_frequency, 1, 1_000_000, integer=True)
    train = _train_words if kind == "word" else _train_bpe
    return train(texts, int(vocab_size), int(min_frequency))


def _train_words(texts: Sequence[str], vocab_size: int, min_frequency: int) -> Tokenizer:
    engine = tokenizers.Tokenizer.from_str(write_tokenizer_json("word", WORD_SPECIALS, for_training=True))
    trainer = WordLevelTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(WORD_SPECIALS),
        show_progress=False,
    )
    # <eos> in a text is that token, and <EOS> would become a second one of its name
    parts = chain.from_iterable(re.split("|".join(WORD_SPECIALS), text, flags=re.I) for text in texts)
    pieces = chain.from_iterable(_pieces(part, WORD_ENDS["word"]) for part in parts)
    engine.train_from_iterator(map(_without_halves, pieces), trainer)
    ids = json.loads(engine.to_str())["model"]["vocab"]
    return Tokenizer("word", sorted(ids, key=ids.__getitem__))


def _train_bpe(texts: Sequence[str], vocab_size: int, min_frequency: int) -> Tokenizer:
    engine = tokenizers.Tokenizer.from_str(write_tokenizer_json("bpe", (), for_training=True))
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
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


def _without_halves(text: str) -> str:
    """A text with � for halves of surrogate pairs, which are no characters: a word with one is unknown."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", text)


# Where a word of each kind is surely over: before white space, and words also after a sign.
WORD_ENDS = {
    "bpe": re.compile(r"(?<=\S)(?=[ \n])"),
    "word": re.compile(rf"(?<=[{PUNCTUATION}])|(?<=\S)(?=[ \n])"),
}


def _pieces(text: str, ends: re.Pattern[str], size: int = 4_000) -> Iterator[str]:
    """Cuts a long text at some of the places where its words end anyway.

    The ids stay the same, and the pieces can be encoded side by side: four times as fast.
    """
    start = 0
    while start < len(text):
        end = ends.search(text, start + size)
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
