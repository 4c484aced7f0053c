"""The level of the noise in an image.

    sigma^ = median |c| / 0.6745,    c = (a - b - c + d)/2 over blocks of 2 x 2 pixels

The finest diagonal details of an image are mostly noise, and the median does not mind the few that are not
(Donoho and Johnstone 1994).
"""

import numpy as np

__all__ = ["estimate"]

NORMAL_MEDIAN = 0.6744897501960817  # of |z|, z standard normal
MOST_ROWS = 1024  # of blocks; of larger images, bands


def estimate(pixels: np.ndarray) -> float:
    """The standard deviation of the noise in the unit of the image; 0 if there is none, or too little to see.

    Args:
        pixels: With shape (H, W) or (H, W, C), any dtype; channels are taken together.
    """
    height, width = (side - side % 2 for side in pixels.shape[:2])
    if not height or not width:
        return 0.0
    every = -(-height // 2 // MOST_ROWS)
    top, bottom = (pixels[row : height : 2 * every].astype(np.float32) for row in (0, 1))
    detail = top[:, :width:2] - top[:, 1:width:2] - bottom[:, :width:2] + bottom[:, 1:width:2]
    return float(np.median(np.abs(detail)) / 2 / NORMAL_MEDIAN)
