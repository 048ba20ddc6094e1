"""A run as one zip file: `transformers` loads the folder in it, and this program goes on training it."""

import re
import secrets
import sqlite3
import time
import zipfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO

from gpt2demo.training.folder import RunFolder

ALWAYS = ("run.json", "config.json", "tokenizer.json", "tokenizer_config.json", "corpus.json")
PIECE = 1 << 20  # bytes copied at a time


def export_zip(folder: RunFolder, destination: Path) -> Path:
    """Packs a run, also one that is at work, into a new zip file in the folder `destination`. → its path

    Inside is one folder with the model, the tokenizer, the text, the settings, the diary, the snapshots and
    the newest checkpoint. Raises NotFoundError before the run has any weights.
    """
    if folder.newest_step() is None:
        raise folder.missing(None)
    title = re.sub(r"[^A-Za-z0-9]+", "-", folder.facts().title).strip("-").lower()[:40] or "run"
    name = f"{title}-{folder.path.name[:6].strip('-_')}".strip("-")
    destination.mkdir(parents=True, exist_ok=True)
    final = destination / f"{name}.zip"
    unfinished = destination / f".{name}.{secrets.token_hex(4)}.tmp"
    diary = unfinished.with_suffix(".sqlite")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for file in ALWAYS:
                archive.write(folder.path / file, f"{name}/{file}")
            _copy_diary(folder, diary)
            archive.write(diary, f"{name}/run.sqlite")
            _pack(archive, [folder.path / "model.safetensors"], name, folder.path)
            _pack(archive, sorted(folder.snapshots.glob("step-*.safetensors")), name, folder.path)
            _pack_checkpoint(archive, name, folder.path)
        unfinished.replace(final)
    finally:
        unfinished.unlink(missing_ok=True)
        diary.unlink(missing_ok=True)
    return final


def _copy_diary(folder: RunFolder, copy: Path) -> None:
    """A whole copy of the diary, also while the worker writes it, that needs no second file beside it."""
    options = "immutable=1" if folder.read_only else "mode=rw"
    address = f"{(folder.path / 'run.sqlite').absolute().as_uri()}?{options}"
    with closing(sqlite3.connect(address, uri=True)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")


def _pack(archive: zipfile.ZipFile, files: list[Path], name: str, root: Path) -> None:
    """Packs files all or none: each is opened before the first is read, so that none can vanish meanwhile."""
    with ExitStack() as stack:
        opened: list[tuple[BinaryIO, str]] = []
        for path in files:
            inside = f"{name}/{path.relative_to(root).as_posix()}"
            opened.append((stack.enter_context(path.open("rb")), inside))
        for file, inside in opened:
            info = zipfile.ZipInfo(inside, date_time=time.localtime()[:6])
            info.external_attr = 0o644 << 16  # everybody may read it
            # numbers of a model hardly get smaller by packing
            info.compress_type = (
                zipfile.ZIP_STORED if inside.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            )
            with archive.open(info, "w", force_zip64=True) as target:
                while piece := file.read(PIECE):
                    target.write(piece)


def _pack_checkpoint(archive: zipfile.ZipFile, name: str, root: Path) -> None:
    """Packs the newest checkpoint that is not just being replaced by a newer one."""
    checkpoints = [p for p in (root / "checkpoints").glob("step-*") if re.fullmatch(r"step-\d+", p.name)]
    for checkpoint in sorted(checkpoints, key=lambda p: int(p.name.removeprefix("step-")), reverse=True):
        try:
            _pack(archive, sorted(checkpoint.iterdir()), name, root)
        except FileNotFoundError:
            continue
        return
