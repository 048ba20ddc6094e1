"""The entry point of the page: `python app.py` here, and what a Hugging Face Space runs."""

import argparse
import importlib.util
import os
from pathlib import Path

from starlette.middleware import Middleware

from gpt2demo.generation.remote import Writer
from gpt2demo.hub.download import MAX_BYTES_FOR_VISITORS
from gpt2demo.hub.source import MOST_BYTES
from gpt2demo.runs.exchange import Exchange, default_cache
from gpt2demo.runs.manager import RunManager
from gpt2demo.runs.models import ModelStore
from gpt2demo.runs.quotas import Quotas
from gpt2demo.runs.store import RunStore
from gpt2demo.text.samples import sample_texts
from gpt2demo.training.memory import memory_for_a_run
from gpt2demo.ui.app import build
from gpt2demo.ui.caching import LongLived
from gpt2demo.ui.page import Services
from gpt2demo.ui.theme import head, theme

HERE = Path(__file__).resolve().parent
# What runs may take where strangers share the machine, and where nobody else's disk and time are used.
SHARED = Quotas(minutes_per_run=60)
OWN = Quotas(bytes_per_owner=100_000_000_000, bytes_in_all=100_000_000_000)
VISITORS = 200  # sessions remembered at once
# A text that is written holds one of gradio's threads from its first token to its last, also while it waits
# for its turn; with gradio's usual 40 a class that writes would keep everybody else from looking at anything.
THREADS = 2 * VISITORS
GATE_BYTES = 600_000_000  # the smallest GPT-2 fits; larger uploads end at the door, the core judges the rest


def parser() -> argparse.ArgumentParser:
    """The options of the page."""
    options = argparse.ArgumentParser(description="Open gpt2demo's page.")
    options.add_argument(
        "--runs", type=Path, default=HERE / "runs", help="folder for runs; default: %(default)s"
    )
    options.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        metavar="FOLDER",
        help="where models from the Hub are kept; default: %(default)s",
    )
    options.add_argument(
        "--slots", type=int, default=1, metavar="N", help="runs that train at a time, on two cores each; 1"
    )
    _add_quotas(options)
    options.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
    options.add_argument("--port", type=int, default=int(os.environ.get("GRADIO_SERVER_PORT", "7860")))
    return options


def _add_quotas(options: argparse.ArgumentParser) -> None:
    """What a run may take; each option can also be set as a variable of the environment, as on a Space."""
    usual = SHARED if is_shared() else OWN
    group = options.add_argument_group("quotas", "also as variables: GPT2DEMO_MINUTES_PER_RUN and so on")
    for name, default, help in (
        ("minutes-per-run", usual.minutes_per_run, "minutes for which a run may train"),
        ("minutes-per-turn", usual.minutes_per_turn, "minutes after which it makes way while others wait"),
        ("runs-per-owner", usual.runs_per_owner, "runs that one browser may keep"),
        ("gigabytes-per-owner", usual.bytes_per_owner / 1e9, "disk that the runs of one browser may fill"),
        ("gigabytes-in-all", usual.bytes_in_all / 1e9, "disk that all runs may fill"),
    ):
        variable = "GPT2DEMO_" + name.upper().replace("-", "_")
        set_there = os.environ.get(variable, f"{default:g}")  # argparse reads it as it reads an option
        kind = int if name.startswith("runs") else float
        group.add_argument(
            f"--{name}", type=kind, default=set_there, metavar="N", help=f"{help}; %(default)s"
        )


def speaks_mcp() -> bool:
    """True where the package of the Model Context Protocol is installed: the endpoints are tools as well."""
    return importlib.util.find_spec("mcp") is not None


def is_shared() -> bool:
    """True on a Space: a machine that strangers share."""
    return "SPACE_ID" in os.environ


def quotas(options: argparse.Namespace) -> Quotas:
    """What the options allow."""
    return Quotas(
        runs_per_owner=options.runs_per_owner,
        bytes_per_owner=int(1e9 * options.gigabytes_per_owner),
        bytes_in_all=int(1e9 * options.gigabytes_in_all),
        minutes_per_run=options.minutes_per_run,
        minutes_per_turn=options.minutes_per_turn,
    )


def main() -> None:
    """Builds the page from its parts and serves it until it is stopped; runs in training go on."""
    options = parser().parse_args()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # no request to anybody, ever
    memory = memory_for_a_run() // max(1, options.slots)
    store = RunStore(options.runs, quotas=quotas(options), memory_bytes=memory)
    manager = RunManager(store, slots=max(1, options.slots))
    most = MAX_BYTES_FOR_VISITORS if is_shared() else MOST_BYTES  # there the smallest GPT-2 is enough
    exchange = Exchange(store, options.cache, max_bytes=most)
    writer = Writer()
    services = Services(
        store=store,
        manager=manager,
        models=ModelStore(store, HERE / "assets" / "starter", writer=writer),
        exchange=exchange,
        samples=sample_texts(HERE / "assets", HERE / "gpt2demo"),
    )
    manager.open()
    writer.start()
    try:
        build(services).queue(max_size=64, default_concurrency_limit=16).launch(
            server_name=options.host,
            server_port=options.port,
            theme=theme(),
            head=head(),
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            enable_monitoring=False,
            max_file_size=GATE_BYTES,
            app_kwargs={"middleware": [Middleware(LongLived)]},
            max_threads=THREADS,
            mcp_server=speaks_mcp(),
            state_session_capacity=VISITORS,
        )
    finally:
        manager.close()
        writer.close()


if __name__ == "__main__":
    main()
