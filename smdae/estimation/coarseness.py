"""Whether noise is coarser than white noise, because neighbouring pixels are correlated.

Averaging blocks of 2 x 2 pixels halves the standard deviation of white noise. Noise whose neighbours are alike, as
after resizing, demosaicing or strong compression, shrinks less:

    coarseness = 2 (sigma of the means of 2 x 2 pixels) / (sigma of the pixels)

is 1 for white noise. Texture survives averaging too, so the numerator is the least over a grid of parts of the image.
Both sigmas come from smallest eigenvalues, which correlated noise makes smaller still, so the ratio may exceed 2.
"""

import math

import numpy as np

from smdae.estimation.noise_level import MIN_PATCHES, estimate
from smdae.estimation.patches import SIDE

MAX_COARSENESS_OF_WHITE = 1.45  # above it the noise is taken for correlated
MAX_PATCHES, MAX_PATCHES_OF_PART = 30_000, 4_000  # to estimate sigma from: of the image, and of a part of the means
PARTS = 3  # parts a side
MAX_SIDE = 768  # pixels: of a larger image the middle is used


def coarseness(pixels: np.ndarray, white: float) -> float:
    """Return the coarseness of the noise, averaged over the channels: about 1 if it is white, more if correlated.

    It is 1 for images too small to tell, and for channels without noise.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        white: The value of white in it.
    """
    planes = _middle(pixels[:, :, None] if pixels.ndim == 2 else pixels)
    height, width = (side - side % (2 * PARTS) for side in planes.shape[:2])
    if min(height, width) < PARTS * 2 * (SIDE + math.isqrt(MIN_PATCHES) + 1):
        return 1.0
    found = []
    for plane in np.moveaxis(planes[:height, :width].astype(np.float32) / white, 2, 0):
        sigma = estimate(plane, 1.0, MAX_PATCHES)[0]
        means = plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
        parts = (part for band in np.split(means, PARTS) for part in np.split(band, PARTS, 1))
        found.append(2 * min(estimate(part, 1.0, MAX_PATCHES_OF_PART)[0] for part in parts) / sigma if sigma else 1.0)
    return sum(found) / len(found)


def _middle(planes: np.ndarray) -> np.ndarray:
    first = [max(0, (side - MAX_SIDE) // 2) for side in planes.shape[:2]]
    return planes[first[0] : first[0] + MAX_SIDE, first[1] : first[1] + MAX_SIDE]
