"""The config.json of a model from elsewhere: what it may say, and what such a model would cost."""

from pathlib import Path

from gpt2demo.errors import FileError, LimitError
from gpt2demo.hub.strict_json import read_json_object
from gpt2demo.model.anatomy import count_parameters
from gpt2demo.model.config import PRESETS, GPT2Config, preset
from gpt2demo.model.memory import FLOAT

MAX_CONFIG_BYTES = 64 * 1024


def read_config(path: Path, *, memory_bytes: int | None = None) -> GPT2Config:
    """Reads the config.json of a model from anywhere, trusting nothing in it.

    memory_bytes: what the model may take in memory; asked before anything is allocated. Raises FileError for
    what is not JSON, ConfigError or LimitError (with the field, its value and the nearest one that works) for
    a model that cannot be.
    """
    if not path.is_file():
        raise FileError(
            "There is no config.json.",
            "It says how many layers, heads and channels the weights belong to.",
            "Add the config.json that came with the weights.",
        )
    config = GPT2Config.from_json(read_json_object(path, max_bytes=MAX_CONFIG_BYTES))
    if memory_bytes is not None:
        check_memory(config, memory_bytes)
    return config


def check_memory(config: GPT2Config, memory_bytes: int) -> None:
    """Refuses a model that would not fit into memory, before anything is allocated. Raises LimitError."""
    need = loading_memory(config)
    if need <= memory_bytes:
        return
    fitting = [
        name for name in PRESETS if loading_memory(preset(name, vocab_size=config.vocab_size)) <= memory_bytes
    ]
    raise LimitError(
        f"This model has {count_parameters(config):,} parameters. "
        f"While it is loaded it takes about {need / 1e9:.1f} GB.",
        f"This machine lends {memory_bytes / 1e9:.1f} GB to a model.",
        f"The largest size with a name that fits is {fitting[-1]}." if fitting else "Choose a smaller model.",
    )


def loading_memory(config: GPT2Config) -> int:
    """How many bytes it takes to load a model: its numbers, and the same once more from the file."""
    return 2 * FLOAT * count_parameters(config)
