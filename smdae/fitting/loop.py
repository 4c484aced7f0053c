"""The fit: descend the mean of an objective, one batch a step.

    theta <- optimiser(theta, grad mean_B J(theta) * scale),    average <- ema average + (1 - ema) theta

The learning rate rises over `warmup` steps and falls as a cosine to 0 at the last one. The schedule counts steps: a
time limit is turned into a number of steps once, after some timed ones, and that number is kept.

`run` is a generator of reports. It shows, writes and asks for nothing; the caller does. Between two reports the state
is consistent, so a caller that stops iterating has stopped the fit.

Several processes take the same steps and report after the same ones: decisions that depend on the clock are made by the
first, and broadcast at the reports. If a process is lost, the state of the others is that before the failed step.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from smdae.errors import DivergedError, LostError
from smdae.fitting.degeneration import refuse_degenerate
from smdae.fitting.distributed import ALONE, Group
from smdae.fitting.draws import Batch, BatchSource
from smdae.fitting.examples import Examples
from smdae.fitting.precision import products_in
from smdae.fitting.settings import Settings
from smdae.fitting.state import State
from smdae.fitting.step_graph import StepGraph
from smdae.fitting.validation import Validate, Validation
from smdae.models import family

TIMED_SHARE = 0.04  # of a time limit, during which steps are timed before it becomes a number of steps
UNTIMED_STEPS = 10  # the first steps, which are slower than the rest
REPORT_SECONDS = 0.25  # between reports


@dataclass(frozen=True)
class Report:
    """The state of a fit at a report."""

    step: int  # number of steps done
    steps: int | None  # number of steps planned; None until a time limit has become a number
    seconds: float  # time spent in steps and validations
    rate: float  # examples per second since the last report
    lr: float
    objective: float  # J, averaged over the steps since the last report; unscaled
    validation: Validation | None = None  # held-out figures, if they were just measured


def learning_rate(step: int, steps: float, warmup: int, peak: float) -> float:
    """Return the learning rate of step number `step`, from 0: a linear rise over `warmup` steps times a cosine to 0.

    If `steps` is infinite, there is no cosine.
    """
    rise = min(1.0, (step + 1) / (warmup + 1))
    fall = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0))) if math.isfinite(steps) else 1.0
    return peak * rise * fall


def share(state: State) -> float:
    """Return the weight of the parameters in their moving average at the next step: 1 - ema, and more at first."""
    # A larger weight at first lets the average forget the start.
    return 1 - min(state.settings.ema, float((state.record["step"] + 1) / (state.record["step"] + 10)))


def step(
    state: State,
    batch: Batch,
    examples: BatchSource,
    lr: float | Tensor,
    weight: float | Tensor | None = None,
    group: Group = ALONE,
) -> Tensor:
    """Take one step on one batch, or on this process's part of it, which changes the state in place.

    Args:
        state: The fit.
        batch: The examples.
        examples: The source of the batch.
        lr: Learning rate; a tensor if a CUDA graph records the step.
        weight: Weight of the parameters in their average, a tensor likewise; None for `share`.
        group: The processes that take the step together.

    Returns:
        J averaged over the whole batch, and J times its scale averaged likewise, a tensor with shape (2,).

    Raises:
        LostError: A process of the group is gone.
    """
    settings, record = state.settings, state.record
    for options in state.optimiser.param_groups:
        options["lr"] = lr
    # Exact derivatives of psi in x need full precision; differences over a share of sigma do not.
    precise = "probes" in batch.needs and "step" not in batch.needs
    with products_in("float32" if precise else settings.precision, batch.x.device):
        losses = batch.losses(examples.objective, state.model)
    for parameter in state.parameters:
        parameter.grad = None
    weighted = (losses * batch.scale).sum() / batch.n
    weighted.backward()
    figures = torch.stack([losses.detach().sum() / batch.n, weighted.detach()])
    group.all_reduce_([*(p.grad for p in state.parameters if p.grad is not None), figures])
    clip_grad_norm_(state.parameters, settings.clip, foreach=True)
    state.optimiser.step()
    with torch.no_grad():
        # Not torch's AveragedModel: it would change the names in the state file, and its weight is not a tensor, which
        # a CUDA graph needs.
        if isinstance(weight, Tensor):
            moves = torch._foreach_sub(state.parameters, state.averages)
            torch._foreach_mul_(moves, weight)
            torch._foreach_add_(state.averages, moves)
        else:
            torch._foreach_lerp_(state.averages, state.parameters, share(state) if weight is None else weight)
    record["step"] += 1
    return figures


class _Planner:
    """Turns a time limit into a number of steps, by the pace of some timed steps."""

    def __init__(self, settings: Settings) -> None:
        self.validations = settings.validations
        self.most_steps, self.most_seconds = settings.limits
        self.timed_from: tuple[int, float] | None = None  # a step, and the time when it was done

    def planned(self, record: dict[str, Any], now: float, validation_seconds: float) -> int | None:
        """Return the number of steps planned, given the record of the state; None while the pace is not known yet."""
        step = record["step"]
        if record["steps"] is not None or step >= self.most_steps:
            return record["steps"] or int(self.most_steps)
        if self.timed_from is None:
            self.timed_from = (step, now) if step >= UNTIMED_STEPS else None
            return None
        first, begun = self.timed_from
        if now - begun <= TIMED_SHARE * self.most_seconds:
            return None
        seconds_per_step = (now - begun) / (step - first)
        left = self.most_seconds - record["seconds"] - validation_seconds * (self.validations + 1)
        return int(min(step + max(left, 0) / seconds_per_step + 1, self.most_steps))


def run(state: State, examples: BatchSource, validate: Validate, group: Group = ALONE) -> Iterator[Report]:
    """Fit until the steps or the time are used up, or validation has not improved for `patience` times.

    The state is changed in place.

    Yields:
        A report a few times a second, and at each validation.

    Raises:
        DivergedError: J or the validation is not finite, J is lower than that of any fitted score, or the weights of
            the processes differ.
        LostError: A process of the group is lost.
    """
    settings, record = state.settings, state.record
    graph = None
    if group.size == 1 and isinstance(examples, Examples):  # other sources have no fixed shapes
        graph = StepGraph.of(state, examples, step)
    planner = _Planner(settings)
    if record["steps"] is None and math.isinf(planner.most_seconds):
        record["steps"] = int(planner.most_steps)
    peak = settings.lr * family(settings.model).pace(state.model)
    begun = time.perf_counter() - record["seconds"]
    validation_seconds = 0.0
    if record["before"] is None:
        first = validate(state.average, group)
        record["before"], record["best"] = first.value, first.value
        validation_seconds = time.perf_counter() - begun
    recent: list[Tensor] = []
    drawn = 0
    reported = time.perf_counter()
    next_agreement = record["step"] + 1  # the step after which all processes take over the decisions of the first

    def progress(step: int) -> float:
        return step / record["steps"] if record["steps"] else 0.0

    while (record["steps"] is None or record["step"] < record["steps"]) and record["stale"] < settings.patience:
        lr = learning_rate(record["step"], record["steps"] or math.inf, settings.warmup, peak)
        now_done, then_done = progress(record["step"]), progress(record["step"] + 1)
        if graph:
            figures, count = graph(lr, share(state), now_done)
        else:
            figures, count = _drawn_step(state, examples, lr, now_done, then_done, group)
        recent.append(figures)
        drawn += count
        now = time.perf_counter()
        record["seconds"] = now - begun
        planned = planner.planned(record, now, validation_seconds)
        agrees = record["step"] >= next_agreement or group.size == 1
        if agrees:
            pause = max(1, round(len(recent) * REPORT_SECONDS / (now - reported)))
            agreed, next_agreement = map(int, group.broadcast([planned or 0, record["step"] + pause]))
            record["steps"] = agreed or None
        validation = _validated(state, validate, group) if _is_due(record, settings) else None
        if validation or (agrees and (group.size > 1 or now - reported > REPORT_SECONDS)):
            mean, weighted = torch.stack(recent).mean(0).tolist()
            refuse_degenerate(examples, mean, weighted, state.model)
            rate = drawn / (now - reported)
            yield Report(record["step"], record["steps"], record["seconds"], rate, lr, mean, validation)
            recent, drawn, reported = [], 0, time.perf_counter()


def _is_due(record: dict[str, Any], settings: Settings) -> bool:
    """Return whether the model is to be validated after this step."""
    if record["steps"] is None:
        return False
    every = max(1, -(-record["steps"] // settings.validations))
    return bool(record["step"] % every == 0 or record["step"] == record["steps"])


def _drawn_step(
    state: State, examples: BatchSource, lr: float, done: float, next_done: float, group: Group
) -> tuple[Tensor, int]:
    """Draw a batch and take a step on it; return the figures of `step` and the number of examples.

    `done` and `next_done` are the shares of the fit that are done at this step and at the next, from 0 to 1.
    """
    batch_size, before = state.settings.batch, state.generator.get_state() if group.size > 1 else None
    batch = examples.draw(batch_size, state.generator, done, group)
    if group.size == 1 and next_done < 1:
        examples.prefetch(batch_size, state.generator, next_done)
    try:
        return step(state, batch, examples, lr, group=group), batch.n
    except LostError:
        if before is not None:  # the step was not taken: a resumed fit draws the same batch again
            state.generator.set_state(before)
        raise


def ending(state: State) -> str:
    """Return what ended a fit that was not stopped from outside: "steps", "time" or "patience"."""
    settings, record = state.settings, state.record
    most_steps, most_seconds = settings.limits
    if record["steps"] is None or record["step"] < record["steps"]:
        return "patience"
    return "time" if math.isfinite(most_seconds) and record["step"] < most_steps else "steps"


def _validated(state: State, validate: Validate, group: Group) -> Validation:
    """Validate the average and keep it if it is the best so far; all processes must hold the same weights."""
    try:
        validation = validate(state.average, group)
    except LostError:
        _remember(state, validate(state.average, ALONE))  # so that a resumed fit does not lack this validation
        raise
    _remember(state, validation)
    if not group.all_equal(tensor for _, tensor in sorted(state.tensors().items())):
        raise DivergedError(
            "the weights of the processes differ", "one of them computed something else than the others"
        )
    return validation


def _remember(state: State, validation: Validation) -> None:
    """Keep the average if it is the best so far, else count one more validation without a gain."""
    if not math.isfinite(validation.value):
        raise DivergedError("the fit diverged: its held-out figure is NaN or infinite", "try a lower --lr")
    if validation.value > state.record["best"]:
        state.record["best"], state.record["stale"] = validation.value, 0
        state.keep()
    else:
        state.record["stale"] += 1
