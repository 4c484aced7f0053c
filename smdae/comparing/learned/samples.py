"""Samples of a fitted density: Langevin steps along the score, from noise.

    x <- x + eta/2 s^2 psi(x, s) + sqrt(eta) s eps,    s falling in equal ratios from TOP sigma to sigma, then staying

A model of one level is taken at another by its own rule, psi(x, s) = psi(x sigma/s) sigma/s. Of a Gaussian as narrow as
the model can make it the variance comes out 1/(1 - eta/4) times too large.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.comparing.contest import Contest
from smdae.comparing.drawing import BLUE, figure, frame, png
from smdae.comparing.learned.filters import sheet, show
from smdae.protocols import HasCentre, offers

STEPS, QUICK_STEPS = 800, 300
SIZE = 0.2  # eta
TOP = 8.0  # sigma, where the noise starts
ACROSS = 8  # patches in each direction
DOTS = 1000  # samples of a density
CHANCE = 3  # added to the seed
CONTRAST = 5.0  # sigma, that is black or white


@torch.no_grad()
def langevin(
    model: Any, start: Tensor, sigma: float, steps: int, generator: Generator, top: float = 1.0, size: float = SIZE
) -> Tensor:
    """Return samples of a model's density at the level sigma, with the shape of start, (n, d); `size` is eta, below 4.

    Levels fall from `top` sigma to sigma over the first half of the steps.
    """
    x = start
    for k in range(steps):
        s = sigma * top ** max(0.0, 1 - 2 * (k + 1) / steps)
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        noise = model.centre(noise) if offers(model, HasCentre) else noise
        x = x + size / 2 * s**2 * model.score(x, sigma=s) + size**0.5 * s * noise
    return x


def samples(contest: Contest, models: Mapping[str, Any], quick: bool = False) -> bytes:
    """Return a PNG file: noisy held-out patches and samples of models, by caption, and below them r(x) of each.

    If `quick`, fewer steps are taken.
    """
    steps, patches = QUICK_STEPS if quick else STEPS, contest.held_out_images is not None
    count, sigma = ACROSS**2 if patches else DOTS, contest.sigma
    pairs = {("Held out, noisy", "Held out"): (contest.held_out_batch("dsm").x[:count], contest.held_out[:count])}
    for name, model in models.items():
        chance = contest.generator(CHANCE)
        noise = torch.randn(count, contest.dim, generator=chance, dtype=contest.patches.dtype, device=contest.device)
        # The levels of a model fall towards the flat patch; a density has its examples elsewhere.
        start = TOP * sigma * noise + (0 if patches else contest.patches.mean(0))
        x = langevin(model, start, model.level, steps, chance, TOP if patches else 1.0)
        pairs[f"{name}, {steps} steps", f"{name}, r(x)"] = x, model.reconstruct(x)
    pairs = {titles: (noisy.cpu() / sigma, clean.cpu() / sigma) for titles, (noisy, clean) in pairs.items()}
    return _patches(contest, pairs) if patches else _clouds(pairs)


Pairs = Mapping[tuple[str, str], tuple[Tensor, Tensor]]  # titles, and what is below them, over sigma


def _patches(contest: Contest, pairs: Pairs) -> bytes:
    side = contest.settings.patch_size
    drawn = figure(3.5 * len(pairs), 7.4)
    for column, (titles, both) in zip(drawn.subplots(2, len(pairs), squeeze=False).T, pairs.items(), strict=True):
        for axes, title, of in zip(column, titles, both, strict=True):
            tiles = 0.5 + 0.5 * (of - of.mean(1, keepdim=True)) / CONTRAST
            show(axes, sheet(tiles.clamp(0, 1).reshape(-1, side, side), ACROSS), title)
    return png(drawn)


def _clouds(pairs: Pairs) -> bytes:
    drawn = figure(4.2 * len(pairs), 4.2)
    panels = drawn.subplots(1, len(pairs), squeeze=False, sharex=True, sharey=True)[0]
    for axes, ((title, _), (noisy, _)) in zip(panels, pairs.items(), strict=True):
        if noisy.shape[1] == 1:
            frame(axes, title, "x / \u03c3", "density \u00d7 \u03c3")
            axes.hist(noisy[:, 0].numpy(), bins=60, density=True, color=BLUE)
        else:
            frame(axes, title, "x1 / \u03c3", "x2 / \u03c3")
            axes.plot(*noisy[:, :2].T.numpy(), ".", color=BLUE, markersize=3, alpha=0.5)
    return png(drawn)
