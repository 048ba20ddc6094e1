"""The report says what is there, and warns of what will go wrong."""

import pytest

from gpt2demo.errors import TextError
from gpt2demo.text.batches import Rows, encode_corpus, size
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.text.report import CorpusReport, report
from gpt2demo.text.tokenizers import train_tokenizer

LONG = "".join(
    f"The {animal} has {n} {thing}.\n"
    for n in range(99)
    for animal in ("fox", "owl")
    for thing in ("hats", "keys")
)


def measured(*texts: str, kind: str = "char", parameters: int = 1_000, n_positions: int = 16) -> CorpusReport:
    corpus = Corpus(tuple(document_from_text("a.txt", text) for text in texts))
    return report(corpus, train_tokenizer(kind, texts), parameters=parameters, n_positions=n_positions)


def test_the_report_counts() -> None:
    facts = measured("aab\nb\n", "c")
    assert (facts.documents, facts.characters, facts.distinct_characters, facts.lines) == (2, 7, 4, 3)
    assert facts.tokens == 8  # and a newline between the documents
    assert facts.vocabulary == 4
    assert facts.most_common == ((0, 3), (1, 2), (2, 2), (3, 1))


def test_the_split_of_the_report_is_the_split_of_training() -> None:
    corpus = Corpus((document_from_text("a.txt", LONG),))
    for kind in ("char", "bpe"):
        tokenizer = train_tokenizer(kind, corpus.texts)
        facts = report(corpus, tokenizer, parameters=1, n_positions=16)
        data = encode_corpus(corpus, tokenizer, length=16)
        assert (facts.train_tokens, facts.validation_tokens) == (len(data.train), len(data.validation))
        assert facts.tokens == len(data.train) + len(data.validation)
        assert facts.characters_per_token == pytest.approx(len(LONG) / facts.tokens)


def test_the_first_lines_are_parted_after_newlines() -> None:
    text = "one\ntwo\n\nthree\n" + "x" * 100
    tokenizer = train_tokenizer("char", [text])
    lines = measured(text).first_lines_tokens
    assert [tokenizer.decode(line) for line in lines] == ["one\n", "two\n", "\n", "three\n", "x" * 45]


def test_times_through_the_text() -> None:
    facts = measured("ab" * 500)
    assert facts.train_tokens == 900
    assert facts.epochs(steps=10, batch_size=9, length=20) == pytest.approx(2.0)


def test_a_good_text_needs_no_warning() -> None:
    assert measured(LONG).warnings == ()


@pytest.mark.parametrize(
    ("texts", "settings", "warning"),
    [
        (
            [LONG],
            {"parameters": 812_000},
            "the model 812,000 parameters: expect it to learn the text by heart",
        ),
        (["too short"], {}, "needs at least 34"),
        ([LONG], {"n_positions": 64}, "rough figure"),
        (["a" * 1000], {}, "1 distinct character, 'a'"),
        ([LONG[:3000]], {"kind": "bpe"}, "A smaller vocabulary or more text helps"),
        ([LONG, LONG], {}, "Some documents are the same"),
    ],
)
def test_warnings(texts: list[str], settings: dict[str, int], warning: str) -> None:
    warnings = measured(*texts, **settings).warnings
    assert any(warning in sentence for sentence in warnings), warnings
    assert all(sentence.endswith(".") for sentence in warnings)


def test_a_tokenizer_of_another_text_is_refused_by_naming_what_it_lacks() -> None:
    corpus = Corpus((document_from_text("a.txt", "owl"),))
    with pytest.raises(TextError, match="'w' 'l'"):
        report(corpus, train_tokenizer("char", ["o"]), parameters=1, n_positions=1)


def test_the_report_says_what_share_of_the_words_is_unknown() -> None:
    text = "The fox, the owl; the fox! sang." + "\n"
    corpus = Corpus((document_from_text("a.txt", text),))
    tokenizer = train_tokenizer("word", [text], 6, min_frequency=1)  # so the signs are unknown too
    facts = report(corpus, tokenizer, parameters=1, n_positions=2)
    assert tokenizer.vocabulary[4:] == ("the", "fox") and facts.unknown_share == pytest.approx(6 / 11)
    assert any("54.5% of the words" in sentence for sentence in facts.warnings)
    assert any("capital letters and line breaks" in sentence for sentence in facts.warnings)
    knows = report(corpus, train_tokenizer("word", [text], 99, min_frequency=1), parameters=1, n_positions=2)
    assert knows.unknown_share == 0 and not any("<unk>" in sentence for sentence in knows.warnings)
    assert measured(text).unknown_share == 0 and not any("capital" in s for s in measured(text).warnings)


def test_signs_are_no_words() -> None:
    text = "fox, fox, owl,"
    tokenizer = train_tokenizer("word", [text], 6)
    facts = report(Corpus((document_from_text("a.txt", text),)), tokenizer, parameters=1, n_positions=2)
    assert tokenizer.vocabulary[4:] == (",", "fox") and facts.unknown_share == pytest.approx(1 / 3)


def test_the_report_on_padded_batches_counts_rows() -> None:
    text = LONG.replace("\n", "\n\n")
    corpus = Corpus((document_from_text("a.txt", text),))
    for kind in ("char", "word", "bpe"):
        tokenizer = train_tokenizer(kind, corpus.texts)
        facts = report(corpus, tokenizer, parameters=1, n_positions=16, batches="padded")
        data = encode_corpus(corpus, tokenizer, length=16, batches="padded")
        assert isinstance(data.train, Rows) and facts.train_rows == len(data.train)
        assert (facts.train_tokens, facts.validation_tokens) == (size(data.train), size(data.validation))
        assert facts.epochs(steps=10, batch_size=len(data.train), length=16) == 10
    one = report(
        Corpus((document_from_text("a.txt", "too short"),)),
        train_tokenizer("char", ["too short"]),
        parameters=1,
        n_positions=16,
        batches="padded",
    )
    assert "makes 1 padded row." in one.warnings[0]
