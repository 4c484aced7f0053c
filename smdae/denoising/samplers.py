"""Samplers, which move a noisy image along the score: generators of estimates, and the one table of their names.

With D(x, s) = x + s^2 psi(x, s), which is E[clean | x] where x has noise of level s, and y at the level sigma:

    tweedie         x^ = D(y, sigma): the posterior mean, in one step              (Robbins 1956; Miyasawa 1961)
    ascent          x <- x + eta (psi(x, s) + (y - x) / sigma^2), s falling: towards the posterior's mode
    langevin        x_s' drawn given x_s, y and D(x_s, s), s falling from sigma to 0: a sample of the posterior
    ode             dx/ds = -s psi(x, s) from sigma to 0: the probability flow     (Song et al. 2021)
    coarse-to-fine  x <- x + h (D(x, s) - x) + gamma eps, with s as what then is left  (Kadkhodaie and Simoncelli 2021)

A sampler is a generator that yields the estimate after each step, the last being its result; the caller shows or saves
them, or stops early. Each step evaluates the score once.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.errors import DivergedError, SmdaeError, UsageError
from smdae.protocols import HasEnergy, offers, posterior_mean, single_level

MAX_STEPS = 1000
LOWEST_SHARE = 1 / 50  # of sigma: the lowest level of a schedule, unless the model's range ends above it
BETA = 0.95  # of coarse-to-fine: the share of the removed noise that is not added again
MAX_HALVINGS = 20  # of a step that would lower the posterior
DIVERGED_AT = 100.0  # times (sigma + the largest value of y), beyond which a path has diverged


@dataclass(frozen=True)
class SamplerSettings:
    """The number and size of the steps, and the source of their noise.

    Attributes:
        steps: K, at least 1.
        size: Step size, not negative; each sampler has its own unit.
        generator: Source of its noise, on the CPU; None for torch's own, whose state then changes.
    """

    steps: int
    size: float
    generator: Generator | None = None

    def noise(self, like: Tensor) -> Tensor:
        """Return standard normal noise with the shape, dtype and device of a tensor, drawn from the generator."""
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype).to(like.device)


def sigma_schedule(model: Any, sigma: float, number: int) -> list[float]:
    """Return `number` levels in equal ratios, from sigma down to the model's lowest or to a small share of sigma.

    All are sigma if the model has only one level, or if sigma is below its lowest.
    """
    low = sigma if single_level(model) is not None else max(model.noise_range[0], LOWEST_SHARE * sigma)
    ratio = min(1.0, low / sigma)
    return [sigma * ratio ** (k / max(number - 1, 1)) for k in range(number)]


def tweedie(model: Any, noisy: Tensor, sigma: float, settings: SamplerSettings) -> Iterator[Tensor]:
    """Yield, once, the posterior mean under the model's density, with the shape of noisy."""
    yield posterior_mean(model, noisy, sigma)


def ascent(model: Any, noisy: Tensor, sigma: float, settings: SamplerSettings) -> Iterator[Tensor]:
    """Yield each step up log p_s(x) - |y - x|^2 / (2 sigma^2), s falling where the model knows many levels.

    The size is in units of 1 / (1/s^2 + 1/sigma^2). Sizes below 2 are stable, as the score of a density smoothed to the
    level s has slope -1/s^2 at most. If the model has an energy, a step that would lower the posterior is halved until
    it does not.
    """
    x = noisy
    for s in sigma_schedule(model, sigma, settings.steps):
        uphill = model.score(x, sigma=s) + (noisy - x) / sigma**2
        eta = settings.size / (1 / s**2 + 1 / sigma**2)
        if offers(model, HasEnergy):
            x = x + _not_lower(partial(_cost, model, noisy, sigma, s), x, uphill, eta) * uphill
        else:
            x = x + eta * uphill
        yield x


def _cost(model: HasEnergy, noisy: Tensor, sigma: float, s: float, x: Tensor) -> Tensor:
    """Return E(x, s) + |y - x|^2 / (2 sigma^2), minus the log posterior up to a constant, with shape (B,)."""
    return model.energy(x, s) + (noisy - x).square().flatten(1).sum(1) / (2 * sigma**2)


def _not_lower(cost: Callable[[Tensor], Tensor], x: Tensor, uphill: Tensor, eta: float) -> Tensor:
    """Return a step size for each image, (B, 1, ...): eta, halved until the posterior is no lower after the step."""
    before = cost(x)
    sizes = torch.full_like(before, eta).reshape(-1, *(1,) * (x.ndim - 1))
    for _ in range(MAX_HALVINGS):
        worse = cost(x + sizes * uphill) > before
        if not worse.any():
            return sizes
        sizes = torch.where(worse.reshape(sizes.shape), sizes / 2, sizes)
    return torch.where((cost(x + sizes * uphill) > before).reshape(sizes.shape), 0.0, sizes)


def langevin(model: Any, noisy: Tensor, sigma: float, settings: SamplerSettings) -> Iterator[Tensor]:
    """Yield each step of Langevin dynamics in the posterior, s annealed from sigma to 0, each step solved exactly.

    Between the clean x, at s = 0, and y, at sigma, x_s is a Brownian bridge in t = s^2: with x held at D(x_s, s),

        x_s ~ N(m, t (sigma^2 - t) / sigma^2),    m = x + (y - x) t / sigma^2

    which is where the drift psi(x, s) + (y - x) / (sigma^2 - s^2) leads to. From one level to the next the bridge keeps
    a part of its deviation from m, and of that part e^-size. With size 0 and many steps the samples are exact for an
    exact score; a larger size lets errors of the score be forgotten, but narrows the samples.
    """
    levels = sigma_schedule(model, sigma, settings.steps)
    kept = math.exp(-settings.size)
    x, deviation = noisy, torch.zeros_like(noisy)
    for k, s in enumerate(levels):
        clean = posterior_mean(model, x, s)
        if k + 1 == len(levels):
            yield clean
            return
        t, later = s**2, levels[k + 1] ** 2
        variance, later_variance = (max(u * (sigma**2 - u), 0.0) / sigma**2 for u in (t, later))
        rho = 0.0
        if variance > 0:
            rho = kept * math.sqrt(later * (sigma**2 - t) / (t * (sigma**2 - later)))
            deviation = (x - clean - (noisy - clean) * (t / sigma**2)) / math.sqrt(variance)
        deviation = rho * deviation + math.sqrt(1 - rho**2) * settings.noise(x)
        x = clean + (noisy - clean) * (later / sigma**2) + math.sqrt(later_variance) * deviation
        yield x


def ode(model: Any, noisy: Tensor, sigma: float, settings: SamplerSettings) -> Iterator[Tensor]:
    """Yield each step along the probability flow from y down to s = 0.

    A multistep method of second order: D is extrapolated as a line in log s through its last two values (Lu et al.
    2022).
    """
    levels = sigma_schedule(model, sigma, settings.steps)
    x, before = noisy, None
    for k, s in enumerate(levels):
        clean = posterior_mean(model, x, s)
        if k + 1 == len(levels):
            yield clean
            return
        ahead = clean if before is None else 1.5 * clean - 0.5 * before
        share = levels[k + 1] / s
        x, before = share * x + (1 - share) * ahead, clean
        yield x


def coarse_to_fine(model: Any, noisy: Tensor, sigma: float, settings: SamplerSettings) -> Iterator[Tensor]:
    """Yield each step of an ascent by partial denoising, with fresh noise that falls (Kadkhodaie and Simoncelli 2021).

    Step t removes the share h_t = h t / (1 + h (t - 1)) of the noise s, with h the size, at most 1. Fresh noise of
    variance gamma^2 = ((1 - beta h_t)^2 - (1 - h_t)^2) s^2 is added, so that s becomes (1 - beta h_t) s. The paper's
    network estimates s itself; here the model is given it. The path ends early at the model's lowest level. Nothing
    ties it to y, so it wanders to a likely image near y.
    """
    lowest = sigma_schedule(model, sigma, 2)[-1]
    x, s = noisy, sigma
    for t in range(1, settings.steps + 1):
        residual = s**2 * model.score(x, sigma=s)
        if t == settings.steps or s <= lowest:
            yield x + residual
            return
        share = settings.size * t / (1 + settings.size * (t - 1))
        left = 1 - BETA * share
        x = x + share * residual + s * math.sqrt(left**2 - (1 - share) ** 2) * settings.noise(x)
        s *= left
        yield x


@dataclass(frozen=True)
class Sampler:
    """A row of the table of samplers.

    Attributes:
        run: The generator function.
        steps: Number of steps by default.
        size: Step size by default; None for samplers without one.
        min_size: Least step size.
        max_size: Largest step size.
        needs_range: Whether it needs a model made for a range of levels.
        is_random: Whether it draws noise, so that each seed gives another result.
        max_steps: Largest number of steps.
    """

    run: Callable[[Any, Tensor, float, SamplerSettings], Iterator[Tensor]]
    steps: int
    size: float | None = None
    min_size: float = 1e-6
    max_size: float = math.inf
    needs_range: bool = False
    is_random: bool = False
    max_steps: int = MAX_STEPS


SAMPLERS: dict[str, Sampler] = {
    "tweedie": Sampler(tweedie, 1, max_steps=1),
    "ascent": Sampler(ascent, 10, 1.0),
    "langevin": Sampler(langevin, 50, 0.03, min_size=0.0, needs_range=True, is_random=True),
    "ode": Sampler(ode, 20, needs_range=True),
    "coarse-to-fine": Sampler(coarse_to_fine, 100, 0.05, max_size=1.0, needs_range=True, is_random=True),
}


def checked_steps(name: str, steps: int | None = None, size: float | None = None) -> tuple[int, float]:
    """Return the number of steps and the step size of a sampler, where None stands for its default.

    Raises:
        UsageError: There is no such sampler, or the number of steps or the size is out of its range.
    """
    if name not in SAMPLERS:
        raise UsageError(f"unknown sampler '{name}'; there are {', '.join(SAMPLERS)}")
    row = SAMPLERS[name]
    if steps is not None and not 1 <= steps <= row.max_steps:
        allowed = f"from 1 to {row.max_steps} steps" if row.max_steps > 1 else "one step"
        raise UsageError(f"the sampler '{name}' takes {allowed}, not {steps}")
    if size is not None and row.size is None:
        raise UsageError(f"the sampler '{name}' takes no step size")
    if size is not None and not row.min_size <= size <= row.max_size:
        most = "" if math.isinf(row.max_size) else f" to {row.max_size:g}"
        raise UsageError(f"the step size of '{name}' is from {row.min_size:g} up{most}, not {size:g}")
    return steps or row.steps, row.size or 0.0 if size is None else size


def refuse_single_level(name: str, model: Any) -> None:
    """Raise UsageError if a sampler needs a range of levels and the model was made for one."""
    if SAMPLERS[name].needs_range and single_level(model) is not None:
        able = ", ".join(name for name, other in SAMPLERS.items() if not other.needs_range)
        raise UsageError(
            f"the sampler '{name}' needs a model of many levels, and this model has one", f"this model takes {able}"
        )


def sample(model: Any, noisy: Tensor, sigma: float, name: str, settings: SamplerSettings) -> Iterator[Tensor]:
    """Return an iterator over the estimates of a sampler, the last being its result.

    Args:
        model: A score model.
        noisy: y, with shape (B, C, H, W) or (B, d).
        sigma: Level of its noise, in the unit of y.
        name: A name of SAMPLERS.
        settings: The steps and the source of noise.

    Raises:
        UsageError: The sampler needs a range of levels, and the model has one.
        DivergedError: The path diverged; raised by the iterator.
        SmdaeError: The result of one step is not finite; raised by the iterator.
    """
    refuse_single_level(name, model)
    row = SAMPLERS[name]
    limit = DIVERGED_AT * (sigma + noisy.abs().amax().item())

    def checked(k: int, x: Tensor) -> Tensor:
        largest = x.abs().amax().item()
        if row.max_steps == 1 and not math.isfinite(largest):
            raise SmdaeError("the model's result has values that are not finite")
        if row.max_steps > 1 and not largest <= limit:  # true for NaN too
            raise DivergedError(
                f"the sampler '{name}' diverged at step {k} of {settings.steps}", "try a lower --step-size"
            )
        return x

    return map(checked, count(1), row.run(model, noisy, sigma, settings))
