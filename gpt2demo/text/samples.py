"""The texts that come with the program, for people who have none at hand."""

from dataclasses import dataclass
from pathlib import Path

from gpt2demo.text.corpus import Corpus
from gpt2demo.text.documents import document_from_text


@dataclass(frozen=True, kw_only=True)
class SampleText:
    """A text to pick: what it is called, what it is, and the files that it is made of."""

    key: str
    title: str
    about: str
    files: tuple[Path, ...]

    def read(self) -> Corpus:
        """The text itself, as one document."""
        text = "\n\n".join(file.read_text(encoding="utf-8") for file in self.files)
        return Corpus((document_from_text(self.title, text),))


def sample_texts(assets: Path, package: Path) -> tuple[SampleText, ...]:
    """The three texts in `assets/texts`, and the source code of this very program as the fourth."""
    texts = assets / "texts"
    return (
        SampleText(
            key="little-stories",
            title="Little stories",
            about="Thousands of tiny stories from a story grammar: a small model becomes fluent in them.",
            files=(texts / "little_stories.txt",),
        ),
        SampleText(
            key="harbour-stories",
            title="Harbour stories",
            about="Fourteen short stories from one harbour town, 140 KB of English prose.",
            files=(texts / "harbour_stories.txt",),
        ),
        SampleText(
            key="mountain-town",
            title="山城故事 (Mountain town)",
            about="Eleven stories in Chinese, 27,000 characters: every sign is a token of its own.",
            files=(texts / "mountain_town_zh.txt",),
        ),
        SampleText(
            key="own-source",
            title="This program",
            about="The Python source of gpt2demo itself, read from the installed files.",
            files=tuple(sorted(package.rglob("*.py"))),
        ),
    )
