"""The command line: python -m gpt2demo train | find-rate | generate | read | inspect | heads | …"""

import argparse
import sys
from collections.abc import Sequence

from gpt2demo.commands import anatomy, exchange, find_rate, inspect, look, precision, read, train
from gpt2demo.errors import UserError


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m gpt2demo",
        description="Train a GPT-2 on your own text, write with it, look inside it.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train.add_train(commands.add_parser("train", help="train a model on a text, or continue a run"))
    find_rate.add_find_rate(commands.add_parser("find-rate", help="try out learning rates for a run"))
    look.add_generate(commands.add_parser("generate", help="let a model write"))
    read.add_read(commands.add_parser("read", help="read a text through a model's eyes"))
    precision.add_precision(commands.add_parser("precision", help="measure what fewer bits cost"))
    inspect.add_inspect(commands.add_parser("inspect", help="look inside a model, and save what is there"))
    look.add_heads(commands.add_parser("heads", help="measure what each attention head does"))
    anatomy.add_anatomy(commands.add_parser("anatomy", help="what a size is made of, and what it costs"))
    exchange.add_export(commands.add_parser("export", help="pack a model for other programs and machines"))
    exchange.add_import(commands.add_parser("import", help="take in a model from a file or the Hub"))
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. → exit status; what a person did wrong is told in three sentences, with status 2"""
    options = parser().parse_args(arguments)
    try:
        options.work(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
