"""The command that tries out learning rates prints a table, a sentence and JSON, or what is missing."""

import json

import pytest

from gpt2demo.__main__ import main
from gpt2demo.commands import find_rate
from gpt2demo.training.estimate import Pace
from tests.ui.little_runs import TEXT


@pytest.fixture
def words(tmp_path, monkeypatch) -> list[str]:
    (tmp_path / "cats.txt").write_text(TEXT, encoding="utf-8")
    pace = Pace(step=0.01, look=0.0, measured=True)
    monkeypatch.setattr(find_rate.Estimator, "pace", lambda *_: pace)
    small = "--preset pico --context 8 --n-embd 16 --batch-size 4 --threads 1 --optimizer adamw"
    return ["find-rate", "--text", str(tmp_path / "cats.txt"), *small.split()]


def test_it_prints_what_it_found(words, capsys):
    assert main([*words, "--learning-rate", "0.5"]) == 0
    *table, suggested, _, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert found["present"] == 0.5 and 1e-4 < found["learning_rate"] <= found["lowest"] < found["explodes"]
    assert 8 < len(table) <= find_rate.ROWS + 1 and f"{found['learning_rate']:.2g}" in suggested


def test_it_says_what_is_missing(words, capsys, monkeypatch):
    assert main(["find-rate"]) == 2
    assert "--text FILE" in capsys.readouterr().err
    slow = Pace(step=5.0, look=0.0, measured=False)
    monkeypatch.setattr(find_rate.Estimator, "pace", lambda *_: slow)
    assert main(words) == 2
    assert "about 5.0 seconds" in capsys.readouterr().err
