"""What a GPT-2 is made of and what it costs: parameters, operations and memory, counted with a pencil."""

from gpt2demo.model.config import GPT2Config

BYTES_PER_NUMBER = 4  # everything is kept in 32-bit floats


def parameters_by_part(config: GPT2Config) -> dict[str, int]:
    """How many learned numbers each part has, by closed formulas.

    The four big terms are V·C for tokens, n_positions·C for positions, and per layer 4·C² for attention and
    2·C·4C for the MLP; biases and LayerNorms are counted in.
    """
    C, inner, layers = config.n_embd, config.n_inner, config.n_layer
    return {
        "token embeddings": config.vocab_size * C,
        "position embeddings": config.n_positions * C,
        "attention": layers * (4 * C * C + 4 * C),
        "MLP": layers * (2 * C * inner + inner + C),
        "layer norms": (2 * layers + 1) * 2 * C,
    }


def count_parameters(config: GPT2Config) -> int:
    """All learned numbers together; the tied output head costs nothing of its own."""
    return sum(parameters_by_part(config).values())


def flops_per_token(config: GPT2Config, length: int) -> int:
    """Multiplications and additions of one forward pass, per token, in a text of `length` tokens.

    Two per matrix weight, and 4·C per layer for every earlier token: on average half of `length` of them.
    """
    parts = parameters_by_part(config)
    matrices = parts["attention"] + parts["MLP"] + parts["token embeddings"]
    return 2 * matrices + config.n_layer * 4 * config.n_embd * length // 2


def training_memory(config: GPT2Config, *, batch_size: int, length: int) -> int:
    """About how many bytes training needs: weights, gradients, the optimiser's two averages, activations.

    Per token and layer the backward pass keeps about 16 channels' worth of intermediate results outside
    attention (which is fused and keeps none of its T × T weights) plus those of dropout, and at the top
    three copies of the logits.
    """
    fixed = 4 * count_parameters(config)
    masks = 5 if config.dropout > 0 else 0
    per_layer = (20 + masks) * config.n_embd
    activations = (
        batch_size * length * (config.n_layer * per_layer + 3 * config.vocab_size + 4 * config.n_embd)
    )
    return BYTES_PER_NUMBER * (fixed + activations)
