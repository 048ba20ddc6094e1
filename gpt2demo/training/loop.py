"""The training loop: read a batch, measure the error, find who is to blame, change the weights a little."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from gpt2demo.errors import DivergedError
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.mlp import Router, Routing, load_balance
from gpt2demo.text.batches import TokenData, batch, mixed_seed
from gpt2demo.training.config import TrainingConfig
from gpt2demo.training.course import Course
from gpt2demo.training.evaluation import count_targets, cross_entropy, evaluate, validation_tokens
from gpt2demo.training.hands import Hands
from gpt2demo.training.optimizers import set_learning_rate
from gpt2demo.training.precision import computing_in, make_scaler
from gpt2demo.training.schedule import evaluation_interval, learning_rate_share
from gpt2demo.training.team import ALONE, Team

BALANCE = 0.01  # how much an uneven load of the experts counts (Fedus et al. 2021, section 2.2)


@dataclass(frozen=True, kw_only=True)
class TrainStep:
    """What is known about a model after `step` updates, and about the update that it is about to get.

    Losses are in nats per token. Only every so many steps is there a validation loss, together with the
    share of held-out tokens that the model's first guess gets right.
    """

    step: int
    tokens: int  # training tokens read before this step, padding not counted
    train_loss: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    elapsed: float  # seconds of training so far, pauses left out


@dataclass(kw_only=True)
class TrainingState:
    """Everything that changes while training: the model, the optimisers' memories, and the position."""

    model: LanguageModel
    optimizers: tuple[Optimizer, ...]
    hands: Hands
    scaler: GradScaler
    team: Team = ALONE
    step: int = 0
    tokens: int = 0
    elapsed: float = 0.0
    speed: float = field(default=0.0)  # tokens per second, over the last few seconds


def new_state(model: LanguageModel, config: TrainingConfig, team: Team = ALONE) -> TrainingState:
    """The state of a run that is about to begin; it is computed where the model is."""
    if isinstance(model, GPT2):  # what came before it has no blocks to compute once more
        model.recompute = config.gradient_checkpointing
    model = team.wrap(model)
    hands = Hands(team.hands(model.config, config))
    return TrainingState(
        model=model,
        optimizers=team.optimizers(model, config, hands),
        hands=hands,
        scaler=make_scaler(model, config),
        team=team,
    )


@contextmanager
def watching_routers(model: LanguageModel) -> Iterator[list[Routing]]:
    """Inside the `with`, every router of a mixture of experts leaves its choices behind; no hook is left."""
    seen: list[Routing] = []
    routers = [module for module in model.modules() if isinstance(module, Router)]
    handles = [router.register_forward_hook(lambda _m, _i, choice: seen.append(choice)) for router in routers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def train(
    state: TrainingState, data: TokenData, config: TrainingConfig, *, steps: int | Course
) -> Iterator[TrainStep]:
    """Trains from where the state stands up to `steps` updates, changing the state in place.

    steps: how many, or a course, which may be corrected between two of them.

    Yields one TrainStep for every update, after it was made, and a last one for the finished model. Batch,
    learning rate and dropout are pure functions of (seed, step): stopping and going on changes nothing.
    Raises DivergedError before an update that is not a number could touch the weights.
    """
    course = steps if isinstance(steps, Course) else Course(steps)
    interval = evaluation_interval(course.first_plan, config.evaluate_every)
    held_out = validation_tokens(state.model, config, course.first_plan)
    before = time.perf_counter()
    while state.step <= course.last:
        last = state.step == course.last
        evaluated = state.step % interval == 0 or last
        evaluation = (
            evaluate(
                state.model, data.validation, length=config.length, max_tokens=held_out, hands=state.hands
            )
            if evaluated
            else None
        )
        share = learning_rate_share(state.step, course, config) if not last else 0.0
        computed = time.perf_counter()
        loss, norm, read = gradient_step(state, data, config, share, learn=not last)
        now = time.perf_counter()
        _measure_speed(state, read, now - computed)
        state.elapsed += now - before  # with all that was done between two steps
        before = now
        record = TrainStep(
            step=state.step,
            tokens=state.tokens,
            train_loss=loss,
            val_loss=evaluation.loss if evaluation else None,
            val_accuracy=evaluation.accuracy if evaluation else None,
            learning_rate=config.learning_rate * share,
            gradient_norm=norm,
            tokens_per_second=state.speed,
            elapsed=state.elapsed,
        )
        if not last:
            state.tokens += read
            state.step += 1
        yield record
        if last:
            return


def gradient_step(
    state: TrainingState, data: TokenData, config: TrainingConfig, share: float, *, learn: bool
) -> tuple[float, float, int]:
    """One step of gradient descent, or only its measurement. → loss, gradient norm, tokens read

    share: of each optimiser group's highest learning rate. Raises DivergedError before an update that is not
    a number could touch the weights.
    """
    state.model.train()
    inputs, targets = batch(
        data.train, seed=config.seed, step=state.step, batch_size=config.rows, length=config.length
    )
    loss, norm = _gradients(state, inputs, targets, config)
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise DivergedError(
            f"At step {state.step} the loss became {loss} with a gradient of length {norm} "
            f"at the learning rate {config.learning_rate * share:.3g}.",
            "The weights before this step were kept.",
            "Go on slower (--slower): from before it went wrong, with a tenth of the learning rate.",
        )
    if learn:
        set_learning_rate(state.optimizers, share)
        for optimizer in state.optimizers:
            state.scaler.step(optimizer)
    state.scaler.update()
    return loss, norm, count_targets(targets)


def _gradients(
    state: TrainingState, inputs: Tensor, targets: Tensor, config: TrainingConfig
) -> tuple[float, float]:
    """Leaves in every parameter which way it should go, at its true size and clipped. → loss, gradient norm

    In fp16 the gradients were scaled up on their way. When that made one of them infinite, the same batch is
    read once more at half the scale, so that no update is lost.
    """
    while True:
        loss = _backward(state, inputs.to(state.model.device), targets.to(state.model.device), config)
        for optimizer in state.optimizers:  # before anybody judges how long the gradient is
            state.scaler.unscale_(optimizer)
        gradients = [p.grad for p in state.model.parameters() if p.grad is not None]
        norm = state.team.length(gradients)
        too_large = state.scaler.is_enabled() and not math.isfinite(norm.item())
        if not (too_large and math.isfinite(loss) and state.scaler.get_scale() > 1):
            break
        state.scaler.update()  # halves the scale
    if config.gradient_clip:
        torch.nn.utils.clip_grads_with_norm_(state.model.parameters(), config.gradient_clip, norm)
    return loss, norm.item()


def _backward(state: TrainingState, inputs: Tensor, targets: Tensor, config: TrainingConfig) -> float:
    """Finds which way each parameter should go, from nothing. → loss

    The windows are read batch after batch and their gradients added, each with the weight of its tokens, so
    that several small batches come to the same as a large one in less memory.
    """
    model, team, tokens, loss = state.model, state.team, count_targets(targets), 0.0
    if model.config.dropout:
        torch.manual_seed(team.seed(mixed_seed(config.seed, state.step)))
    for optimizer in state.optimizers:  # before the forward pass, which needs the room
        optimizer.zero_grad()
    work = _alone if state.hands.count == 1 else _side_by_side
    for x, y in team.batches(inputs, targets, config.batch_size):
        loss += work(state, x, y, config, tokens)
    return team.total(loss)


def _alone(state: TrainingState, x: Tensor, y: Tensor, config: TrainingConfig, tokens: int) -> float:
    """Adds the gradients of one batch to those that are there. → its part of the loss"""
    share = count_targets(y) / tokens
    with computing_in(state.model, config):
        with watching_routers(state.model) as routings:
            wish = error = cross_entropy(state.team.forward(state.model, x), y)
        if routings:
            wish = error + BALANCE * torch.stack([load_balance(one) for one in routings]).mean()
        # several processes will take the mean of their gradients, where their sum is wanted
        state.scaler.scale(wish * (share * state.team.size)).backward()  # type: ignore[no-untyped-call]
    return error.item() * share


def _side_by_side(state: TrainingState, x: Tensor, y: Tensor, config: TrainingConfig, tokens: int) -> float:
    """The same, each hand reading some of the rows; what they find is added in the order of the rows."""
    parameters = list(state.model.parameters())

    def work(rows: tuple[Tensor, Tensor]) -> tuple[float, tuple[Tensor, ...]]:
        share = count_targets(rows[1]) / tokens
        with computing_in(state.model, config):
            error = cross_entropy(state.model(rows[0]), rows[1])
            return error.item() * share, torch.autograd.grad(error * share, parameters)

    (loss, gradients), *others = state.hands.map(work, _rows_for(state.hands.count, x, y))
    for part, more in others:
        loss += part
        torch._foreach_add_(gradients, more)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
    return loss


def _rows_for(hands: int, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    """A batch in parts of about the same number of rows, one for each hand."""
    return list(zip(x.tensor_split(min(hands, len(x))), y.tensor_split(min(hands, len(y))), strict=True))


def _measure_speed(state: TrainingState, tokens: int, seconds: float) -> None:
    """Keeps a running mean of the speed that forgets what is more than about two seconds old."""
    now = tokens / max(seconds, 1e-9)
    weight = 1 - math.exp(-seconds / 2) if state.speed else 1.0
    state.speed += weight * (now - state.speed)
