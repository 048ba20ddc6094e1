"""Searches for a learning rate, one at a time for a whole server."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from gpt2demo.errors import BusyError
from gpt2demo.runs.store import RunStore
from gpt2demo.text.batches import encode_corpus
from gpt2demo.training.config import threads_for_products
from gpt2demo.training.estimate import Estimator
from gpt2demo.training.finder import Trial, search, search_steps
from gpt2demo.training.hands import sharing_products
from gpt2demo.training.memory import free_memory
from gpt2demo.training.plan import RunPlan

LOOK_SECONDS = 0.4  # between two looks at a search


@dataclass(kw_only=True)
class _Job:
    """One search; only its thread writes into it, but for `unwanted`."""

    trials: list[Trial] = field(default_factory=list)
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)
    unwanted: bool = False  # nobody watches any more


class RateSearches:
    """Lets one visitor search at a time: two searches would halve each other, and make the machine slow."""

    def __init__(self, store: RunStore, estimator: Estimator) -> None:
        self.store = store
        self.estimator = estimator
        self._turn = threading.Lock()  # held by the thread that searches

    def training_now(self) -> bool:
        """Whether a run is at work, which a search disturbs."""
        return any(entry.started for entry in self.store.index.queue())

    def watch(self, plan: RunPlan) -> Iterator[tuple[Trial, ...]]:
        """Searches a rate for a run that could be started. Yields now and then all trials so far.

        It ends soon after nobody watches any more. Raises BusyError while another search goes on, and what
        `search_steps` and `search` raise.
        """
        if not self._turn.acquire(blocking=False):
            raise BusyError(
                "Somebody is trying learning rates already.",
                "This server does that for one visitor at a time, as it takes all of its power.",
                "Try again in a minute.",
            )
        job = _Job()
        threading.Thread(target=self._work, args=(job, plan), daemon=True).start()
        try:
            while not job.done.wait(LOOK_SECONDS):
                yield tuple(job.trials)
        finally:
            job.unwanted = True
        if job.error is not None:
            raise job.error
        yield tuple(job.trials)

    def _work(self, job: _Job, plan: RunPlan) -> None:
        """What the thread of a search does; it came with the turn, and gives it back."""
        try:
            pace = self.estimator.pace(plan.model, plan.training, measure=not self.training_now())
            length, batches = plan.training.length, plan.training.batches
            trials = search(
                plan.model,
                plan.training,
                encode_corpus(plan.corpus, plan.tokenizer, length=length, batches=batches),
                steps=search_steps(pace, plan.training),
                memory_bytes=min(self.store.memory_bytes, free_memory()),
                start=plan.start.model if plan.start else None,
            )
            with sharing_products(threads_for_products(plan.model, plan.training)):
                for trial in trials:
                    job.trials.append(trial)
                    if job.unwanted:
                        trials.close()
                        break
        except Exception as error:  # whoever watches raises it
            job.error = error
        finally:
            self._turn.release()
            job.done.set()
