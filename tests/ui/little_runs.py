"""Runs small enough to be made in a test: two layers, sixteen channels, weights that nobody has trained."""

from __future__ import annotations

import asyncio
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import gradio as gr
import torch
from gradio_client import Client

from gpt2demo.model.baselines import make_model
from gpt2demo.model.config import GPT2Config
from gpt2demo.runs.exchange import Exchange
from gpt2demo.runs.manager import RunManager
from gpt2demo.runs.models import ModelStore
from gpt2demo.runs.store import RunStore
from gpt2demo.text.corpus import Corpus, document_from_text
from gpt2demo.text.tokenizers import train_tokenizer
from gpt2demo.training.config import recipe
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.loop import TrainStep
from gpt2demo.training.plan import RunPlan
from gpt2demo.ui.page import Page, Services

ME, SOMEBODY = "m" * 22, "s" * 22  # secret tokens of two visitors
NO_HUB = "http://127.0.0.1:9"  # nobody listens there
TEXT = "the cat sat on the mat, and the dog sat on the log.\n" * 40


def plan(title: str = "Cats", name: str = "cats.txt", **variant: Any) -> RunPlan:
    """A run that could be started. variant: fields of its GPT2Config."""
    corpus = Corpus((document_from_text(name, TEXT),))
    tokenizer = train_tokenizer("char", corpus.texts)
    sizes = {"n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2, "dropout": 0.0}
    model = GPT2Config(vocab_size=tokenizer.vocab_size, **(sizes | variant))
    training = recipe("adamw", model, steps=30, batch_size=4, threads=1, seed=5)
    return RunPlan(
        title=title, preset="nano", model=model, training=training, corpus=corpus, tokenizer=tokenizer
    )


def learn(folder: RunFolder, *, steps: tuple[int, ...] = (0, 10, 30), state: str = "done") -> RunFolder:
    """Writes into a folder what a worker would have written, without training anything."""
    model = make_model(folder.config(), seed=1).eval()
    for step in steps:
        folder.save_snapshot(model, step)
    folder.save_model(model, steps[-1])
    folder.journal().add_steps(
        TrainStep(
            step=step, tokens=64 * step, train_loss=3.0 - 0.05 * step, val_loss=3.1 - 0.05 * step,
            val_accuracy=0.2, learning_rate=1e-3, gradient_norm=1.0,
            tokens_per_second=1e4, elapsed=0.1 * step,
        )
        for step in steps
    )  # fmt: skip
    folder.journal().tell(state=state, steps_planned=30)
    if state == "done":
        folder.journal().tell(final_val_loss=1.61, final_val_tokens=200)
    return folder


def make_services(root: Path) -> Services:
    """The server's parts on an empty store, with a little starter model; nothing trains."""
    starter = learn(RunFolder.create(root / "starter", plan("Starter", "stories.txt")))
    store = RunStore(root / "runs")
    models = ModelStore(store, starter.path)
    exchange = Exchange(store, root / "hub", endpoint=NO_HUB, patience=2.0)
    return Services(store=store, manager=RunManager(store), models=models, exchange=exchange, samples=())


def make_run(
    services: Services,
    owner: str = ME,
    title: str = "Cats",
    *,
    variant: dict[str, Any] | None = None,
    **how: Any,
) -> str:
    """A run that has learned. variant: fields of its GPT2Config. how: see `learn`. → its id"""
    run = services.store.create(owner, plan(title, **(variant or {})))
    learn(services.store.folder(run), **how)
    return run


def bare_files(services: Services, folder: Path) -> list[Path]:
    """The starter's model alone, as another program would store it."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("config.json", "model.safetensors", "tokenizer.json")
    return [Path(shutil.copy(services.models.starter / name, folder)) for name in names]


def bring_run(services: Services, folder: Path, owner: str = ME) -> str:
    """A model that was trained elsewhere. → its id"""
    return services.exchange.take_in(owner, bare_files(services, folder)).run


def forget_runs(services: Services) -> None:
    """Deletes what the two visitors have made."""
    for owner in (ME, SOMEBODY):
        for run in services.store.list(owner):
            services.store.delete(owner, run.id)


@contextmanager
def one_thread() -> Iterator[None]:
    """Small sums are fastest on one thread; what was set before is set again."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@contextmanager
def loops_closed() -> Iterator[None]:
    """Closes the event loops that gradio opens for a `gr.Blocks` which is never launched, and forgets."""
    made: list[asyncio.AbstractEventLoop] = []
    new_event_loop = asyncio.new_event_loop

    def noted() -> asyncio.AbstractEventLoop:
        made.append(new_event_loop())
        return made[-1]

    with mock.patch("asyncio.new_event_loop", noted):
        yield
    for loop in made:
        loop.close()
    asyncio.set_event_loop(None)


@contextmanager
def blocks() -> Iterator[gr.Blocks]:
    """A `gr.Blocks` to build parts of the page in, never to be launched."""
    with loops_closed(), gr.Blocks() as demo:
        yield demo


@contextmanager
def served(demo: gr.Blocks, **how: Any) -> Iterator[Client]:
    """A program that talks to the endpoints of parts of the page, over HTTP as any other would."""
    made: list[asyncio.AbstractEventLoop] = []
    new_event_loop = asyncio.new_event_loop

    def noted() -> asyncio.AbstractEventLoop:
        made.append(new_event_loop())
        return made[-1]

    with mock.patch("asyncio.new_event_loop", noted), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gradio's and its libraries' own
        _, address, _ = demo.launch(
            prevent_thread_lock=True, quiet=True, ssr_mode=False, server_name="127.0.0.1", **how
        )
        try:
            yield Client(address, verbose=False)
        finally:
            demo.close()
    for loop in made:  # those that gradio opens and forgets
        if not loop.is_running():
            loop.close()


def make_page(services: Services) -> Page:
    """What tabs are built with; to be called inside a `gr.Blocks`."""
    return Page(services=services, owner=gr.BrowserState(""), ref=gr.State("starter"))


def said(**words: Any) -> gr.EventData:
    """An event with what the browser says."""
    return gr.EventData(None, words)
