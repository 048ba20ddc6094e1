"""What every process but the first does: the same steps, and whatever the first one asks for."""

import threading
from contextlib import suppress
from types import FrameType

import torch

from gpt2demo.text.batches import TokenData, encode_corpus
from gpt2demo.training.config import TrainingConfig
from gpt2demo.training.course import Course
from gpt2demo.training.distributed import Processes
from gpt2demo.training.evaluation import evaluate
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.loop import TrainingState, new_state, train
from gpt2demo.training.messages import telling_of_loss
from gpt2demo.training.team import Act


class Follower:
    """Trains along, in step with the Worker of the first process."""

    def __init__(self, folder: RunFolder, team: Processes) -> None:
        self.folder = folder
        self.team = team
        self._terminated = threading.Event()

    def terminate(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Asks the first process to save, and all to leave; can be used as a signal handler."""
        self._terminated.set()

    def shift(self) -> None:
        """Works until the first process says that it is over. Writes nothing but its shards."""
        config, team = self.folder.facts().training, self.team
        data = encode_corpus(
            self.folder.corpus(), self.folder.tokenizer(), length=config.length, batches=config.batches
        )
        model = self.folder.first_model(config.seed).to(team.device(config.precision))
        torch.set_num_threads(team.threads(model.config, config))
        state = new_state(model, config, team)
        course = Course(1)
        self._obey(state, course, data, config)
        team.meet(state)
        with telling_of_loss():
            for _ in train(state, data, config, steps=course):
                if not self._obey(state, course, data, config):
                    return

    def _obey(self, state: TrainingState, course: Course, data: TokenData, config: TrainingConfig) -> bool:
        """Does what the first process asks for, until the next step. → whether there is one"""
        team, saved = self.team, self.folder.path / "checkpoints"
        while True:
            act, argument = team.hear(leaving=self._terminated.is_set())
            if act in (Act.GO_ON, Act.LEAVE):
                return act == Act.GO_ON
            if act == Act.COURSE:
                team.share_course(course)
            elif act == Act.LOAD:
                team.load_shards(saved / f"step-{argument:06d}", state)
            elif act == Act.HAND_OUT:
                team.take(state, {}, {})
            elif act == Act.GATHER:
                team.whole(state.model)
            elif act == Act.SAVE:
                with suppress(OSError):  # the first process is told as well, and says so
                    team.save_shards(saved / f"step-{argument:06d}.tmp", state)
            elif act == Act.MEASURE:
                evaluate(state.model, data.validation, length=config.length, max_tokens=argument)
