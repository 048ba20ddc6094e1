"""A run as one zip file: `transformers` loads the folder in it, and this program goes on training it."""

import io
import re
import secrets
import shutil
import sqlite3
import time
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gpt2demo.hub.card import CardFacts, CurvePoint, format_notice, model_card
from gpt2demo.hub.manifest import FORMAT, MANIFEST, FileSum, Manifest, Sum
from gpt2demo.training.checkpoint import KEPT
from gpt2demo.training.files import check_free
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.team import is_sharded

ALWAYS = ("run.json", "config.json", "tokenizer.json", "tokenizer_config.json")
TEXT = "corpus.json"  # a model that was trained elsewhere came without
START = "start.safetensors"  # what a fine-tuning began with
CARD = "README.md"
PIECE = 1 << 20  # bytes copied at a time
MAX_SAMPLE = 600  # characters on the card


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was packed, and where it is."""

    path: Path
    notices: tuple[str, ...] = ()  # sentences about what the file cannot do


def export_zip(folder: RunFolder, destination: Path) -> Exported:
    """Packs a run, also one that is at work, into a new zip file in the folder `destination`.

    Inside is one folder with the model, its card, the tokenizer, the text, the settings, the diary, the
    snapshots, the newest checkpoints, and a list of all that with checksums. A model that GPT-2's format
    cannot express is packed too, with a notice: only this program loads it. Raises NotFoundError before the
    run has any weights.
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
            package = _Package(archive, name, folder.path)
            present = [path for file in (*ALWAYS, TEXT, START) if (path := folder.path / file).is_file()]
            package.add(present)
            _copy_diary(folder, diary)
            with diary.open("rb") as file:
                package.write("run.sqlite", file)
            package.add([folder.path / "model.safetensors"])
            package.add(sorted(folder.snapshots.glob("step-*.safetensors")))
            _add_checkpoints(package, folder.path)
            package.write_text(CARD, model_card(card_facts(folder)))
            package.write_text(MANIFEST, Manifest(format=FORMAT, files=package.sums).to_json())
        unfinished.replace(final)
    finally:
        unfinished.unlink(missing_ok=True)
        diary.unlink(missing_ok=True)
    notice = format_notice(folder.config())
    return Exported(path=final, notices=(notice,) if notice else ())


def export_to(folder: RunFolder, out: Path) -> Exported:
    """Exports a run under a name of one's own: a zip file if it ends in .zip, else a folder.

    Raises ConfigError when there is something of that name already.
    """
    check_free(out, "An export is a new file or folder.")
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    workshop = out.parent / f".{out.name}.{secrets.token_hex(4)}.tmp"
    try:
        packed = export_zip(folder, workshop)
        if out.suffix == ".zip":
            packed.path.replace(out)
        else:
            with zipfile.ZipFile(packed.path) as archive:
                archive.extractall(workshop)
            (workshop / packed.path.stem).replace(out)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return Exported(path=out, notices=packed.notices)


def card_facts(folder: RunFolder) -> CardFacts:
    """What a run's folder knows for the model card."""
    facts, journal = folder.facts(), folder.journal()
    status, last, samples = journal.status(), journal.last_step(), journal.samples()
    return CardFacts(
        title=facts.title,
        config=folder.config(),
        tokenizer=facts.tokenizer,
        step=folder.newest_step() or 0,
        created=facts.created,
        command=facts.command,
        documents=facts.documents,
        characters=facts.characters,
        tokens=facts.tokens,
        curve=tuple(
            CurvePoint(step=s.step, tokens=s.tokens, train_loss=s.train_loss, val_loss=s.val_loss)
            for s in journal.validation()
            if s.val_loss is not None
        ),
        final_val_loss=status.final_val_loss,
        final_val_tokens=status.final_val_tokens,
        seconds=last.elapsed if last else 0.0,
        optimizer=facts.settings.optimizer if facts.settings else "",
        sample=(samples[-1].prompt + samples[-1].text)[:MAX_SAMPLE] if samples else "",
    )


class _Package:
    """Files on their way into a zip file, each of them added up."""

    def __init__(self, archive: zipfile.ZipFile, name: str, root: Path) -> None:
        self.sums: dict[str, FileSum] = {}  # by the names in the folder
        self._archive = archive
        self._name = name
        self._root = root

    def add(self, files: Sequence[Path]) -> None:
        """Packs files all or none: each is opened before the first is read, so that none can vanish."""
        with ExitStack() as stack:
            opened = [(stack.enter_context(path.open("rb")), path) for path in files]
            for file, path in opened:
                self.write(path.relative_to(self._root).as_posix(), file)

    def write(self, name: str, file: BinaryIO) -> None:
        """Packs what a file holds."""
        info = zipfile.ZipInfo(f"{self._name}/{name}", date_time=time.localtime()[:6])
        info.external_attr = 0o644 << 16  # everybody may read it
        # numbers of a model hardly get smaller by packing
        info.compress_type = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
        sum = Sum()
        with self._archive.open(info, "w", force_zip64=True) as target:
            while piece := file.read(PIECE):
                target.write(piece)
                sum.add(piece)
        self.sums[name] = sum.result

    def write_text(self, name: str, text: str) -> None:
        """Packs a text."""
        self.write(name, io.BytesIO(text.encode(errors="replace")))


def _copy_diary(folder: RunFolder, copy: Path) -> None:
    """A whole copy of the diary, also while the worker writes it, that needs no second file beside it."""
    options = "immutable=1" if folder.read_only else "mode=rw"
    address = f"{(folder.path / 'run.sqlite').absolute().as_uri()}?{options}"
    with closing(sqlite3.connect(address, uri=True)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")


def _add_checkpoints(package: _Package, root: Path) -> None:
    """Packs the newest checkpoints that are not just being replaced: two, in case that one gets damaged.

    Shards stay where they are: only those who wrote them have a use for them.
    """
    found = [p for p in (root / "checkpoints").glob("step-*") if re.fullmatch(r"step-\d+", p.name)]
    packed = 0
    for checkpoint in sorted(found, key=lambda p: int(p.name.removeprefix("step-")), reverse=True):
        if is_sharded(checkpoint):
            continue
        try:
            package.add(sorted(checkpoint.iterdir()))
        except FileNotFoundError:
            continue
        packed += 1
        if packed == KEPT:
            return
