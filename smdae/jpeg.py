"""Constants of JPEG (ITU-T T.81) and of its usual library: luma, the cosine transform, the steps of each quality.

    step at quality Q = clamp(floor((T s + 50)/100), 1, 255),   s = floor(5000/Q) below 50, 200 - 2 Q from there on

with T the tables of annex K, and s as the library of the Independent JPEG Group has it. Loads no torch.
"""

import math
from functools import cache

import numpy as np

SIDE = 8  # pixels of a block
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601

# The steps at quality 50, row by row (tables K.1 and K.2).
# fmt: off
LUMA_STEPS = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)
CHROMA_STEPS = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)
# fmt: on


@cache
def steps(at_50: tuple[int, ...]) -> np.ndarray:
    """Return the steps of quantisation at the qualities 1 to 100, (100, 64), float32, from those at quality 50."""
    scales = np.array([5000 // q if q < 50 else 200 - 2 * q for q in range(1, 101)])
    found: np.ndarray = np.clip((scales[:, None] * np.array(at_50) + 50) // 100, 1, 255).astype(np.float32)
    return found


@cache
def cosine_transform() -> np.ndarray:
    """Return the orthonormal discrete cosine transform of 8 numbers, (8, 8): coefficients are transform @ numbers."""
    n = np.arange(SIDE)
    rows = np.cos(math.pi * (2 * n[None] + 1) * n[:, None] / (2 * SIDE)) * math.sqrt(2 / SIDE)
    rows[0] /= math.sqrt(2)
    return rows
