"""The command line: python -m gpt2demo train | generate | inspect | heads | export | import."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from gpt2demo.cli import add_export, add_import, run_export, run_import
from gpt2demo.errors import NotFoundError, UserError
from gpt2demo.generation.engine import TokenStep, generate
from gpt2demo.generation.prompts import read_prompt
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.inspection.attention import badges, head_scores
from gpt2demo.inspection.capture import MAX_CAPTURE_TOKENS_BY_COMMAND, capture
from gpt2demo.inspection.probe import token_counts
from gpt2demo.model.config import PRESETS, preset
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.text.batches import BATCHES
from gpt2demo.text.corpus import Corpus, read_files
from gpt2demo.text.tokenizers import MIN_FREQUENCY, Tokenizer, load_gpt2_tokenizer, train_tokenizer
from gpt2demo.training.config import OPTIMIZERS, check_fits, recipe
from gpt2demo.training.folder import RunFolder, RunPlan, options_for
from gpt2demo.training.loop import TrainStep
from gpt2demo.training.memory import memory_for_a_run
from gpt2demo.training.worker import Worker, obey_signals

SAMPLE_TOKENS = 120
SAMPLE_TEMPERATURE = 0.8
STARTER = Path(__file__).parent.parent / "assets" / "starter"


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m gpt2demo",
        description="Train a GPT-2 on your own text, write with it, look inside it.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="train a model on a text, or continue a run"))
    _add_generate(commands.add_parser("generate", help="let a model write"))
    _add_inspect(commands.add_parser("inspect", help="save what a model computes for a text"))
    _add_heads(commands.add_parser("heads", help="measure what each attention head does"))
    add_export(commands.add_parser("export", help="pack a model for other programs and machines"))
    add_import(commands.add_parser("import", help="take in a model from a file or the Hub"))
    return top


def _add_train(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Trains a model on a text: `train --text FILE --out RUN`. Continues a run that was paused or "
        "interrupted: `train RUN`. The last line printed is one JSON object with the results."
    )
    command.add_argument("run", nargs="?", metavar="RUN", help="the folder of a run to continue")
    command.add_argument("--text", nargs="+", metavar="FILE", help="text files (.txt, .md) to learn from")
    command.add_argument("--encoding", help="how the files are written, if not in Unicode (e.g. cp1252)")
    command.add_argument("--out", metavar="RUN", help="the folder that the new run shall fill")
    _add_tokenizer(command)
    command.add_argument(
        "--preset", choices=tuple(PRESETS), default="nano", help="size; default: %(default)s"
    )
    command.add_argument("--optimizer", choices=OPTIMIZERS, default="muon", help="default: %(default)s")
    budget = command.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=int, metavar="N", help="how many updates; default: the recipe's")
    budget.add_argument("--minutes", type=float, metavar="M", help="or how long it may take")
    command.add_argument(
        "--batches",
        choices=BATCHES,
        default="packed",
        help="documents end to end, or each paragraph in a row of its own; default: %(default)s",
    )
    command.add_argument("--batch-size", type=int, metavar="N", help="windows of text per step")
    command.add_argument("--context", type=int, metavar="N", help="tokens the model reads at once")
    command.add_argument("--dropout", type=float, metavar="P", help="share of activations silenced")
    command.add_argument("--learning-rate", type=float, metavar="R", help="the highest learning rate")
    command.add_argument("--seed", type=int, metavar="S", help="the same seed gives the same run")
    command.add_argument("--threads", type=int, metavar="N", help="processor threads; default: 2")
    command.add_argument(
        "--sample-prompt", metavar="TEXT", help="what the samples written on the way begin with"
    )
    command.add_argument(
        "--snapshot-megabytes", type=float, metavar="MB", help="room for the weights of earlier steps"
    )
    command.add_argument("--title", help="what the run is called on the page")


def _add_tokenizer(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--tokenizer", choices=("char", "word", "bpe", "gpt2"), default="char", help="default: %(default)s"
    )
    command.add_argument(
        "--vocab-size", type=int, default=1_024, metavar="N", help="for word and bpe; default: %(default)s"
    )
    command.add_argument(
        "--min-frequency",
        type=int,
        default=MIN_FREQUENCY,
        metavar="N",
        help="for word and bpe: how often a word, or a pair to merge, must occur; default: %(default)s",
    )
    command.add_argument(
        "--tokenizer-files",
        metavar="FOLDER",
        help="for gpt2: where its encoder.json and vocab.bpe are, or its tokenizer.json",
    )


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default="starter", metavar="starter|RUN", help="default: %(default)s")
    command.add_argument(
        "--step", type=int, metavar="N", help="the model as it was at this step of its training"
    )


def _add_generate(command: argparse.ArgumentParser) -> None:
    command.description = "Continues a prompt and prints the text as it is written."
    _add_model(command)
    command.add_argument("--prompt", default="", help="what the text begins with")
    command.add_argument("--max-new-tokens", type=int, default=100, metavar="N", help="default: %(default)s")
    command.add_argument(
        "--temperature", type=float, default=0.8, metavar="T", help="0 = always the likeliest"
    )
    command.add_argument("--top-k", type=int, metavar="K", help="choose among the K likeliest tokens only")
    command.add_argument("--top-p", type=float, metavar="P", help="choose among the likeliest that sum to P")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed gives the same text")
    command.add_argument("--json", action="store_true", help="print one JSON object per token instead")


def _add_inspect(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Reads a text with a model and saves the arrays tokens (T,), attention (L, H, T, T) and residual "
        "(L+1, T, C) as a NumPy .npz file."
    )
    _add_model(command)
    command.add_argument("--text", required=True, help="the text to read")
    command.add_argument("--out", required=True, metavar="FILE.npz", help="the file to write")


def _add_heads(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Measures on random tokens, repeated once, how much of its attention each head gives to the previous "
        "token, to the first token, to an earlier copy of the same token, and to what followed that copy "
        "(an induction head). Prints one line per head and the best of each kind as JSON."
    )
    _add_model(command)
    command.add_argument("--seed", type=int, default=0, metavar="S", help="for the random tokens")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. → exit status; what a person did wrong is told in three sentences, with status 2"""
    options = parser().parse_args(arguments)
    commands: dict[str, Callable[[argparse.Namespace], None]] = {
        "train": _train,
        "generate": _generate,
        "inspect": _inspect,
        "heads": _heads,
        "export": _export,
        "import": run_import,
    }
    try:
        commands[options.command](options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    return 0


def write_sample(model: LanguageModel, tokenizer: Tokenizer, prompt: str, seed: int) -> str:
    """What a model in training writes by itself: the text behind the prompt."""
    sampling = SamplingConfig(temperature=SAMPLE_TEMPERATURE, max_new_tokens=SAMPLE_TOKENS, seed=seed)
    ids = read_prompt(tokenizer, prompt).ids
    return tokenizer.continuation(step.id for step in generate(model, ids, sampling))


def _train(options: argparse.Namespace) -> None:
    folder = RunFolder(Path(options.run)) if options.run else _new_run(options)
    steps = folder.facts().training.steps
    worker = Worker(folder, write_sample)
    obey_signals(worker)
    for record in worker.shift():
        if sys.stderr.isatty():
            _show_progress(record, steps or folder.journal().status().steps_planned)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    assert worker.outcome is not None
    print(json.dumps({"run": str(folder.path)} | asdict(worker.outcome)))


def _new_run(options: argparse.Namespace) -> RunFolder:
    if not options.text or not options.out:
        raise NotFoundError(
            "There is no run to continue and no text to begin with.",
            "train needs either the folder of a run, or --text FILE and --out RUN.",
            "See python -m gpt2demo train --help.",
        )
    corpus = read_files(options.text, options.encoding)
    tokenizer, tokenizer_options = _tokenizer(options, corpus)
    model = preset(
        options.preset, vocab_size=tokenizer.vocab_size, n_positions=options.context, dropout=options.dropout
    )
    names = ["steps", "minutes", "batch_size", "learning_rate", "seed", "threads"]
    names += ["sample_prompt", "snapshot_megabytes", "batches"]
    training = recipe(options.optimizer, model, **{name: getattr(options, name) for name in names})
    check_fits(model, training, memory_bytes=memory_for_a_run())
    plan = RunPlan(
        title=options.title or Path(options.text[0]).stem.replace("_", " "),
        preset=options.preset,
        model=model,
        training=training,
        corpus=corpus,
        tokenizer=tokenizer,
        sources=tuple(options.text),
        tokenizer_options=tokenizer_options,
    )
    return RunFolder.create(Path(options.out), plan)


def _tokenizer(options: argparse.Namespace, corpus: Corpus) -> tuple[Tokenizer, tuple[str, ...]]:
    """The tokenizer that was asked for, and the options that ask for the same again."""
    if options.tokenizer != "gpt2":
        frequency = options.min_frequency
        tokenizer = train_tokenizer(
            options.tokenizer, corpus.texts, options.vocab_size, min_frequency=frequency
        )
        again = ("--min-frequency", str(frequency)) if frequency != MIN_FREQUENCY else ()
        return tokenizer, (*options_for(tokenizer), *again)
    if not options.tokenizer_files:
        raise NotFoundError(
            "GPT-2's own tokenizer is not at hand.",
            "It comes in files: encoder.json and vocab.bpe, vocab.json and merges.txt, or tokenizer.json.",
            "Name the folder that holds them with --tokenizer-files FOLDER.",
        )
    files = options.tokenizer_files
    return load_gpt2_tokenizer(files), ("--tokenizer", "gpt2", "--tokenizer-files", files)


def _show_progress(record: TrainStep, steps: int | None) -> None:
    """One line on the terminal, written over and over."""
    done = record.step / steps if steps else 0.0
    bar = "█" * round(24 * done) + "·" * (24 - round(24 * done))
    validation = "" if record.val_loss is None else f"  validation {record.val_loss:.4f}"
    speed = f"{record.tokens_per_second:,.0f} tokens/s"
    line = f"\r{bar} step {record.step}/{steps}  loss {record.train_loss:.4f}  {speed}{validation}"
    print(line, end=" " * 12, file=sys.stderr, flush=True)


def load_model(name: str, step: int | None) -> tuple[LanguageModel, Tokenizer, int]:
    """The model that `--model` and `--step` name. → model, tokenizer, step"""
    folder = find_run(name)
    model, step = folder.load_model(step)
    return model, folder.tokenizer(), step


def find_run(name: str) -> RunFolder:
    """The folder that `--model` names. Raises NotFoundError when there is no run in it."""
    folder = RunFolder(STARTER, read_only=True) if name == "starter" else RunFolder(Path(name))
    folder.facts()
    return folder


def _generate(options: argparse.Namespace) -> None:
    model, tokenizer, _ = load_model(options.model, options.step)
    sampling = SamplingConfig(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
        max_new_tokens=options.max_new_tokens,
    )
    prompt = read_prompt(tokenizer, options.prompt)
    if not options.json:
        print(prompt.text, end="", flush=True)
    for step in generate(model, prompt.ids, sampling):
        if options.json:
            print(json.dumps(_token_record(step, tokenizer)), flush=True)
        else:
            sys.stdout.buffer.write(tokenizer.token_bytes(step.id))
            sys.stdout.buffer.flush()
    if not options.json:
        print()


def _token_record(step: TokenStep, tokenizer: Tokenizer) -> dict[str, object]:
    """A TokenStep with its bytes, as JSON can say it (a cut alternative has the probability null)."""
    record = asdict(step) | {"bytes": tokenizer.token_bytes(step.id).hex()}
    record["text"] = tokenizer.continuation([step.id])
    record["top"] = [
        a._asdict() | {"logprob_sampled": a.logprob_sampled if np.isfinite(a.logprob_sampled) else None}
        for a in step.top
    ]
    return record


def _inspect(options: argparse.Namespace) -> None:
    model, tokenizer, _ = load_model(options.model, options.step)
    ids = read_prompt(tokenizer, options.text).ids
    seen = capture(model, ids, max_tokens=MAX_CAPTURE_TOKENS_BY_COMMAND)
    np.savez(options.out, tokens=seen.tokens, attention=seen.attention, residual=seen.residual)
    layers, heads, tokens, _ = seen.attention.shape
    print(f"{options.out}: {tokens} tokens, attention of {layers} layers × {heads} heads, residual stream")


def _heads(options: argparse.Namespace) -> None:
    model, tokenizer, step = load_model(options.model, options.step)
    try:
        met = np.flatnonzero(token_counts(tokenizer, find_run(options.model).corpus()))
    except NotFoundError:  # a model from elsewhere came without its text
        met = None
    scores = head_scores(model, tokens=met, seed=options.seed)
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


def _export(options: argparse.Namespace) -> None:
    run_export(find_run(options.run), options)


if __name__ == "__main__":
    sys.exit(main())
