"""The Train tab alone on a page, with real workers, for its browser test."""

import secrets
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from gpt2demo.text.samples import SampleText
from gpt2demo.ui import theme
from gpt2demo.ui.page import Page
from gpt2demo.ui.train_tab import build
from tests.ui.little_runs import TEXT, make_services


def main(folder: Path) -> None:
    file = folder / "cats.txt"
    file.write_text(TEXT * 20, encoding="utf-8")
    sample = SampleText(key="cats", title="Cats", about="Two sentences, again and again.", files=(file,))
    services = replace(make_services(folder), samples=(sample,))
    services.manager.open()
    with gr.Blocks(title="train") as demo:
        page = Page(
            services=services,
            owner=gr.BrowserState("", storage_key="gpt2demo-owner", secret="test"),
            ref=gr.State("starter"),
        )
        with gr.Tabs(), gr.Tab("Train"):
            tab = build(page)

        def arrive(owner: str, request: gr.Request) -> tuple[str, str]:
            run = dict(request.query_params).get("run", "")
            return owner or secrets.token_urlsafe(16), f"run:{run}" if run else "starter"

        def refresh(*values: Any) -> Any:
            return tab.refresh(*values)

        ends = (list(tab.inputs), list(tab.outputs))
        demo.load(arrive, page.owner, [page.owner, page.ref]).then(refresh, *ends, show_progress="hidden")
        page.ref.change(refresh, *ends, show_progress="hidden")
        demo.load(None, None, None, js="() => document.body.classList.add('gd-simple')")
    try:
        demo.queue(default_concurrency_limit=16).launch(
            server_name="127.0.0.1", theme=theme.theme(), head=theme.head(), footer_links=[], ssr_mode=False
        )
    finally:
        services.manager.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(Path(place))
    sys.exit(0)
