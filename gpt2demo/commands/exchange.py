"""The commands that take models out and bring them in: python -m gpt2demo export | import."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from gpt2demo.commands.models import find_run
from gpt2demo.hub.announcement import OFFICIAL_MODELS
from gpt2demo.hub.download import Hub
from gpt2demo.hub.source import MOST_BYTES
from gpt2demo.model.anatomy import count_parameters
from gpt2demo.runs.exchange import FetchStep, default_cache, fetch
from gpt2demo.runs.export import export_to
from gpt2demo.runs.imported import import_source
from gpt2demo.training.memory import memory_for_a_run

FROM_HUB = "hub:"


def add_export(command: argparse.ArgumentParser) -> None:
    """The options of `export`."""
    command.set_defaults(work=_export)
    command.description = (
        "Packs a run: its model as transformers loads it, with a model card, and all that this program needs "
        "to go on training it on another machine. Prints one JSON object."
    )
    command.add_argument("run", metavar="starter|RUN", help="the folder of the run")
    command.add_argument("--out", required=True, metavar="FOLDER|FILE.zip", help="what to write")


def add_import(command: argparse.ArgumentParser) -> None:
    """The options of `import`."""
    command.set_defaults(work=_import)
    command.description = (
        "Makes a run folder from a model: a folder or a zip file with config.json, model.safetensors and a "
        "tokenizer, an export of this program, or a model on the Hub. A run that was exported can be trained "
        "on; any other model can be used and looked at. Prints one JSON object."
    )
    names = ", ".join(OFFICIAL_MODELS)
    command.add_argument(
        "source", metavar="SOURCE", help=f"FOLDER, FILE.zip or hub:NAME ({names}, owner/name)"
    )
    command.add_argument("--out", required=True, metavar="RUN", help="the folder to make")
    command.add_argument("--title", default="", help="what the model is called on the page")
    command.add_argument("--revision", metavar="V", help="of a model on the Hub: a commit, branch or tag")
    command.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        metavar="FOLDER",
        help="where models from the Hub are kept; default: %(default)s",
    )


def _export(options: argparse.Namespace) -> None:
    folder = find_run(options.run)
    exported = export_to(folder, Path(options.out))
    _tell(exported.notices)
    print(json.dumps({"run": str(folder.path), "out": options.out, "notices": exported.notices}))


def _import(options: argparse.Namespace) -> None:
    source, title = Path(options.source), options.title
    if options.source.startswith(FROM_HUB):
        name = options.source.removeprefix(FROM_HUB)
        hub = Hub(options.cache, max_bytes=MOST_BYTES, memory_bytes=memory_for_a_run())
        source, title = _fetch(hub, name, options.revision), title or name.rpartition("/")[2]
    imported = import_source(
        source, Path(options.out), memory_bytes=memory_for_a_run(), title=title, name=options.source
    )
    _tell(imported.notices)
    config = imported.folder.config()
    facts = {
        "run": options.out,
        "title": imported.folder.facts().title,
        "parameters": count_parameters(config),
        "vocabulary": config.vocab_size,
        "trainable": imported.folder.facts().settings is not None,
        "notices": imported.notices,
    }
    print(json.dumps(facts))


def _fetch(hub: Hub, name: str, revision: str | None) -> Path:
    """Says what a model on the Hub weighs, and fetches it. → its folder"""
    announcement = hub.announce(name, revision)
    print(f"{announcement.repo}: {announcement.size / 1e6:,.1f} MB", file=sys.stderr)
    _tell(announcement.notices)
    folder: Path | None = None
    for step in _shown(fetch(hub, announcement)):
        folder = step.folder
    assert folder is not None
    return folder


def _shown(steps: Iterator[FetchStep]) -> Iterator[FetchStep]:
    """The same, with one line on the terminal that is written over and over."""
    for step in steps:
        if sys.stderr.isatty():
            share = step.done / step.size
            bar = "█" * round(24 * share) + "·" * (24 - round(24 * share))
            line = f"\r{bar} {step.done / 1e6:,.1f} of {step.size / 1e6:,.1f} MB"
            if step.seconds_left is not None:
                line += f", {step.seconds_left:,.0f} s left"
            print(line, end=" " * 12 if step.folder is None else "\n", file=sys.stderr, flush=True)
        yield step


def _tell(notices: tuple[str, ...]) -> None:
    for notice in notices:
        print(notice, file=sys.stderr)
