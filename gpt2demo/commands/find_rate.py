"""The command that tries out learning rates: python -m gpt2demo find-rate."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

import torch

from gpt2demo.commands.train import add_choices, plan_run
from gpt2demo.errors import NotFoundError
from gpt2demo.text.batches import encode_corpus
from gpt2demo.training.config import threads_for_products
from gpt2demo.training.estimate import Estimator
from gpt2demo.training.finder import Suggestion, Trial, search, search_steps, suggest
from gpt2demo.training.memory import memory_for_a_run
from gpt2demo.training.plan import RunPlan

ROWS = 12  # of the table, at most


def add_find_rate(command: argparse.ArgumentParser) -> None:
    """The options of `find-rate`: those of `train` that say what a run is."""
    command.set_defaults(work=_find_rate)
    command.description = (
        "Trains a throwaway model for at most a hundred steps, while the learning rate grows from far too "
        "small to far too large, and suggests one. It takes the options of `train`. The last line printed is "
        "one JSON object with the result."
    )
    add_choices(command)


def _find_rate(options: argparse.Namespace) -> None:
    if not options.text:
        raise NotFoundError(
            "There is no text.", "A search needs one to learn from: --text FILE.", "Name a text file."
        )
    plan = plan_run(options)
    torch.set_num_threads(threads_for_products(plan.model, plan.training))
    trials = _search(plan)
    found = suggest(trials)
    _print_table(trials, found, plan.training.learning_rate)
    print(json.dumps(asdict(found) | {"present": plan.training.learning_rate, "steps": len(trials)}))


def _search(plan: RunPlan) -> list[Trial]:
    length, batches = plan.training.length, plan.training.batches
    data = encode_corpus(plan.corpus, plan.tokenizer, length=length, batches=batches)
    steps = search_steps(Estimator().pace(plan.model, plan.training), plan.training)
    start = plan.start.model if plan.start else None
    memory = memory_for_a_run()
    return list(search(plan.model, plan.training, data, steps=steps, memory_bytes=memory, start=start))


def _print_table(trials: Sequence[Trial], found: Suggestion, present: float) -> None:
    print("    rate   loss  smoothed")
    for trial in trials[:: -(-len(trials) // ROWS)]:
        print(f"{trial.learning_rate:8.1e} {trial.loss:6.3f}  {trial.smoothed:8.3f}")
    explodes = f"it explodes from {found.explodes:.2g} on" if found.explodes else "it never exploded"
    print(f"Suggested: {found.learning_rate:.2g}; these options have {present:.2g}.")
    print(f"The loss is lowest at {found.lowest:.2g}; {explodes}. Only the first steps of a run were tried.")
