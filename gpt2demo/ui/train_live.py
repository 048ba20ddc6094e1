"""What the live part of the Train tab shows: a run as it goes on, and its heads."""

from typing import Any

from gpt2demo.errors import NotFoundError, UserError
from gpt2demo.inspection.capture import capture
from gpt2demo.runs.live import view
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.text.display import display_tokens
from gpt2demo.ui.attention_parts import example_texts
from gpt2demo.ui.compare_part import STARTER
from gpt2demo.ui.components import head_grid_value
from gpt2demo.ui.escape import Safe, tag
from gpt2demo.ui.memo import Memo
from gpt2demo.ui.own_text import OwnTexts
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import train as words
from gpt2demo.ui.theme import hint

PROBE_TOKENS = 48
PICTURES_KEPT = 64


class Live:
    """Answers what the live part asks. It only reads, except for pause, resume and stop."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._texts = OwnTexts(services.models)
        self._pictures: Memo[str] = Memo(PICTURES_KEPT)

    def poll(self, question: Any) -> dict[str, Any]:
        """What is new in a run: [run id or "starter", last step known] → see `runs.live.view`."""
        run, after = question if isinstance(question, list) and len(question) == 2 else ("", -1)
        try:
            if run == STARTER:
                folder = self.services.models.folder(ModelRef(kind=STARTER, run_id=None, step=None))
                return view(folder, after) | {"run": STARTER}
            return self.services.store.view(run, after)
        except UserError as error:  # the view shows this sentence and asks no more
            status = {"state": "failed", "message": str(error)}
            name = run.encode("utf-8", "replace").decode() if isinstance(run, str) else ""
            return {"run": name, "steps": [], "samples": [], "status": status, "snapshots": []}

    def whose(self, owner: str, ref: ModelRef) -> tuple[Safe, bool]:
        """Which run this is and what may be done with it. → HTML, whether it is the visitor's own"""
        about = self.services.models.describe(ref)
        own = ref.run_id is not None and self.services.store.owns(owner, ref.run_id)
        note = words.STARTER_NOTE if ref.run_id is None else words.OWN_NOTE if own else words.WATCH_NOTE
        elsewhere = "" if about.documents else " gd-whose-elsewhere"  # then there is no curve to show
        note = words.ELSEWHERE_NOTE if elsewhere else note
        named = tag("h3", about.title)
        mine = " gd-whose-own" if own else ""  # "it goes on" is said only while it does
        return tag("div", named, hint(note), class_=f"gd-whose{elsewhere or mine}", data_run=ref.run_id), own

    def heads(self, ref: ModelRef, probe: Any) -> tuple[str, Safe]:
        """The attention of all heads on the probe sentence. → value of a HeadGrid, a line about it"""
        models = self.services.models
        try:
            loaded = models.get(ref)
        except NotFoundError:  # the newest weights have been replaced by newer ones
            loaded = models.get(ModelRef(kind=ref.kind, run_id=ref.run_id, step=None))
        text = probe if isinstance(probe, str) else ""
        ids = self._probe_ids(loaded, text)
        key = (str(loaded.ref), loaded.step, tuple(ids))
        picture = self._pictures.get(key, lambda: self._draw(loaded, ids))
        return picture, hint(f"At step {loaded.step:,}. {words.ATTENTION_CAVEAT}")

    def _probe_ids(self, loaded: LoadedModel, text: str) -> list[int]:
        """The first tokens of the probe, or of the training text, or of an example."""
        most = min(PROBE_TOKENS, loaded.config.n_positions)
        own = self._texts.beginning(loaded)
        text = (text.strip("\n") or own)[: 20 * most]
        if not text:  # a model that came without its text
            text = next(iter(example_texts(loaded.tokenizer, most, own).values()))
        return loaded.tokenizer.encode(text)[:most] or [loaded.tokenizer.start_id]

    def _draw(self, loaded: LoadedModel, ids: list[int]) -> str:
        seen = capture(loaded.model, ids, guard=loaded.lock)
        exact = [loaded.tokenizer.token_bytes(token) for token in ids]
        return head_grid_value(
            seen.attention,
            display_tokens(loaded.tokenizer, ids),
            exact=exact,
            title=f"{loaded.facts.title}, step {loaded.step:,}",
            allowed=seen.allowed,
        )
