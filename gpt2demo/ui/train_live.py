"""What the live part of the Train tab shows: a run as it goes on, its heads, and curves over each other."""

import math
from typing import Any

from gpt2demo.errors import ConfigError, NotFoundError, UserError
from gpt2demo.figures.curves import Curve, loss_figure
from gpt2demo.inspection.capture import capture
from gpt2demo.runs.live import bits_per_character, view
from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.text.display import display_tokens
from gpt2demo.training.folder import RunFolder
from gpt2demo.ui.components import head_grid_value, plot_value
from gpt2demo.ui.escape import Safe, tag
from gpt2demo.ui.memo import Memo
from gpt2demo.ui.own_text import OwnTexts
from gpt2demo.ui.page import Services
from gpt2demo.ui.text import common
from gpt2demo.ui.text import train as words
from gpt2demo.ui.theme import hint, pieces

STARTER = "starter"
PROBE_TOKENS = 48
CURVE_STEPS = 2_000
MOST_CURVES = 8
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
        named = tag("h3", about.title)
        mine = " gd-whose-own" if own else ""  # "it goes on" is said only while it does
        return tag("div", named, hint(note), class_=f"gd-whose{mine}", data_run=ref.run_id), own

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
        """The first tokens of the probe, or of the training text if there is none."""
        most = min(PROBE_TOKENS, loaded.config.n_positions)
        text = (text.strip("\n") or self._texts.beginning(loaded))[: 20 * most]
        return loaded.tokenizer.encode(text)[:most] or [loaded.tokenizer.start_id]

    def _draw(self, loaded: LoadedModel, ids: list[int]) -> str:
        seen = capture(loaded.model, ids, guard=loaded.lock)
        exact = [loaded.tokenizer.token_bytes(token) for token in ids]
        return head_grid_value(
            seen.attention,
            display_tokens(loaded.tokenizer, ids),
            exact=exact,
            title=f"{loaded.facts.title}, step {loaded.step:,}",
        )

    def choices(self, owner: str) -> list[tuple[str, str]]:
        """The runs whose curves can be laid over each other."""
        return [(common.STARTER, STARTER)] + [(run.title, run.id) for run in self.services.store.list(owner)]

    def compare(self, chosen: Any, across: Any) -> tuple[str, Safe]:
        """The curves of several runs in one picture. → value of a PlotlyPlot, a table of results"""
        names = chosen if isinstance(chosen, list) else []
        if len(names) > MOST_CURVES:
            raise ConfigError(
                f"These are {len(names):,} runs.",
                f"At most {MOST_CURVES} fit into a picture.",
                "Choose fewer.",
            )
        if across not in ("steps", "tokens"):
            raise ConfigError(
                f"Curves cannot be drawn across {str(across)[:40]!r}.",
                "Steps or tokens are known.",
                "Choose one of them.",
            )
        folders = [self._folder(name) for name in names]
        if not folders:
            return "", pieces()
        curves = [curve(title, folder) for title, folder in folders]
        return (
            plot_value(loss_figure(curves, x=across), name="runs-compared"),
            pieces(results(folders), hint(words.COMPARE_CAVEAT)),
        )

    def _folder(self, name: Any) -> tuple[str, RunFolder]:
        ref = ModelRef.parse(name if name == STARTER else f"run:{name}")
        return self.services.models.describe(ref).title, self.services.models.folder(ref)


def curve(title: str, folder: RunFolder) -> Curve:
    """A run's curve as its diary has it; of a long one evenly chosen steps."""
    journal = folder.journal()
    last = journal.last_step()
    every = max(1, math.ceil((last.step if last else 0) / CURVE_STEPS))
    steps = journal.steps(every=every)
    checked = [(step.step, step.val_loss) for step in journal.validation() if step.val_loss is not None]
    return Curve(
        name=title,
        steps=[step.step for step in steps],
        train=[step.train_loss for step in steps],
        validation_steps=[step for step, _ in checked],
        validation=[loss for _, loss in checked],
        tokens=[step.tokens for step in steps],
    )


def results(folders: list[tuple[str, RunFolder]]) -> Safe:
    """A table of what the runs were and how they ended."""
    head = (
        "run",
        "size",
        "optimizer",
        "tokens are",
        "steps",
        "time",
        "validation loss",
        "bits per character",
    )
    rows = [tag("tr", *(tag("th", name, scope="col") for name in head))]
    for title, folder in folders:
        facts = folder.facts()
        status = view(folder, -1)["status"]
        final = status["final_val_loss"]  # of the model that was kept, over all of the held-out text
        loss = status["best_val_loss"] if final is None else final
        bits = bits_per_character(loss, facts.tokens, facts.characters)
        cells = (
            facts.preset,
            facts.training.optimizer,
            {"char": "characters", "bpe": "word pieces"}.get(facts.tokenizer, facts.tokenizer),
            f"{status['step']:,}",
            f"{status['elapsed']:,.0f} s",
            "–" if loss is None else f"{loss:.3f}",
            "–" if bits is None else f"{bits:.2f}",
        )
        rows.append(tag("tr", tag("th", title, scope="row"), *(tag("td", cell) for cell in cells)))
    table = tag("table", tag("thead", rows[0]), tag("tbody", *rows[1:]), class_="gd-results")
    return tag("div", table, class_="gd-scroll")
