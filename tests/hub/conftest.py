"""Small models as other programs store them, and files that are built to do harm."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.weights import to_gpt2_tensors
from gpt2demo.text.tokenizers import Tokenizer, train_tokenizer

SHAPE = GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2, dropout=0.0)
WORDS = "the cat sat on the mat, and the dog sat on the log.\n" * 40


def a_model(config: GPT2Config = SHAPE, *, seed: int = 1) -> LanguageModel:
    """A model in which every part counts: a fresh one is nearly linear and full of zeros."""
    model = make_model(config, seed=seed).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def raw_safetensors(header: Any, numbers: bytes = b"", *, length: int | None = None) -> bytes:
    """The bytes of a safetensors file with any header at all."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + numbers


def a_folder(path: Path, tensors: Mapping[str, Tensor], config: GPT2Config, tokenizer: Tokenizer) -> Path:
    """The files of a model, as the Hub has them."""
    path.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), path / "model.safetensors", metadata={"format": "pt"})
    (path / "config.json").write_text(json.dumps(config.to_json()))
    tokenizer.save(path / "tokenizer.json")
    return path


class Foreign:
    """What the tests of this folder use."""

    shape = SHAPE
    model = staticmethod(a_model)
    raw = staticmethod(raw_safetensors)
    folder = staticmethod(a_folder)

    @staticmethod
    def tensors(config: GPT2Config = SHAPE, *, seed: int = 1) -> dict[str, Tensor]:
        """The weights of such a model under GPT-2's names."""
        return to_gpt2_tensors(a_model(config, seed=seed))


@pytest.fixture
def foreign() -> type[Foreign]:
    return Foreign


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """The characters of a few words."""
    return train_tokenizer("char", [WORDS])


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Mapping[str, Tensor]], Path]:
    """(tensors) → the path of a file that holds them."""

    def save(tensors: Mapping[str, Tensor]) -> Path:
        save_file(dict(tensors), tmp_path / "model.safetensors", metadata={"format": "pt"})
        return tmp_path / "model.safetensors"

    return save


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test may reach out: not to the real Hub, not anywhere."""
    connect, looked_up = socket.socket.connect, socket.getaddrinfo

    def guarded(self: socket.socket, address: Any) -> Any:
        assert address[0] == "127.0.0.1", f"a connection to {address}"
        return connect(self, address)

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        assert host in ("127.0.0.1", b"127.0.0.1", "localhost"), f"asked where {host} is"
        return looked_up(host, *rest, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()
