"""One upload → one document: which bytes are text, in which encoding, and what was changed in reading it."""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from charset_normalizer import from_bytes

from gpt2demo.errors import LimitError, TextError

MAX_UPLOAD_BYTES = 12 * 1024 * 1024  # all files together
MAX_FILES = 50
SUFFIXES = (".txt", ".md", ".py", "")

# The encodings that a file may be read with, by Python's names for them.
ENCODINGS = tuple(
    "utf-8 utf-16 utf-16-le utf-16-be utf-32 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 "
    "iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 iso8859-10 "
    "iso8859-13 iso8859-14 iso8859-15 iso8859-16 koi8-r koi8-u mac-roman mac-cyrillic cp437 cp850 "
    "cp852 cp866 cp874 gb18030 gbk gb2312 big5 big5hkscs cp950 shift_jis cp932 euc_jp iso2022_jp "
    "euc_kr cp949".split()
)
_BYTE_ORDER_MARKS = (  # UTF-32 first: its mark begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_MAGIC = {
    b"%PDF-": "a PDF",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF87a": "a GIF picture",
    b"GIF89a": "a GIF picture",
    b"PK\x03\x04": "a ZIP archive (as Word and PyTorch files are)",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"\x7fELF": "a program",
    b"SQLite format 3\x00": "a database",
    **{bytes((0x80, protocol)): "a Python pickle" for protocol in range(2, 6)},
}
GLANCE = 10_000  # characters that are looked at to tell what a file is
_CONTROLS = bytes({*range(32), 127} - set(b"\b\t\n\v\f\r\x1b"))
_FIRST_CONTROL = re.compile(b"[" + re.escape(_CONTROLS) + b"]")


class EncodingError(TextError):
    """A text in another encoding than thought; `guess` names the one it may be in, or is None."""

    def __init__(self, got: str, needed: str, todo: str, guess: str | None) -> None:
        super().__init__(got, needed, todo)
        self.guess = guess


@dataclass(frozen=True)
class Document:
    """One text, with plain newlines and without NUL characters."""

    name: str  # shortened, without path or control characters
    text: str
    encoding: str
    notices: tuple[str, ...] = ()  # sentences about what was changed in reading it


def check_upload(sizes: Sequence[int]) -> None:
    """Refuses more files, or more bytes in all of them together, than a run may have. Raises LimitError."""
    if len(sizes) > MAX_FILES:
        raise LimitError(
            f"These are {len(sizes):,} files.",
            f"At most {MAX_FILES} can be used at once.",
            "Choose fewer, or join them into one file.",
        )
    if sum(sizes) > MAX_UPLOAD_BYTES:
        raise LimitError(
            f"The text has {sum(sizes) / 2**20:,.1f} MB.",
            f"At most {MAX_UPLOAD_BYTES // 2**20} MB can be used, all files together.",
            "Use a part of it: a model of this size learns from far less.",
        )


def read_document(name: str, data: bytes, encoding: str | None = None) -> Document:
    """Reads the bytes of one .txt, .md or .py file: UTF-8, UTF-16 with byte order mark, or `encoding`.

    Raises TextError for what is not text, EncodingError (with a guess) for text in another encoding,
    LimitError for too much.
    """
    name = safe_name(name)
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise TextError(
            f"{name} is a {suffix} file.", "Needed is plain text: .txt or .md.", "Save it as text (.txt)."
        )
    check_upload([len(data)])
    _refuse_known_formats(name, data)
    notices: list[str] = []
    if encoding is None:
        encoding = next((codec for mark, codec in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
        if encoding == "utf-8-sig":
            notices.append("The byte order mark at its beginning was left out.")
        elif encoding != "utf-8":
            notices.append(f"It was read as {encoding.upper()}.")
    else:
        encoding = _known_encoding(encoding)
        notices.append(f"It was read as {encoding}.")
    if not encoding.startswith(("utf-16", "utf-32")):  # where every other byte of honest text is NUL
        _refuse_unmarked_utf16(name, data)
        _refuse_binary(name, data)
    return document_from_text(name, _decode(name, data, encoding), encoding, tuple(notices))


def document_from_text(
    name: str, text: str, encoding: str = "utf-8", notices: tuple[str, ...] = ()
) -> Document:
    """A document from what is text already, such as what was pasted: cleaned, and refused if empty."""
    name = safe_name(name)
    _refuse_binary(name, text.encode("utf-8", errors="surrogatepass"))
    changes = list(notices)
    if windows := text.count("\r\n"):
        text = text.replace("\r\n", "\n")
        changes.append(f"Windows line ends (CRLF) made plain newlines: {windows:,}.")
    if mac := text.count("\r"):
        text = text.replace("\r", "\n")
        changes.append(f"Carriage returns (CR) made newlines: {mac:,}.")
    if nul := text.count("\0"):
        text = text.replace("\0", "")
        changes.append(f"NUL characters left out: {nul:,}.")
    whole = text.encode("utf-8", errors="ignore").decode()
    if halves := len(text) - len(whole):
        text = whole
        changes.append(f"Halves of surrogate pairs, which are no characters, left out: {halves:,}.")
    text = text.removeprefix("\ufeff")
    if not text.strip():
        what = "holds nothing but white space" if text else "is empty"
        raise TextError(
            f"{name} {what}.", "Needed is a text to learn from.", "Choose another file or add text."
        )
    return Document(name, text, encoding, tuple(changes))


def guess_encoding(data: bytes) -> str | None:
    """The encoding that text is probably in, if it is not UTF-8, by a name Python knows; None for no idea.

    Where Western Europe's windows-1252 gives the same text as the best guess, it is that: the most usual one.
    """
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError as error:
        start = max(0, error.start - 100)  # what comes before is plain in most encodings
    candidates = [encoding.replace("-", "_") for encoding in ENCODINGS if not encoding.startswith("utf")]
    best = from_bytes(data[start : start + 60_000], cp_isolation=candidates, enable_fallback=False).best()
    if best is None:
        return None
    for encoding in ("cp1252", best.encoding, *best.could_be_from_charset):
        if encoding in best.could_be_from_charset:
            try:
                data.decode(encoding)
                return encoding.replace("cp125", "windows-125")
            except UnicodeDecodeError:
                continue  # fits where we looked, but not further on
    return None


def safe_name(name: str) -> str:
    """A file name to show: no folders, nothing invisible, at most 60 characters. Not to be used as a path."""
    name = re.split(r"[\\/]", str(name))[-1]
    name = "".join(character for character in name if character.isprintable()).strip(". ") or "unnamed"
    return name if len(name) <= 60 else f"{name[:40]}…{name[-19:]}"


def _known_encoding(name: str) -> str:
    """Python's name for an encoding of text; refuses codecs that do anything else, such as unzipping."""
    try:
        known = codecs.lookup(name).name
    except (LookupError, ValueError, TypeError):
        known = ""
    if known not in ENCODINGS:
        raise TextError(
            f"{str(name)[:40]!r} is not an encoding for text that is known here.",
            "Needed is one such as utf-8, windows-1252, gb18030 or shift_jis.",
            "Choose another, or save the text as UTF-8.",
        )
    return known


def _refuse_known_formats(name: str, data: bytes) -> None:
    for magic, what in _MAGIC.items():
        if data.startswith(magic):
            raise TextError(
                f"{name} is {what}, not text.",
                "Needed is a plain text file.",
                "Open it in its own program and save it as plain text (.txt).",
            )


def _refuse_unmarked_utf16(name: str, data: bytes) -> None:
    """Refuses what looks like UTF-16 but lacks the mark that would say so: every other byte is mostly NUL."""
    beginning = data[: 2 * GLANCE]
    nul = [beginning[side::2].count(0) / max(1, len(beginning) // 2) for side in (0, 1)]
    if max(nul) < 0.3 or min(nul) > 0.1:
        return
    guess = "utf-16-be" if nul[0] > nul[1] else "utf-16-le"
    text = beginning.decode(guess, errors="replace")
    if sum(character.isprintable() or character.isspace() for character in text) > 0.95 * len(text):
        raise EncodingError(
            f"{name} looks like UTF-16 without its byte order mark.",
            "Needed is UTF-8, UTF-16 with a byte order mark, or the name of its encoding.",
            f"Read it as {guess}, or save it as UTF-8.",
            guess,
        )


def _refuse_binary(name: str, data: bytes) -> None:
    """Refuses bytes of which more than one in twenty is a control character that no text needs."""
    controls = len(data) - len(data.translate(None, _CONTROLS))
    first = _FIRST_CONTROL.search(data)
    if first and controls > len(data) / 20:
        raise TextError(
            f"{name} is not text: {controls / len(data):.0%} of it are control characters, the first at byte "
            f"{first.start():,}.",
            "Needed is a plain text file.",
            "Choose another file, or save it as plain text in UTF-8.",
        )


def _decode(name: str, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        guess = guess_encoding(data)
        if guess == encoding:
            guess = None
        at = (
            f"at byte {error.start:,} (0x{data[error.start]:02X})"
            if error.start < len(data)
            else "at its end"
        )
        wanted = "UTF-8" if encoding.startswith("utf-8") else encoding.upper()
        raise EncodingError(
            f"{name} is not {wanted}: it breaks {at}.",
            "Needed is UTF-8, UTF-16 with a byte order mark, or the name of its encoding.",
            f"Read it as {guess}, or save it as UTF-8." if guess else "Save it as UTF-8.",
            guess,
        ) from error
