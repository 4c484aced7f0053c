"""Pictures that were JPEGs once: on which grid, and at which quality.

A JPEG keeps of every block of 8 x 8 pixels whole multiples of a step for each frequency of the discrete cosine
transform, and what a decoder rounds off afterwards is small beside most steps (Fan and de Queiroz 2003). So with c_ik
the k-th coefficient of the i-th block on the right grid, and q_k the steps that libjpeg takes at a quality Q,

    S(Q) = sum_ik cos(2 pi c_ik / q_k) / (m / 2)^1/2     over the m coefficients that are beyond q_k / 2

is large where the picture was compressed at Q, and standard normal by chance. Coefficients near zero say nothing: those
of what is smooth are there anyway.

The grid is looked for by the number of coefficients near zero, which is largest on the right one.
"""

import math
from functools import cache

import numpy as np

from smdae import jpeg

__all__ = ["is_lossy", "jpeg_quality"]

SIDE = 8  # pixels of a block
MIN_SIDE = 64  # pixels of a picture
MAX_WINDOWS = 144  # places that all grids are looked at,
MAX_SILENT = 4  # of so many times as many, as some may tell nothing
NEAR_ZERO = 1.0  # gray levels
MAX_LOSSY = 92  # beyond it hardly anything is lost
QUALITIES = tuple(range(10, MAX_LOSSY + 1))
LONGEST_PERIODS = 16  # of a step, up to which a coefficient counts: errors of rounding add up in none
MIN_COEFFICIENTS = 72
MIN_SCORE, MIN_MEAN = 12.0, 0.25  # S, and the mean cosine


def is_lossy(quality: int | None) -> bool:
    """Return whether a JPEG of this quality has lost much; None for what was not compressed."""
    return quality is not None and quality <= MAX_LOSSY


def jpeg_quality(planes: np.ndarray, valid: np.ndarray | None = None) -> int | None:
    """Return the quality at which a picture was compressed before it was stored as it is; None if it was not.

    Args:
        planes: With shape (H, W, 1) or (H, W, 3), uint8.
        valid: Which pixels count, with shape (H, W); None for all.
    """
    height, width, channels = planes.shape
    if planes.dtype != np.uint8 or channels not in (1, 3) or min(height, width) < MIN_SIDE:
        return None
    windows = _windows(planes, valid)
    if not len(windows):
        return None
    right = _grid(windows)
    scores = [_score(windows, place) for place in dict.fromkeys(((0, 0), right))]
    score, quality = max(scores)
    return quality if score > MIN_SCORE else None


def _windows(planes: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Return luma at places that all blocks of some grid begin at, (n, 15, 15), in gray levels.

    Places that are constant, as in a frame, or not valid are left out.
    """
    height, width, channels = planes.shape
    span = 2 * SIDE - 1
    rows, columns = (np.arange(0, side - span + 1, SIDE) for side in (height, width))
    every = max(1, math.ceil(math.sqrt(len(rows) * len(columns) / (MAX_SILENT * MAX_WINDOWS))))
    places = rows[every // 2 :: every, None], columns[every // 2 :: every]
    windows = np.lib.stride_tricks.sliding_window_view(planes, (span, span), (0, 1))[places]  # (n', n", C, 15, 15)
    tells = windows.max((2, 3, 4)) > windows.min((2, 3, 4))
    if valid is not None:
        tells &= np.lib.stride_tricks.sliding_window_view(valid, (span, span))[places].all((2, 3))
    windows = windows[tells]
    windows = windows[:: max(1, math.ceil(len(windows) / MAX_WINDOWS))].astype(np.float32)
    return windows[:, 0] if channels == 1 else np.tensordot(windows, np.array(jpeg.LUMA, np.float32), (1, 0))


@cache
def _transform() -> np.ndarray:
    """Return the orthonormal discrete cosine transform of blocks, (64, 64): coefficients are block @ transform."""
    rows = jpeg.cosine_transform()
    return np.kron(rows, rows).T.astype(np.float32)


def _coefficients(windows: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """Return all but the first coefficient of the blocks that begin at a place of the windows, (n, 63)."""
    down, across = place
    blocks = windows[:, down : down + SIDE, across : across + SIDE].reshape(len(windows), -1)
    return (blocks @ _transform())[:, 1:]


def _grid(windows: np.ndarray) -> tuple[int, int]:
    """Return the place of the windows at which most coefficients are near zero."""
    places = [(down, across) for down in range(SIDE) for across in range(SIDE)]
    return max(places, key=lambda place: int((np.abs(_coefficients(windows, place)) < NEAR_ZERO).sum()))


def _score(windows: np.ndarray, place: tuple[int, int]) -> tuple[float, int]:
    """Return the largest S and its quality, 0 where too few coefficients tell."""
    c = np.abs(_coefficients(windows, place))
    flat, column = c.ravel(), np.tile(np.arange(c.shape[1]), len(c))
    kept = flat > NEAR_ZERO
    flat, column = flat[kept], column[kept]
    best = (0.0, 0)
    for quality in QUALITIES:
        steps = jpeg.steps(jpeg.LUMA_STEPS)[quality - 1, 1:]
        periods = flat / steps[column]
        periods = periods[(periods > 0.5) & (periods < LONGEST_PERIODS) & (steps[column] > 1)]
        if len(periods) < MIN_COEFFICIENTS:
            continue
        total = float(np.cos(2 * math.pi * periods).sum())
        if total > MIN_MEAN * len(periods):
            best = max(best, (total / math.sqrt(len(periods) / 2), quality))
    return best
