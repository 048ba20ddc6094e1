"""A model from elsewhere, in a folder or a zip file: found, checked, and ready to be loaded."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from gpt2demo.errors import FileError, NotFoundError
from gpt2demo.hub.archive import is_zip, matching, unpack
from gpt2demo.hub.checkpoint import HEAD, TABLE, check_header, read_checkpoint
from gpt2demo.hub.config_file import read_config
from gpt2demo.hub.header import read_header
from gpt2demo.hub.strict_json import read_json_object
from gpt2demo.model.config import GPT2Config
from gpt2demo.text.tokenizer_files import MAX_FILE_BYTES
from gpt2demo.text.tokenizers import Tokenizer, load_gpt2_tokenizer

WEIGHTS = "model.safetensors"
FILES = ("config.json", WEIGHTS, "tokenizer.json", "vocab.json", "merges.txt", "encoder.json", "vocab.bpe")
MOST_BYTES = 7_000_000_000  # the largest GPT-2 has 6.4 GB
MAX_TITLE = 80
PADDED_SHARE = 0.02  # of a table's rows may belong to no token,
ROUND = 64  # ... or the table is filled up to a multiple of so many

STEPS = ("normalizer", "padding", "truncation")  # of a tokenizer.json, that GPT-2's does not have
GPT2_STEPS = [  # how GPT-2's own tokenizer.json says what ours says at length
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": trim} | more
    for trim in (True, False)
    for more in ({}, {"use_regex": True})
]

# What else weights may be in, and the sentence that helps. None of these is ever opened.
ELSEWHERE = (
    (
        r".*\.index\.json",
        "Its weights are in several pieces.",
        "Join them: AutoModelForCausalLM.from_pretrained(FOLDER)"
        '.save_pretrained(NEW, max_shard_size="100GB").',
    ),
    (
        r"(.*/)?data\.pkl|.*\.(bin|pt|pth|ckpt|pkl)",
        "Its weights are Python pickles, which can run any program when they are opened.",
        "Where you trust them, convert them: "
        "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW).",
    ),
    (
        r".*\.gguf",
        "Its weights are in a GGUF file.",
        "Convert it: AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=NAME).save_pretrained(NEW).",
    ),
)


@dataclass(frozen=True, kw_only=True)
class ForeignModel:
    """A model from elsewhere whose names, shapes and sizes are right; its numbers are read last."""

    title: str
    config: GPT2Config
    tokenizer: Tokenizer
    weights: Path
    stored: GPT2Config  # as the file has it: its tables may have rows that belong to no token
    notices: tuple[str, ...] = ()  # sentences about what was changed or left out

    def tensors(self) -> dict[str, Tensor]:
        """The weights, as `load_gpt2_tensors` takes them. Raises FileError for NaN and infinity."""
        tensors = read_checkpoint(self.weights, self.stored)
        if self.config.vocab_size < self.stored.vocab_size:
            for name in {TABLE, HEAD, "lm_head.bias"} & tensors.keys():
                tensors[name] = tensors[name][: self.config.vocab_size].clone()
        return tensors


def open_model(
    source: Path,
    *,
    workshop: Path,
    memory_bytes: int | None = None,
    max_bytes: int = MOST_BYTES,
    title: str = "",
) -> ForeignModel:
    """Looks at a model in a folder or a zip file, without reading its numbers yet.

    workshop: an empty folder for what is in the zip; the caller deletes it when the model is loaded.
    memory_bytes: what the model may take in memory. max_bytes: what a zip may hold. Raises a UserError that
    says what is missing or wrong.
    """
    notices: list[str] = []
    if source.is_dir():
        folder = source
        _check_complete(source.name, folder, (p.name for p in folder.iterdir()))
    else:
        folder, ignored = _from_file(source, workshop, max_bytes)
        if ignored:
            notices.append(f"{len(ignored):,} other files in the zip were not looked at.")
    stored = read_config(folder / "config.json", memory_bytes=memory_bytes)
    check_header(folder / WEIGHTS, read_header(folder / WEIGHTS), stored)
    tokenizer, left_out = _tokenizer(folder)
    notices += left_out
    config = fitted(stored, tokenizer)
    if config != stored:
        rows = stored.vocab_size - config.vocab_size
        notices.append(f"{rows:,} rows of the token table belong to no token and were left out.")
    return ForeignModel(
        title=one_line(title or source.stem),
        config=config,
        tokenizer=tokenizer,
        weights=folder / WEIGHTS,
        stored=stored,
        notices=tuple(notices),
    )


def _from_file(source: Path, workshop: Path, max_bytes: int) -> tuple[Path, tuple[str, ...]]:
    """Unpacks a zip file. → the folder with the model, and what was left in the zip"""
    if not source.exists():
        raise NotFoundError(
            f"There is no {source.name[:80]}.",
            "A model is a folder or a zip file with config.json, model.safetensors and a tokenizer.",
            "Check the path.",
        )
    if not is_zip(source):
        read_header(source)  # says what other files are, and what to do with them
        raise FileError(
            f"{source.name[:80]} holds weights only.",
            "A model also needs its config.json and its tokenizer.",
            "Put them into one folder and choose the folder.",
        )
    unpacked = unpack(source, workshop, wanted=matching("|".join(map(re.escape, FILES))), max_bytes=max_bytes)
    if unpacked.damaged:
        raise FileError(
            f"{unpacked.damaged[0]} in {source.name[:80]} is damaged.",
            "Every file in it must come out as it went in.",
            "Fetch it again from where it came.",
        )
    _check_complete(source.name, workshop, unpacked.ignored)
    return workshop, unpacked.ignored


def _check_complete(name: str, folder: Path, others: Iterable[str]) -> None:
    if not (folder / WEIGHTS).is_file():
        raise no_weights(name, others)


def no_weights(name: str, others: Iterable[str]) -> FileError:
    """The sentences for a model without model.safetensors: what there is instead, and how to convert it."""
    others = sorted(others)
    for pattern, found, todo in ELSEWHERE:
        if any(re.fullmatch(pattern, other, re.IGNORECASE) for other in others):
            return FileError(f"{name[:80]} has no {WEIGHTS}. {found}", f"Needed is {WEIGHTS}.", todo)
    return FileError(
        f"{name[:80]} has no {WEIGHTS}.",
        f"A model is a folder or a zip file with config.json, {WEIGHTS} and a tokenizer.",
        "Choose one that has all three.",
    )


def _tokenizer(folder: Path) -> tuple[Tokenizer, list[str]]:
    """The tokenizer of a model, and a sentence about the steps of it that are not taken over."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return load_gpt2_tokenizer(folder), []
    tokenizer = Tokenizer.load(path)
    theirs = read_json_object(path, max_bytes=MAX_FILE_BYTES)
    ours = json.loads(tokenizer.to_json())
    steps = [name for name in STEPS if theirs.get(name) not in (None, ours[name])]
    if tokenizer.kind == "bpe" and theirs.get("pre_tokenizer") not in (ours["pre_tokenizer"], *GPT2_STEPS):
        steps.append("pre_tokenizer")
    if not steps:
        return tokenizer, []
    return tokenizer, [
        f"Its tokenizer.json also asks for steps that are not taken over: {', '.join(steps)}. "
        "Text may be cut into other tokens than where the model was trained."
    ]


def fitted(config: GPT2Config, tokenizer: Tokenizer) -> GPT2Config:
    """The configuration with exactly as many tokens as the tokenizer has. Raises FileError.

    Some programs fill their tables up to a round number of rows, which no text can ever lead to: these may be
    left out. Anything else is the tokenizer of another model.
    """
    rows, tokens = config.vocab_size, tokenizer.vocab_size
    spare = rows - tokens
    padded = spare <= PADDED_SHARE * rows or (rows % ROUND == 0 and spare < ROUND)
    if spare == 0 or (spare > 0 and padded and config.architecture == "gpt2"):
        return replace(config, vocab_size=tokens)
    raise FileError(
        f"The tokenizer has {tokens:,} tokens, but the model was made for {rows:,}.",
        "Model and tokenizer must belong together.",
        "Take all files from the same model.",
    )


def one_line(name: str) -> str:
    """A name from elsewhere in one short line."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())[:MAX_TITLE] or "A model"
