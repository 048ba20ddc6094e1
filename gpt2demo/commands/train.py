"""The command that trains: python -m gpt2demo train."""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from gpt2demo.commands.models import find_run
from gpt2demo.commands.shape import FIELDS as SHAPE
from gpt2demo.commands.shape import USUAL_SIZE, add_shape, shape_of
from gpt2demo.errors import ConfigError, NotFoundError
from gpt2demo.generation.prompts import read_prompt
from gpt2demo.generation.sampling import SamplingConfig
from gpt2demo.generation.writing import generate
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.text.batches import BATCHES
from gpt2demo.text.corpus import Corpus, read_files
from gpt2demo.text.tokenizers import MIN_FREQUENCY, Tokenizer, load_gpt2_tokenizer, train_tokenizer
from gpt2demo.training.config import DECAYS, OPTIMIZERS, PRECISIONS, check_fits, recipe
from gpt2demo.training.distributed import Processes, leave, processes
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.follower import Follower
from gpt2demo.training.loop import TrainStep
from gpt2demo.training.memory import memory_for_a_run
from gpt2demo.training.messages import sums
from gpt2demo.training.plan import LEARNING, RunPlan, Start, options_for
from gpt2demo.training.precision import device_for
from gpt2demo.training.slower import go_slower
from gpt2demo.training.team import Team
from gpt2demo.training.worker import Worker, obey_signals

SAMPLE_TOKENS = 120
SAMPLE_TEMPERATURE = 0.8


def add_train(command: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    command.set_defaults(work=_train)
    command.description = (
        "Trains a model on a text: `train --text FILE --out RUN`. Continues a run that was paused or "
        "interrupted: `train RUN`. The last line printed is one JSON object with the results."
    )
    command.add_argument("run", nargs="?", metavar="RUN", help="the folder of a run to continue")
    command.add_argument(
        "--slower",
        action="store_true",
        help="continue a run that diverged, from before it went wrong, with a tenth of its learning rate",
    )
    command.add_argument("--out", metavar="RUN", help="the folder that the new run shall fill")
    command.add_argument(
        "--shard",
        action="store_true",
        help="under torchrun: spread a model that does not fit one device over all of them",
    )
    add_choices(command)
    command.add_argument(
        "--sample-prompt", metavar="TEXT", help="what the samples written on the way begin with"
    )
    command.add_argument(
        "--snapshot-megabytes", type=float, metavar="MB", help="room for the weights of earlier steps"
    )
    command.add_argument("--title", help="what the run is called on the page")


def add_choices(command: argparse.ArgumentParser) -> None:
    """The options that say what a run learns from, what it is and how it learns."""
    command.add_argument("--text", nargs="+", metavar="FILE", help="text files (.txt, .md) to learn from")
    command.add_argument("--encoding", help="how the files are written, if not in Unicode (e.g. cp1252)")
    command.add_argument(
        "--from",
        dest="start",
        metavar="starter|RUN",
        help="go on from the weights of this model (fine-tuning), with its shape and its tokenizer",
    )
    command.add_argument("--from-step", type=int, metavar="N", help="as they were at this step")
    _add_tokenizer(command)
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
    _add_learning(command)
    command.add_argument("--seed", type=int, metavar="S", help="the same seed gives the same run")
    command.add_argument("--threads", type=int, metavar="N", help="processor threads; default: 2")
    _add_costs(command)
    add_shape(command)


def _add_learning(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("how it learns; what is left out is as the optimizer's recipe has it")
    for name, kind, help in (
        ("learning-rate", float, "the highest learning rate"),
        ("warmup", float, "share of the steps in which the rate rises"),
        ("final-learning-rate", float, "where it ends, as a share of the highest"),
        ("weight-decay", float, "how much weights shrink by themselves"),
        ("gradient-clip", float, "longest gradient allowed; 0: any"),
        ("beta2", float, "how slowly Adam forgets the size of past gradients"),
        ("accumulation", int, "batches read one after the other for one step"),
        ("evaluate-every", int, "steps between two looks at the held-out text"),
        ("patience", int, "looks without a new best after which it ends; 0: never"),
    ):
        group.add_argument(f"--{name}", type=kind, metavar="N" if kind is int else "R", help=help)
    group.add_argument("--decay", choices=DECAYS, help="how the rate falls; wsd: only at the end")


def _add_costs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="in which matrices are multiplied; fp16 on a GPU only; default: bf16 if the processor can",
    )
    command.add_argument(
        "--gradient-checkpointing",
        action="store_true",
        help="keep less in memory and compute it once more",
    )
    command.add_argument(
        "--quantization-aware",
        action="store_true",
        help="round in the forward pass as int8 does, to lose less by it later",
    )


def _add_tokenizer(command: argparse.ArgumentParser) -> None:
    command.add_argument("--tokenizer", choices=("char", "word", "bpe", "gpt2"), help="default: char")
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


def write_sample(model: LanguageModel, tokenizer: Tokenizer, prompt: str, seed: int) -> str:
    """What a model in training writes by itself: the text behind the prompt."""
    sampling = SamplingConfig(temperature=SAMPLE_TEMPERATURE, max_new_tokens=SAMPLE_TOKENS, seed=seed)
    ids = read_prompt(tokenizer, prompt).ids
    return tokenizer.continuation(step.id for step in generate(model, ids, sampling))


def _train(options: argparse.Namespace) -> None:
    with processes(shard=options.shard) as team:
        folder = _folder(options, team)
        if isinstance(team, Processes) and team.rank:
            follower = Follower(folder, team)
            obey_signals(follower.terminate)
            follower.shift()
        else:
            _lead(folder, team)
    if team.size > 1:
        leave()


def _folder(options: argparse.Namespace, team: Team) -> RunFolder:
    """The run to train. Of several processes the first one makes it, if it is new."""
    folder = RunFolder(Path(options.run or options.out or ""))
    if team.rank == 0 and options.slower:
        go_slower(RunFolder(Path(options.run or "")))
    if team.rank == 0 and not options.run:
        folder = new_run(options)
    if isinstance(team, Processes):
        sums(0)  # which waits until all are here
        team.check(folder)
    return folder


def _lead(folder: RunFolder, team: Team) -> None:
    """Trains, shows how it goes on a terminal, and prints the result."""
    steps = folder.facts().training.steps
    worker = Worker(folder, write_sample, team)
    obey_signals(worker.terminate)
    for record in worker.shift():
        if sys.stderr.isatty():
            _show_progress(record, steps or folder.journal().status().steps_planned)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    assert worker.outcome is not None
    print(json.dumps({"run": str(folder.path)} | asdict(worker.outcome)))


def new_run(options: argparse.Namespace) -> RunFolder:
    """Makes the folder of the run that these options describe; nothing is trained yet. Raises a UserError."""
    if not options.text or not options.out:
        raise NotFoundError(
            "There is no run to continue and no text to begin with.",
            "train needs either the folder of a run, or --text FILE and --out RUN.",
            "See python -m gpt2demo train --help.",
        )
    return RunFolder.create(Path(options.out), plan_run(options))


def plan_run(options: argparse.Namespace) -> RunPlan:
    """The run that the options of `add_choices` describe, where there is a text. Raises a UserError."""
    corpus = read_files(options.text, options.encoding)
    start = _start(options)
    if start is not None:
        tokenizer, again = find_run(options.start).tokenizer(), tuple[str, ...]()
        model = start.model.config
        if options.dropout is not None:
            model = replace(model, dropout=options.dropout)
    else:
        tokenizer, again = _tokenizer(options, corpus)
        model = shape_of(options, tokenizer.vocab_size)
    names = ["steps", "minutes", "batch_size", "seed", "threads", *LEARNING]
    names += ["sample_prompt", "snapshot_megabytes", "batches"]
    names += ["precision", "gradient_checkpointing", "quantization_aware"]
    changes = {name: getattr(options, name, None) for name in names} | {"length": options.n_positions}
    training = recipe(options.optimizer, model, fine_tuning=start is not None, **changes)
    device_for(training.precision)  # refuses what this machine cannot compute
    check_fits(model, training, memory_bytes=memory_for_a_run())
    return RunPlan(
        title=getattr(options, "title", None) or Path(options.text[0]).stem.replace("_", " "),
        preset=start.preset if start else options.preset or USUAL_SIZE,
        model=model,
        training=training,
        corpus=corpus,
        tokenizer=tokenizer,
        sources=tuple(options.text),
        tokenizer_options=again,
        start=start,
    )


def _start(options: argparse.Namespace) -> Start | None:
    """The model that `--from` names, which brings its own shape and tokenizer."""
    if options.start is None:
        return None
    brought = [name for name in (*SHAPE, "tokenizer", "preset") if getattr(options, name) is not None]
    changed = [name for name in brought if name not in ("dropout", "n_positions")]
    if changed:
        raise ConfigError(
            f"--from {options.start} goes together with {changed[0]}.",
            "A model that goes on learning keeps its shape and its tokenizer.",
            "Leave one of them out.",
        )
    folder = find_run(options.start)
    facts = folder.facts()
    model, step = folder.load_model(options.from_step)
    title = f"{facts.title}, step {step:,}"
    return Start(model=model, name=options.start, title=title, preset=facts.preset, step=options.from_step)


def _tokenizer(options: argparse.Namespace, corpus: Corpus) -> tuple[Tokenizer, tuple[str, ...]]:
    """The tokenizer that was asked for, and the options that ask for the same again."""
    kind = options.tokenizer or "char"
    if kind != "gpt2":
        frequency = options.min_frequency
        tokenizer = train_tokenizer(kind, corpus.texts, options.vocab_size, min_frequency=frequency)
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
