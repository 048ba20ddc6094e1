"""Training for other programs: the same as the page's buttons do, with names, types and sentences."""

import secrets
from collections.abc import Callable
from typing import Any

from gpt2demo.runs.identity import is_owner, new_owner
from gpt2demo.runs.rate_searches import RateSearches
from gpt2demo.training.finder import suggest
from gpt2demo.ui.endpoints import offer
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.page import Services
from gpt2demo.ui.train_form import Form, variant_fields
from gpt2demo.ui.train_live import Live
from gpt2demo.ui.train_planner import Planner


class TrainAPI:
    """Named endpoints; the page itself does not use them."""

    def __init__(self, services: Services, planner: Planner, live: Live, searches: RateSearches) -> None:
        self.services = services
        self.planner = planner
        self.live = live
        self.searches = searches
        endpoints = (
            self.start_training,
            self.find_learning_rate,
            self.training_progress,
            self.pause_training,
            self.resume_training,
            self.resume_training_slower,
            self.stop_training,
        )
        for endpoint in endpoints:
            offer(endpoint, endpoint.__name__, concurrency_limit=None)

    @guarded
    def start_training(
        self,
        text: str,
        title: str = "",
        tokenizer: str = "char",
        vocabulary: int = 1024,
        size: str = "nano",
        minutes: float = 1.0,
        steps: int = 0,
        optimizer: str = "muon",
        seed: int = 1337,
        variants: dict[str, Any] | None = None,
        start: str = "",
        owner: str = "",
        nonce: str = "",
    ) -> dict[str, str]:
        """Starts training a GPT-2 on a text.

        Args:
            text: what the model learns from, at most 12 MB.
            title: what the run is called; empty: by its text and size.
            tokenizer: "char" (every character is a token), "bpe" (word pieces) or "word".
            vocabulary: how many different tokens at most, for "bpe" and "word".
            size: "pico", "nano", "micro", "mini", "gpt2" and larger.
            minutes: how long it may train, if steps is 0.
            steps: how many steps it trains.
            optimizer: "muon", "adamw" or "adam".
            seed: the same seed on the same machine gives the same run.
            variants: what is not as in GPT-2, by the names of config.json, such as {"norm": "post"}.
            start: "starter" or "run:ID", whose size and tokens are kept: it goes on learning (fine-tuning).
            owner: the secret token of an earlier answer, so that the run belongs to the same owner.
            nonce: names this request: sent twice, it still starts one run.

        Returns:
            The run's id, the owner's secret token, and the address part that shows the run in a browser.
        """
        form = _form(
            text,
            start,
            variants,
            title=title,
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            size=size,
            budget="steps" if steps else "minutes",
            minutes=minutes,
            steps=steps,
            optimizer=optimizer,
            seed=seed,
        )
        owner = owner if is_owner(owner) else new_owner()
        plan = self.planner.plan(form).run
        run = self.services.manager.create_and_start(owner, nonce or secrets.token_hex(12), plan)
        return {"run": run, "owner": owner, "address": f"?run={run}"}

    @guarded
    def find_learning_rate(
        self,
        text: str,
        tokenizer: str = "char",
        vocabulary: int = 1024,
        size: str = "nano",
        optimizer: str = "muon",
        seed: int = 1337,
        variants: dict[str, Any] | None = None,
        start: str = "",
    ) -> dict[str, Any]:
        """Tries out learning rates on a throwaway model, from far too small to far too large.

        Args:
            text: what the model learns from, at most 12 MB.
            tokenizer: "char", "bpe" or "word".
            vocabulary: how many different tokens at most, for "bpe" and "word".
            size: "pico", "nano", "micro", "mini" and larger; one step must not take seconds.
            optimizer: "muon", "adamw" or "adam".
            seed: of the model's random numbers and of its batches.
            variants: what is not as in GPT-2, as for start_training.
            start: "starter" or "run:ID", whose size, tokens and weights the search begins with.

        Returns:
            The suggested rate, the recipe's, that of the lowest loss, that from which it explodes (or null),
            and the trials: rate, loss and smoothed loss, in nats per token.
        """
        run = {"tokenizer": tokenizer, "vocabulary": vocabulary, "size": size}
        form = _form(text, start, variants, **run, optimizer=optimizer, seed=seed)
        plan = self.planner.plan(form).run
        *_, trials = self.searches.watch(plan)
        found = suggest(trials)
        return {
            "suggested": found.learning_rate,
            "recipe": plan.training.learning_rate,
            "lowest": found.lowest,
            "explodes": found.explodes,
            "trials": [(trial.learning_rate, trial.loss, trial.smoothed) for trial in trials],
        }

    def training_progress(self, run: str, after_step: int = -1) -> dict[str, Any]:
        """How a run is doing: its steps later than after_step, what it wrote, and its state.

        Args:
            run: a run's id, or "starter".
            after_step: the last step that is known already.
        """
        return self.live.poll([run, after_step])

    def pause_training(self, run: str, owner: str) -> str:
        """Lets a run save and rest; it can be resumed.

        Args:
            run: a run's id.
            owner: the secret token that start_training gave.

        Returns:
            The run's state after it.
        """
        return self._command(self.services.manager.pause, owner, run)

    def resume_training(self, run: str, owner: str) -> str:
        """Lets a paused or stopped run go on exactly where it was saved.

        Args:
            run: a run's id.
            owner: the secret token that start_training gave.

        Returns:
            The run's state after it.
        """
        return self._command(self.services.manager.resume, owner, run)

    def resume_training_slower(self, run: str, owner: str) -> str:
        """Lets a run that diverged go on from before it went wrong, with a tenth of its learning rate.

        Args:
            run: a run's id.
            owner: the secret token that start_training gave.

        Returns:
            The run's state after it.
        """
        return self._command(self.services.manager.resume_slower, owner, run)

    def stop_training(self, run: str, owner: str) -> str:
        """Lets a run save its model, measure its result and end.

        Args:
            run: a run's id.
            owner: the secret token that start_training gave.

        Returns:
            The run's state after it.
        """
        return self._command(self.services.manager.stop, owner, run)

    @guarded
    def _command(self, work: Callable[[str, str], None], owner: str, run: str) -> str:
        work(owner, run)
        return self.services.store.summary(run).state


def _form(text: str, start: str, variants: dict[str, Any] | None, **fields: Any) -> Form:
    """The form as a program fills it in: see `start_training`. fields: by the names of Form."""
    begin = "hand" if start else "new"
    return Form(source="paste", pasted=text, begin=begin, hand=start, **fields, **variant_fields(variants))
