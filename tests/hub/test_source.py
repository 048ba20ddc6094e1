"""Folders and zip files from anywhere: the model in them is found, fits together, and is the one it was."""

import dataclasses
import json
import os
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from transformers import GPT2Config as TheirConfig
from transformers import GPT2LMHeadModel

from gpt2demo.errors import FileError, LimitError, NotFoundError
from gpt2demo.hub.source import FILES, fitted, open_model
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.weights import load_gpt2_tensors
from gpt2demo.text.tokenizers import Tokenizer, train_tokenizer

TEXT = "the dog sat on the mat"


@pytest.fixture
def shape(tokenizer):
    return GPT2Config(
        vocab_size=tokenizer.vocab_size, n_positions=32, n_embd=8, n_layer=2, n_head=2, dropout=0.0
    )


@pytest.fixture
def folder(foreign, tmp_path, shape, tokenizer):
    return foreign.folder(tmp_path / "my model", foreign.tensors(shape), shape, tokenizer)


@pytest.fixture
def workshop(tmp_path):
    (tmp_path / "workshop").mkdir()
    return tmp_path / "workshop"


def zipped(folder, *, inside="", without=()):
    path = folder.parent / "packed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            if file.name not in without:
                archive.write(file, inside + file.name)
    return path


def logits(found, text=TEXT):
    model = make_model(found.config).eval()
    load_gpt2_tensors(model, found.tensors())
    with torch.no_grad():
        return model(torch.tensor([found.tokenizer.encode(text)]))


@pytest.mark.parametrize("inside", [None, "", "some folder/"])
def test_a_model_comes_from_a_folder_or_a_zip_as_it_was(foreign, folder, workshop, shape, inside):
    source = folder if inside is None else zipped(folder, inside=inside)
    found = open_model(source, workshop=workshop)
    assert found.config == shape and found.notices == ()
    assert found.title == ("my model" if inside is None else "packed")
    ids = torch.tensor([found.tokenizer.encode(TEXT)])
    assert torch.equal(logits(found), foreign.model(shape)(ids))


def test_links_to_files_are_followed_in_a_folder_as_the_hubs_own_cache_has_them(
    folder, tmp_path, workshop, shape
):
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for file in folder.iterdir():
        (snapshot / file.name).symlink_to(file)
    assert open_model(snapshot, workshop=workshop).config == shape


@pytest.mark.parametrize("names", [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")])
def test_gpt2s_own_tokenizer_files_will_do(foreign, tmp_path, workshop, names):
    bpe = train_tokenizer("bpe", [TEXT * 30], 280)
    config = GPT2Config(vocab_size=bpe.vocab_size, n_positions=32, n_embd=8, n_layer=1, n_head=2)
    folder = foreign.folder(tmp_path / "model", foreign.tensors(config), config, bpe)
    (folder / "tokenizer.json").unlink()
    (folder / names[0]).write_text(json.dumps({token: i for i, token in enumerate(bpe.vocabulary)}))
    (folder / names[1]).write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in bpe.merges))
    found = open_model(zipped(folder), workshop=workshop)
    assert found.tokenizer.vocabulary == bpe.vocabulary
    assert found.tokenizer.encode(TEXT) == bpe.encode(TEXT)


def test_what_transformers_saved_writes_the_same_greedy_text(tmp_path, workshop, tokenizer):
    torch.manual_seed(3)
    sizes = {"vocab_size": tokenizer.vocab_size, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
    theirs = GPT2LMHeadModel(TheirConfig(**sizes, initializer_range=0.4)).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer.save(tmp_path / "theirs" / "tokenizer.json")
    found = open_model(tmp_path / "theirs", workshop=workshop)
    ids = torch.tensor([found.tokenizer.encode(TEXT)])
    model = make_model(found.config).eval()
    load_gpt2_tensors(model, found.tensors())
    with torch.no_grad():
        their_ids = theirs.generate(ids, max_new_tokens=40, do_sample=False, pad_token_id=0)
        while ids.size(1) < their_ids.size(1):
            ids = torch.cat([ids, model(ids)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(ids, their_ids)
    assert len(set(ids[0].tolist())) > 5


def test_rows_that_fill_a_table_up_are_left_out_and_that_is_said(
    foreign, tmp_path, workshop, shape, tokenizer
):
    padded = dataclasses.replace(shape, vocab_size=64, tie_word_embeddings=False, lm_head_bias=True)
    tensors = foreign.tensors(padded)
    folder = foreign.folder(tmp_path / "padded", tensors, padded, tokenizer)
    found = open_model(folder, workshop=workshop)
    assert found.config.vocab_size == tokenizer.vocab_size < 64
    assert found.notices == (
        f"{64 - tokenizer.vocab_size} rows of the token table belong to no token and were left out.",
    )
    ids = torch.tensor([found.tokenizer.encode(TEXT)])
    assert torch.equal(logits(found), foreign.model(padded)(ids)[..., : tokenizer.vocab_size])


@pytest.mark.parametrize(
    ("rows", "tokens", "fits"),
    [
        *((50_304, 50_257, True), (51_200, 50_257, True), (50_258, 50_257, True), (128, 65, True)),
        *((50_257, 50_257, True), (50_257, 50_258, False), (50_257, 1_000, False), (65, 60, False)),
        *((128, 64, False), (20, 65, False)),
    ],
)
def test_a_tokenizer_of_another_model_is_refused(rows, tokens, fits):
    class Counted:
        vocab_size = tokens

    config = GPT2Config(vocab_size=rows)
    if fits:
        assert fitted(config, Counted()) == GPT2Config(vocab_size=tokens)
    else:
        with pytest.raises(FileError, match=f"has {tokens:,} tokens, but the model was made for {rows:,}"):
            fitted(config, Counted())


def test_a_wrong_tokenizer_in_a_folder_is_refused(folder, workshop):
    train_tokenizer("char", ["abc"]).save(folder / "tokenizer.json")
    with pytest.raises(FileError, match="The tokenizer has 4 tokens"):
        open_model(folder, workshop=workshop)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_missing_is_named(folder, workshop, name, packed):
    (folder / name).unlink()
    (folder / "README.md").write_text("x")
    with pytest.raises((FileError, NotFoundError), match="tokenizer" if "tok" in name else name):
        open_model(zipped(folder) if packed else folder, workshop=workshop)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pytorch_model.bin", "Python pickles.*convert"),
        ("model.pt", "Python pickles"),
        ("model.safetensors.index.json", "several pieces.*max_shard_size"),
        ("model-q4.gguf", "GGUF.*gguf_file"),
        ("notes.txt", "no model.safetensors.*Choose one that has all three"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_weights_in_another_form_are_told_how_to_become_safetensors(folder, workshop, name, says, packed):
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(FileError, match=says):
        open_model(zipped(folder) if packed else folder, workshop=workshop)


def test_a_pytorch_file_is_recognised_although_it_is_a_zip(tmp_path, workshop):
    torch.save({"a": torch.ones(2)}, tmp_path / "model.pt")
    with pytest.raises(FileError, match="Python pickles"):
        open_model(tmp_path / "model.pt", workshop=workshop)


def test_a_lone_file_is_not_enough(folder, tmp_path, workshop):
    with pytest.raises(FileError, match="holds weights only"):
        open_model(folder / "model.safetensors", workshop=workshop)
    with pytest.raises(FileError, match="is a GGUF file"):
        (tmp_path / "m.gguf").write_bytes(b"GGUF" + b"\0" * 40)
        open_model(tmp_path / "m.gguf", workshop=workshop)
    with pytest.raises(NotFoundError, match="There is no nothing"):
        open_model(tmp_path / "nothing", workshop=workshop)


def test_a_damaged_file_in_a_zip_is_named(folder, workshop):
    path = zipped(folder)
    data = bytearray(path.read_bytes())
    data[data.index(b"__metadata__") + 1_500] ^= 4
    path.write_bytes(data)
    with pytest.raises(FileError, match="model.safetensors in packed.zip is damaged"):
        open_model(path, workshop=workshop)


def test_limits_are_kept(folder, workshop):
    with pytest.raises(LimitError, match="when it is unpacked"):
        open_model(zipped(folder), workshop=workshop, max_bytes=1_000)
    with pytest.raises(LimitError, match="lends 0.0 GB"):
        open_model(folder, workshop=workshop, memory_bytes=1_000)


def test_shapes_are_looked_at_first(foreign, folder, workshop, shape):
    tensors = foreign.tensors(shape)
    tensors["transformer.ln_f.bias"] = torch.ones(9)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(FileError, match="ln_f.bias .* has the shape 9"):
        open_model(folder, workshop=workshop)


def test_numbers_are_looked_at_last_and_nan_is_named(foreign, folder, workshop, shape):
    tensors = foreign.tensors(shape)
    tensors["transformer.ln_f.bias"][3] = torch.inf
    save_file(tensors, folder / "model.safetensors")
    found = open_model(folder, workshop=workshop)
    with pytest.raises(FileError, match="ln_f.bias .* NaN or infinity"):
        found.tensors()


def test_the_steps_of_a_foreign_tokenizer_are_not_taken(folder, workshop, tokenizer):
    content = json.loads((folder / "tokenizer.json").read_text())
    content["padding"] = {"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_id": 0}
    content["normalizer"] = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "x"}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    found = open_model(folder, workshop=workshop)
    assert found.tokenizer.to_json() == tokenizer.to_json()
    assert len(found.notices) == 1 and "not taken over: normalizer, padding." in found.notices[0]


@pytest.mark.parametrize(
    ("steps", "noticed"),
    [
        ({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}, False),
        ({"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}, True),
        ({"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}, True),
    ],
)
def test_gpt2s_own_way_of_saying_its_steps_is_no_surprise(foreign, tmp_path, workshop, steps, noticed):
    bpe = train_tokenizer("bpe", [TEXT * 30], 280)
    config = GPT2Config(vocab_size=bpe.vocab_size, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    folder = foreign.folder(tmp_path / "model", foreign.tensors(config), config, bpe)
    assert open_model(folder, workshop=workshop).notices == ()
    content = json.loads((folder / "tokenizer.json").read_text()) | {"pre_tokenizer": steps}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert bool(open_model(folder, workshop=workshop).notices) is noticed


def test_only_listed_files_leave_a_zip(folder, workshop):
    (folder / "modeling_gpt2.py").write_text("import os")
    (folder / "tokenizer_config.json").write_text("{}")
    found = open_model(zipped(folder), workshop=workshop)
    assert (
        {p.name for p in workshop.iterdir()}
        == {"config.json", "model.safetensors", "tokenizer.json"}
        < {*FILES}
    )
    assert found.notices == ("2 other files in the zip were not looked at.",)


@pytest.mark.parametrize("name", ["a\nb<img src=x>.zip", "x" * 200 + ".zip"])
def test_a_title_from_a_file_name_is_one_short_line(folder, workshop, name):
    path = folder.parent / name
    os.rename(zipped(folder), path)
    title = open_model(path, workshop=workshop).title
    assert title.isprintable() and 0 < len(title) <= 80
    assert isinstance(Tokenizer.load(folder / "tokenizer.json"), Tokenizer)
