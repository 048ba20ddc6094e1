"""A model from elsewhere as a run folder, so that everything here takes it like one that was trained here."""

import secrets
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpt2demo.hub.source import MOST_BYTES, ForeignModel, open_model
from gpt2demo.runs.bundle import bundle_in, read_bundle
from gpt2demo.runs.foreign import IMPORTED
from gpt2demo.training.files import check_free, write_json, write_tensors
from gpt2demo.training.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A run folder that was made from files from elsewhere."""

    folder: RunFolder
    notices: tuple[str, ...] = ()  # sentences about what was changed or left out


def import_source(
    source: Path,
    path: Path,
    *,
    memory_bytes: int | None = None,
    max_bytes: int = MOST_BYTES,
    title: str = "",
    name: str = "",
) -> Imported:
    """Makes the run folder `path` from a model in a folder, in a zip file, or in a bundle of this program.

    A bundle becomes the run that it was and goes on where it stopped; every other model can be looked at and
    written with. memory_bytes: what the model may take in memory. max_bytes: what a zip may hold. title: if
    not the file's name. name: what the source is called in the command that does this again. Nothing is left
    behind when it fails. Raises a UserError that says what is wrong.
    """
    with _new_folder(path) as (made, workshop):
        bundle = bundle_in(source, workshop, max_bytes=max_bytes)
        if bundle is not None and not bundle.is_newer:
            notices = read_bundle(bundle, made, memory_bytes=memory_bytes)
        else:
            foreign = open_model(
                bundle.folder if bundle else source,
                workshop=workshop,
                memory_bytes=memory_bytes,
                max_bytes=max_bytes,
                title=title or source.stem,
            )
            notices = ((bundle.newer_notice,) if bundle else ()) + foreign.notices
            _write(foreign, made, command=["import", name or str(source), "--out", path.name])
    return Imported(folder=RunFolder(path), notices=notices)


def _write(foreign: ForeignModel, path: Path, *, command: list[str]) -> None:
    """The files of a run without text and without training. Numbers become 32-bit floats."""
    tensors = {name: tensor.float() for name, tensor in foreign.tensors().items()}
    write_tensors(path / "model.safetensors", tensors, {"step": "0"})
    write_json(path / "config.json", foreign.config.to_json())
    folder = RunFolder(path)
    folder.save_tokenizer(foreign.tokenizer, foreign.config.n_positions)
    write_json(
        path / "run.json",
        {
            "title": foreign.title,
            "created": time.time(),
            "preset": IMPORTED,
            "tokenizer": foreign.tokenizer.kind,
            "documents": [],
            "characters": 0,
            "tokens": 0,
            "command": shlex.join(["python", "-m", "gpt2demo", *command]),
            "training": None,
        },
    )
    folder.journal().tell(state="done", message="It was trained elsewhere.")
    for notice in foreign.notices:
        folder.journal().add_event(notice)


@contextmanager
def _new_folder(path: Path) -> Iterator[tuple[Path, Path]]:
    """A folder that gets its name when the block is through, and one to work in. Raises ConfigError."""
    check_free(path, "An imported model needs a folder of its own.")
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    room = path.parent / f".{path.name[:100]}.{secrets.token_hex(4)}.tmp"
    made, workshop = room / "made", room / "workshop"
    made.mkdir(parents=True)
    workshop.mkdir()
    try:
        yield made, workshop
        made.replace(path)
    finally:
        shutil.rmtree(room, ignore_errors=True)
