"""The score of a model in a plane, or along a line, beside that of q_sigma, the Parzen density of the patches.

A patch of the plane is o + s e_1 + t e_2: with o the flat patch, and two held-out patches in the plane; or, where
examples come from a density, with o their mean, and the first two coordinates. Of the score that part is drawn which
lies in the plane.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from smdae.comparing.contest import Contest
from smdae.comparing.drawing import BLACK, BLUE, GRAY, figure, frame, png
from smdae.densities import Parzen

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELLS, QUICK_CELLS, ARROWS = 121, 61, 15  # in each direction
FINE = 401  # points on a line
LEVELS = 12  # of shades
LONG = 1.4  # of the longest arrow, in distances of arrows
DEPTH = 1 / 6  # of log-densities, of the square of the half_side over sigma
TYPICAL, CANDIDATES = 0.75, 200  # held-out patches of about this quantile of lengths are looked at
WIDER = 1.6  # than those patches are long
MARGIN = 3.0  # around examples of a density, in sigma


def framed(axes: "Axes", title: str) -> None:
    """Set a title and equal axes without a grid."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_aspect("equal")
    axes.tick_params(labelsize=8)


def extent(across: Sequence[Tensor]) -> list[float]:
    """Return the sides of a picture of a lattice: left, right, bottom and top."""
    return [end for part in across for end in (part[0].item(), part[-1].item())]


def plane(axes: "Axes", title: str, across: Sequence[Tensor], log: Tensor, depth: float) -> None:
    """Draw a log-density plus any constant, (m n,), as shades and lines of equal height.

    `across` are the coordinates in both directions, (m,) and (n,); shades differ down to `depth` below the largest.
    """
    from matplotlib import colormaps

    framed(axes, title)
    height = (log - log.max()).clamp(min=-depth).reshape(len(across[0]), len(across[1])).T.numpy()
    # Even steps of the root: a quadratic log-density has rings equally far apart.
    levels = [-depth * (1 - k / LEVELS) ** 2 for k in range(LEVELS + 1)]
    shades = [colormaps["Blues"](0.7 * k / (LEVELS - 1)) for k in range(LEVELS)]
    sides = [part.numpy() for part in across]
    axes.contourf(*sides, height, levels=levels, colors=shades)
    axes.contour(*sides, height, levels=levels[1:-1], colors="white", linewidths=0.6, linestyles="-")


def arrows(axes: "Axes", tails: Tensor, vectors: Tensor, longest: float) -> None:
    """Draw arrows for vectors, (n, 2), as long as the root of their lengths, so that short ones are seen.

    They start at `tails`, a lattice with shape (n, 2); a vector of the length `longest` is drawn longest.
    """
    length = vectors.norm(dim=1, keepdim=True)
    room = (tails.amax(0) - tails.amin(0)).max().item() / (math.sqrt(len(tails)) - 1)
    drawn = vectors / length.clamp(min=1e-12) * (length / (longest or 1.0)).sqrt() * LONG * room
    ends = (*tails.T.numpy(), *drawn.T.numpy())
    axes.quiver(*ends, angles="xy", scale_units="xy", scale=1, color=BLACK, width=0.004, zorder=3)


def field(contest: Contest, name: str, model: Any, quick: bool = False) -> bytes:
    """Return a PNG file of the score of an energy fitted with the objective `name`, that of q_sigma and the difference.

    q_sigma is that of the contest's patches; if `quick`, fewer places are looked at.
    """
    if contest.dim == 1:
        return _line(contest, name, model)
    return _plane(contest, name, model, QUICK_CELLS if quick else CELLS)


def _line(contest: Contest, name: str, model: Any) -> bytes:
    s, parzen = contest.sigma, Parzen(contest.patches, contest.sigma)
    low, high = (end.item() for end in contest.held_out.aminmax())
    x = torch.linspace(low - MARGIN * s, high + MARGIN * s, FINE).to(contest.patches)[:, None]
    log = -model.energy(x)
    heights = (torch.exp(log - log.logsumexp(0)) / (x[1] - x[0]), parzen.log_prob(x).exp())
    fitted, smooth = ((height * s).cpu().numpy() for height in heights)
    psi, exact = ((density.score(x)[:, 0] * s).cpu().numpy() for density in (model, parzen))
    across = (x[:, 0] / s).cpu().numpy()
    drawn = figure(13, 4.2)
    density, score, error = drawn.subplots(1, 3)
    frame(density, "Densities", "x / \u03c3", "density \u00d7 \u03c3")
    frame(score, "Scores", "x / \u03c3", "\u03c8(x) \u00d7 \u03c3")
    frame(error, "Difference of the scores", "x / \u03c3", "difference \u00d7 \u03c3")
    density.fill_between(across, smooth, color="#e4e4e4", linewidth=0, label="q\u03c3 of the examples")
    density.plot(across, fitted, color=BLUE, label=name)
    density.legend(frameon=False)
    score.plot(across, exact, color="#cccccc", linewidth=8)
    score.plot(across, psi, color=BLUE)
    error.axhline(0, color=GRAY, linewidth=1)
    error.plot(across, psi - exact, color=BLUE)
    return png(drawn)


@dataclass(frozen=True, eq=False)
class View:
    """A square of a plane: o + s e_1 + t e_2 for s and t around a middle."""

    origin: Tensor  # o, with shape (d,)
    directions: Tensor  # e_1 and e_2, orthonormal, with shape (2, d)
    middle: Tensor  # the middle of the square, with shape (2,)
    half_side: float  # half of its side, in units of s and t
    patches: Tensor  # patches of the plane that are to be seen, with shape (n, d)

    def lattice(self, count: int) -> tuple[list[Tensor], Tensor]:
        """Return a regular lattice over the square, its sides included.

        Returns:
            A list of the values of s and of t, each (count,), and the points (s, t), (count^2, 2): first all t of the
            first s, then those of the next.
        """
        share = torch.linspace(-1, 1, count).to(self.middle)
        across = [middle + self.half_side * share for middle in self.middle]
        return across, torch.cartesian_prod(*across)

    def at(self, places: Tensor) -> Tensor:
        """Return the patches, (n, d), at coordinates, (n, 2)."""
        return self.origin + places @ self.directions

    def of(self, vectors: Tensor) -> Tensor:
        """Return the part, (n, 2), of vectors, (n, d), that lies in the plane."""
        return vectors @ self.directions.T


def view(contest: Contest) -> View:
    """Return a square of the plane through 0 and two held-out patches; for a density, of its first two coordinates."""
    held = contest.held_out
    if contest.held_out_images is None:
        directions = torch.eye(contest.dim, device=contest.device)[:2]
        low, high = (end[:2] for end in held.aminmax(dim=0))
        origin = contest.patches.mean(0) * (directions.sum(0) == 0)
        half_side = ((high - low).max() / 2).item() + MARGIN * contest.sigma
        return View(origin, directions, (low + high) / 2, half_side, held[:0])
    length = held.norm(dim=1)
    typical = length.quantile(TYPICAL)
    near = held[(length - typical).abs().argsort()[:CANDIDATES]]
    pair = torch.stack([near[0], near[cosine_similarity(near, near[:1]).abs().argmin()]])
    directions = torch.linalg.qr(pair.T).Q.T
    directions = directions * torch.ones(2, 1).to(held).copysign((directions * pair).sum(1, keepdim=True))
    zero = torch.zeros_like(pair[0])
    return View(zero, directions, zero[:2], max(WIDER * typical.item(), MARGIN * contest.sigma), pair)


def _plane(contest: Contest, name: str, model: Any, cells: int) -> bytes:
    s, seen, parzen = contest.sigma, view(contest), Parzen(contest.patches, contest.sigma)
    across, places = seen.lattice(cells)
    _, tails = seen.lattice(ARROWS)

    def psi(places: Tensor) -> list[Tensor]:
        return [s * seen.of(density.score(seen.at(places))).cpu() for density in (model, parzen)]

    logs = [-model.energy(seen.at(places)).cpu(), parzen.log_prob(seen.at(places)).cpu()]
    fine, coarse = psi(places), psi(tails)
    longest = max(part.norm(dim=1).max().item() for part in coarse)
    across, tails = [(part / s).cpu() for part in across], (tails / s).cpu()
    drawn = figure(13, 4.4)
    *fields, error = drawn.subplots(1, 3)
    for axes, title, log, score in zip(fields, (name, "q\u03c3, exact"), logs, coarse, strict=True):
        plane(axes, title, across, log, DEPTH * (seen.half_side / s) ** 2)
        arrows(axes, tails, score, longest)
        _pin(axes, seen, s)
    framed(error, "Their difference")
    size = (fine[0] - fine[1]).norm(dim=1).reshape(cells, cells).T.numpy()
    image = error.imshow(size, extent=extent(across), origin="lower", cmap="Oranges", vmin=0, interpolation="bilinear")
    arrows(error, tails, coarse[0] - coarse[1], longest)
    if contest.held_out_images is None:  # else its axes are directions of patches
        for axes in (*fields, error):
            axes.set_xlabel("x1 / \u03c3")
        fields[0].set_ylabel("x2 / \u03c3")
    drawn.colorbar(image, ax=error, shrink=0.85, label="difference \u00d7 \u03c3")
    return png(drawn)


def _pin(axes: "Axes", seen: View, sigma: float) -> None:
    """Draw the patches of the plane as little pictures, each beside its place."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    for place, patch in zip((seen.of(seen.patches) / sigma).tolist(), seen.patches.cpu(), strict=True):
        side = math.isqrt(len(patch))
        picture = OffsetImage(patch.reshape(side, side).numpy(), cmap="gray", zoom=34 / side)
        axes.plot(*place, "o", color=BLACK, markersize=4, zorder=4)
        axes.add_artist(AnnotationBbox(picture, place, xybox=(22, 22), boxcoords="offset points", pad=0.1))
