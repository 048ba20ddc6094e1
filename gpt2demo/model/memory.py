"""How much memory a model takes while it learns and while it writes, predicted with a pencil.

What is predicted is the bytes of all tensors that are alive at once. The process takes more: Python and
PyTorch themselves, and room that was given back but is kept for the next step.
"""

from dataclasses import dataclass

from gpt2demo.model.anatomy import LSTM_LAYERS, count_parameters, lstm_width, parameters_by_part
from gpt2demo.model.config import GPT2Config

FLOAT, HALF = 4, 2  # bytes
# An LSTM is computed by oneDNN as a whole, so what it takes was measured and not derived: numbers for each
# token and channel that a layer keeps, and that its backward pass needs besides, and copies of its matrices.
LSTM_KEEPS = {FLOAT: 15.5, HALF: 10.5}
LSTM_WORKS = {FLOAT: 6, HALF: 3}
LSTM_COPIES = 3
BUNDLE = 4_000_000  # numbers that Muon makes orthogonal together at most, or large models would need room
SCRATCH = 12  # bytes that it needs for each of them


@dataclass(frozen=True, kw_only=True)
class MemoryByPart:
    """Bytes of each part when it is at its largest, and of all together when they are.

    The parts are not all there at once: gradients grow while activations are given back.
    """

    weights: int
    gradients: int  # one for each weight
    optimizer: int  # AdamW's two averages for each weight; Muon's one for the matrices inside the blocks
    rounded_weights: int  # copies in fewer bits, which the matrices are multiplied with
    activations: int  # what the forward pass keeps inside the model for the backward pass
    logits: int  # the scores, their logarithms and the gradient of these
    peak: int  # the largest sum at any moment of a step
    kv_cache: int  # while writing a single text: what is remembered of all n_positions


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """Bytes that a forward pass keeps for the backward pass."""

    stream: int  # by each block: its input
    block: int  # by each block, the input counted in
    top: int  # above the blocks, and at the bottom
    layers: int
    working: int  # what the backward pass of one block needs besides


def memory_by_part(
    config: GPT2Config,
    *,
    batch_size: int,
    length: int,
    optimizer: str = "adamw",
    precision: str = "fp32",
    gradient_checkpointing: bool = False,
    quantization_aware: bool = False,
    hands: int = 1,
) -> MemoryByPart:
    """The memory of one step of training with batches of `batch_size` texts of `length` tokens, in bytes.

    That of a run on the processor: fp16, which needs a GPU, is reckoned as bf16.

    optimizer, precision and the rest are words of TrainingConfig; hands: how many threads share the rows of
    a batch, each with gradients of its own. See `_kept_by_a_block` for what is counted.
    """
    tokens, numbers, table = batch_size * length, count_parameters(config), _table(config)
    kept = _kept(config, tokens, length, precision, quantization_aware)
    logits = 3 * FLOAT * tokens * config.vocab_size
    halved, quantized = precision != "fp32", quantization_aware
    rounded = HALF * halved * hands * _multiplied(config) + FLOAT * quantized * _quantized(config)
    weights = FLOAT * numbers
    inside = _in_blocks(config) if optimizer == "muon" else 0
    remembered = FLOAT * (inside + 2 * (numbers - inside))
    held = kept.stream if gradient_checkpointing else kept.block  # by every block, until its backward pass
    again = kept.block - held  # by the one that is computed once more
    all_kept = kept.layers * held
    # Any of these moments can be the worst. The first gradient is the output table's, of V rows; and a table
    # that also reads tokens has two gradients for a moment, before they are added.
    moments = (
        rounded + all_kept + kept.top + logits,  # the gradient of the loss reaches the logits
        rounded + all_kept + kept.top + logits // 3 + hands * table,  # ... the output table
        rounded + all_kept + again + kept.working + hands * table,  # ... the last block
        rounded + kept.block + kept.working + hands * (weights + table),  # ... the first block and the table
        weights + _scratch(config, inside),  # the update
    )
    return MemoryByPart(
        weights=weights,
        gradients=weights,
        optimizer=remembered,
        rounded_weights=rounded,
        activations=all_kept + again + kept.top,
        logits=logits,
        peak=weights + remembered + max(moments),
        kv_cache=kv_cache_bytes(config),
    )


def kv_cache_bytes(config: GPT2Config) -> int:
    """What is remembered of n_positions tokens: a key and a value of C channels in each layer."""
    if config.architecture == "bigram":
        return 0
    if config.architecture == "lstm":  # the state after each token, and before the first
        return 2 * LSTM_LAYERS * (config.n_positions + 1) * lstm_width(config) * FLOAT
    return 2 * config.n_layer * config.n_positions * config.n_embd * FLOAT


def _kept(config: GPT2Config, tokens: int, length: int, precision: str, quantized: bool) -> _Kept:
    number = FLOAT if precision == "fp32" else HALF  # of what comes out of a product of matrices
    dropout = config.dropout > 0
    C, F = config.n_embd, config.mlp_width
    if config.architecture == "bigram":
        return _Kept(stream=0, block=0, top=0, layers=0, working=0)
    if config.architecture == "lstm":
        W = lstm_width(config)
        layer = int(tokens * W * FLOAT * (LSTM_KEEPS[number] + 1 + 2 * dropout))
        top = tokens * W * (FLOAT + number)
        working = (LSTM_WORKS[number] * tokens * W + LSTM_COPIES * 8 * W * W) * FLOAT
        return _Kept(stream=layer, block=layer, top=top, layers=LSTM_LAYERS, working=working)
    block = tokens * _kept_by_a_block(config, length, precision, quantized)
    if config.attention != "full":
        block += length * length * FLOAT  # the mask, which all heads and texts share
    top = tokens * C * (FLOAT + number + FLOAT * dropout)
    working = tokens * number * (C + F * config.experts_per_token) + tokens * C * FLOAT
    return _Kept(stream=tokens * C * FLOAT, block=block, top=top, layers=config.n_layer, working=working)


def _kept_by_a_block(config: GPT2Config, length: int, precision: str, quantized: bool) -> int:
    """Bytes for each token that a block keeps for its backward pass.

    | what                                              | numbers   |                                     |
    |---------------------------------------------------|-----------|-------------------------------------|
    | the stream before attention and before the MLP    | 2·C       | always in 32 bits                   |
    | both after their LayerNorm                        | 2·C       |                                     |
    | queries, keys, values                             | 3·C       | always in 32 bits; rotary: 3·C more |
    | what attention found, and its normalisation       | C + H     | always in 32 bits; bf16: C more     |
    | inside the MLP, before and after the bend         | 2·F       | relu: F; for each expert 3·C more   |
    | dropout: attention weights before, after, mask    | 3·H·T     | the fused kernel keeps none of them |
    | dropout: what was silenced                        | 2·C       |                                     |
    """
    C, F, H, K = config.n_embd, config.mlp_width, config.n_head, config.experts_per_token
    number = FLOAT if precision == "fp32" else HALF
    dropout = config.dropout > 0
    hidden = F if config.activation == "relu" else 2 * F
    experts = K * (3 * C + hidden) if config.n_experts > 1 else hidden
    kept = 2 * C * FLOAT + (3 * C + experts) * number + 3 * C * FLOAT
    if config.positions == "rotary":
        kept += 3 * C * (FLOAT if dropout else number)
    if quantized:  # attention's result before it was rounded as well
        kept += C * number
    if dropout:
        return kept + 3 * H * length * FLOAT + (1 + K) * C * number
    return kept + H * FLOAT + C * FLOAT * (number == HALF)


def _table(config: GPT2Config) -> int:
    """Bytes of a gradient of the token table, a row for each token of the vocabulary."""
    parts = parameters_by_part(config)
    return FLOAT * max(parts.get("token embeddings", 0), parts.get("pairs of tokens", 0))


def _in_blocks(config: GPT2Config) -> int:
    """How many weights are in matrices inside the blocks, which Muon trains."""
    if config.architecture == "bigram":
        return 0
    if config.architecture == "lstm":
        return LSTM_LAYERS * 8 * lstm_width(config) ** 2
    C, F = config.n_embd, config.mlp_width
    return config.n_layer * (4 * C * C + config.n_experts * 2 * C * F)


def _multiplied(config: GPT2Config) -> int:
    """How many weights are in products of matrices: those of the blocks and the output table."""
    return 0 if config.architecture == "bigram" else _in_blocks(config) + _table(config) // FLOAT


def _quantized(config: GPT2Config) -> int:
    """How many weights training for int8 rounds: linear layers and token tables, but not inside an LSTM."""
    tables = _table(config) // FLOAT * (1 if config.tie_word_embeddings else 2)
    return tables + (_in_blocks(config) if config.architecture == "gpt2" else 0)


def _scratch(config: GPT2Config, inside: int) -> int:
    """Bytes that Muon needs for a bundle of matrices: their updates, and halves that become orthogonal."""
    if not inside:
        return 0
    if config.architecture == "lstm":
        return SCRATCH * _bundle(inside, 4 * lstm_width(config) ** 2)
    C, F = config.n_embd, config.mlp_width
    return SCRATCH * max(
        _bundle(config.n_layer * 4 * C * C, 3 * C * C),
        _bundle(config.n_layer * config.n_experts * 2 * C * F, C * F),
    )


def _bundle(numbers: int, largest: int) -> int:
    """How many numbers Muon works on at once. largest: of a single matrix."""
    return min(numbers, max(BUNDLE, largest))
