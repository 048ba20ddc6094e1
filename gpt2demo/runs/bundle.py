"""A bundle: a run that was packed on another machine. All of it is checked, then it goes on here."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gpt2demo.errors import FileError, UserError
from gpt2demo.hub.archive import is_zip, names_in, unpack
from gpt2demo.hub.checkpoint import expected_shapes
from gpt2demo.hub.config_file import read_config
from gpt2demo.hub.manifest import FORMAT, MANIFEST, Manifest, read_manifest
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.runs.diary import copy_foreign_diary
from gpt2demo.runs.export import START
from gpt2demo.runs.foreign import check_checkpoint, check_weights, read_corpus, read_run_json
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.training.checkpoint import verify
from gpt2demo.training.config import TrainingConfig, check_fits
from gpt2demo.training.files import write_json
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.loop import new_state

STEP = r"step-(\d{6,7})"
BELONGS = re.compile(
    r"(run|config|tokenizer|tokenizer_config|corpus|MANIFEST)\.json|run\.sqlite|README\.md"
    r"|(model|start)\.safetensors"
    rf"|snapshots/{STEP}\.safetensors"
    rf"|checkpoints/{STEP}/(weights\.safetensors|optimizer\.safetensors|state\.json|MANIFEST\.json)"
)
WRITTEN_ANEW = ("README.md", "tokenizer_config.json")
SPARE = re.compile(rf"snapshots/{STEP}\.safetensors|(checkpoints/{STEP})/.*")  # a run can do without


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An unpacked bundle whose list of contents was read."""

    folder: Path
    manifest: Manifest
    damaged: tuple[str, ...]  # files that are missing, or are not what was packed

    @property
    def is_newer(self) -> bool:
        """True for a bundle of a newer version: only its model can be used here."""
        return self.manifest.is_newer

    @property
    def newer_notice(self) -> str:
        """The sentence for such a bundle."""
        return (
            f"This bundle is of format {self.manifest.format}, and this version of the program knows up to "
            f"{FORMAT}. Only its model was taken: it can be used, but not be trained further here."
        )


def bundle_in(source: Path, workshop: Path, *, max_bytes: int) -> Bundle | None:
    """Unpacks a bundle into an empty folder; None for a model that is not one of our bundles.

    source: a zip file, or the folder that was in it. Raises a UserError for one that is damaged or an attack.
    """
    inside = workshop / "bundle"
    if source.is_dir():
        if not all((source / name).is_file() for name in (MANIFEST, "run.json")):
            return None
        inside.mkdir()
        _copy(source, inside)
    elif is_zip(source):
        if not {MANIFEST, "run.json"} <= set(names_in(source)):
            return None
        inside.mkdir()
        unpack(source, inside, wanted=lambda name: bool(BELONGS.fullmatch(name)), max_bytes=max_bytes)
    else:
        return None
    listed = read_manifest(inside / MANIFEST)
    files = {name: sum for name, sum in listed.files.items() if BELONGS.fullmatch(name)}
    manifest = replace(listed, files=files)  # other names could lead out of the folder
    bundle = Bundle(folder=inside, manifest=manifest, damaged=manifest.damaged(inside))
    _check_list(bundle)
    return bundle


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        name = path.relative_to(source).as_posix()
        if path.is_file() and BELONGS.fullmatch(name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)


def read_bundle(bundle: Bundle, made: Path, *, memory_bytes: int | None = None) -> tuple[str, ...]:
    """Fills the empty folder `made` with the run of a bundle. → sentences about what could not be used

    Text, settings and diary are read strictly and written anew, weights are checked and moved. A damaged
    snapshot is left out; in place of a damaged checkpoint the one before it is used. Raises a UserError that
    names the file for everything else.
    """
    inside = bundle.folder
    notices: list[str] = []
    config = read_config(inside / "config.json", memory_bytes=memory_bytes)
    tokenizer = Tokenizer.load(inside / "tokenizer.json")
    if tokenizer.vocab_size != config.vocab_size:
        raise FileError(
            f"The tokenizer has {tokenizer.vocab_size:,} tokens, but the model was made for "
            f"{config.vocab_size:,}.",
            "Model and tokenizer must belong together.",
            "Pack the run again where it comes from.",
        )
    facts = read_run_json(inside / "run.json", tokenizer, config)
    shapes = expected_shapes(config)
    check_weights(inside / "model.safetensors", config, shapes)
    folder = RunFolder(made)
    if facts["training"] is not None:
        training = TrainingConfig.from_json(facts["training"])
        if memory_bytes is not None:
            check_fits(config, training, memory_bytes=memory_bytes)
        corpus = read_corpus(inside / "corpus.json", facts)
        write_json(made / "corpus.json", {"documents": [asdict(document) for document in corpus.documents]})
    write_json(made / "run.json", facts)
    write_json(made / "config.json", config.to_json())
    folder.save_tokenizer(tokenizer, config.n_positions)
    copy_foreign_diary(inside / "run.sqlite", folder.journal())
    (inside / "model.safetensors").replace(made / "model.safetensors")
    if (inside / START).is_file():
        check_weights(inside / START, config, shapes, step=0)
        (inside / START).replace(folder.start)
    notices += _take_snapshots(bundle, made, config)
    if facts["training"] is not None:
        notices += _take_checkpoints(bundle, folder, config, training)
    for notice in notices:
        folder.journal().add_event(notice)
    return tuple(notices)


def _check_list(bundle: Bundle) -> None:
    """Every file must be on the list and be what was packed, except for those that a run can do without."""
    there = {p.relative_to(bundle.folder).as_posix() for p in bundle.folder.rglob("*") if p.is_file()}
    stray = sorted(there - bundle.manifest.files.keys() - {MANIFEST})
    broken = [n for n in bundle.damaged if not SPARE.fullmatch(n) and n not in WRITTEN_ANEW]
    for names, problem in ((stray, "is not on the bundle's list"), (broken, "is missing or damaged")):
        if names:
            raise FileError(
                f"{names[0]} {problem}.",
                "Every file of a bundle must be the one that was packed, to the last bit.",
                "Fetch the bundle again from where it came.",
            )


def _take_snapshots(bundle: Bundle, made: Path, config: GPT2Config) -> Iterator[str]:
    """Moves the snapshots that are whole. → a sentence for each of the others"""
    shapes = expected_shapes(config)
    for name in bundle.manifest.files:
        match = re.fullmatch(rf"snapshots/{STEP}\.safetensors", name)
        if match and name in bundle.damaged:
            yield f"{name} is damaged: the weights of step {int(match[1]):,} cannot be looked at."
        elif match:
            check_weights(bundle.folder / name, config, shapes, step=int(match[1]))
            (made / "snapshots").mkdir(exist_ok=True)
            (bundle.folder / name).replace(made / name)


def _take_checkpoints(
    bundle: Bundle, folder: RunFolder, config: GPT2Config, training: TrainingConfig
) -> Iterator[str]:
    """Moves the checkpoints that are whole, so that the run goes on from the newest of them."""
    listed = {match[2] for name in bundle.manifest.files if (match := SPARE.fullmatch(name)) and match[2]}
    looked_at = replace(training, precision="fp32")  # the others may need a GPU, which is not asked for here
    state = new_state(make_model(config), looked_at)
    shapes, lost, kept = expected_shapes(config), [], []
    for name in sorted(listed, key=lambda name: int(name.rpartition("-")[2])):
        step = int(name.rpartition("-")[2])
        broken = [file for file in bundle.damaged if file.startswith(f"{name}/")]
        if not broken and not _is_verified(bundle.folder / name):
            broken = [f"{name}/{MANIFEST}"]
        if broken:
            lost.append(broken[0])
            continue
        check_checkpoint(bundle.folder / name, step, state, shapes)
        (folder.path / "checkpoints").mkdir(exist_ok=True)
        (bundle.folder / name).replace(folder.path / name)
        kept.append(step)
    folder.journal().tell(checkpoint_step=max(kept, default=None))
    instead = (
        f"the checkpoint of step {max(kept):,} is used instead"
        if kept
        else "there is no other, so training would begin again from the first step"
    )
    for file in lost:
        yield f"{file} is damaged: {instead}."
    if not listed:
        yield "It came without a checkpoint: training would begin again from the first step."


def _is_verified(checkpoint: Path) -> bool:
    try:
        verify(checkpoint)
    except UserError:
        return False
    return True
