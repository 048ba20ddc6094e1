"""Documents → a corpus, and how much of it is learnt from, tested on, or kept for the very end."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt2demo.errors import TextError, check_range
from gpt2demo.text.documents import (
    MAX_FILES,
    MAX_UPLOAD_BYTES,
    Document,
    EncodingError,
    check_upload,
    document_from_text,
    guess_encoding,
    read_document,
    safe_name,
)
from gpt2demo.text.tokenizers import Tokenizer

__all__ = [  # with the parts of documents.py that belong to uploads, so that callers need one import
    "MAX_FILES",
    "MAX_UPLOAD_BYTES",
    "Corpus",
    "Document",
    "EncodingError",
    "document_from_text",
    "encode_documents",
    "guess_encoding",
    "paragraphs",
    "read_document",
    "read_files",
    "split_sizes",
    "too_short",
]

_EMPTY_LINES = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Corpus:
    """The documents that a model is trained on, in their order."""

    documents: tuple[Document, ...]

    def __post_init__(self) -> None:
        if not self.documents:
            raise TextError(
                "There is no text.", "At least one file is needed.", "Upload, paste or pick a text."
            )
        check_upload([len(document.text) for document in self.documents])

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of each document."""
        return tuple(document.text for document in self.documents)

    @property
    def text(self) -> str:
        """All documents in one text, a newline between them."""
        return "\n".join(self.texts)


def read_files(paths: Sequence[str | Path], encoding: str | None = None) -> Corpus:
    """Reads text files into a corpus. encoding: for those of them that are not Unicode."""
    check_upload([0] * len(paths))
    contents: list[bytes] = []
    for path in map(Path, paths):
        try:
            if not path.is_file():  # also for a device such as /dev/zero, which never ends
                raise FileNotFoundError
            with path.open("rb") as file:
                contents.append(file.read(MAX_UPLOAD_BYTES + 1))
        except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
            raise TextError(
                f"{safe_name(path.name)} cannot be read.",
                "A text file is needed.",
                "Check its path and its permissions.",
            ) from error
        check_upload([len(content) for content in contents])
    documents: list[Document] = []
    for name, content in zip(map(str, paths), contents, strict=True):
        try:
            documents.append(read_document(name, content))
        except TextError:
            if encoding is None:
                raise
            documents.append(read_document(name, content, encoding))
    return Corpus(tuple(documents))


def encode_documents(corpus: Corpus, tokenizer: Tokenizer) -> list[int]:
    """The tokens of all documents in one row, with <|endoftext|> (char: a newline) between two of them.

    word: each from <bos> to <eos>, because texts without a prompt begin after <bos>.
    """
    ids: list[int] = []
    for text in corpus.texts:
        if tokenizer.kind == "word":
            ids += tokenizer.encode(text, specials=True)
        else:
            ids += [*(tokenizer.separator if ids else ()), *tokenizer.encode(text)]
    return ids


def paragraphs(corpus: Corpus) -> list[str]:
    """The blocks of text between empty lines, in which one uploaded file holds many stories or poems."""
    parts = (part.strip("\n") for text in corpus.texts for part in _EMPTY_LINES.split(text))
    return [part for part in parts if part.strip()]


def split_sizes(
    count: int, *, least: int, validation_fraction: float = 0.1, test_fraction: float = 0.0
) -> tuple[int, int, int]:
    """How many of so many tokens (or rows) are for training, for validation and, the last ones, for the test.

    least: what validation and test get in short texts, where their fraction is less. No fraction, no test.
    """
    check_range("The share for validation", validation_fraction, 0.01, 0.5)
    check_range("The share for the test", test_fraction, 0.0, 0.4)
    test = min(count, max(count - int(count * (1 - test_fraction)), least)) if test_fraction else 0
    validation = min(count - test, max(count - int(count * (1 - validation_fraction)), least))
    return count - validation - test, validation, test


def too_short(tokens: int, length: int, parts: int = 2) -> TextError:
    """The sentences for a text that does not fill one window of each part: training, validation, test."""
    fits = tokens // parts - 1
    shorter = f"Choose a context of at most {fits:,}, or add text." if fits >= 1 else "Add text."
    return TextError(
        f"The text has {tokens:,} tokens.",
        f"With a context of {length:,} it needs at least {parts * (length + 1):,}: "
        f"{length + 1:,} to learn from and as many to test on.",
        shorter,
    )
