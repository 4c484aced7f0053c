"""The style of all plots.

Colours are those of Okabe and Ito, which all eyes tell apart; lines differ in pattern and mark as well. Figures are
made without pyplot, so that no global state is touched and no screen is needed.
"""

import io
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK)
GRAY = "#666666"
DPI = 120

# Objectives that ought to end alike lie on top of each other: one is broad, the others narrow or with gaps.
STYLES: dict[str, dict[str, Any]] = {
    "esm-parzen": {"color": SKY, "linewidth": 6, "linestyle": "-", "marker": ""},
    "ism": {"color": PURPLE, "linewidth": 6, "linestyle": "-", "marker": ""},
    "dsm": {"color": BLUE, "linewidth": 2.2, "linestyle": "-", "marker": ""},
    "dae": {"color": ORANGE, "linewidth": 2.2, "linestyle": (0, (3, 3)), "marker": "o"},
    "ism-parzen": {"color": RED, "linewidth": 1.5, "linestyle": "-", "marker": "x"},
    "esm": {"color": GREEN, "linewidth": 1.5, "linestyle": (0, (6, 2)), "marker": "s"},
    "ism-reg": {"color": BLACK, "linewidth": 1.2, "linestyle": (0, (4, 1.5, 1, 1.5)), "marker": "v"},
    "ssm": {"color": BLACK, "linewidth": 1.2, "linestyle": "-", "marker": "+"},
    "ssm-vr": {"color": GREEN, "linewidth": 1.2, "linestyle": (0, (1, 1.5)), "marker": "^"},
    "fd-ssm": {"color": GRAY, "linewidth": 1.2, "linestyle": (0, (5, 3)), "marker": "d"},
}
OTHER: dict[str, Any] = {"color": "#777777", "linewidth": 1.2, "linestyle": ":", "marker": "."}

# Where its cache has no place, matplotlib would say so on stderr.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


def style(name: str) -> dict[str, Any]:
    """Return the arguments of `plot` for the line of an objective, gray and dotted for a name without a style.

    Broad lines are drawn below narrow ones.
    """
    order = list(STYLES).index(name) if name in STYLES else len(STYLES)
    return {"markersize": 5, "zorder": 2 + 0.01 * order, **STYLES.get(name, OTHER)}


def figure(width: float, height: float) -> "Figure":
    """Return an empty figure, width and height in inches, laid out without overlaps."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def frame(axes: "Axes", title: str, x: str, y: str) -> None:
    """Set the title, the names of the axes `x` and `y`, and a light grid of a plot."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def note(axes: "Axes", text: str, at: tuple[float, float], offset: tuple[float, float], **look: Any) -> None:
    """Write small gray text, `offset` points away from the place `at` of a plot; `look` is for `annotate`."""
    axes.annotate(text, at, xytext=offset, textcoords="offset points", **{"fontsize": 9, "color": GRAY, **look})


def png(figure: "Figure") -> bytes:
    """Return the figure as a PNG file of 256 colours: a third of the bytes, and no eye sees the difference."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    drawn.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
