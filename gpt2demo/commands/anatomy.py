"""The command that says what a size is made of and what it costs: python -m gpt2demo anatomy."""

import argparse
import json
from collections import Counter
from dataclasses import asdict, replace

import torch

from gpt2demo.commands.shape import add_shape, shape_of
from gpt2demo.errors import check_range
from gpt2demo.model.anatomy import LSTM_LAYERS, count_parameters, flops_by_part, parameters_by_part
from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.training.config import PRECISIONS, TrainingConfig, check_fits, planned_memory, recipe
from gpt2demo.training.memory import measure_memory, memory_for_a_run

GPT2_VOCABULARY = 50_257
BATCH = 12
NAMES = {  # what stands in the names of the parameters of each part; the first that fits
    "wte.": "token embeddings",
    "wpe.": "position embeddings",
    ".attn.": "attention",
    ".router.": "router",
    ".mlp.": "MLP",
    "ln_": "layer norms",
    "lm_head.": "output head",
    "rnn.": "LSTM",
}
TOKENS_BY_TOKENS = "attention: tokens × tokens"


def add_anatomy(command: argparse.ArgumentParser) -> None:
    """The options of `anatomy`."""
    command.set_defaults(work=_anatomy)
    command.description = (
        "Prints how many parameters each part of a GPT-2 has, by formula and by counting, how much it "
        "computes for each token, and how much memory training and writing take. The last line is one "
        "JSON object."
    )
    command.add_argument("--vocab-size", type=int, default=GPT2_VOCABULARY, metavar="N", help="tokens known")
    command.add_argument("--length", type=int, metavar="T", help="tokens in a text; default: the context")
    command.add_argument("--batch-size", type=int, default=BATCH, metavar="B", help="default: %(default)s")
    command.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: %(default)s")
    add_shape(command, usual="gpt2")
    command.add_argument(
        "--measure", action="store_true", help="train two steps, too, and see how much memory they take"
    )


def _anatomy(options: argparse.Namespace) -> None:
    model = shape_of(options, options.vocab_size, usual="gpt2")
    length = model.n_positions if options.length is None else options.length
    check_range("length", length, 2, model.n_positions, integer=True)
    settings = {"batch_size": options.batch_size, "length": length, "precision": options.precision}
    training = recipe("adamw", model, threads=1, **settings)
    facts = {
        "preset": options.preset or "gpt2",
        "variants": model.variants,
        "vocab_size": model.vocab_size,
    } | settings
    facts |= {"parameters": _show_parameters(model), "flops_per_token": _show_flops(model, length)}
    facts |= _show_memory(model, training, measure=options.measure)
    print(json.dumps(facts))


def formulas(config: GPT2Config) -> dict[str, str]:
    """How many parameters each part has, in letters.

    d is n_embd, d_ff the width inside an MLP, L the layers, V the vocabulary, n the positions, E the experts,
    w the width of an LSTM.
    """
    bias = config.bias
    mlp = "(2·d·d_ff + d_ff + d)" if bias else "2·d·d_ff"
    head = [] if config.tie_word_embeddings else ["V·d"]
    return {
        "token embeddings": "V·w" if config.architecture == "lstm" else "V·d",
        "position embeddings": "n·d",
        "attention": "L·(4·d² + 4·d)" if bias else "L·4·d²",
        "MLP": f"L·E·{mlp}" if config.n_experts > 1 else f"L·{mlp}",
        "router": "L·E·d",
        "layer norms": ("(2·L + 1)" if config.norm == "pre" else "2·L") + ("·2·d" if bias else "·d"),
        "output head": " + ".join([*head, "V"] if config.lm_head_bias else head),
        "LSTM": f"{LSTM_LAYERS}·4·(2·w² + 2·w)",
        "pairs of tokens": "V²",
    }


def counted_by_part(config: GPT2Config) -> dict[str, int]:
    """How many parameters each part has, counted in a model that is built without room for its numbers."""
    with torch.device("meta"):
        model = make_model(config)
    counts: Counter[str] = Counter()
    names = NAMES | ({"wte.": "pairs of tokens"} if config.architecture == "bigram" else {})
    for name, parameter in model.named_parameters():  # a tied table comes once
        counts[next(part for sign, part in names.items() if sign in name)] += parameter.numel()
    return dict(counts)


def _show_parameters(model: GPT2Config) -> dict[str, object]:
    by_formula, counted, letters = parameters_by_part(model), counted_by_part(model), formulas(model)
    print(f"{'parameters':22} {'formula':26} {'reckoned':>15} {'counted':>15}")
    for part, count in counted.items():
        print(f"{part:22} {letters[part]:26} {by_formula[part]:15,} {count:15,}")
    totals: dict[str, object] = {}
    both = (("tied", True), ("untied", False)) if model.architecture == "gpt2" else (("together", True),)
    for word, tied in both:
        whole = replace(model, tie_word_embeddings=tied)
        total = totals[word] = sum(counted_by_part(whole).values())
        about = "one table reads and writes" if tied else "+ V·d to write with"
        print(f"{'all, ' + word:22} {about:26} {count_parameters(whole):15,} {total:15,}")
    return totals | {"reckoned": by_formula, "counted": counted}


def _show_flops(model: GPT2Config, length: int) -> dict[str, float]:
    """Of one forward pass: what grows with the text alone (n·d²), and with its square (n²·d)."""
    flops = flops_by_part(model, length)
    split = {"attention": flops.pop(TOKENS_BY_TOKENS, 0.0)}
    split = {"matrices": sum(flops.values())} | split
    print(f"\noperations for each token of {length:,}")
    for word, formula in (("matrices", "n·d² of a text of n tokens"), ("attention", "n²·d")):
        print(f"{word:22} {formula:26} {split[word]:15,.0f} {split[word] / sum(split.values()):15.1%}")
    return split


def _show_memory(model: GPT2Config, training: TrainingConfig, *, measure: bool) -> dict[str, object]:
    predicted = asdict(planned_memory(model, training))
    print(f"\nmemory: AdamW, {training.batch_size} × {training.length} tokens, {training.precision}")
    for part, size in predicted.items():
        print(f"{part.replace('_', ' '):22} {size / 1e6:13,.1f} MB")
    if not measure:
        return {"memory": predicted}
    check_fits(model, training, memory_bytes=memory_for_a_run())
    measured = measure_memory(model, training)
    print(f"{'measured peak':22} {measured.allocated / 1e6:13,.1f} MB")
    return {"memory": predicted, "measured": asdict(measured)}
