"""Pictures of a comparison: the curves, and the filters of each model.

The filters are the rows of W, on which the energy is built: what a model has found worth keeping in a noisy patch.
Colours are those of Okabe and Ito, which all eyes tell apart; lines differ in pattern and mark as well. Figures are
made without pyplot, so that no global state is touched and no screen is needed.
"""

import io
import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves", "filters", "mosaic"]

BLACK, ORANGE, SKY, GREEN, BLUE, RED, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
# Objectives that ought to end alike lie on top of each other: one is broad, the others narrow or with gaps.
STYLES: dict[str, dict[str, Any]] = {
    "esm-parzen": {"color": SKY, "linewidth": 6, "linestyle": "-", "marker": ""},
    "ism": {"color": PURPLE, "linewidth": 6, "linestyle": "-", "marker": ""},
    "dsm": {"color": BLUE, "linewidth": 2.2, "linestyle": "-", "marker": ""},
    "dae": {"color": ORANGE, "linewidth": 2.2, "linestyle": (0, (3, 3)), "marker": "o"},
    "ism-parzen": {"color": RED, "linewidth": 1.5, "linestyle": "-", "marker": "x"},
    "esm": {"color": GREEN, "linewidth": 1.5, "linestyle": (0, (6, 2)), "marker": "s"},
    "ism-reg": {"color": BLACK, "linewidth": 1.2, "linestyle": (0, (4, 1.5, 1, 1.5)), "marker": "v"},
}
OTHER: dict[str, Any] = {"color": "#777777", "linewidth": 1.2, "linestyle": ":", "marker": "."}
GRAY = "#666666"
TILES = 200  # filters shown at most
SPACE = 2  # pixels between tiles, before they are enlarged
WIDTH = 1200  # pixels, about
DPI = 120


# Where its cache has no place, matplotlib would say so on stderr.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _png(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _frame(axes: "Axes", title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def curves(record: dict[str, Any]) -> bytes:
    """Held-out PSNR against steps and against seconds, and held-out J against steps, as a PNG.

    Args:
        record: What `report.results` gives.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(13, 4.6), dpi=DPI, layout="constrained")
    by_step, by_second, by_objective = figure.subplots(1, 3)
    _frame(by_step, "Denoising, by steps", "steps", "held-out PSNR, dB")
    _frame(by_second, "Denoising, by time", "seconds", "held-out PSNR, dB")
    _frame(by_objective, "Each under its own objective", "steps", "gain in J since the start, \u00d7 2\u03c3\u00b2/d")
    drawn = [c for c in record["contestants"] if len(c["curve"]) > 1]
    for c in sorted(drawn, key=lambda c: _order(c["objective"])):
        style = {"markersize": 5, **STYLES.get(c["objective"], OTHER)}
        start, *points = c["curve"]
        steps, seconds = [p["step"] for p in points], [p["seconds"] for p in points]
        if points[-1]["psnr"] is not None:
            quality = [p["psnr"] for p in points]
            by_step.plot(steps, quality, **style)
            by_second.plot(seconds, quality, **style)
        by_objective.plot(steps, [start["objective"] - p["objective"] for p in points], label=c["objective"], **style)
        if c["outcome"] != "done":
            by_objective.annotate(c["outcome"], (steps[-1], start["objective"] - points[-1]["objective"]))
    linear = record["baselines"]["wiener"]
    finals = [c["psnr"] for c in record["contestants"] if c["psnr"] is not None]
    near = record["settings"]["near_best_db"]
    for axes in (by_step, by_second):
        if finals:
            axes.axhspan(max(finals) - near, max(finals), color="#f0f0f0", zorder=0)
            axes.annotate(f"within {near:g} dB of the best", (0, max(finals)), xycoords=("axes fraction", "data"),
                          xytext=(3, -3), textcoords="offset points", va="top", fontsize=8, color=GRAY)  # fmt: skip
        axes.axhline(linear, color=GRAY, linewidth=1, linestyle="--")
        axes.annotate("linear filter", (1, linear), xycoords=("axes fraction", "data"), xytext=(-2, 3),
                      textcoords="offset points", ha="right", fontsize=8, color=GRAY)  # fmt: skip
    for axes in (by_step, by_second, by_objective):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    handles, labels = by_objective.get_legend_handles_labels()
    order = [labels.index(c["objective"]) for c in drawn]
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside lower center",
        ncols=max(1, len(drawn)),
        frameon=False,
        handlelength=4,
    )
    return _png(figure)


def _order(name: str) -> int:
    """Broad lines first, so that they lie below."""
    return list(STYLES).index(name) if name in STYLES else len(STYLES)


def mosaic(W: Tensor, size: int, count: int = TILES) -> np.ndarray:
    """The largest filters as tiles on gray, with values from 0 to 1.

    Args:
        W: Filters, with shape (hidden, size^2).
        size: Side of a filter.
        count: How many to show at most, largest norm first.
    """
    order = W.norm(dim=1).argsort(descending=True)[:count]
    tiles = W[order].reshape(-1, size, size)
    tiles = 0.5 + 0.5 * tiles / tiles.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    n = len(tiles)
    # About twice as wide as high, with as few places left over as can be.
    across = min(range(math.ceil(math.sqrt(1.5 * n)), math.ceil(math.sqrt(3 * n)) + 1), key=lambda a: (-n % a, a))
    step = size + SPACE
    sheet = torch.full((-(-n // across) * step + SPACE, across * step + SPACE), 0.5)
    for i, tile in enumerate(tiles):
        top, left = (SPACE + place * step for place in divmod(i, across))
        sheet[top : top + size, left : left + size] = tile
    return sheet.numpy()


def filters(W: Tensor, size: int, title: str) -> bytes:
    """A picture of filters, the largest first, as a PNG.

    Args:
        W: Filters, with shape (hidden, size^2).
        size: Side of a filter.
        title: What to write above.
    """
    from matplotlib.figure import Figure

    sheet = mosaic(W.detach().float().cpu(), size)
    # Whole pixels for each number of a filter, or its tiles would differ in size.
    zoom = max(1, WIDTH // sheet.shape[1])
    height, width = (zoom * side for side in sheet.shape)
    strip = 40
    figure = Figure(figsize=(width / DPI, (height + strip) / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, height / (height + strip)))
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    middle = 1 - strip / 2 / (height + strip)
    figure.text(4 * SPACE / width, middle, title, va="center", fontsize=11, fontweight="bold")
    return _png(figure)
