"""An honest report about a text, as it looks through a tokenizer: what it holds, and what will go wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from gpt2demo.text.batches import Rows, TokenData, encode_corpus, shortage, size
from gpt2demo.text.corpus import Corpus
from gpt2demo.text.tokenizers import Tokenizer

SHOWN_TOKENS = 60  # of the first lines
REPEATS_THAT_HELP = 4  # Muennighoff et al. 2023: up to 4 times through a text is nearly as good as new text


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
    unknown_share: float  # of the words, those that became <unk>; 0 where nothing can
    most_common: tuple[tuple[int, int], ...]  # (token id, how often), the 20 most frequent
    first_lines_tokens: tuple[tuple[int, ...], ...]  # the ids of the first lines, about 60 in all
    warnings: tuple[str, ...]  # sentences
    train_rows: int | None = None  # in padded batches, where a step reads rows and not windows

    @property
    def characters_per_token(self) -> float:
        """How many characters a token stands for on average: what BPE gains over characters."""
        return self.characters / self.tokens

    def epochs(self, steps: int, batch_size: int, length: int) -> float:
        """How many times a training goes through the text."""
        if self.train_rows is not None:
            return steps * batch_size / max(1, self.train_rows)
        return steps * batch_size * length / max(1, self.train_tokens)


def report(
    corpus: Corpus,
    tokenizer: Tokenizer,
    *,
    parameters: int,
    n_positions: int,
    validation_fraction: float = 0.1,
    batches: str = "packed",
) -> CorpusReport:
    """Measures a corpus for a model of so many parameters and so long a context.

    Does not refuse a text that is too short to train on: it warns, so that the page can say so while somebody
    is still typing. Raises TextError only for characters that the tokenizer cannot write.
    """
    data = encode_corpus(
        corpus,
        tokenizer,
        length=n_positions,
        validation_fraction=validation_fraction,
        batches=batches,
        may_be_short=True,
    )
    counts = torch.bincount(data.tokens, minlength=tokenizer.vocab_size).tolist()
    most_common = sorted(((i, n) for i, n in enumerate(counts) if n), key=lambda item: (-item[1], item[0]))
    facts = CorpusReport(
        documents=len(corpus.documents),
        characters=sum(map(len, corpus.texts)),
        distinct_characters=len(set().union(*corpus.texts)),
        lines=sum(text.removesuffix("\n").count("\n") + 1 for text in corpus.texts),
        tokens=len(data.tokens),
        vocabulary=tokenizer.vocab_size,
        train_tokens=size(data.train),
        validation_tokens=size(data.validation),
        unknown_share=_unknown_share(tokenizer, counts),
        most_common=tuple(most_common[:20]),
        first_lines_tokens=tuple(_lines(tokenizer, data.tokens[:SHOWN_TOKENS].tolist())),
        warnings=(),
        train_rows=len(data.train) if isinstance(data.train, Rows) else None,
    )
    warnings = _warnings(facts, corpus, data, tokenizer, parameters=parameters, n_positions=n_positions)
    return replace(facts, warnings=tuple(warnings))


def _unknown_share(tokenizer: Tokenizer, counts: Sequence[int]) -> float:
    """How much of what would be a word is <unk>. Signs and the other special tokens are no words."""
    if tokenizer.unknown_id is None:
        return 0.0
    words = {i: n for i, n in enumerate(counts) if tokenizer.token_bytes(i).startswith(b" ")}
    return words[tokenizer.unknown_id] / max(1, sum(words.values()))


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


def _warnings(
    facts: CorpusReport,
    corpus: Corpus,
    data: TokenData,
    tokenizer: Tokenizer,
    *,
    parameters: int,
    n_positions: int,
) -> Iterator[str]:
    """What somebody should know before training, in sentences; the gravest first."""
    if problem := shortage(data, n_positions):
        yield str(problem)
    elif facts.tokens < parameters:
        yield (
            f"This text has {facts.tokens:,} tokens and the model {parameters:,} parameters: expect it to "
            f"learn the text by heart (overfit) after about {REPEATS_THAT_HELP} times through it, which is "
            f"{REPEATS_THAT_HELP * facts.train_tokens:,} tokens of training."
        )
    if facts.unknown_share:
        yield (
            f"{facts.unknown_share:.1%} of the words are not in the vocabulary and become <unk>. A larger "
            "vocabulary, or a lower minimum frequency, knows more of them."
        )
    if tokenizer.kind == "word":
        yield "Words lose capital letters and line breaks: the model writes small letters in one long line."
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
