"""The command that reads a text through a model's eyes: python -m gpt2demo read."""

import argparse
import json
import math
from contextlib import suppress

from gpt2demo.commands.models import find_run, load_model
from gpt2demo.errors import NotFoundError
from gpt2demo.runs.reading import Compared, Learnt, Reading, compare, learnt, read, to_json
from gpt2demo.text.copies import LEAST
from gpt2demo.text.corpus import read_files

SHOWN = 5  # passages


def add_read(command: argparse.ArgumentParser) -> None:
    """The options of `read`."""
    command.set_defaults(work=_read)
    command.description = (
        "Says how surprising a model finds a text (perplexity, bits per character), beside its training text "
        "and its held-out text, and which passages stand word for word in the training text."
    )
    command.add_argument("model", metavar="starter|RUN", help="who reads")
    command.add_argument("--step", type=int, metavar="N", help="the model as it was at this step")
    command.add_argument("--text-file", required=True, metavar="FILE", help="the text to read")
    command.add_argument(
        "--least", type=int, default=LEAST, metavar="N", help="characters of a copied passage; %(default)s"
    )
    command.add_argument("--json", action="store_true", help="print everything, each token too, as JSON")


def _read(options: argparse.Namespace) -> None:
    folder = find_run(options.model)
    model, tokenizer, step = load_model(options.model, options.step)
    text = read_files([options.text_file]).documents[0].text
    known: Learnt | None = None
    with suppress(NotFoundError):  # a model from elsewhere came without its text
        known = learnt(folder)
    reading = read(model, tokenizer, text, known, least=options.least)
    compared: dict[str, Compared | None] = {"training": None, "held_out": None}
    if known is not None:
        for part in compared:
            compared[part] = compare(
                model, tokenizer, known, held_out=part == "held_out", least=options.least
            )
    if options.json:
        print(json.dumps({"model": options.model, "step": step} | to_json(reading, tokenizer, compared)))
    else:
        print(
            f"{'':14}{'tokens':>8}{'characters':>12}{'perplexity':>12}{'bits/char':>11}{'right':>8}{'copied':>8}"
        )
        print(_line("this text", reading))
        for part, one in compared.items():
            print(_line(part.replace("_", "-"), one) if one else f"{part.replace('_', '-'):14}is not here")
        longest = sorted(reading.passages or (), key=lambda p: p.start - p.end)[:SHOWN]
        for p in longest:
            print(f"copied, {p.end - p.start} characters: {reading.spelled[p.start : p.end]!r}")


def _line(name: str, one: Reading | Compared) -> str:
    """One row of the table."""
    m = one.measures
    bits = math.nan if m.bits_per_character is None else m.bits_per_character
    copied = "–" if one.copied is None else f"{one.copied:.1%}"
    numbers = f"{m.tokens:8,}{m.characters:12,}{m.perplexity:12.2f}{bits:11.3f}{m.accuracy:8.1%}"
    return f"{name:14}{numbers}{copied:>8}"
