"""RGGB mosaics, mirrored at the border about the outermost pixel, which keeps the pattern, and three ways to undo them.

Bilinear; by the gradient-corrected filters of Malvar, He and Cutler (ICASSP 2004); or along the edges in the manner of
Hamilton and Adams (US patent 5629734, 1997).
"""

import numpy as np
from scipy.ndimage import convolve, convolve1d


def sites(shape: tuple[int, int]) -> np.ndarray:
    """Return which channel an RGGB mosaic (H, W) has at each pixel: (H, W, 3), of 0 and 1."""
    row, column = np.indices(shape) % 2
    return np.stack([(row == 0) & (column == 0), row != column, (row == 1) & (column == 1)], -1).astype(float)


def spread(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return planes (H, W) or (H, W, C) filtered with a kernel (K, K)."""
    return convolve(values, kernel if values.ndim == 2 else kernel[..., None], mode="mirror")


GREEN_MEAN = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
OTHER_MEAN = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4


def bilinear(mosaic: np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3) of a mosaic (H, W): each missing value is the mean of its nearest neighbours."""
    planes = mosaic[..., None] * sites(mosaic.shape)
    return np.stack([spread(planes[..., c], GREEN_MEAN if c == 1 else OTHER_MEAN) for c in range(3)], -1)


CROSS = np.array([[0, 0, -2, 0, 0], [0, 0, 4, 0, 0], [-2, 4, 8, 4, -2], [0, 0, 4, 0, 0], [0, 0, -2, 0, 0]]) / 16
ALONG = np.array([[0, 0, 1, 0, 0], [0, -2, 0, -2, 0], [-2, 8, 10, 8, -2], [0, -2, 0, -2, 0], [0, 0, 1, 0, 0]]) / 16
DIAGONAL = np.array([[0, 0, -3, 0, 0], [0, 4, 0, 4, 0], [-3, 0, 12, 0, -3], [0, 4, 0, 4, 0], [0, 0, -3, 0, 0]]) / 16


def gradient_corrected(mosaic: np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3) of a mosaic (H, W): bilinear, corrected by the Laplacian of the channel at hand."""
    at = sites(mosaic.shape)
    cross, across, down, diagonal = (spread(mosaic, kernel) for kernel in (CROSS, ALONG, ALONG.T, DIAGONAL))
    even_row = (np.arange(mosaic.shape[0]) % 2 == 0)[:, None]
    green = np.where(at[..., 1] == 1, mosaic, cross)
    # A green pixel of an even row has its red neighbours beside it and its blue ones above and below.
    red = np.where(at[..., 1] == 1, np.where(even_row, across, down), np.where(at[..., 0] == 1, mosaic, diagonal))
    blue = np.where(at[..., 1] == 1, np.where(even_row, down, across), np.where(at[..., 2] == 1, mosaic, diagonal))
    return np.stack([red, green, blue], -1)


def edge_directed(mosaic: np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3) of a mosaic (H, W): green along the smaller gradient, then colour differences."""
    at = sites(mosaic.shape)

    def line(weights: list[float], axis: int) -> np.ndarray:
        return convolve1d(mosaic, np.array(weights), axis, mode="mirror")

    steps = [np.abs(line([1, 0, -1], axis)) + np.abs(line([-1, 0, 2, 0, -1], axis)) for axis in (0, 1)]
    greens = [line([-0.25, 0.5, 0.5, 0.5, -0.25], axis) for axis in (0, 1)]
    mean = (greens[0] + greens[1]) / 2
    guess = np.select([steps[0] < steps[1], steps[0] > steps[1]], greens, mean)
    green = np.where(at[..., 1] == 1, mosaic, guess)
    others = (spread(at[..., c] * (mosaic - green), OTHER_MEAN) for c in (0, 2))
    red, blue = (green + difference for difference in others)
    return np.stack([red, green, blue], -1)
