"""The denoisers that are compared, the images that they are given, and the plan of what is measured.

All are shown the middles of held-out images, with the same noise, at three levels the same up to its size.

A fit of one level serves another by the rule of noise units, psi(x, s) = psi(x sigma/s, sigma) sigma/s. What cannot
denoise is left out, and why is said: scores of the clean density, and levels beyond those fitted.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.comparing.contestants import Course
from smdae.comparing.denoising.baselines import BASELINES
from smdae.comparing.part import Context
from smdae.denoising.samplers import SAMPLERS, SamplerSettings, sample
from smdae.divergence import probes
from smdae.fitting.validation import middles
from smdae.protocols import single_level

LEVELS = (0.6, 1.0, 2.0)  # times the level of the contest
REFERENCE = "dsm"
SLOW = "langevin"  # not in a quick comparison
QUICK, FULL = (4, 96), (8, 192)  # images at most, and pixels on a side
ROUNDING = 1e-3  # of levels that count as one
SEED_OFFSET = 2  # added to the seed for the noise of the examples and the probes


@dataclass(frozen=True, eq=False)
class Example:
    """A clean image, standard normal noise, and a Rademacher probe, each with shape (1, 1, h, w), white being 1."""

    clean: Tensor
    noise: Tensor
    probe: Tensor

    def noisy(self, sigma: float) -> Tensor:
        """Return the image with noise of a level, neither clipped nor rounded."""
        return self.clean + sigma * self.noise


def examples(context: Context) -> list[Example]:
    """Return the images that all denoisers are given; none where the contest is on a density."""
    contest = context.contest
    if contest.held_out_images is None:
        return []
    most, side = QUICK if context.quick else FULL
    generator = Generator().manual_seed((contest.settings.seed + SEED_OFFSET) % 2**63)
    shown = []
    for _, clean in middles(contest.held_out_images, side, most):
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        shown.append(Example(clean, noise, probes(clean.cpu(), 1, generator)[0].to(clean.device)))
    return shown


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A denoiser that takes part in the comparison."""

    name: str  # its name, no other's
    kind: Literal["noisy", "linear", "fit", "file", "baseline"]  # the noisy image itself; a model of a file
    models: tuple[Any, ...] = ()  # score models of gray images: one, or one for each fit; empty for what is no model
    smooth: bool = True  # whether Stein's estimate can be made

    @property
    def samplers(self) -> tuple[str | None, ...]:
        """Return the names of SAMPLERS that this denoiser can use; (None,) if it is no model."""
        if not self.models:
            return (None,)
        many = single_level(self.models[0]) is None
        return tuple(name for name, row in SAMPLERS.items() if many or not row.needs_range)

    def knows(self, sigma: float) -> bool:
        """Return whether this denoiser was made for noise of level sigma, white being 1, or for any level."""
        if self.kind not in ("fit", "file"):
            return True
        level = single_level(self.models[0])
        return level is None or math.isclose(level, sigma, rel_tol=ROUNDING)

    def unfit(self, sigma: float) -> str | None:
        """Return why this denoiser cannot serve a level, white being 1; None if it can.

        A model of many levels serves these alone, a model of one level any.
        """
        if self.kind in ("fit", "file") and single_level(self.models[0]) is None:
            low, high = self.models[0].noise_range
            if not low * (1 - ROUNDING) <= sigma <= high * (1 + ROUNDING):
                return f"fitted from sigma {255 * low:.3g} to {255 * high:.3g}"
        return None

    @torch.no_grad()
    def denoise(self, noisy: Tensor, sigma: float, sampler: str | None = None, fit: int = 0, seed: int = 0) -> Tensor:
        """Return the clean image, not clipped, with the shape of noisy, (1, 1, h, w); SmdaeError if the steps diverge.

        A sampler of None takes one step. `fit` is the number of the model to use.
        """
        if self.models:
            row = SAMPLERS[sampler or "tweedie"]
            steps = SamplerSettings(row.steps, row.size or 0.0, Generator().manual_seed(seed))
            *_, last = sample(self.models[fit], noisy, sigma, sampler or "tweedie", steps)
            return last
        if self.kind == "noisy":
            return noisy
        result = BASELINES[self.name].run(noisy[0, 0].double().cpu().numpy(), sigma)
        return torch.from_numpy(np.ascontiguousarray(result)).to(noisy)[None, None]


def denoisers(context: Context) -> list[Denoiser]:
    """Return the denoisers of gray images: the noisy image itself, the linear filter, fits, baselines, files, in order.

    Fits that do not denoise are left out.
    """
    contest = context.contest
    lift, names = contest.lift, dict.fromkeys(course.objective for course in context.courses)
    fits = {name: tuple(lift(c.model) for c in context.courses if c.objective == name and c.denoises) for name in names}
    found = [Denoiser("noisy", "noisy"), Denoiser("linear filter", "linear", (lift(contest.wiener()),))]
    found += [Denoiser(name, "fit", models) for name, models in fits.items() if models]
    found += [Denoiser(name, "baseline", smooth=BASELINES[name].smooth) for name in context.baselines]
    taken = {one.name for one in found}
    for name, model in context.files.items():
        found.append(Denoiser(f"{name} (file)" if name in taken else name, "file", (model,)))
    return found


def _refused(context: Context) -> Iterator[tuple[str, str]]:
    """Yield the name of each fit that cannot denoise at any level, and the reason."""
    for name in dict.fromkeys(course.objective for course in context.courses):
        fits = [course for course in context.courses if course.objective == name]
        reasons = [None if course.denoises else _reason(course) for course in fits]
        if len({*reasons}) == 1 and reasons[0]:
            yield name, reasons[0]
        else:
            yield from ((f"{name} (fit {c.seed + 1})", why) for c, why in zip(fits, reasons, strict=True) if why)


def _reason(course: Course) -> str:
    if course.outcome == "done":
        return "a score of the clean density, which cannot remove noise"
    return course.reason or "not fitted to the end"


@dataclass(frozen=True)
class LeftOut:
    """A measurement that was not made."""

    contestant: str  # its name
    sigma: float | None  # the level, white being 255; None for all
    sampler: str | None  # name of the sampler; None for all samplers
    reason: str  # why


@dataclass(frozen=True, eq=False)
class Job:
    """A measurement to make."""

    denoiser: Denoiser
    level: float  # the level of the noise, white being 1
    sampler: str | None  # the name of its sampler; None for one step, or for what is no model
    fits: int  # how many of its fits are measured
    probed: bool  # whether Stein's estimate is made too

    @property
    def scores(self) -> int:
        """Return about how many scores it computes for an image."""
        return self.fits * (SAMPLERS[self.sampler].steps if self.sampler else 1) + 2 * self.probed


def plan(context: Context) -> tuple[list[Job], list[LeftOut]]:
    """Return the measurements to make, and those that are left out, with the reasons.

    At the level of the contest all fits of an objective are measured, and Stein's estimate of the error is made where
    it can be; at other levels the first fit alone is measured. Samplers of many steps are tried with the fits of `dsm`,
    or with the first model if there are none; and, unless the comparison is quick, with all models from files.
    """
    able, sigma, jobs = denoisers(context), context.contest.sigma, []
    left_out = [LeftOut(name, None, None, reason) for name, reason in _refused(context)]
    models = [one for one in able if one.kind in ("fit", "file")]
    reference = next((model for model in models if model.name == REFERENCE), models[0] if models else None)
    for one in able:
        tried = one is reference or (one.kind == "file" and not context.quick)
        samplers = [name for name in one.samplers if tried or name in (None, "tweedie")]
        if reference and one in models:
            among = "in a quick comparison" if context.quick else "of the fits"
            why = f"{among} {reference.name} alone takes more than one step"
            left_out += [LeftOut(one.name, None, name, why) for name in one.samplers if name not in samplers]
        if context.quick and SLOW in samplers:
            samplers.remove(SLOW)
            left_out.append(LeftOut(one.name, None, SLOW, "too slow for a quick comparison"))
        for level in (sigma * ratio for ratio in LEVELS):
            if reason := one.unfit(level):
                left_out.append(LeftOut(one.name, 255 * level, None, reason))
                continue
            here = level == sigma
            for name in samplers:
                probed = here and one.smooth and name in (None, "tweedie")
                jobs.append(Job(one, level, name, max(1, len(one.models)) if here else 1, probed))
    return jobs, left_out
