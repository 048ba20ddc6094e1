"""Writing for other people's programs: the endpoint /generate, the same in gradio_client and in curl."""

import inspect
import time
from collections.abc import Iterator

from gradio.events import api

from gpt2demo.generation.prompts import read_prompt, sampling
from gpt2demo.generation.writing import generate
from gpt2demo.runs.models import ModelRef
from gpt2demo.ui.generate_draft import YIELD_SECONDS
from gpt2demo.ui.generate_source import source_sentence
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.page import Page
from gpt2demo.ui.text import generate as words


def add_endpoint(page: Page) -> None:
    """Makes /generate an endpoint of the page."""

    @guarded
    def generate_text(
        prompt: str = "",
        model: str = "starter",
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        max_new_tokens: int = 100,
    ) -> Iterator[tuple[str, str]]:
        """Continue a text with a GPT-2 that was trained on this page, a few tokens at a time.

        Every message holds the whole continuation so far (without the prompt), and a sentence that says which
        model wrote it at which step of its training. The same seed and settings give the same text.

        Args:
            prompt: How the text begins, at most 20,000 characters; empty lets the model begin by itself.
            model: "starter", "run:ID" for the newest weights of a run, or either with "@STEP" behind it.
            temperature: 0 (always the likeliest token) to 5; 1 is the model's own probabilities.
            top_k: Draw among the k likeliest tokens only; 0 switches this off.
            top_p: Draw among the likeliest tokens that together reach this probability; 1 switches this off.
            seed: Names the luck of the draw.
            max_new_tokens: How many tokens to write, 1 to 2,000.
        """
        config = sampling(temperature, top_k, top_p, seed, max_new_tokens)
        loaded = page.services.models.get(ModelRef.parse(model))
        prompt_ids = read_prompt(loaded.tokenizer, prompt).ids
        who = source_sentence(page, model, loaded)
        ids: list[int] = []
        started = shown = time.monotonic()
        for step in generate(loaded.model, prompt_ids, config, guard=loaded.lock):
            ids.append(step.id)
            now = time.monotonic()
            if now - shown >= YIELD_SECONDS:
                shown = now
                yield loaded.tokenizer.continuation(ids), words.writing(len(ids), len(ids) / (now - started))
        speed = len(ids) / max(time.monotonic() - started, 1e-6)
        yield loaded.tokenizer.continuation(ids), words.facts(who, len(ids), speed, int(config.seed))

    # gradio takes the types of one message from the signature, where Python has those of the generator
    signature = inspect.signature(generate_text)
    generate_text.__signature__ = signature.replace(return_annotation=tuple[str, str])  # type: ignore[attr-defined]
    api(generate_text, api_name="generate", concurrency_limit=None)
