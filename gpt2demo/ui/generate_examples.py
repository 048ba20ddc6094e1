"""Beginnings that suit a model, taken from the text that it learnt from."""

from gpt2demo.errors import UserError
from gpt2demo.runs.models import ModelRef, ModelStore
from gpt2demo.text.corpus import Corpus
from gpt2demo.ui.memo import Memo

COUNT = 4
WORDS, CHARACTERS = 5, 12  # of a beginning: in scripts with spaces between words, and without
KEPT = 64  # models whose beginnings are remembered


class Beginnings:
    """Prompts that suit a model: how pieces of its own training text begin."""

    def __init__(self, models: ModelStore) -> None:
        self.models = models
        self._known: Memo[tuple[str, ...]] = Memo(KEPT)

    def of(self, ref: ModelRef) -> tuple[str, ...]:
        """A few beginnings for a model, at least one (perhaps the empty one)."""
        folder = self.models.folder(ref)

        def read() -> tuple[str, ...]:
            try:
                first = folder.facts().training.sample_prompt
                found = beginnings(folder.corpus())
            except UserError:
                return ("",)  # a folder without its text can still write
            return tuple(dict.fromkeys(([first] if first.strip() else []) + found))[:COUNT] or ("",)

        return self._known.get(folder.path, read)


def beginnings(corpus: Corpus) -> list[str]:
    """The first words of lines from all over a text."""
    text = corpus.text
    found: list[str] = []
    for i in range(4 * COUNT):  # some places will have nothing suitable
        start = len(text) * i // (4 * COUNT)
        start = 0 if i == 0 else text.find("\n", start, start + 5_000) + 1
        line = next((s for s in text[start : start + 2_000].splitlines() if _is_prose(s)), None)
        if line is not None and (begin := first_words(line)) not in found:
            found.append(begin)
    return [found[len(found) * i // COUNT] for i in range(COUNT)] if len(found) > COUNT else found


def first_words(line: str) -> str:
    """The beginning of a line, cut between words where there are any."""
    words = line.split()
    if len(words) >= 3:
        return " ".join(words[:WORDS])[:40]
    return line.strip()[: CHARACTERS // 2]


def _is_prose(line: str) -> bool:
    letters = sum(c.isalpha() for c in line)
    return letters >= 8 and letters > 0.6 * len(line.strip()) and not line.isupper()  # nor a heading
