"""A model of one or two numbers as a picture: density, score and samples, beside the rows that it was fitted to.

On a line the density is exp(-E), or where a model has a score alone exp of its integral, made to have the area 1; in a
plane it is exp(-E), or for such a model the length of the score, over which its arrows are drawn. Samples are those of
Langevin steps from the rows.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.comparing.drawing import BLUE, GRAY, RED, figure, frame, png
from smdae.comparing.learned.fields import View, arrows, extent, framed, plane
from smdae.comparing.learned.samples import langevin
from smdae.models import Patchwise
from smdae.protocols import HasEnergy, offers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGIN = 3.0  # around the rows, in sigma
FINE, CELLS, ARROWS = 801, 101, 17  # points on a line, and of a lattice in each direction
DOTS, STEPS = 2000, 300  # samples, and Langevin steps of each
BINS = 60
DEPTH = 6.0  # below the largest log-density, all are drawn alike


def portrait(model: Any, rows: Tensor, sigma: float, white: float) -> bytes:
    """Return a PNG file of a score model of one or two numbers, fitted at sigma to rows, (n, 1 or 2), white being 1.

    Axes are in the rows' own unit, in which white has the value `white`.
    """
    chance = Generator().manual_seed(0)
    noisy = rows + sigma * torch.randn(rows.shape, generator=chance)
    start = rows[torch.randint(len(rows), (DOTS,), generator=chance)]
    samples = langevin(model, start, sigma, STEPS, chance)
    draw = _line if rows.shape[1] == 1 else _plane
    return draw(model, noisy, samples, sigma, white)


def _energy(model: Any) -> Any:
    """Return the model's energy, a function of flat rows; None if the model has no energy."""
    inner = model.patch if isinstance(model, Patchwise) else model
    return inner.energy if offers(inner, HasEnergy) else None


@torch.no_grad()
def _line(model: Any, noisy: Tensor, samples: Tensor, sigma: float, white: float) -> bytes:
    low, high = (end.item() for end in noisy.aminmax())
    x = torch.linspace(low - MARGIN * sigma, high + MARGIN * sigma, FINE)[:, None]
    step = (x[1] - x[0]).item()
    psi, energy = model.score(x, sigma)[:, 0], _energy(model)
    log = -energy(x) if energy else torch.cumulative_trapezoid(psi, dx=step)
    log = log if energy else torch.cat([log.new_zeros(1), log])
    heights = (log - log.logsumexp(0)).exp() / step
    drawn = figure(12, 3.8)
    density, score = drawn.subplots(1, 2)
    frame(density, "Density", "x", "density")
    for values, colour, label, style in (
        (noisy, "#dddddd", "rows and noise", {"histtype": "stepfilled"}),
        (samples, RED, "samples", {"histtype": "step"}),
    ):
        density.hist((values[:, 0] * white).numpy(), bins=BINS, density=True, color=colour, label=label, **style)
    density.plot((x[:, 0] * white).numpy(), (heights / white).numpy(), color=BLUE, label="model")
    density.legend(frameon=False)
    frame(score, "Score", "x", "\u03c8(x)")
    score.axhline(0, color=GRAY, linewidth=1)
    score.plot((x[:, 0] * white).numpy(), (psi / white).numpy(), color=BLUE)
    return png(drawn)


@torch.no_grad()
def _plane(model: Any, noisy: Tensor, samples: Tensor, sigma: float, white: float) -> bytes:
    low, high = noisy.amin(0), noisy.amax(0)
    half_side = (high - low).max().item() / 2 + sigma
    square = View(torch.zeros(2), torch.eye(2), (low + high) / 2, half_side, noisy[:0])
    (across, places), (_, tails) = square.lattice(CELLS), square.lattice(ARROWS)
    energy, psi = _energy(model), model.score(tails, sigma)
    log = -energy(places) if energy else -model.score(places, sigma).norm(dim=1)
    drawn = figure(12, 4.2)
    density, score, cloud = drawn.subplots(1, 3)
    plane(density, "Density" if energy else "Length of the score, dark where small", [a * white for a in across], log,
          DEPTH if energy else log.abs().max().item())  # fmt: skip
    framed(score, "Score")
    arrows(score, tails * white, psi, psi.norm(dim=1).quantile(0.9).item())
    framed(cloud, "Samples, and rows with noise")
    _dots(cloud, noisy[:DOTS] * white, "#bbbbbb", "rows with noise")
    _dots(cloud, samples * white, RED, "samples")
    cloud.legend(loc="upper right", fontsize=8, markerscale=4, handletextpad=0.2)
    for axes in drawn.axes:
        axes.locator_params(nbins=5)
    for axes in (score, cloud):
        axes.set_xlim(*np.array(extent(across)[:2]) * white)
        axes.set_ylim(*np.array(extent(across)[2:]) * white)
    return png(drawn)


def _dots(axes: "Axes", points: Tensor, colour: str, label: str) -> None:
    axes.plot(*points.T.numpy(), ".", markersize=2, color=colour, label=label)
