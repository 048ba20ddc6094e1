"""A page with every shared component on made-up data, for the browser test; one tab is full of attacks."""

from __future__ import annotations

import math
import sys
import time

import gradio as gr
import numpy as np

from gpt2demo.ui import theme
from gpt2demo.ui.components import (
    HeadGrid,
    PlotlyPlot,
    RunView,
    SafeHTML,
    TokenStrip,
    head_grid_value,
    plot_value,
    run_value,
    status_line,
    strip_start,
    strip_value,
    token_line,
)

TEXT = (
    "·Once ·upon ·a ·time ·there ·was ·a ·fox . ↵ The ·fox ·had ·a ·red ·coat . ↵ One ·day ·the ·fox".split()
)
HOSTILE = [
    "<script>window.__pwn=1</script>",
    "<img src=x onerror=window.__pwn=1>",
    "<svg onload=window.__pwn=1>",
    "<b>bold</b>",
    "<a href=javascript:window.__pwn=1>link</a>",
    "<a href='https://evil.example/'>away</a>",
    "<img src=https://evil.example/x.png>",
    "<iframe srcdoc='<script>parent.__pwn=1</script>'></iframe>",
    "<form action=https://evil.example><input></form>",
    "<style>*{display:none}</style>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<object data=https://evil.example></object>",
    "<video><source onerror=window.__pwn=1></video>",
    "<details open ontoggle=window.__pwn=1>",
    "<math><mi xlink:href='javascript:window.__pwn=1'>",
    "</div></textarea></script><script>window.__pwn=1</script>",
    "\"><img src=x onerror=window.__pwn=1>",
    "' onmouseover='window.__pwn=1",
    "` onmouseover=`window.__pwn=1",
    "${window.__pwn=1}",
    "${Object.assign(window,{__pwn:1})}",
    "`;window.__pwn=1;`",
    "{{value}}",
    "{{#each value}}{{this}}{{/each}}",
    "{{{value}}}",
    "{{constructor.constructor('window.__pwn=1')()}}",
    "{{7*7}}",
    "\\u003cscript>window.__pwn=1</script>",
    "&lt;b&gt;&amp;&#60;",
    "%3Cscript%3E",
    "$x^2$ and $y$",
    "%{x} %{customdata}",
    "a=b 'c' \"d\" `e`",
    "=HYPERLINK(\"https://evil.example\")",
    "url(https://evil.example/x.png)",
    "];window.__pwn=1;//",
    "\u202eright to left\u202c",
    "emoji 👩‍👩‍👧 ä ñ 中文",
    "null\x00byte",
    "__proto__",
]  # fmt: skip


def attention(layers: int, heads: int, length: int) -> np.ndarray:
    """Made-up heads: some look one back, some at the first token, some at the same word before."""
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 0.7, (layers, heads, length, length)).astype(np.float32)
    index = np.arange(length)
    for layer in range(layers):
        for head in range(heads):
            kind = (layer * 3 + head) % 4
            if kind == 0:
                scores[layer, head] -= 0.9 * np.abs(index[:, None] - 1 - index[None, :])
            elif kind == 1:
                scores[layer, head, :, 0] += 3.5
            elif kind == 2:
                scores[layer, head] -= 0.15 * np.abs(index[:, None] - index[None, :] - 8) ** 1.5
    scores = np.where(index[None, :] > index[:, None], -np.inf, scores)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def badges(layers: int, heads: int) -> list[list[str]]:
    words = {0: "previous token", 2: "induction", 3: ""}
    return [[words.get((layer * 3 + head) % 4, "") for head in range(heads)] for layer in range(layers)]


def heads_value(layers: int, heads: int, length: int) -> str:
    tokens = (TEXT * 8)[:length]
    return head_grid_value(
        attention(layers, heads, length),
        tokens,
        badges(layers, heads),
        title="made up",
        exact=[token.replace("·", " ").encode() for token in tokens],
    )


def figure(shift: float = 0.0) -> dict[str, object]:
    x = [i / 4 for i in range(60)]
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "name": "training",
                "x": x,
                "y": [3 / (1 + v) + shift for v in x],
                "line": {"color": "#475569"},
            },
            {
                "type": "scatter",
                "mode": "markers",
                "name": "validation",
                "x": x[::6],
                "y": [3.2 / (1 + v) + shift for v in x[::6]],
                "marker": {"color": "var(--gd-validation)", "size": 9},
            },
        ],
        "layout": {"xaxis": {"title": {"text": "thousand steps"}}, "yaxis": {"title": {"text": "loss"}}},
    }


def lines(texts: list[str], prompt: int = 4) -> list[str]:
    out = []
    for i, text in enumerate(texts):
        share = 0.93 ** (i * 7 % 40)
        if i < prompt:
            out.append(token_line(text, raw=text.replace("·", " "), data=text.encode(), prompt=True))
            continue
        raw = "\n" if text == "↵" else text.replace("·", " ")
        out.append(
            token_line(
                text,
                raw=raw,
                data=raw.encode(),
                probability=share,
                rank=1 + i % 5,
                entropy_bits=2.5,
                tint=1 - share,
                alternatives=[(text, share), ("·cat", 0.4 * share), ("<b>", 0.0004)],
            )
        )
    return out


STARTED = time.monotonic()
LOST = {"until": 0.0, "go": 0.0}


def poll(question: list[object]) -> dict[str, object]:
    """A pretended run of 120 steps in 4 s ("live"), a long finished one ("long"), a hostile one.

    And one that waits for its turn until it is let go ("waits").
    """
    run, after = str(question[0]), int(str(question[1]))
    if run == "waits" and not LOST["go"]:
        status = {"state": "waiting", "message": "", "step": 0, "position": 3, "wait_seconds": 190}
        return {"run": run, "steps": [], "samples": [], "status": status, "snapshots": []}
    if time.monotonic() < LOST["until"]:
        raise RuntimeError("pretend that the line is down")
    planned = 6000 if run == "long" else 120
    elapsed = time.monotonic() - STARTED
    reached = planned if run != "live" else min(planned, int(elapsed * 30))
    steps = [
        [
            s,
            4.2 * math.exp(-s / planned * 5) + 1.4 + 0.25 * math.sin(s * 1.7) * math.exp(-s / planned),
            4.2 * math.exp(-s / planned * 5) + 1.5 if s % (planned // 12) == 0 else None,
            1e-3 * min(1, s / planned * 10) * (0.55 + 0.45 * math.cos(3.1 * s / planned)),
            0.8,
            21000.0,
            s * 0.03,
        ]
        for s in range(after + 1, reached + 1)
    ][:1000]
    at = steps[-1][0] if steps else after
    state = "running" if int(str(at)) < planned else "done"
    words = (
        HOSTILE
        if run == "hostile"
        else ["The fox sat down and\nlooked at the moon.", "T h e  q zzx eea", "and the and the"]
    )
    return {
        "run": run,
        "steps": steps,
        "samples": [
            {"step": 10 * i, "prompt": word if run == "hostile" else "Once upon a time", "text": " " + word}
            for i, word in enumerate(words)
        ],
        "status": {
            "state": state,
            "message": HOSTILE[0] if run == "hostile" else "The best weights are kept.",
            "step": at,
            "steps_planned": planned,
            "tokens": 120000,
            "time_left": 75,
            "val_loss": 1.523,
            "best_step": at,
            "bits_per_character": 2.21,
            "accuracy": 0.472,
            "parameters": 830000,
        },
        "epochs": [
            {"first": 1, "last": 1, "train_loss": 2.5, "val_loss": 2.6, "seconds": 1.25},
            {
                "first": 2,
                "last": 2,
                "train_loss": 1.75,
                "val_loss": None,
                "seconds": None if at < planned else 75,
            },
        ],
        "events": [
            [1_800_000_000.0, "Training began."],
            [1_800_000_060.0, HOSTILE[0] if run == "hostile" else state],
        ],
        "snapshots": [0, 10] if at > 10 else [0],
    }


def cut_line() -> str:
    LOST["until"] = time.monotonic() + 2
    return run_value("live")


def stream(texts: list[str]):
    value = strip_start() + status_line("running", "Writing…")
    for line in lines(texts):
        value += line
        yield value
        time.sleep(0.01)
    yield value + status_line("done", "Stopped after 24 tokens.")


def build() -> gr.Blocks:
    with gr.Blocks(title="gallery") as page:
        with gr.Row(elem_classes="gd-header"):
            SafeHTML(theme.masthead())
            SafeHTML(
                theme.model_chip("Starter", ["0.8 M parameters", "step 3,000", "trained on Little stories"]),
                elem_id="chip",
            )
        with gr.Tabs():
            with gr.Tab("Train"):
                controls()
                with gr.Column(elem_classes="gd-panel"):
                    run = RunView(run_value("live"), poll=poll, elem_id="run", label="Training run")
                    with gr.Row(elem_classes="gd-actions"):
                        cut = gr.Button("Cut the line", size="sm")
                        long = gr.Button("Long run", size="sm")
                        waits = gr.Button("Waiting run", size="sm")
                        go = gr.Button("Let it go", size="sm")
                        hold = gr.Button("Hold it", size="sm")
                        none = gr.Button("No run", size="sm", elem_classes="gd-quiet")
            with gr.Tab("Generate"):
                with gr.Row(elem_classes="gd-split-right"):
                    with gr.Column():
                        flow = TokenStrip(
                            strip_value(lines(TEXT)), mode="flow", elem_id="flow", legend=True, min_lines=4
                        )
                        again = gr.Button("Write", variant="primary")
                    with gr.Column():
                        SafeHTML(theme.section("A token's road", "Click a token to see it."))
                        SafeHTML(
                            theme.facts([("probability", "47 %"), ("rank", 1), ("bytes", "20 66 6f 78")])
                        )
                with gr.Column(elem_classes="gd-panel"):
                    strip = TokenStrip(strip_value(lines(TEXT)), elem_id="strip", legend=True)
                    TokenStrip(elem_id="nothing", placeholder="Type a sentence above to see its tokens.")
            with gr.Tab("Attention"):
                with gr.Row(elem_classes="gd-actions"):
                    small = gr.Button("4 × 4", size="sm")
                    big = gr.Button("12 × 12", size="sm")
                grid = HeadGrid(heads_value(4, 4, 16), elem_id="heads")
            with gr.Tab("Embeddings"):
                with gr.Row(elem_classes="gd-cols"):
                    plot = PlotlyPlot(
                        plot_value(figure(), name="loss"), elem_id="plot", label="Loss", click=True
                    )
                    blank = PlotlyPlot(
                        elem_id="blank", label="Map", placeholder="Press Map to place the tokens."
                    )
                with gr.Row(elem_classes="gd-actions"):
                    move = gr.Button("Move", size="sm")
            with gr.Tab("Hostile"):
                hostile_parts()
        log = SafeHTML("", elem_id="log")
        run.snapshot(lambda event=None: "snapshot", outputs=log)
        run.finished(finished, outputs=log)
        cut.click(cut_line, outputs=run)
        long.click(lambda: run_value("long"), outputs=run)
        waits.click(lambda: run_value("waits"), outputs=run)
        go.click(lambda: LOST.update(go=1.0), None, None)
        hold.click(lambda: LOST.update(go=0.0), None, None)
        none.click(lambda: run_value(None), outputs=run)
        again.click(lambda: (yield from stream(TEXT)), outputs=flow, show_progress="hidden")
        flow.token(token_clicked, outputs=log, show_progress="hidden")
        strip.token(token_clicked, outputs=log, show_progress="hidden")
        small.click(lambda: heads_value(4, 4, 16), outputs=grid, show_progress="hidden")
        big.click(lambda: heads_value(12, 12, 128), outputs=grid, show_progress="hidden")
        grid.select(head_chosen, outputs=log, show_progress="hidden")
        plot.point(point_clicked, outputs=log, show_progress="hidden")
        move.click(
            lambda: (plot_value(figure(0.5), name="loss"), plot_value(figure())),
            outputs=[plot, blank],
            show_progress="hidden",
        )
    return page


def controls() -> None:
    """The controls as tabs use them, to see their look."""
    with gr.Row(elem_classes="gd-cols"):
        with gr.Column():
            SafeHTML(theme.section("Text", "What the model learns from. Yours, or one of ours.", step=1))
            gr.Dropdown(
                ["Little stories", "Chinese fables"], value="Little stories", label="Sample", interactive=True
            )
            gr.Textbox(
                label="Or paste a text", lines=4, placeholder="At least a few pages …", elem_classes="gd-mono"
            )
            gr.File(label="Or upload files", height=120)
        with gr.Column():
            SafeHTML(theme.section("Model", "How big the network is.", step=2))
            gr.Radio(
                ["nano", "micro", "mini"],
                value="nano",
                label="Size",
                info="Bigger learns more and slower.",
                interactive=True,
            )
            gr.Slider(
                0,
                2,
                0.8,
                step=0.05,
                label="Temperature",
                info="Low: safe and repetitive. High: wild.",
                interactive=True,
            )
            gr.Checkbox(label="Keep the best weights", value=True, interactive=True)
            with gr.Accordion("More settings", open=False):
                gr.Number(3, label="Seed", interactive=True)
        with gr.Column():
            SafeHTML(theme.section("Run", "How long it may learn.", step=3))
            SafeHTML(
                theme.stats([("parameters", "0.83 M", "numbers to learn"), ("memory", "210 MB", "predicted")])
            )
            SafeHTML(
                theme.notice(
                    "This text is small for this model.",
                    "warning",
                    todo="Expect overfitting after about 40 s.",
                )
            )
            with gr.Row(elem_classes="gd-actions"):
                gr.Button("Start training", variant="primary")
                gr.Button("Stop", variant="stop")
                gr.Button("Advice", elem_classes="gd-quiet")


def hostile_parts() -> None:
    """Every component, given attacks wherever it takes text."""
    n = len(HOSTILE)
    with gr.Column(elem_id="attacks"):
        SafeHTML(theme.pieces(*(theme.hint(text) for text in HOSTILE)), elem_id="x-safe")
        SafeHTML(HOSTILE[0] + HOSTILE[1], elem_id="x-raw")
        SafeHTML(theme.model_chip(HOSTILE[1], HOSTILE), elem_id="x-chip")
        for mode in ("strip", "flow"):
            TokenStrip(
                strip_value(hostile_lines()),
                mode=mode,
                elem_id=f"x-{mode}",
                label=HOSTILE[1],
                placeholder=HOSTILE[2],
            )
        HeadGrid(
            head_grid_value(
                attention(2, 2, n),
                HOSTILE,
                [[HOSTILE[1], "a"], ["b", HOSTILE[2]]],
                exact=[text.encode() for text in HOSTILE],
                title=HOSTILE[0],
            ),
            elem_id="x-heads",
            label=HOSTILE[1],
        )
        PlotlyPlot(
            plot_value(
                {
                    "data": [{"type": "scatter", "x": list(range(n)), "y": list(range(n)), "name": "points"}],
                    "layout": {},
                },
                name=HOSTILE[1],
                csv=HOSTILE[0],
            ),
            elem_id="x-plot",
            label=HOSTILE[1],
            placeholder=HOSTILE[2],
        )
        PlotlyPlot("", elem_id="x-empty", label=HOSTILE[1], placeholder=HOSTILE[1])
        PlotlyPlot(HOSTILE[0], elem_id="x-bad", label="bad value")
        HeadGrid(HOSTILE[1], elem_id="x-badheads", label="bad value")
        TokenStrip("nonce\n" + "\n".join(HOSTILE) + "\n", elem_id="x-badtokens", label="bad value")
        RunView(run_value("hostile"), poll=poll, elem_id="x-run", label=HOSTILE[1], placeholder=HOSTILE[2])


def hostile_lines() -> list[str]:
    return [
        token_line(
            text,
            raw=text,
            data=text.encode(),
            probability=0.4,
            rank=2,
            entropy_bits=1.0,
            tint=0.5,
            alternatives=[(other, 0.1) for other in HOSTILE[:5]],
        )
        for text in HOSTILE
    ] + [status_line("done", HOSTILE[1])]


def finished(event: gr.EventData) -> str:
    return f"finished {event.run} {event.state}"


def token_clicked(event: gr.EventData) -> str:
    return f"token {event.index}"


def head_chosen(event: gr.EventData) -> str:
    return f"layer {event.layer} head {event.head}"


def point_clicked(event: gr.EventData) -> str:
    return f"point {event.name} {event.index}"


if __name__ == "__main__":
    demo = build()
    demo.queue().launch(
        server_name="127.0.0.1",
        theme=theme.theme(),
        head=theme.head(),
        footer_links=[],
        quiet=False,
        ssr_mode=False,
        show_error=True,
    )
    sys.exit(0)
