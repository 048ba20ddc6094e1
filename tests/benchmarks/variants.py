"""Trains every variant for the same time on the same text, and prints what came of it as a table.

python -m tests.benchmarks.variants --text FILE [--seconds 60] [--preset nano] [--only NAME …]

Each run is the `train` command in a process of its own, with its defaults but for the one thing that the row
names. The table goes to standard output in Markdown, its last line is the same as JSON. The losses depend on
how fast this machine is: all of them got the same time, not the same number of steps.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

VARIANTS: dict[str, tuple[str, ...]] = {
    "GPT-2": (),
    "post-LN": ("--norm", "post"),
    "exact GELU": ("--activation", "gelu"),
    "ReLU": ("--activation", "relu"),
    "MLP twice as wide as the channels": ("--n-inner", "256"),
    "sinusoidal positions": ("--positions", "sinusoidal"),
    "rotary positions": ("--positions", "rotary"),
    "no positions": ("--positions", "none"),
    "local attention, 16 tokens": ("--attention", "local"),
    "strided attention, 8 tokens": ("--attention", "strided", "--attention-window", "8"),
    "global + local attention, 4 and 16 tokens": ("--attention", "global_local", "--global-tokens", "4"),
    "one head": ("--n-head", "1"),
    "4 experts, 1 per token": ("--n-experts", "4"),
    "4 experts, 2 per token": ("--n-experts", "4", "--experts-per-token", "2"),
    "untied output": ("--no-tie-word-embeddings",),
    "bias on the scores": ("--lm-head-bias",),
    "no biases": ("--no-bias",),
    "Xavier's start": ("--init", "xavier"),
    "dropout 0.1": ("--dropout", "0.1"),
    "AdamW instead of Muon": ("--optimizer", "adamw"),
    "LSTM": ("--architecture", "lstm"),
    "bigram table": ("--architecture", "bigram"),
}
COLUMNS = ("variant", "validation loss", "tokens/s", "steps", "parameters", "seconds")


def measure(options: argparse.Namespace, names: Iterable[str]) -> Iterable[dict[str, Any]]:
    """One finished run after another, as rows of the table."""
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "gpt2demo", "train", "--text", options.text]
            command += ["--preset", options.preset, "--minutes", str(options.seconds / 60)]
            command += ["--threads", str(options.threads), "--seed", str(options.seed)]
            command += ["--out", str(Path(folder) / "run"), *VARIANTS[name]]
            done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        outcome = json.loads(done.stdout.splitlines()[-1])
        yield {
            "variant": name,
            "options": " ".join(VARIANTS[name]),
            "validation loss": round(outcome["val_loss"], 4),
            "tokens/s": round(outcome["tokens_per_second"]),
            "steps": outcome["step"],
            "parameters": outcome["parameters"],
            "seconds": round(outcome["seconds"], 1),
        }


def line(cells: Iterable[object]) -> str:
    """A row of a table in Markdown."""
    return "| " + " | ".join(f"{c:,}" if isinstance(c, int) else str(c) for c in cells) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints each row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--text", required=True, metavar="FILE", help="what all of them learn from")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each; default: %(default)s")
    parser.add_argument("--preset", default="nano", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1337, help="default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=tuple(VARIANTS), default=tuple(VARIANTS), metavar="NAME")
    options = parser.parse_args(arguments)
    print(line(COLUMNS), line(["---"] * len(COLUMNS)), sep="\n", flush=True)
    rows = []
    for row in measure(options, options.only):
        rows.append(row)
        print(line(row[column] for column in COLUMNS), flush=True)
    print(json.dumps({"text": Path(options.text).name, "preset": options.preset, "rows": rows}))


if __name__ == "__main__":
    main()
