"""Grain or texture: the odds of each in the flattest blocks of a picture, and how strong the grain is.

    log odds of grain = a + b . (f - m)/s
    log(level of the noise / level of the blocks) = r (c + d . (f - m)/s)

f being the features below, and r how rough the picture is: 0 where the weakest of its blocks are as strong as those of
noise alone, so that strong grain on flat ground is as strong as it seems. The numbers were fitted, by logistic and by
ridge regression, to synthetic cameras, film and scanners and parts of 26 pairs of two cameras on one side, and to clean
pictures, JPEGs of them, white noise and shot noise on the other (`benchmarks/grain_evidence.py`, which writes them to
grain_evidence.json).
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np

from smdae.estimation.feature_numbers import read_numbers, standardised
from smdae.estimation.grain import QUANTILES

__all__ = ["FEATURES", "Evidence", "evidence", "features", "roughness"]

NUMBERS = Path(__file__).with_name("grain_evidence.json")
MIN_LEVEL = 0.05  # of a level, in gray levels, and
LEAST_SPREAD = 0.02  # of a deviation, where its logarithm is taken
NOISE_ALONE, TEXTURE = math.log(0.70), math.log(0.55)  # log spread at the lowest quantile
MAX_FACTORS = (0.5, 1.1)  # between the level of the blocks and that of the noise: most of what is more is texture

FEATURES = (
    "log level",  # of the blocks, in gray levels
    "log excess",  # over the level that the smallest eigenvalues tell
    "correlation at 1",  # of pixels so far apart
    "correlation at 2",
    "correlation across",
    "scatter",  # standard deviation over mean of the energies of the flattest blocks
    "share",  # of all blocks that are in bins that count
    "log factor",  # of variance, for what planes took of it
    "decay",  # of the smallest eigenvalues
    "correlation of channels",
    *(f"log spread at {quantile:g}" for quantile in QUANTILES),
    "compressed",
    "quality",
    "colour",
)


def features(
    level: float,
    white: float,
    rho: np.ndarray,
    scatter: float,
    share: float,
    factor: float,
    decay: float,
    shared: float,
    spread: np.ndarray,
    jpeg: int | None,
    channels: int,
) -> np.ndarray:
    """Return the features that tell grain from texture, with shape (len(FEATURES),).

    Args:
        level: Of the blocks, white being 1.
        white: The level that the smallest eigenvalues tell.
        rho: Correlation of pixels, with shape (4, 4).
        scatter: Of the energies of the flattest blocks.
        share: Of the blocks that tell the level.
        factor: Variance over what planes leave of it.
        decay: Of the smallest eigenvalues.
        shared: Mean correlation of two channels.
        spread: Of the deviations of all blocks, at `QUANTILES`.
        jpeg: Quality of the compression; None if there was none.
        channels: Their number.
    """
    gray = max(255 * level, MIN_LEVEL)
    return np.array(
        [
            *(math.log(gray), math.log(gray / max(255 * white, MIN_LEVEL))),
            *((rho[0, 1] + rho[1, 0]) / 2, (rho[0, 2] + rho[2, 0]) / 2, rho[1, 1]),
            *(scatter, share, math.log(factor), decay, shared),
            *np.log(np.maximum(spread, LEAST_SPREAD)),
            *(jpeg is not None, (jpeg or 0) / 100, channels > 1),
        ],
        float,
    )


def roughness(f: np.ndarray) -> float:
    """Return how far the weakest blocks are from those of noise alone: 0, to 1 where they are those of texture."""
    weakest = f[FEATURES.index(f"log spread at {QUANTILES[0]:g}")]
    return float(np.clip((NOISE_ALONE - weakest) / (NOISE_ALONE - TEXTURE), 0, 1))


@dataclass(frozen=True, eq=False)
class Evidence:
    """The weights of the features, each with shape (len(FEATURES),), and the two constants.

    Attributes:
        mean, deviation: Of the features in the fit.
        lowest, highest: Of the features in the fit; beyond, they count no more.
        odds, odds_at_mean: For the logarithm of the odds of grain.
        factor, factor_at_mean: For the logarithm of the noise over the level of the blocks, and of what they miss.
    """

    mean: np.ndarray
    deviation: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    odds: np.ndarray
    odds_at_mean: float
    factor: np.ndarray
    factor_at_mean: float

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the weights in a JSON file.

        Raises:
            ValueError: It is of other features.
        """
        return cls(**read_numbers(path, FEATURES))

    def _standard(self, f: np.ndarray) -> np.ndarray:
        return standardised(f, self.lowest, self.highest, self.mean, self.deviation)

    def log_odds(self, f: np.ndarray) -> float:
        """Return the logarithm of the odds that features are those of grain."""
        return float(self.odds_at_mean + self._standard(f) @ self.odds)

    def level_factor(self, f: np.ndarray) -> float:
        """Return the level of the noise over that of the blocks, if it is grain."""
        told = self.factor_at_mean + self._standard(f) @ self.factor
        return float(np.clip(math.exp(roughness(f) * told), *MAX_FACTORS))


@cache
def evidence() -> Evidence:
    """Return the numbers that come with smdae."""
    return Evidence.read(NUMBERS)
