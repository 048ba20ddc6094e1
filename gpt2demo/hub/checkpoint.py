"""GPT-2's weights from anywhere: every name, shape, type and number is checked before the model gets them."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gpt2demo.errors import FileError
from gpt2demo.hub.header import Header, StoredTensor, read_header, show
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.weights import LINEAR, PREFIX, stored_name, to_gpt2_tensors

FLOATS = ("F32", "F16", "BF16")
MASKS = (*FLOATS, "U8", "BOOL")  # the types in which older programs stored their causal masks
MASK = re.compile(r"h\.(\d{1,2})\.attn\.(bias|masked_bias)")
HEAD = "lm_head.weight"
TABLE = "transformer.wte.weight"

Shapes = Mapping[str, tuple[int, ...]]


def read_checkpoint(path: Path, config: GPT2Config) -> dict[str, Tensor]:
    """Reads GPT-2's weights from a safetensors file from anywhere, ready for `load_gpt2_tensors`.

    Names may begin with "transformer." or not; causal masks among the weights are left out; an output head
    that repeats the token table is left out too; matrices stored as PyTorch's own linear layers store them,
    (out, in), are turned into GPT-2's (in, out). Numbers stay in the file's precision. → tensors by the names
    of `to_gpt2_tensors`. Raises FileError, before anything is allocated, for a wrong name, shape or type, and
    for NaN and infinity, naming the tensor.
    """
    header = read_header(path)
    plan = check_header(path, header, config)
    turned = _is_turned(plan, header, config)
    tensors = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name, stored in plan.items():
                tensor = file.get_tensor(stored)
                _check_finite(path, stored, tensor)
                tensors[name] = tensor.t().contiguous() if turned and name.endswith(LINEAR) else tensor
            _check_head(path, file, plan, header, config, tensors)
    except (OSError, SafetensorError) as error:
        raise FileError(
            f"{path.name[:80]} cannot be read ({str(error)[:120]}).",
            "It must be a whole safetensors file.",
            "Fetch it again from where it came.",
        ) from error
    return tensors


def check_header(path: Path, header: Header, config: GPT2Config) -> dict[str, str]:
    """Compares what a file holds with what the model needs. → our name of each tensor, and the file's

    Raises FileError for the first five of the names that are missing or too many, for a wrong shape, and for
    numbers that are not 32- or 16-bit floats.
    """
    wanted = expected_shapes(config)
    found = _by_our_names(path, header.tensors)
    spare = {
        name
        for name, stored in found.items()
        if _is_mask(name, header.tensors[stored], config)
        or (name == HEAD and config.tie_word_embeddings and header.tensors[stored].shape == wanted[TABLE])
    }
    _check_names(path, wanted.keys() - found.keys(), found.keys() - wanted.keys() - spare, len(wanted))
    plan = {name: found[name] for name in wanted}
    turned = _is_turned(plan, header, config)
    for name, shape in wanted.items():
        expected = shape[::-1] if turned and name.endswith(LINEAR) else shape
        _check_tensor(path, plan[name], header.tensors[plan[name]], expected)
    return plan


def expected_shapes(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    """The name and the shape of every tensor in a GPT-2 checkpoint of this configuration.

    Found by building the model on PyTorch's "meta" device, where tensors have a shape and no numbers.
    """
    with torch.device("meta"), _Unfilled():
        model = make_model(config)
    return {name: tuple(tensor.shape) for name, tensor in to_gpt2_tensors(model).items()}


class _Unfilled(TorchFunctionMode):
    """Draws no random numbers, and counts on the CPU: either takes seconds to prepare on the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.__name__ in ("normal_", "uniform_", "kaiming_uniform_"):
            return args[0] if args else kwargs["tensor"]
        if func is torch.arange:
            kwargs = kwargs | {"device": "cpu"}
        return func(*args, **kwargs)


def _by_our_names(path: Path, stored: Iterable[str]) -> dict[str, str]:
    """Our name for each name in a file: with the prefix, except for the output head."""
    found: dict[str, str] = {}
    for name in stored:
        ours = stored_name(name.removeprefix(PREFIX))
        if ours in found:
            _refuse(path, f"{show(found[ours])} and {show(name)} are two spellings of the same name.")
        found[ours] = name
    return found


def _is_mask(name: str, tensor: StoredTensor, config: GPT2Config) -> bool:
    """True for the causal masks that older programs stored among the weights."""
    match = MASK.fullmatch(name.removeprefix(PREFIX))
    if match is None or int(match[1]) >= config.n_layer or tensor.dtype not in MASKS:
        return False
    if match[2] == "masked_bias":
        return tensor.shape in ((), (1,))
    return tensor.shape == (1, 1, config.n_positions, config.n_positions)


def _check_names(path: Path, missing: Iterable[str], extra: Iterable[str], wanted: int) -> None:
    missing, extra = sorted(missing), sorted(extra)
    if not missing and not extra:
        return
    problems = [
        f"{len(names):,} of its tensors are {what}: {', '.join(map(show, names[:5]))}"
        + (", …." if len(names) > 5 else ".")
        for names, what in ((missing, "missing"), (extra, "unknown"))
        if names
    ]
    raise FileError(
        f"{path.name[:80]} does not fit its config.json. {' '.join(problems)}",
        f"This model has {wanted} tensors under GPT-2's names.",
        "Take weights and config.json from the same model.",
    )


def _check_tensor(path: Path, name: str, tensor: StoredTensor, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape:
        raise FileError(
            f"{show(name)} in {path.name[:80]} has the shape {_shape(tensor.shape)}.",
            f"By its config.json it must have the shape {_shape(shape)}.",
            "Take weights and config.json from the same model.",
        )
    if tensor.dtype not in FLOATS:
        raise FileError(
            f"{show(name)} in {path.name[:80]} has the type {tensor.dtype}.",
            f"It must be {', '.join(FLOATS[:-1])} or {FLOATS[-1]}.",
            "Write the weights again as 32-bit floats (model.float() in PyTorch).",
        )


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape) or "()"


def _is_turned(plan: Mapping[str, str], header: Header, config: GPT2Config) -> bool:
    """True when the matrices are stored (out, in). Shown by c_attn: its C × 3C is never a square."""
    first = plan.get(f"{PREFIX}h.0.attn.c_attn.weight")
    return first is not None and header.tensors[first].shape == (3 * config.n_embd, config.n_embd)


def _check_finite(path: Path, name: str, tensor: Tensor) -> None:
    if not bool(torch.isfinite(tensor).all()):
        raise FileError(
            f"{show(name)} in {path.name[:80]} contains NaN or infinity.",
            "Weights must be ordinary numbers.",
            "Take the weights of an earlier step, from before the training went wrong.",
        )


def _check_head(
    path: Path,
    file: Any,
    plan: Mapping[str, str],
    header: Header,
    config: GPT2Config,
    tensors: Mapping[str, Tensor],
) -> None:
    """A tied head must be what it is tied to; else leaving it out would make another model."""
    if HEAD in plan or HEAD not in header.tensors or TABLE not in tensors:
        return
    if not torch.equal(file.get_tensor(HEAD), tensors[TABLE]):
        raise FileError(
            f"{HEAD} in {path.name[:80]} is not the token table wte.weight.",
            "By its config.json one table reads tokens and writes them.",
            'If the output head is its own, write "tie_word_embeddings": false into config.json.',
        )


def _refuse(path: Path, problem: str) -> NoReturn:
    raise FileError(
        f"{path.name[:80]} cannot be used. {problem}",
        "Each tensor of a GPT-2 must be there once.",
        "Fetch it again from where it came.",
    )
