"""The model that a command is about."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpt2demo.errors import NotFoundError
from gpt2demo.inspection.probe import token_counts
from gpt2demo.inspection.timeline import Moment
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.training.folder import RunFolder

STARTER = Path(__file__).parents[2] / "assets" / "starter"


def add_model(command: argparse.ArgumentParser) -> None:
    """The options that name a model and a step of its training."""
    command.add_argument("--model", default="starter", metavar="starter|RUN", help="default: %(default)s")
    command.add_argument(
        "--step", type=int, metavar="N", help="the model as it was at this step of its training"
    )


def load_model(name: str, step: int | None) -> tuple[LanguageModel, Tokenizer, int]:
    """The model that `--model` and `--step` name. → model, tokenizer, step"""
    folder = find_run(name)
    model, step = folder.load_model(step)
    return model, folder.tokenizer(), step


def find_run(name: str) -> RunFolder:
    """The folder that `--model` names. Raises NotFoundError when there is no run in it."""
    folder = RunFolder(STARTER, read_only=True) if name == "starter" else RunFolder(Path(name))
    folder.facts()
    return folder


def met_tokens(folder: RunFolder) -> NDArray[np.int64] | None:
    """The tokens that occur in a run's text; None for a model from elsewhere, which came without it."""
    try:
        return np.flatnonzero(token_counts(folder.tokenizer(), folder.corpus()))
    except NotFoundError:
        return None


def moments(folder: RunFolder) -> Iterator[Moment]:
    """The run's model at each step that was kept, one in memory at a time."""
    for step in folder.snapshot_steps():
        model, at = folder.load_model(step)
        yield Moment(at, model)
