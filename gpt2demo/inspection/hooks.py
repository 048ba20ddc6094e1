"""Forward hooks that live only inside a `with`, on a model that nobody else is watching."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

from gpt2demo.errors import ConfigError
from gpt2demo.model.block import Block
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.mlp import MLP, MixtureOfExperts, Routing

Guard = AbstractContextManager[object]  # a shared model's lock


class HookAt(NamedTuple):
    """Where a hook is put and what it does: it sees what a module computes and may return another output."""

    module: nn.Module
    work: Callable[..., Any]  # (module, args, output) → None or a new output; `before`: (module, args)
    before: bool = False  # it sees, and may change, what goes in


@contextmanager
def hooked(model: nn.Module, hooks: Iterable[HookAt]) -> Iterator[None]:
    """Inside the `with`, these hooks are on the model, in their order; afterwards none is, whatever happens.

    Hooks belong to the model, not to the caller: hold the model's lock around the whole `with`, or another
    thread's forward pass runs through them too. Raises RuntimeError where somebody's hooks are there already:
    what they change would be mistaken for what the model does.
    """
    if any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
        raise RuntimeError("somebody else's hooks are on this model: hold its lock while you look inside")
    handles = []
    try:
        for module, work, before in hooks:
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            handles.append(register(work))
        yield
    finally:
        for handle in handles:
            handle.remove()


def inspectable(model: LanguageModel) -> GPT2:
    """The model as a GPT-2 in eval mode, which is what can be looked into.

    Raises ConfigError for a model of another kind, ValueError for one in training mode.
    """
    if not isinstance(model, GPT2):
        raise ConfigError(
            f"This model is of the kind {model.config.architecture}.",
            "Only a GPT-2 has attention to look at.",
            "Choose a GPT-2, or let this one write under Generate.",
        )
    if model.training:
        raise ValueError(
            "the model is in training mode, where dropout changes what it does: call model.eval()"
        )
    return model


def blocks(model: GPT2) -> list[Block]:
    """The blocks of a model, from the bottom to the top."""
    return [cast(Block, block) for block in model.h]


def head_matrix(block: Block) -> Tensor:
    """What each head's findings are multiplied with when it writes into the residual stream.  → (H, D, C)

    c_proj takes the heads side by side; its columns, cut into H parts, are one matrix for each.
    """
    weight = block.attn.c_proj.weight  # (C, H·D)
    return weight.T.reshape(block.attn.n_head, -1, weight.size(0))


def neuron_hooks(
    mlp: MLP | MixtureOfExperts, see: Callable[[Tensor | None, int, Tensor], None]
) -> list[HookAt]:
    """Hooks that hand over what the neurons of an MLP said, after the bend and before they are mixed.

    see: called with (None, 0, (B, T, F)), or for each expert of a mixture with the numbers (n,) of the tokens
    that chose it (counted through the batch), the number of its first neuron, and (n, F).
    """
    if isinstance(mlp, MLP):
        return [HookAt(mlp.c_proj, lambda module, args, output: see(None, 0, args[0]))]
    chosen: list[Routing] = []

    def route(module: nn.Module, args: tuple[Tensor, ...], output: Routing) -> None:
        chosen[:] = [output]

    def watch(number: int, expert: MLP) -> HookAt:
        def see_expert(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            tokens = (chosen[0].experts == number).nonzero(as_tuple=True)[0]
            see(tokens, number * args[0].size(-1), args[0])

        return HookAt(expert.c_proj, see_expert)

    experts = [watch(number, cast(MLP, expert)) for number, expert in enumerate(mlp.experts)]
    return [HookAt(mlp.router, route), *experts]
