"""Filters, the rows of W, on which the energy is built: what a model has found worth keeping in a noisy patch."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from smdae.comparing.contest import Contest
from smdae.comparing.drawing import figure, frame, png, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TILES = 120  # filters shown of a model at most
SPACE = 1  # pixels between tiles, before they are enlarged
BUSY, EXCITING = 16, 6  # units, and patches for each
GROUND = 1.0  # of a mosaic, white


def sheet(tiles: Tensor, across: int, space: int = SPACE) -> Tensor:
    """Return tiles, (n, P, P), with values from 0 to 1, in rows of `across` on white, with shape (height, width).

    There are `space` pixels between them, and around all.
    """
    n, size, _ = tiles.shape
    down, step = -(-n // across), size + space
    ground = torch.full((down * step + space, across * step + space), GROUND)
    for i, tile in enumerate(tiles):
        top, left = (space + place * step for place in divmod(i, across))
        ground[top : top + size, left : left + size] = tile
    return ground


def shades(tiles: Tensor) -> Tensor:
    """Return each tile scaled to 0 to 1: gray where it is 0, black or white where it is largest."""
    return 0.5 + 0.5 * tiles / tiles.abs().flatten(1).amax(1)[:, None, None].clamp(min=1e-12)


def mosaic(W: Tensor, size: int) -> Tensor:
    """Return the 120 largest of the filters W, (hidden, size^2), as tiles from 0 to 1, with shape (height, width)."""
    order = W.norm(dim=1).argsort(descending=True)[:TILES]
    n = len(order)
    # About as wide as high, with as few places left over as can be.
    across = min(range(math.isqrt(n - 1) + 1, math.isqrt(n - 1) + 1 + max(1, math.isqrt(n) // 3)), key=lambda a: -n % a)
    return sheet(shades(W[order].reshape(-1, size, size)), across)


def show(axes: "Axes", picture: Tensor, title: str) -> None:
    """Draw a picture with values from 0 to 1, and a title instead of axes."""
    axes.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")


def filters(contest: Contest, models: Mapping[str, Any]) -> bytes:
    """Return the filters of energies, by caption, side by side as a PNG file.

    Filters of patches are shown as patches, those of a density as columns of numbers.
    """
    weights = {caption: model.centre(model.W).cpu() / model.sigma for caption, model in models.items()}
    if contest.held_out_images is None:
        return _columns(weights)
    tiles = {caption: mosaic(W, contest.settings.patch_size) for caption, W in weights.items()}
    width = 13 / max(len(tiles), 3)
    drawn = figure(width * len(tiles), 0.4 + width * max(len(part) / part.shape[1] for part in tiles.values()))
    for axes, (caption, part) in zip(drawn.subplots(1, len(tiles), squeeze=False)[0], tiles.items(), strict=True):
        show(axes, part, caption)
    return png(drawn)


def _columns(weights: Mapping[str, Tensor]) -> bytes:
    drawn = figure(11, 0.6 + 1.5 * len(weights))
    panels = drawn.subplots(len(weights), 1, squeeze=False)[:, 0]
    shown = {caption: W[W.norm(dim=1).argsort(descending=True)[:TILES]].T for caption, W in weights.items()}
    largest = max(part.abs().max().item() for part in shown.values())
    for axes, (caption, part) in zip(panels, shown.items(), strict=True):
        image = axes.imshow(part.numpy(), cmap="RdBu", vmin=-largest, vmax=largest, aspect="auto")
        axes.set_title(caption, loc="left", fontsize=11, fontweight="bold")
        axes.set_ylabel("coordinate")
        axes.set_yticks([0, len(part) - 1] if len(part) > 1 else [0], [1, len(part)] if len(part) > 1 else [1])
    panels[-1].set_xlabel("unit, the largest first")
    drawn.colorbar(image, ax=list(panels), label="W / \u03c3")
    return png(drawn)


def _drive(model: Any, x: Tensor) -> Tensor:
    """Return W u + b, the argument of the sigmoid, with shape (B, hidden)."""
    found: Tensor = x * (model.sigma / model.level) @ model.centre(model.W).T + model.b
    return found


def responses(contest: Contest, name: str, models: Mapping[str, Any]) -> bytes:
    """Return a PNG file: the patches that excite the busiest units of the model `name`, and the activity of all models.

    Models see the noisy held-out patches of the contest.
    """
    noisy = contest.held_out_batch("dsm").x
    patches = contest.held_out_images is not None
    drawn = figure(13 if patches else 9, 5.2 if patches else 4.2)
    if patches:
        grid = drawn.add_gridspec(2, 2, width_ratios=(1.6, 1))
        _exciting(drawn.add_subplot(grid[:, 0]), contest, name, models[name])
        activity, count = (drawn.add_subplot(grid[i, 1]) for i in (0, 1))
    else:
        activity, count = drawn.subplots(1, 2)
    frame(activity, "Activity", "unit, the most active first", "mean h")
    frame(count, "Units that are on", "units, h > 1/2", "share of patches")
    for each, model in models.items():
        h = _drive(model, noisy).sigmoid()
        look = {**style(each), "marker": ""}
        activity.plot(h.mean(0).sort(descending=True).values.cpu().numpy(), label=each, **look)
        on = (h > 0.5).sum(1).bincount(minlength=2).cpu().numpy() / len(h)
        count.plot(on, **look)
    activity.set_ylim(bottom=0)
    count.set_ylim(bottom=0)
    activity.legend(frameon=False, fontsize=8, ncols=2)
    return png(drawn)


def _exciting(axes: "Axes", contest: Contest, name: str, model: Any) -> None:
    drive = _drive(model, contest.held_out_batch("dsm").x)
    W, side = model.centre(model.W), contest.settings.patch_size
    moved = drive.sigmoid().std(0) * W.norm(dim=1)  # how much a unit moves r from patch to patch
    busy = moved.argsort(descending=True)[:BUSY]
    best = drive[:, busy].argsort(dim=0, descending=True)[:EXCITING]  # (EXCITING, BUSY)
    columns = []
    for half in torch.arange(len(busy), device=busy.device).chunk(2):
        filters, liked = W[busy[half]], contest.held_out[best[:, half].T.flatten()]
        for tiles, across, gap in ((filters, 1, SPACE), (liked, EXCITING, side)):
            columns.append(sheet(shades(tiles.reshape(-1, side, side)).cpu(), across))
            columns.append(torch.full((1, gap), GROUND))
    height = max(len(part) for part in columns)
    columns = [pad(part, (0, 0, 0, height - len(part)), value=GROUND) for part in columns]
    show(axes, torch.cat(columns[:-1], 1), f"Busiest units of {name}, and the patches they like")
