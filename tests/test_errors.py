"""Errors say what was got, what is needed and what to do."""

import pytest

from gpt2demo.errors import LimitError, UserError, check_range


def test_three_sentences():
    error = UserError("You sent nothing.", "A text is needed.", "Choose a file.")
    assert str(error) == "You sent nothing. A text is needed. Choose a file."
    assert (error.got, error.needed, error.todo) == (
        "You sent nothing.",
        "A text is needed.",
        "Choose a file.",
    )


@pytest.mark.parametrize("value", [0.9, 5.1, float("nan"), float("inf"), None, True, "2", [], 10**400])
def test_range_refuses(value):
    with pytest.raises(LimitError, match="temperature is"):
        check_range("temperature", value, 1, 5)


def test_range_accepts_and_names_the_nearest():
    check_range("steps", 1, 1, 5, integer=True)
    check_range("steps", 5.0, 1, 5, integer=True)
    with pytest.raises(LimitError, match="whole number from 1 to 5. The nearest value that works is 2"):
        check_range("steps", 2.5, 1, 5, integer=True)
    with pytest.raises(LimitError, match="works is 2,000"):
        check_range("steps", 10**9, 1, 2000)
