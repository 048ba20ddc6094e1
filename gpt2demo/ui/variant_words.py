"""What a model has instead of what GPT-2 has, in a person's words."""

from gpt2demo.model.config import GPT2Config
from gpt2demo.ui.text import models as words


def differences(config: GPT2Config) -> str:
    """In which ways a model is not OpenAI's GPT-2, in one line: "post-LN · ReLU"."""
    if config.architecture != "gpt2":
        return words.ARCHITECTURES[config.architecture]  # it has none of the parts that the others vary
    found = [text for name, text in _told(config).items() if name in config.variants]
    return " · ".join(found) or words.NO_DIFFERENCE


def construction(config: GPT2Config) -> list[tuple[str, str]]:
    """What a model is made of, part by part; what GPT-2 has differently is marked."""
    kind = words.ARCHITECTURES[config.architecture]
    if config.architecture != "gpt2":
        return [(words.PARTS_NAMES["architecture"], kind)]
    told = _told(config)
    rows = [(words.PARTS_NAMES["architecture"], kind)]
    for name in words.PARTS_NAMES:
        if name in told:
            mark = f" {words.NOT_AS_GPT2}" if name in config.variants else ""
            rows.append((words.PARTS_NAMES[name], told[name] + mark))
    return rows


def _told(config: GPT2Config) -> dict[str, str]:
    """Each part that can be varied and is there, by the name of its field."""
    told = {
        "norm": words.NORMS[config.norm],
        "activation": words.ACTIVATIONS[config.activation],
        "positions": words.POSITIONS[config.positions],
        "attention": words.ATTENTIONS[config.attention].format(
            window=config.attention_window, first=config.global_tokens
        ),
        "bias": words.BIAS[config.bias],
        "tie_word_embeddings": words.TIED[config.tie_word_embeddings],
        "init": words.INITS[config.init],
    }
    if config.n_inner is not None:
        told["n_inner"] = words.WIDTH.format(width=config.n_inner)
    if config.n_experts > 1:
        told["n_experts"] = words.EXPERTS.format(all=config.n_experts, some=config.experts_per_token)
    if config.lm_head_bias:
        told["lm_head_bias"] = words.HEAD_BIAS
    return told
