"""What a model is made of and how much it computes: parameters and operations, counted with a pencil."""

from bisect import bisect_left
from dataclasses import replace

from gpt2demo.model.config import GPT2Config

LSTM_LAYERS = 2
MAX_BIGRAM_VOCABULARY = 4_096


def parameters_by_part(config: GPT2Config) -> dict[str, int]:
    """How many learned numbers each part has, by closed formulas.

    The four big terms are V·C for tokens, n_positions·C for positions, and per layer 4·C² for attention and
    2·C·F for each MLP; biases and LayerNorms are counted in.
    """
    V, C, F, L, E = config.vocab_size, config.n_embd, config.mlp_width, config.n_layer, config.n_experts
    if config.architecture == "bigram":
        return {"pairs of tokens": V * V}
    if config.architecture == "lstm":
        width = lstm_width(config)
        return {"token embeddings": V * width, "LSTM": _lstm_layers(width)}
    bias = int(config.bias)
    norms = 2 * L + (config.norm == "pre")
    parts = {
        "token embeddings": V * C,
        "position embeddings": config.n_positions * C if config.positions == "learned" else 0,
        "attention": L * (4 * C * C + bias * 4 * C),
        "MLP": L * E * (2 * C * F + bias * (F + C)),
        "router": L * E * C if E > 1 else 0,
        "layer norms": norms * (C + bias * C),
        "output head": (0 if config.tie_word_embeddings else V * C) + V * config.lm_head_bias,
    }
    return {part: count for part, count in parts.items() if count}


def count_parameters(config: GPT2Config) -> int:
    """All learned numbers together; a tied output head costs nothing of its own."""
    return sum(parameters_by_part(config).values())


def lstm_width(config: GPT2Config) -> int:
    """How wide an LSTM must be to have as many parameters as the GPT-2 of the same configuration."""
    wanted = count_parameters(replace(config, architecture="gpt2"))
    return bisect_left(range(1, 8_192), wanted, key=lambda w: config.vocab_size * w + _lstm_layers(w)) + 1


def _lstm_layers(width: int) -> int:
    """Four gates, each with a matrix for what is read and one for the state, and two biases."""
    return LSTM_LAYERS * 4 * (2 * width * width + 2 * width)


def flops_by_part(config: GPT2Config, length: int) -> dict[str, float]:
    """Multiplications and additions of one forward pass, per token, in a text of `length` tokens.

    Two for each weight of a matrix (the n·d² of a text of n tokens), and in attention 4·C per layer for every
    token that is read (its n²·d): half of `length` on average, or what its pattern leaves of them.
    """
    parts = parameters_by_part(config)
    C, V = config.n_embd, config.vocab_size
    if config.architecture == "bigram":
        return {"pairs of tokens": float(V)}
    if config.architecture == "lstm":
        return {"LSTM": 2.0 * parts["LSTM"], "output head": 2.0 * parts["token embeddings"]}
    active = config.experts_per_token / config.n_experts
    flops = {
        "attention: matrices": 2.0 * parts["attention"],
        "attention: tokens × tokens": config.n_layer * 4.0 * C * tokens_read(config, length),
        "MLP": 2.0 * parts["MLP"] * active,
        "router": 2.0 * parts.get("router", 0),
        "output head": 2.0 * V * C,
    }
    return {part: count for part, count in flops.items() if count}


def tokens_read(config: GPT2Config, length: int) -> float:
    """How many tokens a token's attention reads on average in a text of `length` tokens, itself included."""
    window, first = config.attention_window, config.global_tokens

    def read(i: int) -> int:
        if config.attention == "full":
            return i + 1
        near = min(i + 1, window)
        if config.attention == "strided":
            return near + i // window
        return near + (max(0, min(first, i + 1 - window)) if config.attention == "global_local" else 0)

    return sum(map(read, range(length))) / length


def flops_per_token(config: GPT2Config, length: int) -> int:
    """All operations of one forward pass, per token, in a text of `length` tokens."""
    return round(sum(flops_by_part(config, length).values()))
