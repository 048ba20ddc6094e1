"""What a text shares word for word with another one: the passages of it that stand in the training text.

Two texts in one language share short pieces by chance, so only passages of some length count. Of the last
tenth of `harbour_stories.txt`, pieces of 12 characters that stand in its first nine tenths cover 49 %, of 16
still 19 %, of 20 only 7 %: from there on copying begins to show. Every piece of that length (an n-gram of
characters) is looked up in the training text by a hash, and every hit is compared character by character:
nothing is marked that does not stand there. Longer passages are then put together from the end of the text to
its beginning: a passage that begins here is one character longer than the one that begins at the next place,
if the two are neighbours in the training text as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gpt2demo.errors import check_range

LEAST = 20  # characters, about four English words
MIN_LEAST, MAX_LEAST = 8, 1_000
CHUNK = 1 << 18  # characters that are hashed at a time: what a processor's cache holds
TABLE_BITS = 20  # of the table that tells quickly which hashes nobody looks for
MULTIPLIER = 0x9E3779B97F4A7C15  # odd, and its bits in no order: 2**64 divided by the golden ratio
MAX_PAIRS = 20_000_000  # of equal pieces in both texts that are followed: see `_fewer`

Codes = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.uint32]  # (N,), a number for each character
Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A part of a text that stands word for word in another one."""

    start: int  # its first character
    end: int  # the first character after it
    place: int  # where it begins in the other text


def passage_length(least: object) -> int:
    """How many characters a passage must have at least. Raises LimitError outside 8 to 1,000."""
    check_range("The length of a passage", least, MIN_LEAST, MAX_LEAST, integer=True)
    return int(least)  # type: ignore[call-overload,no-any-return]


class Copies:
    """A text in which others are looked up; many may do so at the same time.

    It is kept as numbers, in one byte per character where Latin letters are enough and in two or four else.
    """

    def __init__(self, source: str) -> None:
        self._codes = _codes(source)

    def __len__(self) -> int:
        """How many characters the source has."""
        return len(self._codes)

    def passages(self, text: str, least: int = LEAST) -> tuple[Passage, ...]:
        """The passages of at least so many characters that a text shares with the source, in order.

        Each is as long as it can be on both sides, and none is part of another; they may overlap. `place` is
        one occurrence of perhaps many. Raises LimitError for a length outside 8 to 1,000.
        """
        least = passage_length(least)
        if min(len(text), len(self)) < least:
            return ()
        grams = [text[i : i + least] for i in range(len(text) - least + 1)]
        numbers = {gram: number for number, gram in enumerate(dict.fromkeys(grams))}
        places, which = self._occurrences(list(numbers), least)
        return _joined([numbers[gram] for gram in grams], places, which, least)

    def _occurrences(self, grams: Sequence[str], least: int) -> tuple[Numbers, Numbers]:
        """Where G different pieces of equal length stand.  → places in order (K,), which pieces (K,)"""
        wanted = _codes("".join(grams)).reshape(len(grams), least)  # (G, least)
        multiplier = MULTIPLIER
        while len(np.unique(hashes := _hashes(wanted, least, multiplier)[:, 0])) < len(grams):
            multiplier = multiplier * MULTIPLIER % 2**64  # two pieces had the same hash
        order = np.argsort(hashes)
        hashes = hashes[order]
        table = np.zeros(1 << TABLE_BITS, dtype=bool)
        table[_slots(hashes)] = True
        found = []
        for start in range(0, len(self) - least + 1, CHUNK):
            codes = self._codes[start : start + CHUNK + least - 1]
            here = _hashes(codes, least, multiplier)
            places = np.flatnonzero(table[_slots(here)])
            number = order[np.searchsorted(hashes, here[places]).clip(max=len(hashes) - 1)]
            equal = (sliding_window_view(codes, least)[places] == wanted[number]).all(axis=1)
            found.append((start + places[equal], number[equal]))
        return np.concatenate([p for p, _ in found]), np.concatenate([n for _, n in found])


def covered(passages: Sequence[Passage]) -> int:
    """How many characters stand in at least one of these passages, which are in order."""
    count = end = 0
    for passage in passages:
        count += passage.end - max(end, passage.start)
        end = passage.end
    return count


def _joined(numbers: Sequence[int], places: Numbers, which: Numbers, least: int) -> tuple[Passage, ...]:
    """Puts pieces together. numbers: the piece at each place of the text; it is at places[which == it]."""
    places, which = _fewer(numbers, places, which)
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(max(numbers) + 2))
    next_to = np.append(np.diff(places) == 1, False)  # (K,) the next occurrence is at the next place
    which = np.append(which, -1)
    lengths = np.zeros(len(which), dtype=np.int32)  # of the passage from each occurrence on, in pieces
    passages: list[Passage] = []
    after = -1
    for i in range(len(numbers) - 1, -1, -1):
        here = order[ends[numbers[i]] : ends[numbers[i] + 1]]
        goes_on = next_to[here] & (which[here + 1] == after)
        lengths[here] = np.where(goes_on, lengths[here + 1], 0) + 1
        after = numbers[i]
        if not len(here):
            continue
        longest = here[lengths[here].argmax()]
        end = i + int(lengths[longest]) + least - 1
        if passages and passages[-1].end == end:
            passages.pop()  # it is part of this one
        passages.append(Passage(start=i, end=end, place=int(places[longest])))
    return tuple(reversed(passages))


def _fewer(numbers: Sequence[int], places: Numbers, which: Numbers) -> tuple[Numbers, Numbers]:
    """Leaves out occurrences of the commonest pieces where there are too many to follow all of them.

    That happens where text and source say the same again and again ("aaaa …"). The passages are still true
    then and cover the same characters, but one may be told as two that overlap.
    """
    times = np.bincount(numbers)  # in the text
    counts = np.bincount(which, minlength=len(times))  # in the source
    if int((times * counts).sum()) <= MAX_PAIRS:
        return places, which
    most = int(counts.max())
    while int((times * counts.clip(max=most)).sum()) > MAX_PAIRS and most > 1:
        most //= 2
    order = np.argsort(which, kind="stable")
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    keep = np.sort(order[np.arange(len(order)) - first[which[order]] < most])
    return places[keep], which[keep]


def _codes(text: str) -> Codes:
    """The numbers of a text's characters, in as few bytes as will do.  → (N,)"""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return codes.astype(np.min_scalar_type(int(codes.max(initial=0))))


def _slots(hashes: Hashes) -> Hashes:
    """The upper bits of hashes, which depend on every character."""
    slots: Hashes = hashes >> np.uint64(64 - TABLE_BITS)
    return slots


def _hashes(codes: Codes, length: int, multiplier: int) -> Hashes:
    """A polynomial in the characters of every window of some length, modulo 2**64.  (…, N) → (…, N−length+1)

    Karp and Rabin's rolling hash (1987), made by doubling: two windows side by side are one.
    """
    part = codes.astype(np.uint64)  # hashes of windows of `size` characters
    whole, done, size = np.zeros_like(part), 0, 1  # ... and of the first `done` characters of each window
    while size <= length:
        power = np.uint64(pow(multiplier, size, 2**64))
        if length & size:
            added = part[..., done:]
            whole = whole[..., : added.shape[-1]] * power + added
            done += size
        part = part[..., :-size] * power + part[..., size:]
        size *= 2
    return whole
