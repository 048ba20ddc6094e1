"""Weights that are spread over processes (FSDP2): how they are parted, trained, gathered, saved and read.

Each process keeps some rows of every matrix, of its gradient and of what the optimiser remembers of it, and
borrows the rest of a block only while it computes that block (Rajbhandari et al. 2020, "ZeRO", stage 3).
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from gpt2demo.model.baselines import make_model
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.weights import load_gpt2_tensors
from gpt2demo.training.files import read_tensors
from gpt2demo.training.optimizers import Muon, load_optimizer_tensors, stretch

WEIGHTS, MEMORY = "weights.", "optimizer."  # how the two kinds of tensors are called in a checkpoint


def shard(model: GPT2, device: str, processes: int) -> GPT2:
    """Spreads the weights over the processes, block by block, in place. device: "cpu" or "cuda"."""
    mesh = init_device_mesh(device, (processes,))
    for block in model.h:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    return model


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which every process has a part; every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(tensor: Tensor, like: Any) -> DTensor:
    """A tensor that every process has, parted as another is."""
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def gather(model: LanguageModel, *, keep: bool) -> LanguageModel:
    """The whole model, on the processor; every process must ask, and only those who `keep` it get it."""
    weights = {}
    for name, shards in model.state_dict().items():
        tensor = whole(shards)
        if keep:
            weights[name] = tensor.cpu()
    if not keep:
        return model
    made = make_model(model.config)
    made.load_state_dict(weights)
    return made


class ShardedMuon(Muon):
    """Muon for matrices that are spread over processes.

    The momentum is spread like the matrices. To make an update orthogonal one has to see all of it: so it is
    gathered, every process turns it in the same way, and each changes its own rows.
    """

    def _update(self, matrices: list[Tensor], rate: float, momentum: float, decay: float) -> None:
        parts = [part for p in matrices for part in self._wish(p, momentum).chunk(self.counts[p])]
        turned = iter(self._orthogonal(parts))
        for matrix in matrices:
            several = [next(turned) for _ in range(self.counts[matrix])]
            change = part_like(torch.cat(several), matrix).to_local()
            own = matrix.to_local()  # type: ignore[attr-defined]
            own.mul_(1 - rate * decay).add_(change, alpha=-rate * stretch(several[0]))

    def _wish(self, matrix: Any, momentum: float) -> Tensor:
        """Where the whole matrix should go: Nesterov's momentum, of which every process reckons its rows."""
        moment: Any = self._moment(matrix)
        gradient, rows = matrix.grad.to_local(), moment.to_local()
        rows.lerp_(gradient, 1 - momentum)
        wish = DTensor.from_local(
            gradient.lerp(rows, momentum),
            matrix.device_mesh,
            matrix.placements,
            shape=matrix.shape,
            stride=matrix.stride(),
        )
        return wish.full_tensor()


def write(folder: Path, model: LanguageModel, optimizers: Sequence[Optimizer]) -> None:
    """Every process writes its shards into one safetensors file of its own, and waits for the others.

    PyTorch's distributed checkpoint, in its safetensors form: the usual one writes a pickle. Raises OSError
    on all of them when one could not write.
    """
    tensors = {WEIGHTS + name: tensor for name, tensor in _weights(model).items()}
    for number, optimizer in enumerate(optimizers):
        for index, memory in optimizer.state_dict()["state"].items():
            for key, value in memory.items():  # the reader cannot do without a dimension
                tensors[f"{MEMORY}{number}.{index}.{key}"] = value.reshape(1) if value.dim() == 0 else value
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        state_dict_saver.save(tensors, storage_writer=writer)
    except CheckpointException as error:  # which every process gets when one could not write
        raise OSError(f"a shard could not be written: {list(error.failures)[0]}") from error


def read(folder: Path, model: LanguageModel, optimizers: Sequence[Optimizer], *, together: bool) -> None:
    """Reads what `write` wrote, whatever the number of processes was then and is now.

    together: every process of a sharded training reads its shards; else one process reads everything.
    """
    reader = HuggingFaceStorageReader(str(folder))
    weights, tensors = _weights(model), {}
    for name, facts in reader.read_metadata().state_dict_metadata.items():
        if name.startswith(WEIGHTS):
            tensors[name] = weights[name.removeprefix(WEIGHTS)]
        elif together and not name.endswith(".step"):
            tensors[name] = torch.zeros_like(parameter_of(name.removeprefix(MEMORY), optimizers))
        else:
            assert isinstance(facts, TensorStorageMetadata)
            tensors[name] = torch.zeros(facts.size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PyTorch wonders whether one process is meant: it is
        state_dict_loader.load(tensors, storage_reader=reader, no_dist=not together)
    memory = {
        name.removeprefix(MEMORY): value.reshape(()) if name.endswith(".step") else value
        for name, value in tensors.items()
        if name.startswith(MEMORY)
    }
    load_optimizer_tensors(optimizers, memory)


def _weights(model: LanguageModel) -> dict[str, Tensor]:
    """The weights by name, a table that is used twice only once."""
    state = dict(model.state_dict())
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    return state


def read_whole(folder: Path, model: LanguageModel) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Reads a checkpoint of whole tensors for a sharded training. → weights, the optimisers' memories"""
    plain = make_model(model.config)
    load_gpt2_tensors(plain, read_tensors(folder / "weights.safetensors"))
    return dict(plain.state_dict()), read_tensors(folder / "optimizer.safetensors")


def parameter_of(name: str, optimizers: Sequence[Optimizer]) -> Tensor:
    """The parameter that a memory is about. name: as in `optimizer_tensors`"""
    number, index, _ = name.split(".", 2)
    parameters = [p for group in optimizers[int(number)].param_groups for p in group["params"]]
    found: Tensor = parameters[int(index)]
    return found
