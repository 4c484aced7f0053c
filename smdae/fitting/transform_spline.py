"""Learn the variance-stabilising transform of shot noise from one noisy picture, by pixels hidden from the network.

The estimated noise gives a transform f_0 with an inverse g_0, see `stabilised`. A spline s after it and a line are
learnt (Herbreteau and Unser 2025, Noise2VST, who start with the identity for f_0):

    f(y) = s(f_0(y)),   g(z) = g_0(s^-1(z)) + alpha z + beta,   x^ = g(D(f(y)))

s is increasing and linear between KNOTS knots, evenly spaced over the range of f_0 on the picture, with rises
proportional to exp theta_j. Its ends are fixed, as D takes any scale. theta = 0 and alpha = beta = 0 is the start. D is
called with

    sigma^2 = sigma_0^2 mean_v s'(f_0(y))^2,   sigma_0 the level before,

a mean over pixels weighted by the variance v of their noise. (sigma cannot be learnt from hidden pixels: the mean of
their neighbours, which replaces them in the input, has less noise than a pixel.)

The loss: one pixel in every 4 x 4 is replaced in the input of D by the mean of its four neighbours, and g(D(.)) is
compared with its noisy value. For noise that is independent from pixel to pixel and has mean zero this is the squared
error up to a constant. A penalty on the differences of neighbouring theta_j makes s smooth where the picture has few
values. D is not changed.

Half of the picture, in blocks, is held out. The learnt transform is kept if its loss there is lower than that of the
start by two standard errors of the difference. Where white may have clipped the noise, hidden pixels are compared with
the first result instead.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.denoising.stabilised import Transform, Whitening
from smdae.denoising.task import Task
from smdae.denoising.treatment import whitenings
from smdae.denoising.unclipped import margins_of, safe_where
from smdae.fitting.held_out import GRID, around, block_difference, blocks, crops, hidden_places, middle, window
from smdae.fitting.spline import Spline, by_channel, each_channel
from smdae.progress import Watch

KNOTS = 128
STEPS = 500
RATE, FALLS = 1e-2, 3  # learning rate; the steps are in so many equal parts, and it falls tenfold after each
BATCH = 4  # crops a step
HELD_OUT = 0.5  # share of the blocks
SMOOTHNESS = 5e-4  # factor of the penalty, the loss being 1 at the start
MIN_GAIN_ERRORS = 2.0  # standard errors that a gain must exceed
SEED = 0


@dataclass(frozen=True, eq=False)
class View:
    """The picture that a transform is learnt from."""

    noisy: Tensor  # the picture, white being 1, with shape (1, C, H, W)
    denoised: Tensor  # the picture denoised with the transform at the start, with the shape of noisy
    variance: Tensor  # the variance of the noise, with the shape of noisy
    safe: Tensor  # where noise was not clipped, with the shape of noisy
    valid: Tensor  # which pixels are valid, with shape (1, 1, H, W)
    bounds: tuple[float, float] | None  # the least and largest value of a result; None for any

    def of(self, channels: slice) -> "View":
        """Return the same view of some of its channels alone."""
        noisy, denoised, variance, safe = (
            x[:, channels] for x in (self.noisy, self.denoised, self.variance, self.safe)
        )
        return View(noisy, denoised, variance, safe, self.valid, self.bounds)

    @property
    def target(self) -> Tensor:
        """Return the values that hidden pixels are compared with: `noisy`, or `denoised` where noise may be clipped."""
        return torch.where(self.safe, self.noisy, self.denoised)


@dataclass(frozen=True, eq=False)
class _Learner:
    """A transform and the parameters that are learnt."""

    start: Whitening  # the transform at the start
    low: Tensor  # the first knot, with shape (C,)
    step: Tensor  # the distance between knots, with shape (C,)
    weights: Tensor  # the weight of each interval in sigma, with shape (C, n - 1) and sum C
    theta: Tensor  # logarithms of the rises, with shape (C, n - 1)
    line: Tensor  # alpha and beta, with shape (2, C)

    @classmethod
    def of(cls, start: Whitening, view: View) -> "_Learner":
        u = start.apply(view.noisy)
        low, high = u.amin((0, 2, 3)), u.amax((0, 2, 3))
        step = ((high - low) / (KNOTS - 1)).clamp(min=torch.finfo(u.dtype).eps)
        index = ((u - each_channel(low)) / each_channel(step)).floor().clamp(0, KNOTS - 2).long()
        weighted = view.variance * view.valid
        weights = torch.zeros(len(low), KNOTS - 1, dtype=u.dtype, device=u.device)
        weights.scatter_add_(1, by_channel(index), by_channel(weighted))
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
    """The state of the learning of a transform."""

    step: int  # steps done
    steps: int  # steps planned
    gain: float  # relative fall of the error at held-out hidden pixels, noise included; 0 if unknown or if none
    whitening: Whitening  # the transform to use


def learn(model: Any, view: View, start: Whitening, generator: Generator, steps: int = STEPS) -> Iterator[Learning]:
    """Learn the transform of a picture's noise.

    `model` is a network for white noise, left as it is; `start` has a transform for each channel of the picture; the
    generator is on the CPU.

    Yields:
        The state after every step; the whitening of the last is the result.
    """
    model = copy.deepcopy(model).requires_grad_(False)
    held = blocks(view.noisy, HELD_OUT, generator)
    part = window(view.noisy, generator)
    judged, trained = held & view.valid, (~held & view.valid).to(view.noisy.dtype)
    if min(view.noisy.shape[2:]) < GRID or not judged[part].any() or not trained.any():
        yield Learning(0, steps, 0.0, start)
        return
    learner = _Learner.of(start, view)
    before = _errors(learner, model, view, part)
    scale = (before * view.valid[part]).sum() / (view.valid[part].sum() * before.shape[1]) + torch.finfo().tiny
    parameters = [learner.theta.requires_grad_(), learner.line.requires_grad_()]
    optimiser = torch.optim.Adam(parameters, RATE)
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.1 ** ((step - 1) * FALLS // steps)
        (x, target, mask), _ = crops((view.noisy, view.target, trained), BATCH, generator)
        row, column = torch.randint(GRID, (2,), generator=generator).tolist()
        hidden = hidden_places(x, row, column)
        error = (_bounded(learner.predicted(model, x, hidden), view) - target).square() * mask * hidden
        loss = error.sum() / (hidden.sum() * len(x) * x.shape[1]) / scale
        roughness = learner.theta.diff().square().sum()
        optimiser.zero_grad()
        (loss + SMOOTHNESS * roughness).backward()
        optimiser.step()
        if step < steps:
            yield Learning(step, steps, 0.0, start)
    gain = _gain(before * judged[part], _errors(learner, model, view, part) * judged[part])
    yield Learning(steps, steps, gain, learner.whitening() if gain else start)


def _bounded(x: Tensor, view: View) -> Tensor:
    return x if view.bounds is None else x.clamp(*view.bounds)


@torch.no_grad()
def _errors(learner: _Learner, model: Any, view: View, part: tuple[slice, slice, slice, slice]) -> Tensor:
    """Return the squared error of each pixel of a part of the picture while it is hidden, (1, C, h, w)."""
    noisy, target = view.noisy[part], view.target[part]
    found = torch.zeros_like(noisy)
    for row, column in product(range(GRID), range(GRID)):
        hidden = hidden_places(noisy, row, column)
        error = _bounded(learner.predicted(model, noisy, hidden), view) - target
        found += error.square() * hidden
    return found


def _gain(before: Tensor, after: Tensor) -> float:
    """Return the relative fall of an error, (1, C, h, w); 0 unless it exceeds two standard errors."""
    difference, error = block_difference(before, after)
    if not math.isfinite(difference) or difference >= -MIN_GAIN_ERRORS * error:
        return 0.0
    return -difference / before.sum().item()


def learnt_for(
    task: Task, result: np.ndarray, watch: Watch = lambda done, of: None, steps: int = STEPS
) -> tuple[tuple[Whitening, ...] | None, float]:
    """Return the transforms of a task's shot noise, learnt from its image, and the gain; None and 0 without a gain.

    `result` is that of the task, with the shape of the image; `watch` is called with the steps done and their total.
    The gain is the relative fall of the error at held-out hidden pixels, for the best group of channels.
    """
    where = next(task.loaded.parameters()).device
    part = middle(task.pixels.shape[:2])
    planes = np.atleast_3d(result)[part]
    noisy, denoised = task.noisy(part, where), task.scaled(planes[None], where)
    safe = safe_where(denoised, margins_of(task))
    valid = np.ones(planes.shape[:2], bool) if task.prepared.valid is None else task.prepared.valid[part]
    mask = torch.from_numpy(valid.copy())[None, None].to(where)
    view = View(noisy, denoised, task.noise.sd(denoised).square(), safe, mask, task.bounds)
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
