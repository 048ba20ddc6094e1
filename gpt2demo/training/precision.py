"""In how many bits a run computes: what that asks of the machine, and how small gradients survive it.

The weights and the optimiser's memory stay in 32 bits whatever is chosen; products of matrices are computed
in 16 (Micikevicius et al. 2018, "Mixed Precision Training").
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.amp.grad_scaler import GradScaler

from gpt2demo.errors import ConfigError
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.quantized import fake_quantization
from gpt2demo.training.config import TrainingConfig

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def device_for(precision: str) -> torch.device:
    """Where such a run computes: on the processor, where it repeats itself to the last bit, or on a GPU.

    Only fp16 needs the GPU: processors have no fast fp16. Raises ConfigError where there is no GPU for it.
    """
    if precision != "fp16":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(
            "precision is 'fp16', but this machine has no GPU for it.",
            "On a processor it must be fp32 or bf16.",
            "The nearest value that works is bf16.",
        )
    return torch.device("cuda")


def make_scaler(model: LanguageModel, config: TrainingConfig) -> GradScaler:
    """What makes gradients larger in fp16, where the smallest would become 0; it leaves others alone.

    bf16 has the range of fp32 and needs no such help. A resumed run begins again with the largest scale and
    halves it until every gradient is finite, which costs no update.
    """
    kind = "cuda" if model.device.type == "cuda" else "cpu"
    return GradScaler(kind, enabled=config.precision == "fp16")


@contextmanager
def computing_in(model: LanguageModel, config: TrainingConfig) -> Iterator[None]:
    """Inside the `with`, the model computes as the run wants it: in fewer bits, or rounded as int8 will be.

    Both passes belong inside: a block that is computed once more must be computed the same way.
    """
    device = model.device
    with ExitStack() as stack:
        if config.quantization_aware:
            stack.enter_context(fake_quantization(model))
        if config.precision in HALVES:
            # each weight is used once, so there is nothing to remember
            stack.enter_context(torch.autocast(device.type, HALVES[config.precision], cache_enabled=False))
        yield
