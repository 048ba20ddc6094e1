"""The training loop: read a batch, measure the error, find who is to blame, change the weights a little."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from gpt2demo.errors import DivergedError
from gpt2demo.model.anatomy import count_parameters
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.language_model import LanguageModel
from gpt2demo.model.mlp import Router, Routing, load_balance
from gpt2demo.text.batches import IGNORED, Part, TokenData, batch, mixed_seed, validation_windows
from gpt2demo.training.config import TrainingConfig, hands_for
from gpt2demo.training.course import Course
from gpt2demo.training.hands import Hands
from gpt2demo.training.optimizers import make_optimizers, set_learning_rate
from gpt2demo.training.precision import computing_in, make_scaler
from gpt2demo.training.schedule import evaluation_interval, learning_rate_share

VALIDATION_TOKENS = 8_192  # how much held-out text each point of the validation curve reads at most
LEAST_VALIDATION = 2_048  # ... and at least, and between them
VALIDATION_SHARE = 0.01  # of what the run learns from, so that a short run does not spend its time on looks
VALIDATION_WORK = 5e10  # ... and at most this many parameters times tokens: large models read less
BALANCE = 0.01  # how much an uneven load of the experts counts (Fedus et al. 2021, section 2.2)
EVALUATION_BATCH = 8_192  # tokens in one forward pass of an evaluation
EVALUATION_LOGITS = 2**24  # ... and about this many scores at most, or GPT-2's would need gigabytes


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


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well a model foretells a text it has not been trained on."""

    loss: float  # nats per token
    accuracy: float  # share of tokens whose right next token was the first guess
    tokens: int


@dataclass(kw_only=True)
class TrainingState:
    """Everything that changes while training: the model, the optimisers' memories, and the position."""

    model: LanguageModel
    optimizers: tuple[Optimizer, ...]
    hands: Hands
    scaler: GradScaler
    step: int = 0
    tokens: int = 0
    elapsed: float = 0.0
    speed: float = field(default=0.0)  # tokens per second, over the last few seconds


def new_state(model: LanguageModel, config: TrainingConfig) -> TrainingState:
    """The state of a run that is about to begin; it is computed where the model is."""
    if isinstance(model, GPT2):  # what came before it has no blocks to compute once more
        model.recompute = config.gradient_checkpointing
    hands = Hands(hands_for(model.config, config))
    return TrainingState(
        model=model,
        optimizers=make_optimizers(model, config, hands),
        hands=hands,
        scaler=make_scaler(model, config),
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


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss: minus the logarithm of the probability that the right next token was given, on average.

    Padding does not count, and logarithms are taken in full precision.  (B, T, V), (B, T) → () in nats per
    token.
    """
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)


@torch.no_grad()
def evaluate(model: LanguageModel, part: Part, *, length: int, max_tokens: int) -> Evaluation:
    """Measures the model on the same windows (or rows) of a held-out text, every time it is asked.

    `max_tokens` bounds how many tokens are read, in evenly spaced windows of `length`.
    """
    inputs, targets = validation_windows(part, length=length, max_tokens=max_tokens)  # (N, T) each
    at_once = max(1, min(EVALUATION_BATCH, EVALUATION_LOGITS // model.config.vocab_size) // length)
    was_training = model.training
    model.eval()
    loss, right, tokens = 0.0, 0, 0
    for start in range(0, len(inputs), at_once):
        x = inputs[start : start + at_once].to(model.device)
        y = targets[start : start + at_once].to(model.device)
        logits = model(x)
        count = count_targets(y)
        loss += cross_entropy(logits, y).item() * count
        right += int((logits.argmax(-1) == y).sum())
        tokens += count
    model.train(was_training)
    return Evaluation(loss=loss / tokens, accuracy=right / tokens, tokens=tokens)


def count_targets(targets: Tensor) -> int:
    """How many tokens are foretold: all that are not padding.  (B, T) → a number"""
    return int((targets != IGNORED).sum())


def validation_tokens(model: LanguageModel, config: TrainingConfig, steps: int) -> int:
    """How many held-out tokens one point of the validation curve reads: fixed for a run, and affordable."""
    most = int(VALIDATION_SHARE * steps * config.rows * config.length)
    affordable = int(VALIDATION_WORK / count_parameters(model.config))
    return max(2 * config.length, min(max(most, LEAST_VALIDATION), VALIDATION_TOKENS, affordable))


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
            evaluate(state.model, data.validation, length=config.length, max_tokens=held_out)
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
        norm = torch.nn.utils.get_total_norm(gradients)
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
    model, tokens, loss = state.model, count_targets(targets), 0.0
    if model.config.dropout:
        torch.manual_seed(mixed_seed(config.seed, state.step))
    for optimizer in state.optimizers:  # before the forward pass, which needs the room
        optimizer.zero_grad()
    work = _alone if state.hands.count == 1 else _side_by_side
    for x, y in zip(*(torch.split(whole, config.batch_size) for whole in (inputs, targets)), strict=True):
        loss += work(state, x, y, config, tokens)
    return loss


def _alone(state: TrainingState, x: Tensor, y: Tensor, config: TrainingConfig, tokens: int) -> float:
    """Adds the gradients of one batch to those that are there. → its part of the loss"""
    share = count_targets(y) / tokens
    with computing_in(state.model, config):
        with watching_routers(state.model) as routings:
            wish = error = cross_entropy(state.model(x), y)
        if routings:
            wish = error + BALANCE * torch.stack([load_balance(one) for one in routings]).mean()
        state.scaler.scale(wish * share).backward()  # type: ignore[no-untyped-call]
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
