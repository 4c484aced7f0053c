"""The fit: descend the mean of an objective, one batch a step.

    theta <- optimiser(theta, grad mean_B J(theta) * scale),    average <- ema average + (1 - ema) theta

The learning rate rises over `warmup` steps and falls as a cosine to 0 at the last one. The schedule counts steps: a
time limit is turned into a number of steps once, after some timed ones, and that number is kept.

`run` is a generator of reports. It shows nothing, writes nothing and asks for nothing: whoever drives it does. Between
two reports the state is whole, and a driver that stops asking has stopped the fit.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from smdae.errors import DivergedError
from smdae.fitting.examples import Batch, Examples
from smdae.fitting.precision import products_in
from smdae.fitting.state import State
from smdae.fitting.validation import Validation

__all__ = ["Report", "run", "step"]

TIMED_SHARE = 0.04  # of a time limit, for which steps are timed before it becomes a number of steps
UNTIMED_STEPS = 10  # the first ones are slower than the rest
REPORT_SECONDS = 0.25


@dataclass(frozen=True)
class Report:
    """Where a fit stands.

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
    """The rate of step number `step`, from 0: a linear rise over `warmup` steps times a cosine to 0 over all."""
    rise = min(1.0, (step + 1) / (warmup + 1))
    fall = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0))) if math.isfinite(steps) else 1.0
    return peak * rise * fall


def clip_gradients(parameters: list[Tensor], largest: float) -> None:
    """Scale all gradients down together if their joint norm is beyond `largest`."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp(max=1.0))


def step(state: State, batch: Batch, examples: Examples, lr: float) -> Tensor:
    """One step on one batch; returns J averaged over the batch, and J as it is weighted, a tensor with shape (2,)."""
    settings, record = state.settings, state.record
    for group in state.optimiser.param_groups:
        group["lr"] = lr
    # Derivatives of psi in x need all the digits there are; differences with a step that is a share of sigma do not.
    precise = "probes" in batch.needs and "step" not in batch.needs
    with products_in("float32" if precise else settings.precision, batch.x.device):
        losses = batch.losses(examples.objective, state.model)
    for parameter in state.parameters:
        parameter.grad = None
    weighted = (losses * batch.scale).mean()
    weighted.backward()
    clip_gradients(state.parameters, settings.clip)
    state.optimiser.step()
    # Young averages forget fast, so that the start does not linger in them.
    decay = min(settings.ema, (record["step"] + 1) / (record["step"] + 10))
    with torch.no_grad():
        torch._foreach_lerp_(state.averages, state.parameters, 1 - decay)
    record["step"] += 1
    return torch.stack([losses.detach().mean(), weighted.detach()])


def run(state: State, examples: Examples, validate: Callable[[torch.nn.Module], Validation]) -> Iterator[Report]:
    """Fit until the steps or the time are used up, or validation has not improved for `patience` times.

    Args:
        state: Where to start; changed in place.
        examples: What to draw batches from.
        validate: Measures a model on held-out images.

    Yields:
        A report a few times a second, and at each validation.

    Raises:
        DivergedError: J or the validation is no longer a number, or J has fallen where no fitted score can be.
    """
    settings, record = state.settings, state.record
    most_steps, most_seconds = settings.limits
    if record["steps"] is None and math.isinf(most_seconds):
        record["steps"] = int(most_steps)
    begun = time.perf_counter() - record["seconds"]
    validation_seconds = 0.0
    if record["before"] is None:
        first = validate(state.average)
        record["before"], record["best"] = first.value, first.value
        validation_seconds = time.perf_counter() - begun
    timed_from: tuple[int, float] | None = None
    recent: list[Tensor] = []
    drawn = 0
    reported = time.perf_counter()

    while (record["steps"] is None or record["step"] < record["steps"]) and record["stale"] < settings.patience:
        lr = learning_rate(record["step"], record["steps"] or math.inf, settings.warmup, settings.lr)
        progress = record["step"] / record["steps"] if record["steps"] else 0.0
        batch = examples.draw(settings.batch, state.generator, progress)
        examples.expect(settings.batch, state.generator)
        recent.append(step(state, batch, examples, lr))
        drawn += len(batch.x)
        now = time.perf_counter()
        record["seconds"] = now - begun

        if record["steps"] is None and record["step"] >= most_steps:
            record["steps"] = int(most_steps)
        elif record["steps"] is None:
            if timed_from is None and record["step"] >= UNTIMED_STEPS:
                timed_from = record["step"], now
            elif timed_from is not None and now - timed_from[1] > TIMED_SHARE * most_seconds:
                pace = (now - timed_from[1]) / (record["step"] - timed_from[0])
                left = most_seconds - record["seconds"] - validation_seconds * (settings.validations + 1)
                record["steps"] = int(min(record["step"] + max(left, 0) / pace + 1, most_steps))

        validation = None
        if record["steps"] is not None:
            every = max(1, -(-record["steps"] // settings.validations))
            if record["step"] % every == 0 or record["step"] == record["steps"]:
                validation = validate(state.average)
                _remember(state, validation)
        if validation or now - reported > REPORT_SECONDS:
            mean, weighted = torch.stack(recent).mean(0).tolist()
            examples.refuse_degenerate(mean, weighted, state.model)
            rate = drawn / (now - reported)
            yield Report(record["step"], record["steps"], record["seconds"], rate, lr, mean, validation)
            recent, drawn, reported = [], 0, time.perf_counter()


def _remember(state: State, validation: Validation) -> None:
    """Keep the average if it is the best so far, and count how long none was better."""
    if not math.isfinite(validation.value):
        raise DivergedError("the fit diverged: its held-out figure is no longer a number", "try a lower --lr")
    if validation.value > state.record["best"]:
        state.record["best"], state.record["stale"] = validation.value, 0
        state.keep()
    else:
        state.record["stale"] += 1
