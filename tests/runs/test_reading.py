"""A text beside those of a run: parted as for training, copies to the letter, marks on the right tokens"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt2demo.errors import NotFoundError
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.runs.reading import PIECE_TOKENS, PIECES, compare, learnt, pieces, read, spell, to_json
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.text.tokenizers import train_tokenizer
from gpt2demo.training.config import recipe
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.plan import RunPlan

LEARNT = " ".join(f"Learnt line {i} of bears and bells, Bär." for i in range(90))
HELD = " ".join(f"Held out {i}: nobody saw this line ever." for i in range(9))


def folder(tmp_path: Path, kind: str = "bpe", batches: str = "packed", frequency: int = 1) -> RunFolder:
    """A run whose last tenth is nothing like the rest."""
    text = LEARNT + "\n" + HELD
    if batches == "padded":
        text = text.replace(". ", ".\n\n")
    corpus = Corpus((document_from_text("bears.txt", text),))
    tokenizer = train_tokenizer(kind, corpus.texts, 400, min_frequency=frequency if kind == "word" else 2)
    shape = GPT2Config(vocab_size=tokenizer.vocab_size, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    training = recipe("adamw", shape, steps=3, batch_size=2, threads=1, batches=batches)
    plan = RunPlan(
        title="Bears", preset="nano", model=shape, training=training, corpus=corpus, tokenizer=tokenizer
    )
    return RunFolder.create(tmp_path / "run", plan)


def reading_of(run: RunFolder, text: str, **how: Any) -> Any:
    return read(GPT2(run.config(), seed=1).eval(), run.tokenizer(), text, learnt(run), **how)


@pytest.mark.parametrize("batches", ["packed", "padded"])
@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_only_what_was_learnt_counts_as_copied(tmp_path: Path, kind: str, batches: str) -> None:
    run = folder(tmp_path, kind, batches)
    known = learnt(run)
    assert known.whole and known.training and known.held_out
    assert "nobody saw" not in " ".join(known.training).lower()
    assert "nobody saw" in " ".join(known.held_out).lower()
    copied = reading_of(run, "Learnt line 33 of bears and bells, Bär.")
    assert copied.copied == 1 and all(copied.marked)
    fresh = reading_of(run, "Held out 8: nobody saw this line ever.")
    assert fresh.copied == 0 and fresh.passages == () and not any(fresh.marked) and fresh.longest == ""


def test_the_marks_are_on_the_tokens_of_the_passage_and_no_others(tmp_path: Path) -> None:
    run = folder(tmp_path)
    text = "Held out 9: Learnt line 7 of bears and bells, Bär. Never before."
    found, tokenizer = reading_of(run, text), run.tokenizer()
    start, end = text.index("Learnt"), text.index(" Never")
    (passage,) = found.passages
    assert passage.start <= start and end <= passage.end <= end + 1 and found.longest in text
    place = 0
    for id_, marked in zip(found.ids, found.marked, strict=True):
        size = len(tokenizer.token_bytes(id_))
        before, after = (len(text.encode()[:p].decode(errors="ignore")) for p in (place, place + size))
        assert marked == (passage.start <= before and after <= passage.end), text[before:after]
        place += size
    assert found.copied == (passage.end - passage.start) / len(text)


def test_a_character_of_several_tokens_is_marked_with_its_passage(tmp_path: Path) -> None:
    run = folder(tmp_path)
    text = "of bears and bells, Bär. \U0001f43b"  # the bear is four tokens, and in no passage
    found = reading_of(run, text)
    assert found.marked[-4:] == (False,) * 4 and found.marked[0]
    assert found.copied == 25 / 26


def test_unknown_words_are_no_copies_of_each_other(tmp_path: Path) -> None:
    run = folder(tmp_path, "word")
    tokenizer = run.tokenizer()
    text = "dragon wyvern dragon wyvern dragon wyvern dragon wyvern"
    ids = tokenizer.encode(text)
    assert set(ids) == {tokenizer.unknown_id}
    assert spell(tokenizer, ids, unknown="\ufdd0") != spell(tokenizer, ids, unknown="\ufdd1")
    found = reading_of(run, text)
    assert found.unknown == 8 and found.copied == 0 and found.measures.bits_per_character is None


def test_no_passage_goes_across_an_unknown_word(tmp_path: Path) -> None:
    run = folder(tmp_path, "word", frequency=2)  # the numbers of the lines are unknown words now
    found = reading_of(run, "bears and bells, bär. Learnt line dragon of bears and bells, bär.")
    assert found.unknown == 1 and found.passages is not None
    texts = [found.spelled[p.start : p.end].strip() for p in found.passages]
    assert texts == ["bears and bells, bär. learnt line", "of bears and bells, bär."]
    assert [i for i, marked in enumerate(found.marked) if not marked] == [found.ids.index(1)]


def test_no_passage_goes_across_two_pieces(tmp_path: Path) -> None:
    run = folder(tmp_path)
    halves = ("Learnt line 3 of", " bears and bells")
    known = replace(learnt(run), held_out=halves)
    assert known.copies.passages("".join(halves)) and not any(map(known.copies.passages, halves))
    found = compare(GPT2(run.config(), seed=1).eval(), run.tokenizer(), known, held_out=True)
    assert found and found.copied == 0


def test_what_a_text_is_compared_to(tmp_path: Path) -> None:
    run = folder(tmp_path)
    model, known = GPT2(run.config(), seed=1).eval(), learnt(run)
    held_out = compare(model, run.tokenizer(), known, held_out=True)
    training = compare(model, run.tokenizer(), known, held_out=False)
    assert training and training.copied == 1 and held_out and held_out.copied < 0.2
    assert compare(model, run.tokenizer(), known, held_out=True) == held_out, "chosen without luck"
    alone = [read(model, run.tokenizer(), piece).measures for piece in known.held_out]
    assert held_out.measures.tokens == sum(one.tokens for one in alone)
    bits = sum((one.bits_per_character or 0) * one.characters for one in alone)
    assert held_out.measures.bits_per_character == pytest.approx(bits / held_out.measures.characters)


def test_large_models_read_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = folder(tmp_path)
    model, known = GPT2(run.config(), seed=1).eval(), learnt(run)
    whole = compare(model, run.tokenizer(), known, held_out=False)
    monkeypatch.setattr("gpt2demo.runs.reading.VALIDATION_WORK", 1)
    part = compare(model, run.tokenizer(), known, held_out=False)
    assert whole and part and part.measures.tokens < whole.measures.tokens < 1.2 * PIECES * PIECE_TOKENS


def test_a_folder_with_only_the_beginning_of_its_text(tmp_path: Path) -> None:
    run = folder(tmp_path)
    data = json.loads((run.path / "corpus.json").read_text(encoding="utf-8"))
    data["documents"][0]["text"] = LEARNT[:2000]
    (run.path / "corpus.json").write_text(json.dumps(data), encoding="utf-8")
    known = learnt(run)
    assert not known.whole and known.characters == 2000 and known.held_out == ()
    assert compare(GPT2(run.config(), seed=1).eval(), run.tokenizer(), known, held_out=True) is None
    (run.path / "held_out.txt").write_text(HELD, encoding="utf-8")
    assert "nobody saw" in learnt(run).held_out[0]


def test_a_model_without_its_text(tmp_path: Path) -> None:
    run = folder(tmp_path)
    (run.path / "corpus.json").unlink()
    with pytest.raises(NotFoundError):
        learnt(run)
    found = read(GPT2(run.config(), seed=1).eval(), run.tokenizer(), "bears", None)
    assert found.passages is None and found.copied is None
    assert to_json(found, run.tokenizer(), {"training": None})["copied"] is None


def test_pieces_are_spread_and_begin_where_words_do() -> None:
    found = pieces(LEARNT, 100)
    assert len(found) == PIECES and all(piece in LEARNT and 50 < len(piece) <= 100 for piece in found)
    places = [LEARNT.index(piece) for piece in found]
    assert places[0] == 0 and places[-1] > len(LEARNT) - 110
    assert all(LEARNT[place - 1] == " " for place in places[1:])
    gaps = [b - a for a, b in zip(places, places[1:], strict=False)]
    assert max(gaps) - min(gaps) <= 60
    assert pieces("short", 100) == ("short",) and pieces("", 100) == () == pieces(" \n", 100)
    assert all(pieces("x" * 1000, 10)) and len(pieces("山" * 50 + "水" * 50, 40)) == 2


def test_as_json_it_says_everything_and_no_infinity(tmp_path: Path) -> None:
    run = folder(tmp_path)
    found = reading_of(run, "Learnt line 7 of bears and bells.", least=12)
    said = to_json(found, run.tokenizer(), {"training": None})
    json.dumps(said, allow_nan=False)
    assert said["passages"][0]["text"] == "Learnt line 7 of bears and bells" and said["copied"] == 32 / 33
    assert [t["id"] for t in said["by_token"]] == list(found.ids) and said["compared"] == {"training": None}
    bits = sum(t["bits"] for t in said["by_token"])
    assert said["bits_per_character"] == pytest.approx(bits / 33)
