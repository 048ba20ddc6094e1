"""The file `tokenizer.json`: a vocabulary, and the steps that turn text into its tokens and back."""

import json
from collections.abc import Sequence
from typing import Any, Literal

Kind = Literal["char", "word", "bpe"]

END_OF_TEXT = "<|endoftext|>"  # GPT-2's only special token: it stands between two documents
PAD, UNK, BOS, EOS = WORD_SPECIALS = (
    "<pad>",
    "<unk>",
    "<bos>",
    "<eos>",
)  # ids 0 to 3 of every word tokenizer
PUNCTUATION = ".,!?;:"  # tokens of their own in the word tokenizer

# GPT-2's words: contractions, letters, digits or signs, each with a space before it; then what space is left.
GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Longer words are cut, or 12 MB of letters would take 12 seconds instead of 4. GPT-2 has no such limit, but a
# word of this length is more than its 1,024 positions can hold.
LONGEST_WORD = 65_536
# ... and while a vocabulary is learnt: BPE training takes time quadratic in the length of a word.
LONGEST_LEARNT_WORD = 48


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
    """The bytes that each token of a vocabulary adds to a text; special tokens stand for their own name.

    A word brings along the space before it, as GPT-2's own words do ("Ġthe"): then tokens of every kind make
    a text by being put one behind the other, also one at a time while they are written.
    """
    if kind == "char":
        return tuple(token.encode() for token in vocabulary)
    if kind == "word":
        alone = {*PUNCTUATION, PAD, BOS, EOS}  # but not <unk>, which stands for a word
        return tuple((token if token in alone else f" {token}").encode() for token in vocabulary)
    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
    return tuple(bytes(byte_of[character] for character in token) for token in vocabulary)


def write_tokenizer_json(
    kind: Kind,
    vocabulary: Sequence[str],
    merges: Sequence[tuple[str, str]] = (),
    *,
    for_training: bool = False,
) -> str:
    """The content of `tokenizer.json`: the vocabulary and the steps that use it.

    for_training: with the steps for learning a vocabulary, which keep very long words out of it.
    """
    ids = {token: i for i, token in enumerate(vocabulary)}
    content: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": ids[token], "content": token} | _SPECIAL for token in _specials(kind) if token in ids
        ],
        "normalizer": None,
        "pre_tokenizer": _split(r"[\s\S]"),
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": UNK},
    }
    if kind == "word":
        content |= _word_steps(for_training)
    elif kind == "bpe":
        content |= _bpe_steps(for_training) | {"model": _BPE | {"vocab": ids, "merges": merges}}
    return json.dumps(content, ensure_ascii=False)


def _specials(kind: Kind) -> tuple[str, ...]:
    return {"char": (), "word": WORD_SPECIALS, "bpe": (END_OF_TEXT,)}[kind]


def _bpe_steps(for_training: bool) -> dict[str, Any]:
    longest = LONGEST_LEARNT_WORD if for_training else LONGEST_WORD
    steps = [_split(GPT2_WORDS), _split(rf"[\s\S]{{1,{longest}}}"), _BYTE_LEVEL]
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}, "decoder": _BYTE_LEVEL}


def _word_steps(for_training: bool) -> dict[str, Any]:
    """Small letters; parted at white space, and each sign by itself. And back, as `spelled_bytes` says."""
    steps: list[dict[str, Any]] = [{"type": "WhitespaceSplit"}, _split(f"[{PUNCTUATION}]")]
    if for_training:
        steps.append(_split(rf"\A[\s\S]{{{LONGEST_LEARNT_WORD + 1},}}\z", "Removed"))
    word = rf"\A(?![{PUNCTUATION}]\z|(?:{PAD}|{BOS}|{EOS})\z)"  # the place before it
    return {
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_in_template(BOS), {"Sequence": {"id": "A", "type_id": 0}}, _in_template(EOS)],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                token: {"id": token, "ids": [WORD_SPECIALS.index(token)], "tokens": [token]}
                for token in (BOS, EOS)
            },
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"Regex": word}, "content": " "},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
    }


def _in_template(token: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": 0}}


def _split(pattern: str, matches: str = "Isolated") -> dict[str, Any]:
    """A step that cuts text into the matches of a pattern and what is between them."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": matches, "invert": False}


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
