"""The noise of pictures in words and as a chart of plain text.

sigma(x) = sqrt(mean_c sd_c(x)^2)       the level at the brightness x, c being the channels
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smdae.noise import Noise
    from smdae.pipeline.found_noise import PictureNoise

COLUMNS, ROWS = 48, 9  # of a chart, in characters
AXIS_ENDS = (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10)  # times a power of ten
DARKEST, BRIGHTEST = 0.001, 0.999  # quantiles of the values of a picture, between which its noise is drawn
MAX_LAGS = 3  # pixels, up to which the correlation is shown


def curve(noise: "Noise", low: float, high: float) -> tuple[list[float], list[float]]:
    """Return two lists of COLUMNS numbers: brightnesses from low to high, and the standard deviation of noise at each.

    The standard deviation is the root of the mean variance of the channels; blotches of colour add to the variance.
    """
    import torch

    x = torch.linspace(low, high, COLUMNS, dtype=torch.float64)
    squares = torch.stack([curve.sd(x).square() for curve in noise.curves])  # (curves, COLUMNS)
    of_blotches = 0.0 if noise.blotches is None else noise.blotches.sigma**2
    return x.tolist(), (squares.mean(0) + of_blotches).sqrt().tolist()


def curve_of(found: "PictureNoise", factor: float, offset: float) -> tuple[list[float], list[float]]:
    """Return COLUMNS brightnesses of a picture, and the standard deviation of its noise at each, in a unit of display.

    In the unit of display black is `offset`, and white is `offset` + `factor`. The brightnesses go from the darkest to
    the brightest value of the picture, but for one pixel in a thousand at either end.
    """
    import numpy as np

    low, high = np.quantile(found.prepared.sample().astype(np.float64), (DARKEST, BRIGHTEST))
    x, levels = curve(found.noise, *((float(low), float(high)) if low < high else (0.0, 1.0)))
    return [value * factor + offset for value in x], [level * factor for level in levels]


def correlation(grain: Sequence[Sequence[float]]) -> str:
    """Return the correlation of noise, as in "correlation of pixels 1, 2 apart: 0.60 0.20 across, 0.55 0.18 down"."""
    lags = range(1, min(MAX_LAGS + 1, len(grain)))
    across = " ".join(f"{grain[0][lag]:.2f}" for lag in lags)
    down = " ".join(f"{grain[lag][0]:.2f}" for lag in lags)
    return f"correlation of pixels {', '.join(map(str, lags))} apart: {across} across, {down} down"


def chart(x: Sequence[float], y: Sequence[float]) -> list[str]:
    """Return the chart of a curve, y >= 0 at 3 or more evenly spaced x, as lines of plain text, with a star a column.

    Its axis begins at 0.
    """
    top = _axis_end(max(y))
    height = [round((ROWS - 1) * value / top) for value in y]
    labels = {ROWS - 1: number(top), (ROWS - 1) // 2: number(top / 2), 0: "0"}
    wide = max(map(len, labels.values()))
    lines = []
    for row in reversed(range(ROWS)):
        stars = "".join("*" if h == row else " " for h in height)
        lines.append(f"{labels.get(row, ''):>{wide}} |{stars}".rstrip())
    low, middle, high = (number(value) for value in (x[0], (x[0] + x[-1]) / 2, x[-1]))
    columns = len(x)
    before = low.ljust((columns - len(middle)) // 2)
    axis = f"{before}{middle}".ljust(columns - len(high)) + high
    return [*lines, f"{'':>{wide}} +{'-' * columns}", f"{'':>{wide}}  {axis}"]


def _axis_end(largest: float) -> float:
    """Return a round number, not below the value, where an axis that begins at 0 may end."""
    if not largest > 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(largest))
    return next((end * unit for end in AXIS_ENDS if end * unit >= largest), 10 * unit)


def number(value: float) -> str:
    """Return a number as text with three significant digits; from 100 to 1e6 with all digits before the point."""
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"
