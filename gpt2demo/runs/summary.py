"""A run in one line of a list, and what its state is called while the queue has it in hand."""

from dataclasses import dataclass, replace

from gpt2demo.model.anatomy import count_parameters
from gpt2demo.runs.index import Entry
from gpt2demo.runs.live import best_validation, steps_made
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.journal import RunStatus


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a list says about a run. The defaults are those of one whose files cannot be read."""

    id: str
    title: str
    created: float  # seconds since 1970
    state: str = "failed"  # waiting, starting, running, paused, stopped, done, failed or interrupted
    message: str = "The files of this run are damaged."
    preset: str = ""
    tokenizer: str = ""
    documents: tuple[str, ...] = ()
    characters: int = 0
    tokens: int = 0
    parameters: int = 0
    optimizer: str = ""
    step: int = 0
    steps_planned: int | None = None
    val_loss: float | None = None  # over the whole held-out text once that was read, else the best so far
    val_loss_is_final: bool = False
    seconds: float = 0.0  # of training, pauses left out
    snapshot_steps: tuple[int, ...] = ()  # whose weights can be looked at
    position: int | None = None  # in the queue, 1 = next; None when it does not wait


Summaries = list[RunSummary]


def summarise(entry: Entry, folder: RunFolder, *, position: int | None) -> RunSummary:
    """Reads a run's folder. Raises a UserError or what SQLite raises when it is damaged."""
    facts, journal = folder.facts(), folder.journal()
    status = as_queued(folder.status(), entry)
    last, best, final = journal.last_step(), best_validation(journal), status.final_val_loss
    return RunSummary(
        id=entry.id,
        title=entry.title,
        created=entry.created,
        state=status.state,
        message=status.message,
        preset=facts.preset,
        tokenizer=facts.tokenizer,
        documents=facts.documents,
        characters=facts.characters,
        tokens=facts.tokens,
        parameters=count_parameters(folder.config()),
        optimizer=facts.settings.optimizer if facts.settings else "",
        step=steps_made(status, last),
        steps_planned=status.steps_planned,
        val_loss=final if final is not None else (best.val_loss if best else None),
        val_loss_is_final=final is not None,
        seconds=last.elapsed if last else 0.0,
        snapshot_steps=folder.snapshot_steps(),
        position=position,
    )


def as_queued(status: RunStatus, entry: Entry) -> RunStatus:
    """Says what comes next while a worker is on its way, or was lost and will be replaced at once."""
    if not entry.started or status.state not in ("waiting", "interrupted", "paused"):
        return status
    if status.state == "paused" and entry.wanted != "yield":
        return status
    states = {"run": "starting", "pause": "paused", "stop": "stopped", "yield": "waiting"}
    return replace(status, state=states[entry.wanted])
