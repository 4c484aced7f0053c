"""The fit: descend the mean of an objective, one batch a step.

    theta <- optimiser(theta, grad mean_B J(theta) * scale),    average <- ema average + (1 - ema) theta

The learning rate rises over `warmup` steps and falls as a cosine to 0 at the last one. The schedule counts steps: a
time limit is turned into a number of steps once, after some timed ones, and that number is kept.

`run` is a generator of reports. It shows nothing, writes nothing and asks for nothing: whoever drives it does. Between
two reports the state is whole, and a driver that stops asking has stopped the fit.

Several processes take the same steps and report after the same ones: what the clock of the first decides, the others
hear at the reports. If one is lost, the state of the others is whole too, as it was before the step not taken.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from smdae.errors import DivergedError, LostError
from smdae.fitting.degeneration import refuse_degenerate
from smdae.fitting.distributed import ALONE, Group
from smdae.fitting.draws import Batch, Shown
from smdae.fitting.examples import Examples
from smdae.fitting.precision import products_in
from smdae.fitting.state import State
from smdae.fitting.step_graph import StepGraph
from smdae.fitting.validation import Validate, Validation
from smdae.models import family

__all__ = ["Report", "ending", "run", "step"]

TIMED_SHARE = 0.04  # of a time limit, for which steps are timed before it becomes a number of steps
UNTIMED_STEPS = 10  # the first ones are slower than the rest
REPORT_SECONDS = 0.25


@dataclass(frozen=True)
class Report:
    """The state of a fit at a report.

    Attributes:
        step: Steps done.
        steps: Steps planned, None until a time limit has become a number.
        seconds: Time spent in steps and validations.
        rate: Examples a second since the last report.
        lr: Learning rate.
        objective: J, averaged since the last report; unscaled.
        validation: Held-out figures, if they were just measured.
    """

    step: int
    steps: int | None
    seconds: float
    rate: float
    lr: float
    objective: float
    validation: Validation | None = None


def learning_rate(step: int, steps: float, warmup: int, peak: float) -> float:
    """Return the learning rate of step number `step`, from 0: a linear rise over `warmup` steps times a cosine to 0."""
    rise = min(1.0, (step + 1) / (warmup + 1))
    fall = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0))) if math.isfinite(steps) else 1.0
    return peak * rise * fall


def share(state: State) -> float:
    """Return the weight of the parameters in their moving average at the next step, 1 - ema once the fit is older."""
    # Young averages forget fast, so that the start does not linger in them.
    return 1 - min(state.settings.ema, (state.record["step"] + 1) / (state.record["step"] + 10))


def step(
    state: State,
    batch: Batch,
    examples: Shown,
    lr: float | Tensor,
    taken: float | Tensor | None = None,
    group: Group = ALONE,
) -> Tensor:
    """Take one step on one batch.

    Args:
        state: The fit; changed in place.
        batch: The examples; in a group of processes, this one's part of them.
        examples: Where the batch is from.
        lr: Learning rate; a tensor where CUDA graphs record the step.
        taken: Weight of the parameters in their average, a tensor likewise; None for `share`.
        group: Processes that take the step together.

    Returns:
        J averaged over the whole batch, and the same of J times its scale, a tensor with shape (2,).
    """
    settings, record = state.settings, state.record
    for options in state.optimiser.param_groups:
        options["lr"] = lr
    # Derivatives of psi in x need all the digits there are; differences with a step that is a share of sigma do not.
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
        # AveragedModel would wrap the average in a module and count its own steps: other names in the state's file, and
        # a weight that is no tensor which a CUDA graph could read.
        if isinstance(taken, Tensor):
            moves = torch._foreach_sub(state.parameters, state.averages)
            torch._foreach_mul_(moves, taken)
            torch._foreach_add_(state.averages, moves)
        else:
            torch._foreach_lerp_(state.averages, state.parameters, share(state) if taken is None else taken)
    record["step"] += 1
    return figures


def run(state: State, examples: Shown, validate: Validate, group: Group = ALONE) -> Iterator[Report]:
    """Fit until the steps or the time are used up, or validation has not improved for `patience` times.

    Args:
        state: Where to start; changed in place.
        examples: What to draw batches from.
        validate: Measures a model on held-out images.
        group: Processes that fit the model together.

    Yields:
        A report a few times a second, and at each validation.

    Raises:
        DivergedError: J or the validation is no longer a number, J has fallen where no fitted score can be, or the
            weights of the processes are no longer the same.
        LostError: A process of the group is lost.
    """
    settings, record = state.settings, state.record
    graph = None
    if group.size == 1 and isinstance(examples, Examples):  # what else there is has no fixed shapes
        graph = StepGraph.of(state, examples, step)
    most_steps, most_seconds = settings.limits
    if record["steps"] is None and math.isinf(most_seconds):
        record["steps"] = int(most_steps)
    peak = settings.lr * family(settings.model).pace(state.model)
    begun = time.perf_counter() - record["seconds"]
    validation_seconds = 0.0
    if record["before"] is None:
        first = validate(state.average, group)
        record["before"], record["best"] = first.value, first.value
        validation_seconds = time.perf_counter() - begun
    timed_from: tuple[int, float] | None = None
    recent: list[Tensor] = []
    drawn = 0
    reported = time.perf_counter()
    next_agreement = record["step"] + 1  # the step after which all take over what the first process decides

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

        planned = record["steps"]
        if planned is None and record["step"] >= most_steps:
            planned = record["steps"] = int(most_steps)
        elif planned is None:
            if timed_from is None and record["step"] >= UNTIMED_STEPS:
                timed_from = record["step"], now
            elif timed_from is not None and now - timed_from[1] > TIMED_SHARE * most_seconds:
                pace = (now - timed_from[1]) / (record["step"] - timed_from[0])
                left = most_seconds - record["seconds"] - validation_seconds * (settings.validations + 1)
                planned = int(min(record["step"] + max(left, 0) / pace + 1, most_steps))
        agrees = record["step"] >= next_agreement or group.size == 1
        if agrees:
            pause = max(1, round(len(recent) * REPORT_SECONDS / (now - reported)))
            agreed, next_agreement = map(int, group.broadcast([planned or 0, record["step"] + pause]))
            record["steps"] = agreed or None

        validation = None
        if record["steps"] is not None:
            every = max(1, -(-record["steps"] // settings.validations))
            if record["step"] % every == 0 or record["step"] == record["steps"]:
                validation = _validated(state, validate, group)
        if validation or (agrees and (group.size > 1 or now - reported > REPORT_SECONDS)):
            mean, weighted = torch.stack(recent).mean(0).tolist()
            refuse_degenerate(examples, mean, weighted, state.model)
            rate = drawn / (now - reported)
            yield Report(record["step"], record["steps"], record["seconds"], rate, lr, mean, validation)
            recent, drawn, reported = [], 0, time.perf_counter()


def _drawn_step(
    state: State, examples: Shown, lr: float, done: float, next_done: float, group: Group
) -> tuple[Tensor, int]:
    """Draw a batch and take a step on it; return what `step` returns and how many examples there were.

    `done` and `next_done` are the parts of the fit that are done at this step and at the next, from 0 to 1.
    """
    batch_size, before = state.settings.batch, state.generator.get_state() if group.size > 1 else None
    batch = examples.draw(batch_size, state.generator, done, group)
    if group.size == 1 and next_done < 1:
        examples.prefetch(batch_size, state.generator, next_done)
    try:
        return step(state, batch, examples, lr, group=group), batch.n
    except LostError:
        if before is not None:  # the step was not taken: whoever resumes draws the same batch again
            state.generator.set_state(before)
        raise


def ending(state: State) -> str:
    """Return what ended a fit that nobody stopped: "steps", "time" or "patience"."""
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
        _remember(state, validate(state.average, ALONE))  # or this would be missing from a fit that goes on
        raise
    _remember(state, validation)
    if not group.all_equal(tensor for _, tensor in sorted(state.tensors().items())):
        raise DivergedError("the weights of the processes have parted", "one of them computes other than the rest")
    return validation


def _remember(state: State, validation: Validation) -> None:
    """Keep the average if it is the best so far, else count one more validation without a gain."""
    if not math.isfinite(validation.value):
        raise DivergedError("the fit diverged: its held-out figure is no longer a number", "try a lower --lr")
    if validation.value > state.record["best"]:
        state.record["best"], state.record["stale"] = validation.value, 0
        state.keep()
    else:
        state.record["stale"] += 1
