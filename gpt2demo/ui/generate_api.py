"""Writing for other people's programs: the endpoint /generate, the same in gradio_client and in curl."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial

from gpt2demo.figures.text import percent
from gpt2demo.generation.prompts import beams as checked_beams
from gpt2demo.generation.prompts import precision as checked_precision
from gpt2demo.generation.prompts import read_prompt, sampling
from gpt2demo.generation.prompts import samples as one_for_each
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.ui.endpoints import offer
from gpt2demo.ui.generate_source import source_sentence
from gpt2demo.ui.generate_writing import Asked, follow, follow_search
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
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        stop: list[str] | None = None,
        precision: str = "fp32",
        samples: int = 1,
        beams: int = 0,
    ) -> Iterator[tuple[list[str], str]]:
        """Continue a text with a GPT-2 that was trained on this page, a few tokens at a time.

        Every message holds the whole continuations so far (without the prompt), one for each sample, and a
        sentence that says how it goes, in the end which model wrote them at which step of its training. The
        same seed and settings give the same texts, here and on the page.

        Args:
            prompt: How the text begins, at most 20,000 characters; empty lets the model begin by itself.
            model: "starter", "run:ID" for the newest weights of a run, or either with "@STEP" behind it.
            temperature: 0 (always the likeliest token) to 5; 1 is the model's own probabilities.
            top_k: Draw among the k likeliest tokens only; 0 switches this off.
            top_p: Draw among the likeliest tokens that together reach this probability; 1 switches this off.
            seed: Names the luck of the draw.
            max_new_tokens: How many tokens to write, 1 to 2,000.
            min_p: Draw among tokens at least this share as likely as the likeliest; 0 switches this off.
            repetition_penalty: Above 1, tokens that are in the text already get less likely; at most 10.
            stop: At most four strings of at most 200 characters; a text ends when one of them was written.
            precision: "fp32" (as trained), "bf16" or "int8" (half and a quarter of the memory).
            samples: How many texts to write at once, 1 to 4, with the seeds seed, seed + 1 and so on.
            beams: 0 draws the tokens; 1 to 8 is beam search: so many texts are followed, and come with the
                likeliest first. It knows no luck: of the settings only max_new_tokens and precision count.
        """
        stops = [] if stop is None else stop
        config = sampling(
            temperature, top_k, top_p, min_p, repetition_penalty, seed, max_new_tokens, stops
        )  # fmt: skip
        configs = one_for_each(samples, config)
        bits = checked_precision(precision)
        followed = checked_beams(beams)
        ref = ModelRef.parse(model)
        loaded = page.services.models.get(ref)
        ids = read_prompt(loaded.tokenizer, prompt).ids
        who = source_sentence(page, model, loaded)
        there = partial(page.services.models.folder, ref)
        if followed:
            length = int(config.max_new_tokens)
            yield from _searched(loaded, ids, who, followed, length, precision=bits, there=there)
            return
        asked = [Asked(prompt_ids=ids, rules=rules) for rules in configs]
        written: list[list[int]] = [[] for _ in configs]
        problem = None
        growing = follow(loaded, asked, precision=bits, there=there)
        with closing(growing):
            for grown in growing:
                for text, new in zip(written, grown.new, strict=True):
                    text += [step.id for step, _ in new]
                count = sum(map(len, written))
                problem = problem or next(filter(None, grown.problems), None)
                if problem is not None:
                    sentence = words.broken_off(str(problem))
                elif all(grown.over):
                    sentence = words.facts(who, count, count / grown.seconds, int(config.seed))
                else:
                    sentence = (
                        words.ahead(grown.ahead)
                        if grown.ahead
                        else words.writing(count, count / grown.seconds)
                    )
                yield [loaded.tokenizer.continuation(text) for text in written], sentence

    offer(generate_text, "generate", concurrency_limit=None)


def _searched(
    loaded: LoadedModel,
    ids: Sequence[int],
    who: str,
    beams: int,
    length: int,
    *,
    precision: str,
    there: Callable[[], object],
) -> Iterator[tuple[list[str], str]]:
    """The likeliest texts so far, the best first, and how the search goes."""
    texts: list[str] = []
    count, chance = 0, ""
    growing = follow_search(loaded, ids, beams=beams, max_new_tokens=length, precision=precision, there=there)
    with closing(growing):
        for grown in growing:
            for step in grown.new[0]:
                texts = [loaded.tokenizer.continuation(beam.ids) for beam in step.beams]
                count = step.index + 1
                chance = percent(math.exp(step.beams[0].logprob / count))
            speed = count / grown.seconds
            if grown.problems[0] is not None:
                sentence = words.broken_off(str(grown.problems[0]))
            elif grown.over[0]:
                sentence = words.found(who, count, speed, beams, chance)
            else:
                sentence = words.ahead(grown.ahead) if grown.ahead else words.following(beams, count, speed)
            yield texts, sentence
