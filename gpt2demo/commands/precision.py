"""The command that says what fewer bits cost a model: python -m gpt2demo precision."""

import argparse
import json
import math
from contextlib import suppress
from dataclasses import asdict

from gpt2demo.commands.models import add_model, find_run, load_model
from gpt2demo.errors import NotFoundError
from gpt2demo.model.packed import PRECISIONS, packed
from gpt2demo.runs.precision import PrecisionCost, precision_cost, texts_to_measure
from gpt2demo.runs.reading import Learnt, learnt
from gpt2demo.text.corpus import read_files


def add_precision(command: argparse.ArgumentParser) -> None:
    """The options of `precision`."""
    command.set_defaults(work=_precision)
    command.description = (
        "Measures a model's loss on its held-out text, or on a text of yours, as it was trained (fp32) and "
        "in copies whose weights have fewer bits (bf16, int8). Prints one line for each."
    )
    add_model(command)
    command.add_argument("--text-file", metavar="FILE", help="measure on this text instead")
    command.add_argument("--json", action="store_true", help="print one JSON object per precision instead")


def _precision(options: argparse.Namespace) -> None:
    model, tokenizer, step = load_model(options.model, options.step)
    known: Learnt | None = None
    with suppress(NotFoundError):  # a model from elsewhere came without its text
        known = learnt(find_run(options.model))
    own = read_files([options.text_file]).documents[0].text if options.text_file else ""
    texts = texts_to_measure(model, known, own)
    for precision in PRECISIONS[1:]:
        copy = packed(model, precision)
        cost = precision_cost(model, copy, tokenizer, texts, precision=precision)
        if options.json:
            print(json.dumps({"model": options.model, "step": step} | asdict(cost)), flush=True)
        else:
            print(_line(cost), flush=True)


def _line(cost: PrecisionCost) -> str:
    return (
        f"{cost.precision:5} {cost.weights_then / 1e6:8.2f} MB ({cost.weights_then / cost.weights:.2f}×)"
        f"  loss {cost.loss_then:.4f} ({cost.loss_then - cost.loss:+.4f}) nats per token on {cost.tokens:,},"
        f"  perplexity {math.exp(cost.loss_then):.3f},  {cost.same_guess:.1%} of the first guesses stay"
    )
