"""Grain or texture: the odds, and the level of the grain, from features of the blocks of a picture.

With the standardised features z = (f - m)/s,

    log odds of grain = a + b . z
    log(level of the noise / level of the blocks) = r (c + d . z)

The roughness r of the picture is 0 if its weakest blocks are as strong as those of noise alone, so that strong grain on
flat ground keeps the level of the blocks, and 1 if they are as weak as those of texture. a, b, c and d were fitted by
logistic and by ridge regression: to synthetic cameras, film, scanners and crops of 26 real pairs of two cameras as
grain, and to clean pictures, JPEGs of them, white and shot noise as none. `benchmarks/grain_evidence.py` makes the fit
and writes grain_evidence.json.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np

from smdae.estimation.feature_numbers import read_numbers, standardised
from smdae.estimation.grain import QUANTILES

NUMBERS = Path(__file__).with_name("grain_evidence.json")
MIN_LEVEL, MIN_SPREAD = 0.05, 0.02  # of levels, in gray levels, and of spreads, where logarithms are taken
NOISE_ALONE, TEXTURE = math.log(0.70), math.log(0.55)  # log spread of the weakest blocks at roughness 0 and 1
MIN_FACTOR, MAX_FACTOR = 0.5, 1.1  # of the level of the noise over that of the blocks

FEATURES = (
    "log level",  # of the blocks, in gray levels
    "log excess",  # level of the blocks over that of the smallest eigenvalues
    "correlation at 1",  # of pixels at a distance of 1, mean over rows and columns
    "correlation at 2",
    "correlation across",  # of diagonal neighbours
    "scatter",  # standard deviation over mean of the variances of the flattest blocks
    "share",  # of the blocks that are in bins with a weight that counts
    "log factor",  # of `Grain.factor`
    "decay",  # of the smallest eigenvalues, see `noise_level.Level`
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
    channel_correlation: float,
    spread: np.ndarray,
    jpeg: int | None,
    channels: int,
) -> np.ndarray:
    """Return the features that tell grain from texture, with shape (len(FEATURES),).

    Args:
        level: Level of the blocks, white being 1.
        white: Level from the smallest eigenvalues, white being 1.
        rho: Correlation of the pixels at the lags 0 to 3, with shape (4, 4).
        scatter: Standard deviation over mean of the variances of the flattest blocks.
        share: Share of the blocks that are in bins with a weight that counts.
        factor: Variance of the noise over that of the blocks without their planes.
        decay: Decay of the smallest eigenvalues.
        channel_correlation: Mean correlation between two channels.
        spread: Standard deviations of blocks over the usual one, at `QUANTILES`.
        jpeg: Quality at which the picture was compressed; None if it was not.
        channels: Number of channels.
    """
    gray = max(255 * level, MIN_LEVEL)
    return np.array(
        [
            *(math.log(gray), math.log(gray / max(255 * white, MIN_LEVEL))),
            *((rho[0, 1] + rho[1, 0]) / 2, (rho[0, 2] + rho[2, 0]) / 2, rho[1, 1]),
            *(scatter, share, math.log(factor), decay, channel_correlation),
            *np.log(np.maximum(spread, MIN_SPREAD)),
            *(jpeg is not None, (jpeg or 0) / 100, channels > 1),
        ],
        float,
    )


def roughness(f: np.ndarray) -> float:
    """Return the roughness r of a picture with the features f: 0 for noise alone, 1 for texture."""
    weakest = f[FEATURES.index(f"log spread at {QUANTILES[0]:g}")]
    return float(np.clip((NOISE_ALONE - weakest) / (NOISE_ALONE - TEXTURE), 0, 1))


@dataclass(frozen=True, eq=False)
class Evidence:
    """The fitted numbers; all but two are arrays with shape (len(FEATURES),).

    Attributes:
        mean: m, the mean of each feature over the pictures of the fit.
        deviation: s, its standard deviation.
        lowest: Its least value; features are clipped to it.
        highest: Its largest value; likewise.
        odds: b.
        odds_at_mean: a.
        factor: d.
        factor_at_mean: c.
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
        """Return the evidence whose fitted numbers a JSON file holds.

        Raises:
            ValueError: They are for other features than `FEATURES`.
        """
        return cls(**read_numbers(path, FEATURES))

    def _standard(self, f: np.ndarray) -> np.ndarray:
        return standardised(f, self.lowest, self.highest, self.mean, self.deviation)

    def log_odds(self, f: np.ndarray) -> float:
        """Return the natural logarithm of the odds that a picture with the features f holds grain, and not texture."""
        return float(self.odds_at_mean + self._standard(f) @ self.odds)

    def level_factor(self, f: np.ndarray) -> float:
        """Return the factor from the level that blocks tell to that of the noise, in a picture of grain."""
        log_factor = roughness(f) * (self.factor_at_mean + self._standard(f) @ self.factor)
        return float(np.clip(math.exp(log_factor), MIN_FACTOR, MAX_FACTOR))


@cache
def evidence() -> Evidence:
    """Return the fitted numbers that come with smdae; their file is read once."""
    return Evidence.read(NUMBERS)
