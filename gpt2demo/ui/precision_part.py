"""What the chosen bits of a weight cost: measured when somebody asks, on the model's own held-out text."""

from dataclasses import asdict
from typing import Any

from gpt2demo.errors import TextError
from gpt2demo.generation.prompts import precision
from gpt2demo.model.packed import packed
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.runs.precision import PrecisionCost, precision_cost, texts_to_measure
from gpt2demo.ui.endpoints import offer
from gpt2demo.ui.generate_layout import Controls
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.memo import Memo
from gpt2demo.ui.page import Page
from gpt2demo.ui.reading_part import QUIET, ReadingPart
from gpt2demo.ui.text import precision as words
from gpt2demo.ui.theme import notice

KEPT = 64


class PrecisionPart:
    """The button below the choice of bits. Held-out text is measured once for everybody."""

    def __init__(self, page: Page, controls: Controls, reader: ReadingPart) -> None:
        self.models = page.services.models
        self.reader = reader
        self.costs: Memo[PrecisionCost] = Memo(KEPT)
        asked = [page.ref, controls.precision, reader.text]
        controls.measure.click(self.measure, asked, controls.cost, **QUIET)
        for stale in (controls.precision.change, page.ref.change):
            stale(lambda: "", None, controls.cost, **QUIET)
        offer(self.precision_cost, "precision_cost", concurrency_limit=4)

    @guarded
    def measure(self, ref: str, bits: Any, pasted: Any) -> str:
        """A sentence with what was measured; without held-out text on the text pasted in the reading part."""
        if precision(bits) == "fp32":
            return notice(words.NOTHING_LOST)
        loaded = self.models.get(ModelRef.parse(ref))
        known = self.reader.known(loaded)
        held_out = known is not None and bool(known.held_out)
        if not held_out and not pasted:
            raise TextError(*words.NO_TEXT)
        cost = self._cost(loaded, bits, "" if held_out else pasted)
        return notice(words.cost(loaded.facts.title, cost, held_out=held_out))

    @guarded
    def precision_cost(
        self, model: str = "starter", precision: str = "int8", text: str = ""
    ) -> dict[str, Any]:
        """Measure what a GPT-2 loses when its weights have fewer bits: its loss before and after, on a text.

        Gives the loss in nats per token of the model as it was trained (fp32) and of the copy with fewer
        bits, on the same tokens, the share of the tokens before which both had the same first guess, and the
        bytes of the weights of both.

        Args:
            model: "starter", "run:ID" for the newest weights of a run, or either with "@STEP" behind it.
            precision: "bf16" or "int8"; with "fp32" nothing is lost.
            text: What to measure on, at most 20,000 characters; empty takes the model's held-out text.
        """
        loaded = self.models.get(ModelRef.parse(model))
        return {"model": str(loaded.ref)} | asdict(self._cost(loaded, precision, text))

    def _cost(self, loaded: LoadedModel, bits: Any, text: Any) -> PrecisionCost:
        name = precision(bits)

        def make() -> PrecisionCost:
            texts = texts_to_measure(loaded.model, self.reader.known(loaded), text)
            copy = packed(loaded.model, name)
            return precision_cost(
                loaded.model, copy, loaded.tokenizer, texts, precision=name, guard=loaded.lock
            )

        return make() if text != "" else self.costs.get((loaded.ref, name), make)
