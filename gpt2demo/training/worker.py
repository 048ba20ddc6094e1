"""The worker: trains one run from its folder and writes everything down there, whoever is watching."""

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

import torch

from gpt2demo.errors import DivergedError, LostError, NotFoundError, UserError
from gpt2demo.model.anatomy import count_parameters
from gpt2demo.model.config import GPT2Config
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.text.batches import TokenData, encode_corpus
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.training import checkpoint
from gpt2demo.training.config import TrainingConfig, ran_out
from gpt2demo.training.course import Course, Leg
from gpt2demo.training.estimate import plan_course
from gpt2demo.training.evaluation import evaluate
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.heartbeat import Heartbeat
from gpt2demo.training.journal import Journal, Sample
from gpt2demo.training.lock import hold
from gpt2demo.training.loop import TrainingState, TrainStep, new_state, train
from gpt2demo.training.memory import free_memory, is_out_of_memory
from gpt2demo.training.saving import Keeper
from gpt2demo.training.schedule import is_tired, milestones
from gpt2demo.training.slower import diverged_checkpoints
from gpt2demo.training.team import ALONE, Act, Team

FLUSH_SECONDS = 0.25  # how often the diary is written and the wanted state read
CHECKPOINT_SHARE = 20  # a checkpoint may cost at most 1/20 of the time
FINAL_TOKENS = 262_144  # held-out tokens read at most for the result at the end
FINAL_WORK = 1e12  # ... and at most this many parameters times tokens, so that large models end in time too
BYTES_PER_SNAPSHOT_NUMBER = 2

FAREWELLS = {
    "done": "Finished after {steps}.",
    "paused": "Paused after {steps}; everything is saved.",
    "stopped": "Stopped after {steps}; everything is saved.",
    "early": "Finished early, after {steps}: it had stopped getting better on the held-out text.",
    "interrupted": "Asked to leave after {steps}; everything is saved.",
}

WriteSample = Callable[[LanguageModel, Tokenizer, str, int], str]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a worker's shift ended."""

    state: str  # done, paused, stopped or interrupted
    step: int
    tokens: int
    train_loss: float
    val_loss: float
    seconds: float
    tokens_per_second: float
    parameters: int


class Worker:
    """Trains the run in a folder until it is done, or until somebody wants it paused or stopped.

    write_sample: (model, tokenizer, prompt, seed) → text, which shows what the model can write by now; it is
    given from outside because training does not know how to generate. `shift` does the work; afterwards
    `outcome` says how it ended. team: with whom it trains; of several processes it is the first.

    A disk that refuses what shall be saved does not end the run at once: see Keeper.
    """

    def __init__(self, folder: RunFolder, write_sample: WriteSample, team: Team = ALONE) -> None:
        self.folder = folder
        self.team = team
        self.write_sample = write_sample
        self.journal: Journal = folder.journal()
        self.heartbeat = Heartbeat(folder.heartbeat)
        self.outcome: Outcome | None = None
        self._keeper = Keeper(folder, self.journal)
        self._terminated = threading.Event()
        self._free = free_memory()

    def terminate(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Asks the worker to save and leave at the next step; can be used as a signal handler."""
        self._terminated.set()

    def shift(self) -> Iterator[TrainStep]:
        """Does the work, yielding each step after it was made. Whatever goes wrong is noted in the diary."""
        with hold(self.folder.lock), self.journal.kept_open(), self.heartbeat:
            try:
                yield from self._shift()
            except NotFoundError:  # there is nothing to train in this folder, and so nothing that failed
                raise
            except LostError as error:  # nobody did anything wrong, and it can go on
                self._note("interrupted", str(error))
                raise
            except UserError as error:
                self._note("failed", str(error))
                raise
            except (OSError, sqlite3.OperationalError) as error:
                self._keeper.check_there()
                message = self._keeper.unwritable(error)
                self._note("failed", str(message))
                raise message from error
            except Exception as error:
                if is_out_of_memory(error):
                    refusal = ran_out(self.folder.config(), self.folder.facts().training, free=self._free)
                    self._note("failed", str(refusal))
                    raise refusal from error
                self._note("failed", f"A fault in the program ended the training ({type(error).__name__}).")
                raise

    def _note(self, state: str, message: str) -> None:
        with suppress(OSError, sqlite3.OperationalError):  # a full disk takes no notes
            self._keeper.write_down()
            self.journal.tell(state=state, message=message)
            self.journal.add_event(message)

    def _shift(self) -> Iterator[TrainStep]:
        config = self.folder.facts().training
        self._keeper.saved_step = self.journal.status().checkpoint_step
        self.journal.tell(
            state="starting", wanted="run", message="", heartbeat=time.time(), diverged_at=None, unsaved=""
        )
        tokenizer = self.folder.tokenizer()
        data = encode_corpus(self.folder.corpus(), tokenizer, length=config.length, batches=config.batches)
        model = self.folder.first_model(config.seed).to(self.team.device(config.precision))
        torch.set_num_threads(self.team.threads(model.config, config))
        state = new_state(model, config, self.team)
        self._resume(state)
        course = self._keeper.course = self._plan(model.config, data, config)
        looks = frozenset(milestones(course.first_plan, self._affordable(model, config)))
        writes = frozenset(milestones(course.first_plan, config.milestones))
        self._keeper.write_down()
        self.journal.tell(state="running", heartbeat=time.time())
        self._keeper.bring_up_to_date(state)  # from now on there is something to look at, and to go on from
        self._look(state, tokenizer, config, looks, writes)
        for record in self.team.leading(self._steps(state, data, config, course), state, course):
            self.heartbeat.step()
            self._keeper.steps.append(record)
            ending = "done"
            if record.step < course.last:  # the last record is no update: what belongs to it was done before
                with self.heartbeat.long_work():
                    self._look(state, tokenizer, config, looks, writes)
                    ending = self._ending(state, config, record)
                self._keeper.correct(record)
            yield record
            if ending:
                with self.heartbeat.long_work():
                    self._end(state, data, config, record, ending)
                return

    def _steps(
        self, state: TrainingState, data: TokenData, config: TrainingConfig, course: Course
    ) -> Iterator[TrainStep]:
        """Trains. When the numbers are no longer finite, the weights before that step are kept apart: a
        checkpoint like the others would be gone on from, only to break in the same way."""
        try:
            yield from train(state, data, config, steps=course)
        except DivergedError:
            self.journal.tell(diverged_at=state.step)
            if not self.team.sharded:  # of shards each process has some, and all of them stop here
                with suppress(OSError):
                    checkpoint.save(diverged_checkpoints(self.folder), state)
            raise

    def _resume(self, state: TrainingState) -> None:
        resumed = checkpoint.resume(self.folder.path / "checkpoints", state)
        self._keeper.saved_step = resumed.step if resumed else None
        if resumed is None:
            self.journal.add_event("Training began.")
            return
        self.journal.tell(checkpoint_step=resumed.step)
        for name in resumed.damaged:
            self.journal.add_event(f"The checkpoint {name} is damaged and was set aside.")
        exact = "exactly" if not resumed.differences else "not exactly: " + "; ".join(resumed.differences)
        self.journal.add_event(f"Training went on from step {resumed.step}, {exact}.")

    def _plan(self, model: GPT2Config, data: TokenData, config: TrainingConfig) -> Course:
        """The run's course: the one that it was on, or a new one.

        It is written down, with every correction, because the learning rate depends on it: a resumed run must
        not plan anew.
        """
        status = self.journal.status()
        known = status.course or ([(0, 0.0, status.steps_planned)] if status.steps_planned else [])
        if not known:
            device = self.team.device(config.precision)
            return plan_course(model, self.team.part_of(config), data, device)
        seconds = None if config.minutes is None else 60 * config.minutes
        newest = self.journal.last_step()
        return Course(
            0,
            seconds=seconds,
            legs=[Leg(*leg) for leg in known],
            gone_to=newest.step if newest else -1,
            slower=status.slower,
        )

    def _affordable(self, model: LanguageModel, config: TrainingConfig) -> int:
        """How many snapshots the room given for them holds."""
        each = BYTES_PER_SNAPSHOT_NUMBER * count_parameters(model.config)
        # the newest weights are kept anyway, so the last milestone needs no room
        room = int(config.snapshot_megabytes * 1e6) // each
        return min(config.milestones, room + 1) if room else 0

    def _look(
        self,
        state: TrainingState,
        tokenizer: Tokenizer,
        config: TrainingConfig,
        looks: frozenset[int],
        writes: frozenset[int],
    ) -> None:
        """Keeps the weights and writes a sample, if this step is a milestone. Repeating changes nothing."""
        last = state.step == self._keeper.course.last  # whose weights are kept anyway
        if state.step in looks and not last:
            self._keeper.try_to_keep_snapshot(self.team.whole(state.model), state.step)
        if state.step in writes or (last and writes):
            model = self.team.whole(state.model).eval()
            text = self.write_sample(model, tokenizer, config.sample_prompt, config.seed)
            model.train()
            self._keeper.samples.append(Sample(step=state.step, prompt=config.sample_prompt, text=text))

    def _ending(self, state: TrainingState, config: TrainingConfig, record: TrainStep) -> str:
        """Writes the diary, saves, reads what people want, each in its time. → how to end, or ''"""
        if config.patience and record.val_loss is not None and self._is_tired(config, record):
            return "early"
        now = time.monotonic()
        if self._terminated.is_set() or self.team.leaving:
            return "interrupted"
        if now - self._keeper.flushed < FLUSH_SECONDS:
            return ""
        self._keeper.flush()
        if now - self._keeper.saved > max(
            config.checkpoint_seconds, CHECKPOINT_SHARE * self._keeper.save_cost
        ):
            self._keeper.try_to_save(state)
        return {"pause": "paused", "stop": "stopped"}.get(self._keeper.wanted(), "")

    def _is_tired(self, config: TrainingConfig, record: TrainStep) -> bool:
        """Whether the held-out text has been foretold no better for so long that it is time to end."""
        self._keeper.flush()  # the diary knows all looks, also those from before a resume
        looks = [r.val_loss for r in self.journal.validation() if r.step <= record.step]
        return is_tired([loss for loss in looks if loss is not None], config.patience)

    def _end(
        self,
        state: TrainingState,
        data: TokenData,
        config: TrainingConfig,
        record: TrainStep,
        ending: str,
    ) -> None:
        """Saves, measures the result on all held-out text where there is time for that, and says goodbye."""
        self._keeper.save(state)
        # after a resume the diary may be ahead: it knows steps that the killed worker did not save
        val_loss = [r.val_loss for r in self.journal.validation() if r.step <= record.step][-1]
        if ending in ("done", "early", "stopped"):
            self.journal.tell(message="Measuring the result on the held-out text.")
            tokens = _final_tokens(state.model, config)
            self.team.tell(Act.MEASURE, tokens)
            result = evaluate(
                state.model, data.validation, length=config.length, max_tokens=tokens, hands=state.hands
            )
            val_loss = result.loss
            self.journal.tell(final_val_loss=result.loss, final_val_tokens=result.tokens)
        message = FAREWELLS[ending].format(steps=f"{state.step:,} step{'s' * (state.step != 1)}")
        ending = "done" if ending == "early" else ending
        self.journal.add_event(message)
        self.journal.tell(state=ending, message=message)
        self.team.tell(Act.LEAVE)
        assert val_loss is not None
        self.outcome = self._outcome(state, record.train_loss, val_loss, ending)

    def _outcome(self, state: TrainingState, train_loss: float, val_loss: float, ending: str) -> Outcome:
        return Outcome(
            state=ending,
            step=state.step,
            tokens=state.tokens,
            train_loss=train_loss,
            val_loss=val_loss,
            seconds=state.elapsed,
            tokens_per_second=state.tokens / max(state.elapsed, 1e-9),
            parameters=count_parameters(state.model.config),
        )


def _final_tokens(model: LanguageModel, config: TrainingConfig) -> int:
    affordable = int(FINAL_WORK / count_parameters(model.config))
    return max(2 * config.length, min(FINAL_TOKENS, affordable))


def obey_signals(terminate: Callable[[int, FrameType | None], None]) -> None:
    """Makes SIGTERM and Ctrl-C mean: save, and leave."""
    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
