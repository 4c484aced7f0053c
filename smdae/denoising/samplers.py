"""Samplers, which move a noisy image along the score: generators of estimates, and the one table of their names.

With D(x, s) = x + s^2 psi(x, s), which is E[clean | x] where x has noise of level s, and y at the level sigma:

    tweedie         x^ = D(y, sigma): the posterior mean, in one step              (Robbins 1956; Miyasawa 1961)
    ascent          x <- x + eta (psi(x, s) + (y - x) / sigma^2), s falling: towards the posterior's mode
    langevin        x_s' drawn given x_s, y and D(x_s, s), s falling from sigma to 0: a sample of the posterior
    ode             dx/ds = -s psi(x, s) from sigma to 0: the probability flow     (Song et al. 2021)
    coarse-to-fine  x <- x + h (D(x, s) - x) + gamma eps, with s as what then is left  (Kadkhodaie and Simoncelli 2021)

A sampler yields each estimate that it comes to, the last being its answer; whoever drives it shows, saves or stops.
Every step takes one score and no more.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.errors import DivergedError, SmdaeError, UsageError
from smdae.protocols import HasEnergy, offers, posterior_mean, single_level

__all__ = ["SAMPLERS", "Sampler", "SamplerSettings", "checked", "refuse_single_level", "sample", "sigma_schedule"]

MAX_STEPS = 1000
LOWEST_SHARE = 1 / 50  # of sigma, where levels end for a model that knows lower ones
BETA = 0.95  # of coarse-to-fine: of what is removed, how much stays away
MAX_HALVINGS = 20  # of a step that would lower the posterior
DIVERGED_AT = 100.0  # beyond so many times sigma and the picture's own range a path has left for good


@dataclass(frozen=True)
class SamplerSettings:
    """The number of steps, their size, and the source of their noise.

    Attributes:
        steps: K, at least 1.
        size: Step size, positive; each sampler has its own unit.
        generator: Source of its noise, on the CPU; needed by those that draw some.
    """

    steps: int
    size: float
    generator: Generator | None = None

    def noise(self, like: Tensor) -> Tensor:
        """Draw standard normal noise of that shape."""
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype).to(like.device)


def sigma_schedule(model: Any, sigma: float, count: int) -> list[float]:
    """Return levels from sigma down to the lowest that the model knows, in equal ratios; all sigma if it knows one."""
    low = sigma if single_level(model) is not None else max(model.noise_range[0], LOWEST_SHARE * sigma)
    ratio = min(1.0, low / sigma)
    return [sigma * ratio ** (k / max(count - 1, 1)) for k in range(count)]


def tweedie(model: Any, noisy: Tensor, sigma: float, settings: SamplerSettings) -> Iterator[Tensor]:
    """Yield the posterior mean under the model's density, in one step."""
    yield posterior_mean(model, noisy, sigma)


def ascent(model: Any, noisy: Tensor, sigma: float, settings: SamplerSettings) -> Iterator[Tensor]:
    """Climb log p_s(x) - |y - x|^2 / (2 sigma^2) by gradient steps, s falling where the model knows many levels.

    The size is in units of 1 / (1/s^2 + 1/sigma^2), of which less than 2 is stable: the score of a density that was
    smoothed to the level s falls no faster than x / s^2. With an energy, a step that would lower the posterior is
    halved until it does not.
    """
    x = noisy
    for s in sigma_schedule(model, sigma, settings.steps):
        uphill = model.score(x, sigma=s) + (noisy - x) / sigma**2
        eta: float | Tensor = settings.size / (1 / s**2 + 1 / sigma**2)
        if offers(model, HasEnergy):
            eta = _not_lower(model, x, noisy, uphill, eta, s, sigma)
        x = x + eta * uphill
        yield x


def _not_lower(model: Any, x: Tensor, noisy: Tensor, uphill: Tensor, eta: Any, s: float, sigma: float) -> Tensor:
    """Return the step for each image, halved where the posterior would be lower after it."""

    def cost(x: Tensor) -> Tensor:
        return model.energy(x, s) + (noisy - x).square().flatten(1).sum(1) / (2 * sigma**2)

    before = cost(x)
    sizes = torch.full_like(before, eta).reshape(-1, *(1,) * (x.ndim - 1))
    for _ in range(MAX_HALVINGS):
        worse = cost(x + sizes * uphill) > before
        if not worse.any():
            return sizes
        sizes = torch.where(worse.reshape(sizes.shape), sizes / 2, sizes)
    return torch.where((cost(x + sizes * uphill) > before).reshape(sizes.shape), 0.0, sizes)


def langevin(model: Any, noisy: Tensor, sigma: float, settings: SamplerSettings) -> Iterator[Tensor]:
    """Draw from the posterior by Langevin dynamics, with s annealed from sigma to 0 and each step solved exactly.

    Between the clean x, at s = 0, and y, at sigma, x_s is a Brownian bridge in t = s^2: with x held at D(x_s, s),

        x_s ~ N(m, t (sigma^2 - t) / sigma^2),    m = x + (y - x) t / sigma^2

    which is where the drift psi(x, s) + (y - x) / (sigma^2 - s^2) leads to. From one level to the next the bridge keeps
    a part of its deviation from m; the size, from 0, is how much more of it is forgotten: e^-size is kept. At 0 many
    steps are exact for an exact score; more of it lets errors of the score be forgotten, and narrows the samples.
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
        here, there = (max(u * (sigma**2 - u), 0.0) / sigma**2 for u in (t, later))
        rho = kept * math.sqrt(later * (sigma**2 - t) / (t * (sigma**2 - later))) if here > 0 else 0.0
        if here > 0:
            deviation = (x - clean - (noisy - clean) * (t / sigma**2)) / math.sqrt(here)
        deviation = rho * deviation + math.sqrt(1 - rho**2) * settings.noise(x)
        x = clean + (noisy - clean) * (later / sigma**2) + math.sqrt(there) * deviation
        yield x


def ode(model: Any, noisy: Tensor, sigma: float, settings: SamplerSettings) -> Iterator[Tensor]:
    """Follow the probability flow from y down to s = 0, D a line in log s through the last two (Lu et al. 2022)."""
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
    """Climb with noise that falls: of the noise s the share h_t = h t / (1 + h (t - 1)) goes, h the size, at most 1.

    A part 1 - beta of it comes back as fresh noise, gamma^2 = ((1 - beta h_t)^2 - (1 - h_t)^2) s^2, so s becomes
    (1 - beta h_t) s; the model is told it, where theirs, which is blind, is not. It ends early at the model's lowest
    level. Nothing holds the path to y, so with the noise it wanders from there to a likely image nearby.
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
    """A row of the table.

    Attributes:
        run: The generator above.
        steps: How many by default.
        size: Step size by default; None for samplers that take none.
        min_size: Least step size.
        max_size: Largest step size.
        needs_range: Whether it needs a model of many levels.
        is_random: Whether it draws noise, so that each seed has a result of its own.
        max_steps: Most steps.
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


def checked(name: str, steps: int | None = None, size: float | None = None) -> tuple[int, float]:
    """Return the number of steps and the step size, those of the table where they are None.

    Raises:
        UsageError: There is no such sampler, or it cannot take so many steps or that size.
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
    """Raise UsageError if a sampler needs more levels than the model knows."""
    if SAMPLERS[name].needs_range and single_level(model) is not None:
        able = ", ".join(name for name, other in SAMPLERS.items() if not other.needs_range)
        raise UsageError(
            f"the sampler '{name}' needs a model of many levels, and this one has one", f"this model takes {able}"
        )


def sample(model: Any, noisy: Tensor, sigma: float, name: str, settings: SamplerSettings) -> Iterator[Tensor]:
    """Yield the estimates of a sampler, the last being its answer.

    Args:
        model: A score model.
        noisy: y, with shape (B, C, H, W) or (B, d).
        sigma: Level of its noise, in the unit of y.
        name: A name of SAMPLERS.
        settings: How many steps, how large, and with which noise.

    Raises:
        UsageError: The model knows too few levels for it.
        DivergedError: The path left for infinity.
        SmdaeError: The answer in one step is not finite.
    """
    refuse_single_level(name, model)
    row = SAMPLERS[name]
    limit = DIVERGED_AT * (sigma + noisy.abs().amax().item())
    for k, x in enumerate(row.run(model, noisy, sigma, settings), 1):
        largest = x.abs().amax().item()
        if row.max_steps == 1 and not math.isfinite(largest):
            raise SmdaeError("the model's answer has values that are not numbers")
        if row.max_steps > 1 and not largest <= limit:  # nan too
            raise DivergedError(
                f"the sampler '{name}' diverged at step {k} of {settings.steps}", "try a lower --step-size"
            )
        yield x
