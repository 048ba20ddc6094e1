"""The files of a run from elsewhere, each with a reader that believes nothing of what stands in it."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gpt2demo.errors import FileError, check_choice, check_range
from gpt2demo.hub.checkpoint import read_checkpoint
from gpt2demo.hub.header import read_header
from gpt2demo.hub.source import one_line
from gpt2demo.hub.strict_json import fields_of, read_json_object
from gpt2demo.model.config import PRESETS, GPT2Config
from gpt2demo.text.corpus import MAX_FILES, MAX_UPLOAD_BYTES, Corpus, Document, document_from_text
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.training.config import TrainingConfig
from gpt2demo.training.files import read_tensors
from gpt2demo.training.loop import TrainingState
from gpt2demo.training.optimizers import check_optimizer_shapes

IMPORTED = "imported"  # stands where a run has the name of its size, in a folder without training
MAX_JSON_BYTES = 200_000
MAX_CORPUS_BYTES = 4 * MAX_UPLOAD_BYTES  # escaped characters take more room
MAX_COMMAND = 20_000  # characters
LATEST = 1e11  # seconds since 1970
SECONDS, COUNT = 1e9, 2**53

Shapes = Mapping[str, tuple[int, ...]]


def read_run_json(path: Path, tokenizer: Tokenizer, config: GPT2Config) -> dict[str, Any]:
    """The content of a run.json from elsewhere, with every value checked. Raises a UserError.

    Its command will be shown for copying into a terminal, so it is taken apart and quoted anew: whatever
    stands in it, it can only start this program.
    """
    numbers = (int, float)
    content = read_json_object(path, max_bytes=MAX_JSON_BYTES)
    facts = fields_of(
        {"started_from": "", "windows": 0} | content,  # older ones do not say it
        path.name,
        {
            "title": str,
            "created": numbers,
            "preset": str,
            "tokenizer": str,
            "documents": list,
            "characters": int,
            "tokens": int,
            "windows": int,
            "command": str,
            "started_from": str,
            "training": (dict, type(None)),
        },
    )
    check_choice("preset", facts["preset"], (*PRESETS, IMPORTED))
    check_choice("tokenizer", facts["tokenizer"], (tokenizer.kind,))
    check_range("created", facts["created"], 0, LATEST)
    for name in ("characters", "tokens", "windows"):
        check_range(name, facts[name], 0, COUNT, integer=True)
    facts["title"] = one_line(facts["title"])
    facts["started_from"] = facts["started_from"] and one_line(facts["started_from"])
    facts["command"] = _requoted(facts["command"])
    if facts["training"] is not None:
        training = TrainingConfig.from_json(facts["training"])
        check_range("length", training.length, 2, config.n_positions, integer=True)
        tokenizer.encode(training.sample_prompt)  # refuses characters that the model does not know
        facts["training"] = training.to_json()
    return facts


def _requoted(command: str) -> str:
    try:
        words = shlex.split(command[: MAX_COMMAND + 1]) if command.isprintable() else []
    except ValueError:  # a quote that is not closed
        words = []
    if len(command) > MAX_COMMAND or words[:3] != ["python", "-m", "gpt2demo"]:
        raise _refused("Its run.json holds another command than one of this program.")
    return shlex.join(words)


def read_corpus(path: Path, facts: Mapping[str, Any]) -> Corpus:
    """The texts of a run from elsewhere. Raises a UserError for what no upload would have become."""
    content = read_json_object(path, max_bytes=MAX_CORPUS_BYTES)
    entries = fields_of(content, path.name, {"documents": list})["documents"]
    if len(entries) > MAX_FILES or not all(isinstance(entry, dict) for entry in entries):
        raise _refused("Its corpus.json is no list of texts.")
    corpus = Corpus(tuple(_document(entry, path.name) for entry in entries))
    if facts["documents"] != [document.name for document in corpus.documents]:
        raise _refused("Its corpus.json holds other texts than its run.json says.")
    return corpus


def _document(entry: Mapping[str, Any], file: str) -> Document:
    fields = fields_of(entry, file, {"name": str, "text": str, "encoding": str, "notices": list})
    same = document_from_text(fields["name"], fields["text"])
    notices = tuple(one_line(notice) for notice in fields["notices"][:MAX_FILES] if isinstance(notice, str))
    if same.text != fields["text"] or same.name != fields["name"]:
        raise _refused("A text in its corpus.json holds what no upload of this program keeps.")
    return Document(same.name, same.text, one_line(fields["encoding"]), notices)


def check_weights(path: Path, config: GPT2Config, shapes: Shapes, *, step: int | None = None) -> int:
    """Refuses weights that are not written exactly as this program writes them. → the step they are from

    step: what it must be. shapes: of all tensors by name. Raises FileError.
    """
    header = read_header(path)
    noted = header.facts.get("step", "")
    found = {name: tensor.shape for name, tensor in header.tensors.items()}
    if (
        found != dict(shapes)
        or not re.fullmatch(r"\d{1,7}", noted)
        or (step is not None and int(noted) != step)
    ):
        read_checkpoint(path, config)  # says it better, if it is a matter of names and shapes
        raise _refused(f"{path.name} holds the weights of another step or in another form than it should.")
    read_checkpoint(path, config)
    return int(noted)


def check_checkpoint(folder: Path, step: int, state: TrainingState, shapes: Shapes) -> None:
    """Refuses a checkpoint that a worker would choke on. state: of the same run, only looked at.

    Raises a UserError. Its checksums must have been verified before.
    """
    facts = fields_of(
        read_json_object(folder / "state.json", max_bytes=MAX_JSON_BYTES),
        "state.json",
        {"step": int, "tokens": int, "elapsed": (int, float), "speed": (int, float), "fingerprint": dict},
    )
    check_range("step", facts["step"], step, step, integer=True)
    check_range("tokens", facts["tokens"], 0, COUNT, integer=True)
    check_range("elapsed", facts["elapsed"], 0, SECONDS)
    check_range("speed", facts["speed"], 0, COUNT)
    if len(str(facts["fingerprint"])) > 1_000:
        raise _refused("The fingerprint in its state.json is too long.")
    check_weights(folder / "weights.safetensors", state.model.config, shapes, step=step)
    path = folder / "optimizer.safetensors"
    stored = read_header(path, at_least=0).tensors
    check_optimizer_shapes(state.optimizers, {name: tensor.shape for name, tensor in stored.items()})
    if any(tensor.dtype != "F32" for tensor in stored.values()):
        raise _refused("The optimiser's memory is not made of 32-bit floats.")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in read_tensors(path).values()):
        raise _refused("The optimiser's memory contains NaN or infinity.")


def _refused(problem: str) -> FileError:
    return FileError(
        f"This bundle cannot be used. {problem}",
        "It must hold a run as this program packed it.",
        "Pack the run again where it comes from.",
    )
