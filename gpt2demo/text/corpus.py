"""Documents → a corpus, its tokens in one row, and an honest report about what it holds."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
    "CorpusReport",
    "Document",
    "EncodingError",
    "document_from_text",
    "encode_documents",
    "guess_encoding",
    "read_document",
    "read_files",
    "report",
    "split_sizes",
    "too_short",
]

SHOWN_TOKENS = 60  # of the first lines
REPEATS_THAT_HELP = 4  # Muennighoff et al. 2023: up to 4 times through a text is nearly as good as new text


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
    """The tokens of all documents in one row, with <|endoftext|> (char: a newline) between two of them."""
    ids: list[int] = []
    for i, text in enumerate(corpus.texts):
        if i > 0:
            ids += tokenizer.encode("\n") if tokenizer.end_id is None else [tokenizer.end_id]
        ids += tokenizer.encode(text)
    return ids


def split_sizes(tokens: int, *, length: int, validation_fraction: float = 0.1) -> tuple[int, int]:
    """How many of so many tokens are for training and how many, the last ones, for validation.

    In short texts validation gets more than its fraction: one window of `length` and the token after it.
    """
    check_range("The share for validation", validation_fraction, 0.01, 0.5)
    validation = min(tokens, max(tokens - int(tokens * (1 - validation_fraction)), length + 1))
    return tokens - validation, validation


def too_short(tokens: int, length: int) -> TextError:
    """The sentences for a text that does not fill one window for training and one for validation."""
    fits = tokens // 2 - 1
    shorter = f"Choose a context of at most {fits:,}, or add text." if fits >= 1 else "Add text."
    return TextError(
        f"The text has {tokens:,} tokens.",
        f"With a context of {length:,} it needs at least {2 * (length + 1):,}: "
        f"{length + 1:,} to learn from and as many to test on.",
        shorter,
    )


@dataclass(frozen=True)
class CorpusReport:
    """What a corpus holds, as it looks through a tokenizer."""

    documents: int
    characters: int
    distinct_characters: int
    lines: int
    tokens: int
    vocabulary: int  # tokens that the tokenizer has
    train_tokens: int
    validation_tokens: int
    most_common: tuple[tuple[int, int], ...]  # (token id, how often), the 20 most frequent
    first_lines_tokens: tuple[tuple[int, ...], ...]  # the ids of the first lines, about 60 in all
    warnings: tuple[str, ...]  # sentences

    @property
    def characters_per_token(self) -> float:
        """How many characters a token stands for on average: what BPE gains over characters."""
        return self.characters / self.tokens

    def epochs(self, steps: int, batch_size: int, length: int) -> float:
        """How many times a training goes through the text."""
        return steps * batch_size * length / max(1, self.train_tokens)


def report(
    corpus: Corpus,
    tokenizer: Tokenizer,
    *,
    parameters: int,
    n_positions: int,
    validation_fraction: float = 0.1,
) -> CorpusReport:
    """Measures a corpus for a model of so many parameters and so long a context.

    Does not refuse a text that is too short to train on: it warns, so that the page can say so while somebody
    is still typing. Raises TextError only for characters that the tokenizer cannot write.
    """
    ids = encode_documents(corpus, tokenizer)
    train, validation = split_sizes(len(ids), length=n_positions, validation_fraction=validation_fraction)
    counts = Counter(ids)
    facts = CorpusReport(
        documents=len(corpus.documents),
        characters=sum(map(len, corpus.texts)),
        distinct_characters=len(set().union(*corpus.texts)),
        lines=sum(text.removesuffix("\n").count("\n") + 1 for text in corpus.texts),
        tokens=len(ids),
        vocabulary=tokenizer.vocab_size,
        train_tokens=train,
        validation_tokens=validation,
        most_common=tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:20]),
        first_lines_tokens=tuple(_lines(tokenizer, ids[:SHOWN_TOKENS])),
        warnings=(),
    )
    warnings = tuple(_warnings(facts, corpus, parameters=parameters, n_positions=n_positions))
    return replace(facts, warnings=warnings)


def _lines(tokenizer: Tokenizer, ids: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Parts a row of tokens after each one that holds a newline."""
    line: list[int] = []
    for token_id in ids:
        line.append(token_id)
        if b"\n" in tokenizer.token_bytes(token_id):
            yield tuple(line)
            line = []
    if line:
        yield tuple(line)


def _warnings(facts: CorpusReport, corpus: Corpus, *, parameters: int, n_positions: int) -> Iterator[str]:
    """What somebody should know before training, in sentences; the gravest first."""
    if min(facts.train_tokens, facts.validation_tokens) <= n_positions:
        yield str(too_short(facts.tokens, n_positions))
    elif facts.tokens < parameters:
        yield (
            f"This text has {facts.tokens:,} tokens and the model {parameters:,} parameters: expect it to "
            f"learn the text by heart (overfit) after about {REPEATS_THAT_HELP} times through it, which is "
            f"{REPEATS_THAT_HELP * facts.train_tokens:,} tokens of training."
        )
    if n_positions < facts.validation_tokens < 20 * n_positions:
        yield (
            f"Only {facts.validation_tokens:,} tokens are left to test on: take the validation loss as a "
            "rough figure."
        )
    if facts.distinct_characters == 1:
        yield f"The text consists of 1 distinct character, {corpus.text[0]!r}: nothing to learn in it."
    if facts.tokens < 10 * facts.vocabulary:
        yield (
            f"The vocabulary has {facts.vocabulary:,} tokens and the text only {facts.tokens:,}: most of "
            "them come up too rarely to be learnt. A smaller vocabulary or more text helps."
        )
    if len(set(corpus.texts)) < len(corpus.texts):
        yield "Some documents are the same: the model may be tested on what it has learnt from."
