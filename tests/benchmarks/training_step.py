"""What a step of training costs: tokens per second and peak memory with each of the knobs, from one run.

    python -m tests.benchmarks.training_step [--preset nano mini] [--compile]

--compile adds torch.compile, which is not an option of training: see the README for what it brought. The last
line is one JSON object.
"""

import argparse
import json
import time
from dataclasses import replace

import torch

from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import PRESETS, preset
from gpt2demo.training.config import planned_memory, recipe
from gpt2demo.training.estimate import random_tokens
from gpt2demo.training.loop import new_state, train
from gpt2demo.training.memory import measure_memory

KNOBS = {
    "fp32": {},
    "bf16": {"precision": "bf16"},
    "checkpointing": {"gradient_checkpointing": True},
    "quantization aware": {"quantization_aware": True},
}
MOST = 1_000_000


def main(arguments=None) -> None:
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    facts = {name: _size(name, options) for name in options.preset}
    print(json.dumps({"threads": options.threads} | facts))


def _options(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", nargs="+", choices=tuple(PRESETS), default=["nano", "mini"])
    parser.add_argument("--vocab-size", type=int, default=1_024)
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--steps", type=int, default=5, help="in each round")
    parser.add_argument("--rounds", type=int, default=4, help="the fastest counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args(arguments)


def _size(name, options):
    """All knobs for one size, in turns so that a busy moment meets all of them."""
    model = preset(name, vocab_size=options.vocab_size)
    runs, facts, trainings = {}, {}, {}
    for knob, settings in (KNOBS | ({"torch.compile": {}} if options.compile else {})).items():
        training = recipe("muon", model, batch_size=options.batch_size, threads=options.threads, **settings)
        trainings[knob] = training
        state = new_state(make_model(model), training)
        began = time.perf_counter()
        if knob == "torch.compile":
            state.model.compile()
        runs[knob] = train(state, random_tokens(model, training, 0), training, steps=MOST)
        for _ in range(3):
            next(runs[knob])
        facts[knob] = {"first_steps_seconds": round(time.perf_counter() - began, 2), "tokens_per_second": 0.0}
    _race(runs, facts, options, options.batch_size * model.n_positions)
    for knob, row in facts.items():
        speed = row["tokens_per_second"]
        line = (
            f"{name:6} {knob:20} {speed:9,.0f} tokens/s ({speed / facts['fp32']['tokens_per_second']:.2f}×)"
        )
        if knob in KNOBS:
            one = replace(trainings[knob], threads=1)
            measured = measure_memory(model, one).allocated
            row |= {"peak_bytes": measured, "predicted_bytes": planned_memory(model, one).peak}
            line += f"  peak {measured / 1e6:7.1f} MB, predicted {row['predicted_bytes'] / 1e6:7.1f} MB"
        print(line)
    return facts


def _race(runs, facts, options, tokens) -> None:
    for _ in range(options.rounds):
        for knob, steps in runs.items():
            began = time.perf_counter()
            for _ in range(options.steps):
                next(steps)
            speed = options.steps * tokens / (time.perf_counter() - began)
            facts[knob]["tokens_per_second"] = max(round(speed, 1), facts[knob]["tokens_per_second"])


if __name__ == "__main__":
    main()
