"""Every upload either becomes the text it was, or is refused in sentences that help."""

import codecs
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2demo.errors import LimitError, TextError, UserError
from gpt2demo.text.corpus import read_files
from gpt2demo.text.documents import (
    ENCODINGS,
    MAX_FILES,
    MAX_UPLOAD_BYTES,
    EncodingError,
    document_from_text,
    guess_encoding,
    read_document,
    safe_name,
)

TEXT = "Grüße an 你好 und 🦊\nzweite Zeile\n"
GERMAN = "Der Bär läuft über die Brücke, und die Möwe hört süße Töne.\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_read_with_and_without_byte_order_mark(encoding: str) -> None:
    document = read_document("a.txt", TEXT.encode(encoding))
    assert document.text == TEXT
    assert document.encoding == encoding
    assert bool(document.notices) == (encoding != "utf-8")


def test_both_byte_orders_are_read() -> None:
    assert read_document("a.txt", codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le")).text == TEXT
    assert read_document("a.txt", codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be")).text == TEXT
    assert read_document("a.txt", codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be")).text == TEXT


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert read_document("a.txt", f"a{text}".encode()).text == f"a{text}"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_become_a_document_or_a_sentence(data: bytes) -> None:
    try:
        document = read_document("a.txt", data)
    except UserError as error:
        assert error.got and error.needed and error.todo
    else:
        assert document.text.strip()
        document.text.encode()


def test_another_encoding_is_named_by_byte_and_guessed() -> None:
    data = GERMAN.encode("windows-1252") * 5
    with pytest.raises(EncodingError, match=r"a.txt is not UTF-8: it breaks at byte 5 \(0xE4\)") as caught:
        read_document("a.txt", data)
    assert caught.value.guess == "windows-1252"
    assert "windows-1252" in caught.value.todo
    document = read_document("a.txt", data, caught.value.guess)
    assert document.text == GERMAN * 5
    assert "cp1252" in document.notices[0]


@pytest.mark.parametrize(
    ("text", "encoding", "guess"),
    [
        ("café", "latin-1", "windows-1252"),
        ("“Smart quotes” — don’t", "cp1252", "windows-1252"),
        ("Привет, мир, как дела? " * 10, "cp1251", "windows-1251"),
        ("今天天气很好，我们去公园。" * 20, "gb18030", "gb18030"),
        ("日本語のテキストです。" * 20, "shift_jis", "cp932"),
        ("a" * 100_000 + GERMAN * 20, "cp1252", "windows-1252"),
        (TEXT, "utf-8", "utf-8"),
    ],
)
def test_encodings_are_guessed(text: str, encoding: str, guess: str) -> None:
    assert guess_encoding(text.encode(encoding)) == guess


def test_noise_is_not_guessed() -> None:
    with pytest.raises(TextError) as caught:
        read_document("a.txt", bytes(range(256)) * 50)
    assert getattr(caught.value, "guess", None) is None
    assert guess_encoding(bytes(range(256)) * 50) is None


def test_a_wrong_choice_of_encoding_is_refused_with_a_better_guess() -> None:
    with pytest.raises(EncodingError) as caught:
        read_document("a.txt", "日本語".encode(), "euc_kr")
    assert caught.value.guess == "utf-8"


@pytest.mark.parametrize(
    "encoding",
    [
        "zip",
        "base64",
        "rot13",
        "hex",
        "bz2",
        "unicode_escape",
        "idna",
        "punycode",
        "utf-7",
        "",
        "x\0y",
        "é" * 999,
        7,
    ],
)
def test_only_encodings_of_text_are_used(encoding: str) -> None:
    with pytest.raises(TextError, match="not an encoding"):
        read_document("a.txt", b"hello", encoding)


def test_every_listed_encoding_exists_by_this_name() -> None:
    assert [codecs.lookup(name).name for name in ENCODINGS] == list(ENCODINGS)
    assert read_document("a.txt", "x".encode("utf-16-le"), "utf-16-le").text == "x"


@pytest.mark.parametrize("data", [codecs.BOM_UTF16_LE + b"a", codecs.BOM_UTF16_LE + b"\x00\xd8a\x00"])
def test_broken_utf16_is_refused(data: bytes) -> None:
    with pytest.raises(TextError, match="UTF-16"):
        read_document("a.txt", data)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text", ["hello there", "Die Bäume grünen schön.\n" * 900, "Щ и x, 'y' and z\r\n" * 40]
)
def test_utf16_without_its_mark_is_recognised_and_can_be_named(text: str, encoding: str) -> None:
    data = text.encode(encoding)
    for named in (None, "cp1252"):
        with pytest.raises(EncodingError, match="looks like UTF-16 without") as caught:
            read_document("a.txt", data, named)
        assert caught.value.guess == encoding and encoding in caught.value.todo
    assert read_document("a.txt", data, caught.value.guess).text == text.replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (
            b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00\xb8\x00",
            "control characters, the first at byte 3",
        ),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04rest", "ZIP"),
        (pickle.dumps({"a": 1}, protocol=4), "pickle"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"\x7fELF", "program"),
        (b"ab\x00" * 100, "control characters"),
        (codecs.BOM_UTF16_LE + b"a\x00\x00\x00" * 50, "control characters"),
        (b"\0\1" * 200, "control characters"),
    ],
)
@pytest.mark.parametrize("encoding", [None, "cp1252"])
def test_files_that_are_not_text_are_refused(data: bytes, what: str, encoding: str | None) -> None:
    with pytest.raises(TextError, match=what):
        read_document("a.txt", data, encoding)


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("a.txt", True),
        ("A.TXT", True),
        ("a.md", True),
        ("a.py", True),
        ("README", True),
        ("a.b.txt", True),
        ("a.exe", False),
        ("a.docx", False),
        ("a.pkl", False),
        ("a.txt.zip", False),
        ("a.html", False),
    ],
)
def test_kinds_of_files(name: str, fine: bool) -> None:
    if fine:
        assert read_document(name, b"hello").name == name
    else:
        with pytest.raises(TextError, match="plain text"):
            read_document(name, b"hello")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (codecs.BOM_UTF8, "is empty"),
        (codecs.BOM_UTF16_LE, "is empty"),
        (b" \n\t\r\n", "nothing but white space"),
        ("\u3000\u2003".encode(), "nothing but white space"),
    ],
)
def test_empty_files_are_refused(data: bytes, what: str) -> None:
    with pytest.raises(TextError, match=what):
        read_document("a.txt", data)


def test_line_ends_become_newlines_and_are_counted() -> None:
    document = read_document("a.txt", b"a\r\nb\rc\nd\r\n")
    assert document.text == "a\nb\nc\nd\n"
    assert document.notices[0] == "Windows line ends (CRLF) made plain newlines: 2."
    assert document.notices[1] == "Carriage returns (CR) made newlines: 1."


def test_a_few_nul_characters_are_left_out() -> None:
    document = read_document("a.txt", b"a long enough text\0 with one NUL in it")
    assert document.text == "a long enough text with one NUL in it"
    assert document.notices == ("NUL characters left out: 1.",)


def test_pasted_text_loses_halves_of_surrogate_pairs() -> None:
    document = document_from_text("pasted", "fox \ud83d!")
    assert document.text == "fox !"
    assert "surrogate pairs" in document.notices[0]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\story.txt", "story.txt"),
        ("a\0b\n\u202ec.txt", "abc.txt"),
        ("x" * 300 + ".txt", "x" * 40 + "…" + "x" * 15 + ".txt"),
        ("<img onerror=x>.txt", "<img onerror=x>.txt"),  # escaping for HTML is the page's business
        ("", "unnamed"),
        ("..", "unnamed"),
        ("folder/", "unnamed"),
        ("CON", "CON"),  # shown, never opened
    ],
)
def test_names_are_made_fit_to_show(name: str, shown: str) -> None:
    assert safe_name(name) == shown


def test_too_large_files_are_refused() -> None:
    with pytest.raises(LimitError, match="12 MB"):
        read_document("a.txt", b"a" * (MAX_UPLOAD_BYTES + 1))


def test_too_many_and_too_large_sets_of_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "half.txt"
    path.write_bytes(b"a" * (MAX_UPLOAD_BYTES // 2 + 1))
    assert len(read_files([path]).documents) == 1
    with pytest.raises(LimitError, match="all files together"):
        read_files([path, path])
    with pytest.raises(LimitError, match=f"{MAX_FILES + 1} files"):
        read_files([path] * (MAX_FILES + 1))
    with pytest.raises(TextError, match="no text"):
        read_files([])


def test_files_are_read_in_order_and_the_encoding_is_for_those_that_need_it(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_bytes(GERMAN.encode())
    (tmp_path / "two.md").write_bytes(GERMAN.encode("cp1252"))
    paths = [tmp_path / "one.txt", str(tmp_path / "two.md")]
    with pytest.raises(EncodingError, match="two.md"):
        read_files(paths)
    corpus = read_files(paths, "windows-1252")
    assert [document.text for document in corpus.documents] == [GERMAN, GERMAN]
    assert [document.name for document in corpus.documents] == ["one.txt", "two.md"]
    assert corpus.text == GERMAN + "\n" + GERMAN


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    for path in (tmp_path, tmp_path / "nowhere.txt", "/dev/zero", "a\0.txt", tmp_path / "a.txt" / "b.txt"):
        with pytest.raises(TextError, match="cannot be read"):
            read_files([path])
