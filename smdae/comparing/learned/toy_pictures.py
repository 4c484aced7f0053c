"""Toys: the exact density and its score, those of the fits, and how far apart they are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from smdae.comparing.drawing import BLACK, RED, figure, frame, png, style
from smdae.comparing.learned.fields import View, arrows, extent, framed, plane
from smdae.comparing.learned.toy_fits import model_of
from smdae.comparing.learned.toys import TOYS, Toy
from smdae.models import EnergyModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FINE = 601  # points on a line
CELLS, ARROWS = 121, 15  # in each direction of a plane
DEPTH = 10.0  # of log-densities in a plane
TENFOLDS = (-16, -12, -8, -4, 0)
MIN_MARKED_WEIGHT = 1e-2  # weight of a Gaussian whose mean is marked
ROUNDING = 1e-17  # shown for a difference of 0
PREFERRED = ("dsm", "ism-parzen", "ism")  # in two dimensions, if they are there
ROOM = 3.5  # around the means, in standard deviations


def lines(rows: Sequence[Any]) -> bytes | None:
    """Return a PNG of the densities, scores and errors of the scores of the toys in one dimension.

    Args:
        rows: The rows of the table `thetas`, of toys of any dimension.

    Returns:
        None if no toy in the rows has one dimension.
    """
    keys = [key for key in dict.fromkeys(row.density for row in rows) if TOYS[key].dim == 1]
    if not keys:
        return None
    drawn = figure(13, 3.9 * len(keys) + 0.4)
    grid = drawn.subplots(len(keys), 3, squeeze=False)
    names: dict[str, Any] = {}
    for key, axes in zip(keys, grid, strict=True):
        names |= _row(TOYS[key], [row for row in rows if row.density == key], axes)
    drawn.legend(names.values(), names, loc="outside lower center", ncols=min(len(names), 9), frameon=False)
    return png(drawn)


def _row(toy: Toy, rows: Sequence[Any], axes: Sequence["Axes"]) -> dict[str, Any]:
    density, score, error = axes
    frame(density, toy.title[:1].upper() + toy.title[1:], "x / \u03c3", "density \u00d7 \u03c3")
    frame(score, "Scores", "x / \u03c3", "\u03c8(x) \u00d7 \u03c3")
    frame(error, "Distance from the score of q\u03c3", "x / \u03c3", "difference \u00d7 \u03c3")
    s, smooth, clean = toy.sigma, toy.smooth, toy.clean
    x, wide = (torch.linspace(*_ends(toy, room), FINE, dtype=torch.float64)[:, None] for room in (ROOM, 3 * ROOM))
    across, target = (x[:, 0] / s).numpy(), smooth.score(x)[:, 0]
    shade = density.fill_between(across, (smooth.log_prob(x).exp() * s).numpy(), color="#e4e4e4", linewidth=0)
    found: dict[str, Any] = {"q\u03c3, exact": shade}
    score.plot(across, (target * s).numpy(), color="#cccccc", linewidth=9, zorder=1.9)
    if clean is not None:
        height = (clean.log_prob(x).exp() * s).numpy()
        found["q, exact"] = density.fill_between(across, height, facecolor="none", edgecolor="#aaaaaa", hatch="////")
    else:
        density.plot((smooth.means[:, 0] / s).numpy(), [0.0] * len(smooth.means), "|", color=BLACK, markersize=12)
    for name in dict.fromkeys(row.objective for row in rows):
        model = model_of(toy, [row for row in rows if row.objective == name])
        look = {**style(name), "markevery": (7 * len(found), FINE // 9), "markersize": 4}
        psi, mass = model.score(x)[:, 0], torch.exp(-model.energy(wide)).sum() * (wide[1, 0] - wide[0, 0])
        density.plot(across, (torch.exp(-model.energy(x)) / mass * s).numpy(), **look)
        (found[name],) = score.plot(across, (psi * s).numpy(), **look)
        error.plot(across, ((psi - target).abs() * s).clamp(min=ROUNDING).numpy(), **look)
    density.set_ylim(bottom=0)
    error.set_yscale("log")
    error.set_ylim(ROUNDING, 10)
    return found


def _ends(toy: Toy, room: float) -> tuple[float, float]:
    means = toy.smooth.means
    return (means.min() - room * toy.width).item(), (means.max() + room * toy.width).item()


def planes(rows: Sequence[Any]) -> bytes | None:
    """Return a PNG of the scores, the errors of the scores and the units of the toy in two dimensions.

    `rows` is the table `thetas`. None if no toy in the rows has two dimensions.
    """
    rows = [row for row in rows if TOYS[row.density].dim == 2]
    if not rows:
        return None
    toy = TOYS[rows[0].density]
    there = list(dict.fromkeys(row.objective for row in rows))
    names = [name for name in PREFERRED if name in there] or there[: len(PREFERRED)]
    models = {name: model_of(toy, [row for row in rows if row.objective == name]) for name in names}
    s, means = toy.sigma, toy.smooth.means
    low, high = means.amin(0), means.amax(0)
    half_side = (high - low).max().item() / 2 + ROOM * toy.width
    seen = View(torch.zeros_like(low), torch.eye(2).to(low), (low + high) / 2, half_side, means[:0])
    (across, places), (_, tails) = seen.lattice(CELLS), seen.lattice(ARROWS)
    across = [part / s for part in across]
    fields = {"q\u03c3, exact": (toy.smooth.log_prob(places), toy.smooth.score(tails) * s)}
    fields |= {name: (-model.energy(places), model.score(tails) * s) for name, model in models.items()}
    longest = max(score.norm(dim=1).max().item() for _, score in fields.values())
    heavy = (means[toy.smooth.weights > MIN_MARKED_WEIGHT] / s).T.numpy()
    drawn = figure(3.5 * len(fields) + 0.5, 7.2)
    upper, lower = drawn.subplots(2, len(fields), squeeze=False)
    for axes, (title, (log, score)) in zip(upper, fields.items(), strict=True):
        plane(axes, title, across, log, DEPTH)
        arrows(axes, tails / s, score, longest)
        axes.plot(*heavy, "x", color=RED, markersize=5, zorder=4)
    _units(lower[0], toy, models)
    for axes, (name, model) in zip(lower[1:], models.items(), strict=True):
        framed(axes, f"{name}: distance from exact")
        distance = ((model.score(places) - toy.smooth.score(places)).norm(dim=1) * s).clamp(min=ROUNDING)
        powers = distance.log10().reshape(CELLS, CELLS).T.numpy()
        image = axes.imshow(powers, extent=extent(across), origin="lower", cmap="cividis", vmin=-16, vmax=1)
    bar = drawn.colorbar(image, ax=list(lower[1:]), shrink=0.9, ticks=TENFOLDS, label="difference \u00d7 \u03c3")
    bar.ax.set_yticklabels([f"$10^{{{power}}}$" for power in TENFOLDS])
    return png(drawn)


def _units(axes: "Axes", toy: Toy, models: dict[str, EnergyModel]) -> None:
    """Draw each W_j as a line through the origin, as W_j and -W_j are one unit."""
    framed(axes, "Units, \u00b1W / \u03c3")
    for name, model in models.items():
        look = {k: v for k, v in style(name).items() if k in ("color", "linewidth", "linestyle", "zorder")}
        for j, w in enumerate((model.W / toy.sigma).tolist()):
            axes.plot([-w[0], w[0]], [-w[1], w[1]], label=name if j == 0 else None, **look)
    half_side = 1.1 * max(model.W.abs().max().item() for model in models.values()) / toy.sigma
    axes.set_xlim(-half_side, half_side)
    axes.set_ylim(-1.3 * half_side, half_side)
    axes.legend(frameon=False, fontsize=8, loc="lower center", ncols=len(models), handlelength=1.5, columnspacing=1)
