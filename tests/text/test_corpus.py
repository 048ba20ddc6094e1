"""Documents stay apart, paragraphs are found, and the parts of a text add up."""

import time

import pytest

from gpt2demo.errors import LimitError, TextError
from gpt2demo.text.corpus import Corpus, document_from_text, encode_documents, paragraphs, split_sizes
from gpt2demo.text.documents import MAX_UPLOAD_BYTES, Document
from gpt2demo.text.tokenizers import train_tokenizer


def corpus(*texts: str) -> Corpus:
    return Corpus(tuple(Document("a.txt", text, "utf-8") for text in texts))


def test_a_corpus_needs_documents_and_has_limits() -> None:
    with pytest.raises(TextError):
        Corpus(())
    with pytest.raises(LimitError):
        Corpus((Document("a", "a", "utf-8"),) * 51)
    with pytest.raises(LimitError):
        Corpus((Document("a", "a" * (MAX_UPLOAD_BYTES + 1), "utf-8"),))


def test_documents_of_words_begin_and_end_with_their_tokens() -> None:
    texts = ["the fox.", "the owl"]
    tokenizer = train_tokenizer("word", texts, 20, min_frequency=1)
    ids = encode_documents(corpus(*texts), tokenizer)
    assert tokenizer.decode(ids) == "<bos> the fox.<eos><bos> the owl<eos>"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["one\ntwo\n\nthree"], ["one\ntwo", "three"]),
        (["one\n \t\n\n\n  two\n"], ["one", "  two"]),
        (["\n\none\n\n\n", "two\n\nthree"], ["one", "two", "three"]),
        (["no empty line\nat all\n"], ["no empty line\nat all"]),
        (["one\n\n\u3000\n\n \n"], ["one"]),
        ([" \n"], []),
    ],
)
def test_paragraphs_are_what_empty_lines_part(texts: list[str], expected: list[str]) -> None:
    assert paragraphs(corpus(*texts)) == expected


@pytest.mark.parametrize("text", ["\n" + " " * 10**6, "\n" * 10**6, "\n \n" * 10**5, " \n" * 10**5 + "x"])
def test_finding_paragraphs_takes_no_time(text: str) -> None:
    begin = time.perf_counter()
    paragraphs(corpus(text))
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize(
    ("count", "least", "fractions", "sizes"),
    [
        (1_000, 17, {}, (900, 100, 0)),
        (1_000, 17, {"validation_fraction": 0.2}, (800, 200, 0)),
        (1_000, 17, {"test_fraction": 0.1}, (800, 100, 100)),
        (1_000, 17, {"test_fraction": 0.3, "validation_fraction": 0.05}, (650, 50, 300)),
        (100, 17, {"test_fraction": 0.1}, (66, 17, 17)),  # at least one window each
        (40, 17, {"test_fraction": 0.1}, (6, 17, 17)),
        (20, 17, {"test_fraction": 0.1}, (0, 3, 17)),
        (0, 1, {"test_fraction": 0.1}, (0, 0, 0)),
        (10, 1, {}, (9, 1, 0)),
    ],
)
def test_the_parts_of_a_text_add_up(
    count: int, least: int, fractions: dict[str, float], sizes: tuple[int, int, int]
) -> None:
    assert split_sizes(count, least=least, **fractions) == sizes


@pytest.mark.parametrize("fraction", [-0.1, 0.41, float("nan"), None, "0.1"])
def test_a_share_for_the_test_out_of_range_is_refused(fraction: object) -> None:
    with pytest.raises(LimitError, match="share for the test"):
        split_sizes(100, least=1, test_fraction=fraction)  # type: ignore[arg-type]


def test_pasted_text_becomes_a_document() -> None:
    assert Corpus((document_from_text("a.txt", "b\r\nc"),)).text == "b\nc"
