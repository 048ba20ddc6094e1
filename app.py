"""The entry point of the page: `python app.py` here, and what a Hugging Face Space runs."""

import argparse
import os
from pathlib import Path

from gpt2demo.hub.download import MAX_BYTES_FOR_VISITORS
from gpt2demo.hub.source import MOST_BYTES
from gpt2demo.runs.exchange import Exchange, default_cache
from gpt2demo.runs.manager import RunManager
from gpt2demo.runs.models import ModelStore
from gpt2demo.runs.store import Quotas, RunStore
from gpt2demo.text.samples import sample_texts
from gpt2demo.ui.app import build
from gpt2demo.ui.page import Services
from gpt2demo.ui.theme import head, theme

HERE = Path(__file__).resolve().parent
OWN_BYTES = 100_000_000_000  # of all runs, where nobody else's disk is filled
VISITORS = 200  # sessions remembered at once
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
    options.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
    options.add_argument("--port", type=int, default=int(os.environ.get("GRADIO_SERVER_PORT", "7860")))
    return options


def main() -> None:
    """Builds the page from its parts and serves it until it is stopped; runs in training go on."""
    options = parser().parse_args()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # no request to anybody, ever
    hosted = "SPACE_ID" in os.environ  # a machine that strangers share: there the smallest GPT-2 is enough
    store = RunStore(options.runs, quotas=Quotas() if hosted else Quotas(bytes_in_all=OWN_BYTES))
    manager = RunManager(store)
    exchange = Exchange(store, options.cache, max_bytes=MAX_BYTES_FOR_VISITORS if hosted else MOST_BYTES)
    services = Services(
        store=store,
        manager=manager,
        models=ModelStore(store, HERE / "assets" / "starter"),
        exchange=exchange,
        samples=sample_texts(HERE / "assets", HERE / "gpt2demo"),
    )
    manager.open()
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
            state_session_capacity=VISITORS,
        )
    finally:
        manager.close()


if __name__ == "__main__":
    main()
