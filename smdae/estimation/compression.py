"""Whether a picture was a JPEG once, and of which quality.

A JPEG stores the coefficients of the discrete cosine transform of each block of 8 x 8 pixels as whole multiples of a
step for each frequency. Rounding after decoding changes them little beside most steps (Fan and de Queiroz 2003). So if
c_ik is the k-th coefficient of the i-th block, and q_k are the steps of libjpeg for quality Q, then

    S(Q) = sum_ik cos(2 pi c_ik / q_k) / (m / 2)^1/2     over the m coefficients with |c_ik| > q_k / 2

is standard normal by chance and large if the picture was compressed with quality Q on this grid of blocks. Smaller
coefficients prove nothing, as those of smooth places are near zero anyway.

The right grid is the one on which most coefficients are near zero.
"""

import math
from functools import cache

import numpy as np

from smdae import jpeg

SIDE = 8  # pixels of a block
MIN_SIDE = 64  # pixels of a picture
MAX_WINDOWS = 144  # about, spread over the picture; each holds one block of every grid
MAX_CANDIDATES = 576  # windows that are looked at, about; those that are constant or not valid are left out
NEAR_ZERO = 1.0  # gray levels
MAX_LOSSY = 92  # quality above which hardly anything is lost
QUALITIES = tuple(range(10, MAX_LOSSY + 1))
MIN_MULTIPLE, MAX_MULTIPLE = 0.5, 16  # of its step, of a coefficient that counts in S
MIN_COEFFICIENTS = 72  # m
MIN_SCORE, MIN_MEAN = 12.0, 0.25  # of S, and of the mean cosine, if the picture was compressed


def is_lossy(quality: int | None) -> bool:
    """Return whether compression with this quality loses much; False if the quality is None, for none."""
    return quality is not None and quality <= MAX_LOSSY


def jpeg_quality(planes: np.ndarray, valid: np.ndarray | None = None) -> int | None:
    """Return the quality of the JPEG that a picture was decoded from, 10 to 92; None if no such JPEG is found.

    It is None too for pictures that are not uint8, have neither 1 nor 3 channels, or are under 64 pixels on a side.

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
    grids = dict.fromkeys(((0, 0), _grid(windows)))  # the first unless the picture was cropped
    scores = [_score(windows, grid) for grid in grids]
    score, quality = max(scores)
    return quality if score > MIN_SCORE else None


def _windows(planes: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Return luma in windows that hold one block of each grid, (n, 15, 15), in gray levels.

    Windows that are constant, such as those of a frame, or hold invalid pixels are left out.
    """
    height, width, channels = planes.shape
    span = 2 * SIDE - 1
    rows, columns = (np.arange(0, side - span + 1, SIDE) for side in (height, width))
    every = max(1, math.ceil(math.sqrt(len(rows) * len(columns) / MAX_CANDIDATES)))
    places = rows[every // 2 :: every, None], columns[every // 2 :: every]
    windows = np.lib.stride_tricks.sliding_window_view(planes, (span, span), (0, 1))[places]  # (n', n", C, 15, 15)
    kept = windows.max((2, 3, 4)) > windows.min((2, 3, 4))
    if valid is not None:
        kept &= np.lib.stride_tricks.sliding_window_view(valid, (span, span))[places].all((2, 3))
    windows = windows[kept]
    windows = windows[:: max(1, math.ceil(len(windows) / MAX_WINDOWS))].astype(np.float32)
    return windows[:, 0] if channels == 1 else np.tensordot(windows, np.array(jpeg.LUMA, np.float32), (1, 0))


@cache
def _transform() -> np.ndarray:
    """Return the orthonormal cosine transform of flat blocks, (64, 64): coefficients are block @ transform."""
    rows = jpeg.cosine_transform()
    return np.kron(rows, rows).T.astype(np.float32)


def _coefficients(windows: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return all but the first coefficient of the blocks that begin at (row, column) of the windows, (n, 63)."""
    down, across = grid
    blocks = windows[:, down : down + SIDE, across : across + SIDE].reshape(len(windows), -1)
    found: np.ndarray = (blocks @ _transform())[:, 1:]
    return found


def _grid(windows: np.ndarray) -> tuple[int, int]:
    """Return the grid on which most coefficients are near zero, as (row, column) of its blocks in the windows."""
    grids = [(down, across) for down in range(SIDE) for across in range(SIDE)]
    return max(grids, key=lambda grid: int((np.abs(_coefficients(windows, grid)) < NEAR_ZERO).sum()))


def _score(windows: np.ndarray, grid: tuple[int, int]) -> tuple[float, int]:
    """Return the largest S on a grid and its quality, both 0 if no quality has enough coefficients and cosines."""
    c = np.abs(_coefficients(windows, grid))
    flat, column = c.ravel(), np.tile(np.arange(c.shape[1]), len(c))
    kept = flat > NEAR_ZERO
    flat, column = flat[kept], column[kept]
    best = (0.0, 0)
    for quality in QUALITIES:
        steps = jpeg.steps(jpeg.LUMA_STEPS)[quality - 1, 1:]
        multiples = flat / steps[column]
        multiples = multiples[(multiples > MIN_MULTIPLE) & (multiples < MAX_MULTIPLE) & (steps[column] > 1)]
        if len(multiples) < MIN_COEFFICIENTS:
            continue
        total = float(np.cos(2 * math.pi * multiples).sum())
        if total > MIN_MEAN * len(multiples):
            best = max(best, (total / math.sqrt(len(multiples) / 2), quality))
    return best
