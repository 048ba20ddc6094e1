"""Weights are written so that the library reads them, the same bytes each time, and piece by piece."""

import json
import tracemalloc

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from gpt2demo.training.files import read_tensors, replacing, write_tensors

TENSORS = {
    "b.weight": torch.arange(12.0).view(3, 4),
    "a.step": torch.tensor(7.0),
    "turned": torch.arange(6.0).view(2, 3).t(),
    "none": torch.zeros(0, 5),
    "part": torch.arange(100.0)[10:13],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_library_reads_what_was_written(tmp_path, dtype):
    tensors = {name: tensor.to(dtype) for name, tensor in TENSORS.items()}
    write_tensors(tmp_path / "x", tensors, {"step": "3"})
    for found in (load_file(tmp_path / "x"), read_tensors(tmp_path / "x")):
        assert found.keys() == tensors.keys()
        assert all(t.dtype == dtype and torch.equal(t, tensors[n]) for n, t in found.items())
    with safe_open(tmp_path / "x", framework="pt") as file:
        assert file.metadata() == {"format": "pt", "step": "3"}


def test_the_bytes_are_those_of_the_library_apart_from_the_order_of_the_facts(tmp_path):
    tensors = {name: tensor.contiguous() for name, tensor in TENSORS.items()}
    write_tensors(tmp_path / "x", tensors, {})
    assert (tmp_path / "x").read_bytes() == save(tensors, metadata={"format": "pt"})


def test_numbers_of_two_sizes_stay_aligned(tmp_path):
    tensors = {"a": torch.ones(3).half(), "b": torch.ones(3)}
    write_tensors(tmp_path / "x", tensors, {})
    data = (tmp_path / "x").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["b"]["data_offsets"] == [0, 12] and header["a"]["data_offsets"] == [12, 18]
    assert all(torch.equal(t, tensors[n]) for n, t in load_file(tmp_path / "x").items())


def test_a_file_is_not_held_in_memory_while_it_is_written(tmp_path):
    tensors = {str(i): torch.ones(250_000) for i in range(20)}
    tracemalloc.start()
    write_tensors(tmp_path / "x", tensors, {})
    assert tracemalloc.get_traced_memory()[1] < 1_000_000 < (tmp_path / "x").stat().st_size / 10
    tracemalloc.stop()


def test_what_fails_on_the_way_leaves_the_old_file(tmp_path):
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "x") as file:
        file.write(b"new")
        raise RuntimeError
    assert (tmp_path / "x").read_bytes() == b"old"
