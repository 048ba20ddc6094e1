"""The Generate tab alone on a page, with the starter model and a count of forward passes, for its test."""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import api

from gpt2demo.generation.engine import Engine
from gpt2demo.runs.exchange import Exchange
from gpt2demo.runs.manager import RunManager
from gpt2demo.runs.models import LoadedModel, ModelStore
from gpt2demo.runs.store import RunStore
from gpt2demo.ui import theme
from gpt2demo.ui.generate_tab import build
from gpt2demo.ui.page import Page, Services

STARTER = Path(__file__).resolve().parents[2] / "assets" / "starter"
PASSES = [0]  # how often any engine has run its model
PAUSE = [0.0]  # seconds that each pass takes longer, for those who want to stop it
FAULTS: list[int] = []  # before which of these runs the program shall fail


def count(engine: Engine) -> Engine:
    run = engine.model.next_logits

    def counted(*values: Any) -> Any:
        PASSES[0] += 1
        time.sleep(PAUSE[0])
        if PASSES[0] in FAULTS:
            raise RuntimeError("the fault that a test asked for")
        return run(*values)

    engine.model.next_logits = counted  # type: ignore[method-assign]
    return engine


def main(folder: Path) -> None:
    made: dict[int, Engine] = {}
    engine_of = LoadedModel.engine

    def counting(self: LoadedModel, precision: str = "fp32") -> Engine:
        engine = engine_of(self, precision)
        return made.setdefault(id(engine), count(engine) if id(engine) not in made else engine)

    LoadedModel.engine = counting  # type: ignore[method-assign]
    store = RunStore(folder / "runs")
    services = Services(
        store=store,
        manager=RunManager(store),
        models=ModelStore(store, STARTER),
        exchange=Exchange(store, folder / "hub"),
        samples=(),
    )
    with gr.Blocks(title="generate") as demo:
        page = Page(services=services, owner=gr.BrowserState(""), ref=gr.State("starter"))
        with gr.Tabs(), gr.Tab("Generate"):
            tab = build(page)

        def passes() -> int:
            """How many forward passes there were."""
            return PASSES[0]

        def slow_down(seconds: float) -> None:
            """Makes each forward pass so much longer."""
            PAUSE[0] = seconds

        def fail_soon() -> int:
            """Lets the program fail after some more tokens."""
            FAULTS.append(PASSES[0] + 30)
            return FAULTS[-1]

        api(passes, api_name="passes")
        api(fail_soon, api_name="fail_soon")
        api(slow_down, api_name="slow_down")
        demo.load(tab.refresh, list(tab.inputs), list(tab.outputs), show_progress="hidden")
        demo.load(None, None, None, js="() => document.body.classList.add('gd-simple')")
    demo.queue(default_concurrency_limit=16).launch(
        server_name="127.0.0.1", theme=theme.theme(), head=theme.head(), footer_links=[], ssr_mode=False
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(Path(place))
    sys.exit(0)
