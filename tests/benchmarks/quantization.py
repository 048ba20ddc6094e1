"""What fewer bits cost and save: bytes, speed and loss of one model in fp32, bf16 and int8, from one run.

    python -m tests.benchmarks.quantization [--model RUN|starter | --preset gpt2] [--train STEPS]

--train also goes on training the model twice, plainly and rounding to few bits in the forward pass, and
compares what is left of each when it is rounded. The last line is one JSON object.
"""

import argparse
import copy
import json
import time
from dataclasses import replace
from statistics import median

import torch

from gpt2demo.commands.models import find_run
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.writing import generate
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import PRESETS, preset
from gpt2demo.model.packed import PRECISIONS, packed, weight_bytes
from gpt2demo.model.quantized import fake_quantization
from gpt2demo.text.batches import TokenData, batch, encode_corpus
from gpt2demo.training.evaluation import cross_entropy, evaluate

BITS = (8, 4, 3, 2)
RATE = 3e-4  # of AdamW, for a model that has learned already
BATCH = 32


def main(arguments=None) -> None:
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    model, data = _model(options)
    made = {precision: packed(model, precision) for precision in PRECISIONS}
    speeds = _speeds(made, options)
    facts = {}
    for precision, one in made.items():
        loss = _loss(one, data) if data else None
        facts[precision] = {
            "bytes": weight_bytes(one),
            "tokens_per_second": round(speeds[precision], 1),
            "validation_loss": loss,
        }
        print(_line(precision, facts))
    if options.train:
        facts["few_bits"] = _few_bits(model, data, options.train)
    print(json.dumps({"model": options.preset or options.model, "threads": options.threads} | facts))


def _options(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", default="starter", metavar="starter|RUN")
    which.add_argument("--preset", choices=tuple(PRESETS), help="a size with random weights: no loss")
    parser.add_argument("--vocab-size", type=int, default=50_257, help="for --preset")
    parser.add_argument("--tokens", type=int, default=60, help="written in each round")
    parser.add_argument("--rounds", type=int, default=5, help="the median counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--train", type=int, default=0, metavar="STEPS")
    return parser.parse_args(arguments)


def _model(options):
    """The model, and its text where it has one."""
    if options.preset:
        return make_model(preset(options.preset, vocab_size=options.vocab_size)).eval(), None
    run = find_run(options.model)
    model, _ = run.load_model()
    return model, encode_corpus(run.corpus(), run.tokenizer(), length=model.config.n_positions)


def _speeds(made, options) -> dict[str, float]:
    """Tokens per second of each, written in turns so that a busy moment meets all of them."""
    speeds = {precision: [] for precision in made}
    sampling = SamplingConfig(max_new_tokens=options.tokens, seed=1)
    for _ in range(options.rounds + 1):
        for precision, model in made.items():
            began = time.perf_counter()
            for _ in generate(model, [1, 2, 3], sampling):
                pass
            speeds[precision].append(options.tokens / (time.perf_counter() - began))
    return {precision: median(each[1:]) for precision, each in speeds.items()}  # the first warms up


def _line(precision, facts) -> str:
    """One row of the table: what it takes and saves, beside what it costs."""
    own, first = facts[precision], facts["fp32"]
    size, speed = own["bytes"] / first["bytes"], own["tokens_per_second"] / first["tokens_per_second"]
    line = f"{precision:5} {own['bytes'] / 1e6:8.2f} MB ({size:.2f}×)"
    line += f"  {own['tokens_per_second']:8.1f} tokens/s ({speed:.2f}×)"
    if (loss := own["validation_loss"]) is None:
        return line
    return line + f"  loss {loss:.4f} ({loss - first['validation_loss']:+.4f})"


def _loss(model, data: TokenData) -> float:
    length = model.config.n_positions
    return round(evaluate(model, data.validation, length=length, max_tokens=16_384).loss, 4)


def _few_bits(model, data: TokenData, steps: int) -> dict[str, dict[str, float]]:
    """The loss when rounded to so many bits: at once, after more training, after training that rounds."""
    plain = _trained(model, data, steps, bits=None)
    table = {"32": {"as it is": _loss(model, data), "trained on": _loss(plain, data)}}
    print(f"loss by bits: as it is {table['32']['as it is']}, {steps} steps on {table['32']['trained on']}")
    for bits in BITS:
        ways = {"as it is": model, "trained on": plain}
        ways["trained rounding"] = _trained(model, data, steps, bits=bits)
        table[str(bits)] = {}
        for way, one in ways.items():
            with fake_quantization(one, bits=bits):
                table[str(bits)][way] = _loss(one, data)
        print(f"{bits:2} bits: " + ", ".join(f"{way} {loss:.4f}" for way, loss in table[str(bits)].items()))
    return table


def _trained(model, data: TokenData, steps: int, *, bits: int | None):
    model = copy.deepcopy(model).requires_grad_(True)
    model.config = replace(model.config, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    length = model.config.n_positions
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        inputs, targets = batch(data.train, seed=1, step=step, batch_size=BATCH, length=length)
        optimizer.zero_grad()
        if bits is None:
            cross_entropy(model(inputs), targets).backward()
        else:
            with fake_quantization(model, bits=bits):
                cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return model.eval()


if __name__ == "__main__":
    main()
