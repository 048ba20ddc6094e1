"""How fast tokens are written: this program's engine against `transformers` and against nanoGPT's way.

    python -m tests.benchmarks.generation [--preset gpt2] [--part alone batch nano] [--rounds 3]

| part  | what is compared, prompt of 32 tokens and 128 new ones                                          |
|-------|-------------------------------------------------------------------------------------------------|
| alone | one text: `transformers` in fp32 and bf16; the engine in fp32, bf16 and int8; memory's own bound |
| batch | eight texts at once against one, in each precision                                              |
| nano  | `nano` at full context against reading the whole context for every token, as nanoGPT does       |

The weights are random: speed does not depend on what they say. The engine writes in a process of its own, as
for the page. All in turn, --rounds times; medians. The
bound is the time that reading the bytes of the weights takes, once for each token. The last line is JSON.
"""

import argparse
import gc
import json
import statistics
import time

import torch
from transformers import GPT2Config as TheirConfig
from transformers import GPT2LMHeadModel

from gpt2demo.generation.remote import Writer
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.model.config import PRESETS, preset
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.packed import PRECISIONS, packed, weight_bytes
from gpt2demo.model.weights import to_gpt2_tensors
from gpt2demo.text.tokenizers import train_tokenizer

PROMPT, NEW = 32, 128
YIELD_SECONDS = 0.14


def main(arguments=None) -> None:
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    facts = {"preset": options.preset, "threads": options.threads}
    writer = Writer()
    try:
        if {"alone", "batch"} & set(options.part):
            facts |= _large(options, writer)
        if "nano" in options.part:
            facts["nano"] = _nano(options, writer)
    finally:
        writer.close()
    print(json.dumps(facts))


def _options(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="gpt2")
    parser.add_argument("--vocab-size", type=int, default=50_257)
    parser.add_argument("--part", nargs="+", default=["alone", "batch", "nano"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(arguments)


def _large(options, writer):
    model = GPT2(preset(options.preset, vocab_size=options.vocab_size)).eval()
    theirs = _theirs(model)
    lanes = {
        "transformers fp32": lambda: _their_speed(theirs, torch.float32),
        "transformers bf16": lambda: _their_speed(theirs, torch.bfloat16),
    }
    sizes = {}
    for precision in PRECISIONS:
        made = packed(model, precision)
        engine = writer.engine(model, _tokenizer(), precision, None)  # as the page does
        sizes[precision] = weight_bytes(made) - weight_bytes(made.wte)  # of the table only a row is read
        if "alone" in options.part:
            lanes[precision] = lambda engine=engine: _speed(engine, 1)
        if "batch" in options.part:
            lanes[f"{precision} × 8"] = lambda engine=engine: _speed(engine, 8)
    speeds = _in_turn(lanes, options.rounds)
    base = speeds["transformers fp32"]
    bandwidth = _bandwidth()
    print(f"memory is read at {bandwidth / 1e9:.1f} GB/s")
    facts = {"tokens_per_second": {name: round(speed, 1) for name, speed in speeds.items()}}
    facts["bandwidth"] = bandwidth
    facts["bound"] = {precision: round(bandwidth / size, 1) for precision, size in sizes.items()}
    if "alone" in options.part:
        facts["of_transformers"] = {p: round(speeds[p] / base, 2) for p in PRECISIONS}
    if {"alone", "batch"} <= set(options.part):
        facts["eight_of_one"] = {p: round(speeds[f"{p} × 8"] / speeds[p], 2) for p in PRECISIONS}
    return facts


def _nano(options, writer):
    model = GPT2(preset("nano", vocab_size=65)).eval()
    engine = writer.engine(model, _tokenizer(), "fp32", 1)
    length = model.config.n_positions
    speeds = _in_turn(
        {
            "no cache": lambda: _no_cache(model, length),
            "engine": lambda: _speed(engine, 1, prompt=length, new=2_000),
        },
        options.rounds,
    )
    return {name: round(speed, 1) for name, speed in speeds.items()} | {
        "ratio": round(speeds["engine"] / speeds["no cache"], 2)
    }


def _tokenizer():
    """Any will do: nothing is turned into text here."""
    return train_tokenizer("char", ["abc"], 65)


def _in_turn(lanes, rounds):
    """→ tokens per second of each lane, the median of all rounds"""
    found = {name: [] for name in lanes}
    for run in lanes.values():
        run()  # the first time everything is slower
    for _ in range(rounds):
        for name, run in lanes.items():
            gc.collect()
            found[name].append(run())
            print(f"{name:20} {found[name][-1]:8.1f} tokens/s", flush=True)
    return {name: statistics.median(each) for name, each in found.items()}


def _speed(engine, texts, prompt=PROMPT, new=NEW):
    began = time.perf_counter()
    streams = [
        engine.write([(7 * i + k) % 65 for i in range(prompt)], SamplingConfig(seed=k, max_new_tokens=new))
        for k in range(texts)
    ]
    written = 0
    while not all(stream.over for stream in streams):
        for stream in streams:  # looked after as often as by a page
            written += len(stream.take(YIELD_SECONDS if stream is streams[0] else 0))
    assert written == texts * new
    return texts * new / (time.perf_counter() - began)


def _theirs(model):
    c = model.config
    config = TheirConfig(
        vocab_size=c.vocab_size,
        n_positions=c.n_positions,
        n_embd=c.n_embd,
        n_layer=c.n_layer,
        n_head=c.n_head,
        eos_token_id=None,
        bos_token_id=None,
    )
    made = GPT2LMHeadModel(config).eval()
    assert not made.load_state_dict(to_gpt2_tensors(model), strict=False).unexpected_keys
    return made


def _their_speed(model, kind):
    model = model.to(kind)
    ids = torch.tensor([[7 * i % 65 for i in range(PROMPT)]])
    began = time.perf_counter()
    model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=True, top_k=0,
        temperature=0.8, pad_token_id=0,
    )  # fmt: skip
    return NEW / (time.perf_counter() - began)


@torch.inference_mode()
def _no_cache(model, length, new=100):
    """The whole context read for each token, then one drawn: nanoGPT's `generate`."""
    ids = torch.randint(65, (1, length))
    began = time.perf_counter()
    for _ in range(new):
        logits = model.next_logits(ids[:, -length:]) / 0.8
        ids = torch.cat([ids, torch.multinomial(logits.softmax(-1), 1)], dim=1)
    return new / (time.perf_counter() - began)


def _bandwidth():
    """Bytes per second that both cores read from memory."""
    data = torch.zeros(100_000_000)
    data.sum()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        data.sum()
        times.append(time.perf_counter() - began)
    return data.nbytes / min(times)


if __name__ == "__main__":
    main()
