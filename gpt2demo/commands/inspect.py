"""The command that looks inside a model: python -m gpt2demo inspect."""

import argparse
import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from gpt2demo.commands.head_views import heads_view, importance_view, timeline_view
from gpt2demo.commands.models import add_model, find_run, load_model, met_tokens, moments
from gpt2demo.commands.surgery_view import surgery_view
from gpt2demo.commands.views import (
    Subject,
    View,
    attention_view,
    attribution_view,
    lens_view,
    neurons_view,
    norms_view,
)
from gpt2demo.errors import ConfigError, FileError, TextError, check_range
from gpt2demo.generation.prompts import read_prompt
from gpt2demo.inspection.capture import MAX_CAPTURE_TOKENS_BY_COMMAND, capture
from gpt2demo.inspection.intervention import FILLS
from gpt2demo.inspection.lens import FOR_ATTRIBUTION
from gpt2demo.inspection.probe import find_tokens
from gpt2demo.inspection.timeline import half_way, scores_over_time
from gpt2demo.text.display import display_token
from gpt2demo.text.tokenizers import Tokenizer

VIEWS: Mapping[str, Callable[[Subject], View]] = {
    "attention": attention_view,
    "lens": lens_view,
    "norms": norms_view,
    "attribution": attribution_view,
    "neurons": neurons_view,
    "heads": heads_view,
    "importance": importance_view,
    "surgery": surgery_view,
    "timeline": timeline_view,
}
WITHOUT_TEXT = ("heads", "timeline")
NEEDS: Mapping[str, tuple[str, ...]] = {  # of `capture`
    "attention": ("queries", "keys", "values"),
    "attribution": FOR_ATTRIBUTION,
}


def add_inspect(command: argparse.ArgumentParser) -> None:
    """The options of `inspect`."""
    command.set_defaults(work=_inspect)
    command.description = (
        "Reads a text with a model, prints short tables of what goes on inside, and saves the arrays as a "
        "NumPy .npz file. attention: (L, H, T, T) with its rollout and what each head writes, and the "
        "residual stream (L+1, T, C); lens: what each layer would say; norms: lengths of the stream; "
        "attribution: who speaks for a token; neurons: what excites those of a layer; heads: what each head "
        "measurably does; importance: the loss without each head; surgery: what changes when parts are off; "
        "timeline: heads, drift and attention at each kept step."
    )
    add_model(command)
    command.add_argument("--text", help=f"the text to read; only {' and '.join(WITHOUT_TEXT)} need none")
    command.add_argument(
        "--what", nargs="+", choices=VIEWS, default=["attention"], metavar="VIEW", help=", ".join(VIEWS)
    )
    command.add_argument("--layer", type=int, metavar="N", help="only this layer, counted from 0")
    command.add_argument("--head", type=int, metavar="N", help="only this head, counted from 0")
    command.add_argument(
        "--position", type=int, metavar="N", help="which token of the text; default: the last"
    )
    command.add_argument("--token", metavar="TEXT", help="attribution: of this token; default: the likeliest")
    command.add_argument(
        "--off",
        nargs="+",
        default=[],
        metavar="PART",
        help="surgery: switch off head 1.0, neuron 1.n7, 1.attention or 1.mlp",
    )
    command.add_argument(
        "--fill",
        choices=FILLS,
        default="zero",
        help="what a part that is off says (also for importance); default: %(default)s",
    )
    command.add_argument(
        "--patch",
        metavar="TEXT",
        help="surgery: put what another text has at --position, behind block --layer, into this one",
    )
    command.add_argument("--seed", type=int, default=0, metavar="S", help="for the random tokens of heads")
    command.add_argument("--out", metavar="FILE.npz", help="the file to write")
    command.add_argument("--csv", action="store_true", help="also write FILE.VIEW.csv for spreadsheets")
    command.add_argument(
        "--induction",
        metavar="starter|RUN",
        help="only say at which step the induction score of this run passes half its final value",
    )


def _inspect(options: argparse.Namespace) -> None:
    if options.induction is not None:
        _print_induction(options.induction, options.seed)
        return
    if options.csv and not options.out:
        raise ConfigError("--csv is given without --out.", "Tables stand beside the .npz file.", "Name one.")
    if (options.off or options.patch is not None) and "surgery" not in options.what:
        raise ConfigError("--off and --patch operate.", "That is the view surgery.", "Add --what surgery.")
    subject = _subject(options)
    views = {name: VIEWS[name](subject) for name in dict.fromkeys(options.what)}
    for view in views.values():
        print(*view.lines, sep="\n")
    if options.out:
        _save(Path(options.out), subject, views, with_tables=options.csv)


def _subject(options: argparse.Namespace) -> Subject:
    """What is looked at, captured once with all that the chosen views need."""
    folder = find_run(options.model)
    model, tokenizer, step = load_model(options.model, options.step)
    config = model.config
    for name, low, high in (("layer", 0, config.n_layer - 1), ("head", 0, config.n_head - 1)):
        if getattr(options, name) is not None:
            check_range(name, getattr(options, name), low, high, integer=True)
    seen = None
    if options.text is not None:
        ids = read_prompt(tokenizer, options.text).ids
        needs = {part for name in options.what for part in NEEDS.get(name, ())}
        seen = capture(model, ids, what=needs, max_tokens=MAX_CAPTURE_TOKENS_BY_COMMAND)
    elif reading := [name for name in options.what if name not in WITHOUT_TEXT]:
        raise TextError("There is no text.", f"{reading[0]} looks at one.", "Give one with --text.")
    last = 0 if seen is None else len(seen.tokens) - 1
    position = last if options.position is None else options.position
    check_range("position", position, 0, last, integer=True)
    return Subject(
        model=model,
        tokenizer=tokenizer,
        folder=folder,
        step=step,
        seen=seen,
        layer=options.layer,
        head=options.head,
        position=position,
        off=tuple(options.off),
        fill=options.fill,
        patch=None if options.patch is None else read_prompt(tokenizer, options.patch).ids,
        token=None if options.token is None else _only_token(tokenizer, options.token),
        seed=options.seed,
    )


def _only_token(tokenizer: Tokenizer, text: str) -> int:
    """The token that a word means. Raises TextError where it is none, or several."""
    best, *_ = found = find_tokens(tokenizer, text)
    data = tokenizer.token_bytes(best)
    if text.strip() != data.decode("utf-8", "replace").strip() and text != display_token(data):
        raise TextError(
            f"{text[:40]!r} is {len(found)} tokens.", "One is needed.", "Give a shorter word, or a letter."
        )
    return best


def _save(out: Path, subject: Subject, views: dict[str, View], *, with_tables: bool) -> None:
    arrays = {name: array for view in views.values() for name, array in view.arrays.items()}
    if subject.seen is not None:
        arrays["tokens"] = subject.seen.tokens
    files = {out: f"{', '.join(arrays)} of {subject.folder.path.name} at step {subject.step}"}
    try:
        with out.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        for name, view in views.items() if with_tables else ():
            table = out.with_suffix(f".{name}.csv")
            files[table] = f"{_write_table(table, view.columns, view.rows):,} rows"
    except OSError as error:
        raise FileError(
            f"{out.name} cannot be written ({error.strerror}).",
            "A folder is needed that exists and is yours.",
            "Choose another place.",
        ) from error
    for path, content in files.items():
        print(f"{path}: {content}")


def _write_table(path: Path, columns: Iterable[str], rows: Iterable[tuple[object, ...]]) -> int:
    """One row after the other, in full precision.  → how many"""
    count = 0
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # spreadsheets know UTF-8 by its mark
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(value) for value in row])
            count += 1
    return count


def _cell(value: object) -> object:
    """What is no number stays empty; a word that a spreadsheet would calculate gets a mark in front."""
    if isinstance(value, str):
        return f"'{value}" if value[:1] in tuple("=+-@") else value
    return "" if value != value else value


def _print_induction(name: str, seed: int) -> None:
    """When the run's best induction head became one."""
    folder = find_run(name)
    steps, best = [], []
    for one in scores_over_time(moments(folder), tokens=met_tokens(folder), seed=seed):
        steps.append(one.step)
        best.append(float(one.scores.induction.max()))
        print(f"step {one.step:>9,}  induction {best[-1]:.3f}")
    found = half_way(steps, best)
    passed = f"passes half its final value, {found.final:.3f}, at step {found.step:,}."
    print(f"The induction score of {name} {passed}")
    if found.before is not None:
        print(f"At step {found.before:,}, which was kept before that, it was below.")
