"""The commands that write with a model and say what its heads do: python -m gpt2demo generate | heads."""

import argparse
import json
import sys
from dataclasses import asdict

import numpy as np

from gpt2demo.commands.models import add_model, find_run, load_model, met_tokens
from gpt2demo.generation.beams import beam_search
from gpt2demo.generation.prompts import Prompt, read_prompt
from gpt2demo.generation.records import TokenStep
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.stopping import stop_watch
from gpt2demo.generation.writing import generate
from gpt2demo.inspection.attention import badges, head_scores
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.packed import PRECISIONS, packed
from gpt2demo.text.tokenizers import Tokenizer


def add_generate(command: argparse.ArgumentParser) -> None:
    """The options of `generate`."""
    command.set_defaults(work=_generate)
    command.description = "Continues a prompt and prints the text as it is written."
    add_model(command)
    command.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="write with the model as it is, or with a copy in fewer bits; default: %(default)s",
    )
    command.add_argument("--prompt", default="", help="what the text begins with")
    command.add_argument("--max-new-tokens", type=int, default=100, metavar="N", help="default: %(default)s")
    command.add_argument(
        "--temperature", type=float, default=0.8, metavar="T", help="0 = always the likeliest"
    )
    command.add_argument("--top-k", type=int, metavar="K", help="choose among the K likeliest tokens only")
    command.add_argument("--top-p", type=float, metavar="P", help="choose among the likeliest that sum to P")
    command.add_argument(
        "--min-p",
        type=float,
        metavar="P",
        help="choose among those at least P times as likely as the likeliest",
    )
    command.add_argument(
        "--repetition-penalty",
        type=float,
        default=1.0,
        metavar="R",
        help="above 1: say less of the same again",
    )
    command.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end where this was written"
    )
    command.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed gives the same text")
    command.add_argument(
        "--beams", type=int, metavar="N", help="follow the N likeliest texts instead of luck"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object per token instead")


def add_heads(command: argparse.ArgumentParser) -> None:
    """The options of `heads`."""
    command.set_defaults(work=_heads)
    command.description = (
        "Measures on random tokens, repeated once, how much of its attention each head gives to the previous "
        "token, to the first token, to an earlier copy of the same token, and to what followed that copy "
        "(an induction head). Prints one line per head and the best of each kind as JSON."
    )
    add_model(command)
    command.add_argument("--seed", type=int, default=0, metavar="S", help="for the random tokens")


def _generate(options: argparse.Namespace) -> None:
    model, tokenizer, _ = load_model(options.model, options.step)
    model = packed(model, options.precision)
    sampling = SamplingConfig(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        min_p=options.min_p,
        repetition_penalty=options.repetition_penalty,
        stop=tuple(options.stop),
        seed=options.seed,
        max_new_tokens=options.max_new_tokens,
    )
    prompt = read_prompt(tokenizer, options.prompt)
    if options.beams is not None:
        _print_beams(model, tokenizer, prompt, options)
        return
    if not options.json:
        print(prompt.text, end="", flush=True)
    for step in generate(model, prompt.ids, sampling, stops=stop_watch(tokenizer, sampling)):
        if options.json:
            print(json.dumps(_token_record(step, tokenizer)), flush=True)
        else:
            sys.stdout.buffer.write(tokenizer.token_bytes(step.id))
            sys.stdout.buffer.flush()
    if not options.json:
        print()


def _print_beams(
    model: LanguageModel, tokenizer: Tokenizer, prompt: Prompt, options: argparse.Namespace
) -> None:
    """The likeliest texts at the end, the best first; with --json all that were followed at each token."""
    steps = beam_search(model, prompt.ids, beams=options.beams, max_new_tokens=options.max_new_tokens)
    for step in steps:
        if options.json:
            beams = [{"ids": beam.ids, "logprob": beam.logprob} for beam in step.beams]
            print(json.dumps({"index": step.index, "beams": beams, "dropped": step.dropped}), flush=True)
    if not options.json:
        for beam in step.beams:
            print(f"{beam.logprob:9.3f}  {prompt.text}{tokenizer.continuation(beam.ids)}")


def _token_record(step: TokenStep, tokenizer: Tokenizer) -> dict[str, object]:
    """A TokenStep with its bytes, as JSON can say it (a cut alternative has the probability null)."""
    record = asdict(step) | {"bytes": tokenizer.token_bytes(step.id).hex()}
    del record["likeliest"]
    record["text"] = tokenizer.continuation([step.id])
    record["top"] = [
        a._asdict() | {"logprob_sampled": a.logprob_sampled if np.isfinite(a.logprob_sampled) else None}
        for a in step.top
    ]
    return record


def _heads(options: argparse.Namespace) -> None:
    model, tokenizer, step = load_model(options.model, options.step)
    scores = head_scores(model, tokens=met_tokens(find_run(options.model)), seed=options.seed)
    labels = badges(scores)
    kinds = ("previous", "first", "duplicate", "induction")
    print("layer head  previous  first  duplicate  induction")
    for layer, head in np.ndindex(scores.previous.shape):
        values = [float(getattr(scores, kind)[layer, head]) for kind in kinds]
        print(
            f"{layer:5} {head:4}  {values[0]:8.3f} {values[1]:6.3f} {values[2]:10.3f} {values[3]:10.3f}"
            f"  {labels[layer][head]}".rstrip()
        )
    best = {kind: round(float(getattr(scores, kind).max()), 3) for kind in kinds}
    print(json.dumps({"model": options.model, "step": step, "best": best}))
