"""The transform that makes shot noise white, learnt from the very picture, by pixels that are hidden from the network.

The levels of the noise give a transform f_0 with an inverse g_0, see `stabilised`. What is learnt is a spline after it
and a line (Herbreteau and Unser 2025, Noise2VST, who begin with the identity for f_0):

    f(y) = s(f_0(y)),   g(z) = g_0(s^-1(z)) + alpha z + beta,   x^ = g(D(f(y)))

s is increasing and linear between KNOTS knots, evenly spaced over f_0 of the picture, its rises proportional to exp
theta_j; its ends stay where they were, as D takes any scale. With theta = 0 and alpha = beta = 0 all is as it was. D is
told

    sigma^2 = sigma_0^2 mean_v s'(f_0(y))^2,   sigma_0 being what it was told before,

the mean over pixels weighted by the variance v of their noise, as squared errors are: hidden pixels cannot tell sigma,
for their neighbours' mean, which the network sees in their place, has less noise than a pixel.

That is the loss: of every fourth pixel in each direction D(f(y)) sees the mean of the four around it, and g(D(.)) is to
meet the noisy value. Where noise is independent from pixel to pixel and has mean zero, that is the squared error but
for a constant. The rises of neighbouring intervals are drawn together, by as much as the picture does not tell them
apart. D stays as it is.

Half of the picture, in blocks, is held out. What is learnt is kept if the loss there is lower than that of the start by
two standard errors of the difference. Where white may have cut the noise off, hidden pixels are fitted to
the first result.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from smdae.denoising.stabilised import Transform, Whitening
from smdae.denoising.task import Task
from smdae.denoising.treatment import whitenings
from smdae.denoising.unclipped import margins_of, safe_where
from smdae.fitting.held_out import BLOCK, GRID, around, blocks, crops, hidden_places, middle, window
from smdae.fitting.spline import Spline, by_channel, each_channel
from smdae.progress import Watch

__all__ = ["Learning", "View", "learn", "learnt_for"]

KNOTS = 128
STEPS = 500
RATE, FALLS = 1e-2, 3  # the rate falls tenfold between parts of the steps
BATCH = 4  # crops a step
HELD_OUT = 0.5  # share of the blocks
SMOOTHNESS = 5e-4  # of theta, beside a loss that is 1 at the start: a step of 0.1 weighs as much as 2e5 pixels tell
MIN_GAIN_ERRORS = 2.0  # standard errors that a gain must be beyond
SEED = 0


@dataclass(frozen=True, eq=False)
class View:
    """The picture that a transform is learnt from.

    Attributes:
        noisy: The picture, white being 1, with shape (1, C, H, W).
        denoised: The picture as denoised with the transform of the start, with the shape of noisy.
        variance: Of the noise, with the shape of noisy.
        safe: Where noise has not been cut off, with the shape of noisy.
        counts: Which pixels count, with shape (1, 1, H, W).
        bounds: The least and largest value of a result; None for any.
    """

    noisy: Tensor
    denoised: Tensor
    variance: Tensor
    safe: Tensor
    counts: Tensor
    bounds: tuple[float, float] | None

    def of(self, channels: slice) -> "View":
        """Return the view of some channels."""
        noisy, denoised, variance, safe = (
            x[:, channels] for x in (self.noisy, self.denoised, self.variance, self.safe)
        )
        return View(noisy, denoised, variance, safe, self.counts, self.bounds)

    @property
    def target(self) -> Tensor:
        """Return the values that hidden pixels are fitted to: the noisy ones, or `denoised` where noise was cut off."""
        return torch.where(self.safe, self.noisy, self.denoised)


@dataclass(frozen=True, eq=False)
class _Learner:
    """A transform with what is learnt of it.

    Attributes:
        start: Where it sets out.
        low, step: The knots, with shape (C,).
        weights: How much each interval counts for sigma, with shape (C, n - 1) and sum C.
        theta: Logarithms of rises, with shape (C, n - 1).
        line: alpha and beta, with shape (2, C).
    """

    start: Whitening
    low: Tensor
    step: Tensor
    weights: Tensor
    theta: Tensor
    line: Tensor

    @classmethod
    def of(cls, start: Whitening, view: View) -> "_Learner":
        u = start.apply(view.noisy)
        low, high = u.amin((0, 2, 3)), u.amax((0, 2, 3))
        step = ((high - low) / (KNOTS - 1)).clamp(min=torch.finfo(u.dtype).eps)
        index = ((u - each_channel(low)) / each_channel(step)).floor().clamp(0, KNOTS - 2).long()
        some = view.variance * view.counts
        weights = torch.zeros(len(low), KNOTS - 1, dtype=u.dtype, device=u.device)
        weights.scatter_add_(1, by_channel(index), by_channel(some))
        weights /= weights.sum(1, keepdim=True).clamp(min=torch.finfo(u.dtype).tiny)
        return cls(start, low, step, weights, torch.zeros_like(weights), torch.zeros_like(torch.stack([low, low])))

    def rises(self) -> Tensor:
        """Return s' of each interval, with shape (C, n - 1) and mean 1."""
        rises = self.theta.exp()
        return rises / rises.mean(1, keepdim=True)

    def spline(self) -> Spline:
        rises = each_channel(self.step)[:, :, 0] * self.rises()
        first = self.low[:, None]
        return Spline(self.low, self.step, torch.cat([first, first + rises.cumsum(1)], 1))

    def level(self) -> Tensor:
        """Return sigma, the level that the network is given, as a scalar that can be differentiated."""
        return self.start.level * (self.rises().square() * self.weights).sum(1).mean().sqrt()

    def predicted(self, model: Any, y: Tensor, hidden: Tensor) -> Tensor:
        """Return x^ where pixels are hidden, (H, W), with the shape of y, (B, C, H, W)."""
        spline, level = self.spline(), self.level()
        z = spline.apply(self.start.apply(y))
        z = torch.where(hidden, around(z), z)
        z = z + level**2 * model.score(z, level)
        return self.back(spline, z)

    def back(self, spline: Spline, z: Tensor) -> Tensor:
        alpha, beta = self.line
        return self.start.invert(spline.invert(z)) + each_channel(alpha) * z + each_channel(beta)

    @torch.no_grad()
    def whitening(self) -> Whitening:
        """Return the learnt transforms, as tables."""
        low, step, weights, theta, line = (
            part.double().cpu() for part in (self.low, self.step, self.weights, self.theta, self.line)
        )
        double = _Learner(self.start, low, step, weights, theta, line)
        spline = double.spline()
        count = len(self.start.each)
        forward = torch.stack([f.forward.double() for f in self.start.each])  # (C, n)
        forward = spline.apply(forward[None, :, :, None])[0, :, :, 0]
        ends = torch.tensor([[f.first, f.first + f.stride * (len(f.back) - 1)] for f in self.start.each])
        ends = spline.apply(ends.double()[None, :, :, None])[0, :, :, 0]  # (C, 2)
        nodes = len(self.start.each[0].back)
        share = torch.linspace(0, 1, nodes, dtype=torch.float64)
        z = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * share  # (C, nodes)
        back = double.back(spline, z[None, :, :, None])[0, :, :, 0]
        strides = (ends[:, 1] - ends[:, 0]) / (nodes - 1)
        each = [
            Transform(f.low, f.step, forward[c].float(), ends[c, 0].item(), strides[c].item(), back[c].float())
            for c, f in zip(range(count), self.start.each, strict=True)
        ]
        return Whitening(tuple(each), double.level().item())


@dataclass(frozen=True)
class Learning:
    """The state of the learning of a transform.

    Attributes:
        step: Steps done.
        steps: Steps planned.
        gain: By what part the error at hidden pixels that were held out fell, its noise included; 0 while it is not
            known, and where the start is kept.
        whitening: The transform to use.
    """

    step: int
    steps: int
    gain: float
    whitening: Whitening


def learn(model: Any, view: View, start: Whitening, generator: Generator, steps: int = STEPS) -> Iterator[Learning]:
    """Learn the transform of a picture's noise.

    Args:
        model: A network for white noise, left as it is.
        view: The picture.
        start: The transform to set out from, of the channels of the picture.
        generator: Source of all chance, on the CPU.
        steps: Steps to take.

    Yields:
        Where it stands after every step; the whitening of the last is the answer.
    """
    model = copy.deepcopy(model).requires_grad_(False)
    held = blocks(view.noisy, HELD_OUT, generator)
    part = window(view.noisy, generator)
    judged, trained = held & view.counts, (~held & view.counts).to(view.noisy.dtype)
    if min(view.noisy.shape[2:]) < GRID or not judged[part].any() or not trained.any():
        yield Learning(0, steps, 0.0, start)
        return
    learner = _Learner.of(start, view)
    before = _errors(learner, model, view, part)
    scale = (before * view.counts[part]).sum() / (view.counts[part].sum() * before.shape[1]) + torch.finfo().tiny
    parameters = [learner.theta.requires_grad_(), learner.line.requires_grad_()]
    optimiser = torch.optim.Adam(parameters, RATE)
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.1 ** ((step - 1) * FALLS // steps)
        (x, target, mask), _ = crops((view.noisy, view.target, trained), BATCH, generator)
        row, column = torch.randint(GRID, (2,), generator=generator).tolist()
        hidden = hidden_places(x, row, column)
        off = (_bounded(learner.predicted(model, x, hidden), view) - target).square() * mask * hidden
        loss = off.sum() / (hidden.sum() * len(x) * x.shape[1]) / scale
        rough = learner.theta.diff().square().sum()
        optimiser.zero_grad()
        (loss + SMOOTHNESS * rough).backward()
        optimiser.step()
        if step < steps:
            yield Learning(step, steps, 0.0, start)
    gain = _gain(before * judged[part], _errors(learner, model, view, part) * judged[part])
    yield Learning(steps, steps, gain, learner.whitening() if gain else start)


def _bounded(x: Tensor, view: View) -> Tensor:
    return x if view.bounds is None else x.clamp(*view.bounds)


@torch.no_grad()
def _errors(learner: _Learner, model: Any, view: View, part: tuple[slice, slice, slice, slice]) -> Tensor:
    """Return the squared errors of a part of the picture, each pixel being hidden once, (1, C, h, w)."""
    noisy, target = view.noisy[part], view.target[part]
    found = torch.zeros_like(noisy)
    for row, column in product(range(GRID), range(GRID)):
        hidden = hidden_places(noisy, row, column)
        off = _bounded(learner.predicted(model, noisy, hidden), view) - target
        found += off.square() * hidden
    return found


def _gain(before: Tensor, after: Tensor) -> float:
    """Return by what part an error fell; 0 unless it is beyond two standard errors, as those of a sum over blocks."""
    off = F.avg_pool2d((after - before).sum(1, keepdim=True), BLOCK, ceil_mode=True, divisor_override=1)
    difference, error = off.sum().item(), off.square().sum().sqrt().item()
    if not math.isfinite(difference) or difference >= -MIN_GAIN_ERRORS * error:
        return 0.0
    return -difference / before.sum().item()


def learnt_for(
    task: Task, result: np.ndarray, watch: Watch = lambda done, of: None, steps: int = STEPS
) -> tuple[tuple[Whitening, ...] | None, float]:
    """Return the transforms of a task's shot noise, learnt from its image; None where those that it has are kept.

    Args:
        task: What was to be done; its noise is `shot`.
        result: What came of it, with the shape of the image.
        watch: Told how many steps are done, and of how many.
        steps: Steps to take, for each part of the image that the model takes by itself.

    Returns:
        The transforms, and by what part the error at hidden pixels that were held out fell, of the best part.
    """
    where = next(task.loaded.parameters()).device
    part = middle(*task.pixels.shape[:2])
    planes = np.atleast_3d(result)[part]
    noisy, denoised = task.noisy(part, where), task.scaled(planes[None], where)
    safe = safe_where(denoised, margins_of(task))
    valid = np.ones(planes.shape[:2], bool) if task.prepared.valid is None else task.prepared.valid[part]
    counts = torch.from_numpy(valid.copy())[None, None].to(where)
    view = View(noisy, denoised, task.noise.sd(denoised).square(), safe, counts, task.bounds)
    starts = whitenings(task.base, task.noise, task.prepared, noisy.shape[1])
    generator = Generator().manual_seed(SEED)
    found, gains = [], []
    for k, start in enumerate(starts):
        first, count = k * len(start.each), len(start.each)
        last = Learning(0, steps, 0.0, start)
        for last in learn(task.base, view.of(slice(first, first + count)), start, generator, steps):
            watch(k * steps + last.step, len(starts) * steps)
        found.append(last.whitening)
        gains.append(last.gain)
    return (tuple(found), max(gains)) if any(gains) else (None, 0.0)
