"""Whether a picture has blotches of colour (`smdae.blotches`), how strong, and how large.

The colour differences Cb and Cr of the means of 2 x 2 pixels, in blocks of 8 x 8 means without their planes, tell noise
from real colour: noise is as strong everywhere, also where the picture is flat, and knows nothing of the brightness or
of the other difference, while real colour changes where the brightness does.

    log odds of blotches = perceptron(f)

with f the features below, standardised, fitted to pictures with and without blotches (`benchmarks/blotch_evidence.py`,
which writes them to blotches.json). Level and size follow from the flattest blocks: for blotches of each size it is
known which share of their variance a block without its plane keeps, at each scale, and how neighbours correlate in it.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from smdae.blotches import MAX_SIZE, WIDTH, Blotches, difference_of
from smdae.estimation.blocks import SIDE, plane_projection, survey
from smdae.estimation.feature_numbers import Perceptron, read_numbers, standardised
from smdae.estimation.scale import UNIT, Scale
from smdae.jpeg import LUMA

NUMBERS = Path(__file__).with_name("blotches.json")
SIDES = (2, 4)  # of the squares that means are taken of, in pixels
DARKEST, BRIGHTEST = 12 / 255, 243 / 255  # brightness of blocks that count: beyond, noise is clipped
MIN_BLOCKS, MIN_FLATTEST = 150, 30  # blocks that count, as in 120 x 120 pixels, and of the flattest of them
FLATTEST = 0.15  # share of the blocks that count
MAX_COMPARED = 4000  # blocks in which correlations are measured
RATIO_WEIGHT = 0.1  # of the variances at two scales, beside the correlations
FAINTEST = 1.0  # gray levels, of the flattest blocks, and
MIN_NEIGHBOURS = 0.4  # the correlation of neighbours, below which there are no blotches
LEAST_SQUARES = 1e-3 / 255**4  # product of sums of squares
QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.9)
SIZES = tuple(np.geomspace(1.0, MAX_SIZE, 61).tolist())  # of blotches, in pixels
LEAST_LEVEL, LEAST_SPREAD = 0.05, 0.02  # gray levels, and shares of the level

FEATURES = (
    "log level",  # of the flattest blocks, in gray levels
    *(f"log spread at {quantile:g}" for quantile in QUANTILES),  # of all blocks, over that level
    "slope",  # of the logarithm of the variance of colour over that of brightness
    "agreement with brightness",  # mean squared correlation of a difference and the brightness in a block
    "agreement of differences",
    "scatter",  # deviation over mean of the variances of the flattest blocks
    "correlation at 1",  # of neighbours in these
    "correlation at 2",
    "log kurtosis",
    "log level of brightness",  # in these
    "log ratio",  # of the two levels
)


@dataclass(frozen=True, eq=False)
class Seen:
    """What blocks of the means of squares tell of noise in the colours.

    Attributes:
        features: The numbers that tell noise from real colour, (len(FEATURES),).
        variances: Of Cb and of Cr in the flattest blocks without their planes, white being 1.
        neighbours: Mean correlation of neighbours one and two means apart in these.
    """

    features: np.ndarray
    variances: tuple[float, float]
    neighbours: tuple[float, float]

    @property
    def may_be_blotches(self) -> bool:
        """Return whether the colours have more than next to no noise, and one that is not white."""
        level = self.features[FEATURES.index("log level")]
        return bool(level > math.log(FAINTEST + LEAST_LEVEL) and self.neighbours[0] > MIN_NEIGHBOURS)


def means_of_squares(planes: np.ndarray, valid: np.ndarray | None, side: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the means of whole squares of side x side pixels, float32, and those of which all pixels count.

    Args:
        planes: A picture, with shape (H, W, C).
        valid: Which pixels count, with shape (H, W); None for all.
        side: Side of the squares in pixels.
    """
    rows, columns = (length // side for length in planes.shape[:2])

    def squares(pixels: np.ndarray) -> np.ndarray:
        return pixels[: rows * side, : columns * side].reshape(rows, side, columns, side, -1)

    counting = None if valid is None else np.asarray(squares(valid).all((1, 3)))[:, :, 0]
    return squares(planes).mean((1, 3), dtype=np.float32), counting


def look(planes: np.ndarray, scale: Scale, valid: np.ndarray | None, side: int = SIDES[0]) -> Seen | None:
    """Return what the means of squares tell of noise in the colours; None if too few blocks of them count.

    Args:
        planes: Red, green and blue, with shape (H, W, 3), finite.
        scale: The scale of their values.
        valid: Which pixels count, with shape (H, W); None for all.
        side: Side of the squares in pixels.
    """
    if min(planes.shape[:2]) < side * SIDE:
        return None
    small, counting = means_of_squares(planes, valid, side)
    y = torch.from_numpy(np.ascontiguousarray(scale.to_unit(small).transpose(2, 0, 1)))[None]
    luma = (y * y.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    differences = torch.cat([luma, difference_of(y)], 1)[0].permute(1, 2, 0).numpy()
    blocks = survey(differences, UNIT, counting)
    brightness = blocks.mean[:, 0]
    counts = blocks.valid & ~blocks.constant.all(1) & (brightness > DARKEST) & (brightness < BRIGHTEST)
    index = np.flatnonzero(counts)
    if len(index) < MIN_BLOCKS:
        return None
    of_luma = blocks.variance[index, 0]
    of_colour = blocks.variance[index, 1:].mean(1)
    count = max(MIN_FLATTEST, int(FLATTEST * len(index)))
    flattest = np.argsort(blocks.texture[index, 1:].sum(1), kind="stable")[:count]
    some = index[:: -(-len(index) // MAX_COMPARED)]
    flat = index[flattest][:: -(-len(flattest) // MAX_COMPARED)]
    variance = float(of_colour[flattest].mean())
    level = 255 * math.sqrt(variance)
    level_of_luma = 255 * math.sqrt(float(of_luma[flattest].mean()))
    spread = 255 * np.quantile(np.sqrt(of_colour), QUANTILES) / max(level, LEAST_SPREAD)
    residuals = _without_planes(blocks.pixels(flat)[:, 1:])
    correlations = [_neighbours(residuals, lag) for lag in (1, 2)]
    square = max(float(residuals.square().mean()), 1e-12)
    features = np.array(
        [
            math.log(level + LEAST_LEVEL),
            *np.log(spread + LEAST_SPREAD),
            _slope(of_luma, of_colour),
            *_agreements(_without_planes(blocks.pixels(some))),
            float(of_colour[flattest].std() / max(variance, 1e-12)),
            *correlations,
            math.log(max(float(residuals.pow(4).mean()), 1e-24) / square**2 + LEAST_LEVEL),
            math.log(level_of_luma + LEAST_LEVEL),
            math.log((level + LEAST_LEVEL) / (level_of_luma + 2 * LEAST_LEVEL)),
        ]
    )
    variances = blocks.variance[index[flattest], 1:].mean(0)
    return Seen(features, (float(variances[0]), float(variances[1])), (correlations[0], correlations[1]))


@dataclass(frozen=True, eq=False)
class Evidence:
    """The odds that features are those of blotches, as a function fitted to samples.

    Attributes:
        mean, deviation: Of the features in the fit, each with shape (len(FEATURES),).
        lowest, highest: Of the features in the fit; beyond, they count no more.
        odds: The log odds that they are those of blotches, and not of real colour.
    """

    mean: np.ndarray
    deviation: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    odds: Perceptron

    def log_odds(self, f: np.ndarray) -> float:
        """Return the natural logarithm of the odds that features are those of blotches."""
        return float(self.odds(standardised(f, self.lowest, self.highest, self.mean, self.deviation)))


@cache
def evidence() -> Evidence:
    """Return the fitted numbers that come with smdae; their file is read once."""
    return Evidence(**read_numbers(NUMBERS, FEATURES))


def blotches_of(planes: np.ndarray, scale: Scale, valid: np.ndarray | None, first: Seen) -> Blotches:
    """Return the blotches that explain best what is seen at each scale, white being 1.

    Args:
        planes: As for `look`.
        scale: As for `look`.
        valid: As for `look`.
        first: What is seen at the first.
    """
    seen = {SIDES[0]: first}
    if (second := look(planes, scale, valid, SIDES[1])) is not None:
        seen[SIDES[1]] = second
    errors = []
    for size in SIZES:
        error = 0.0
        for side, one in seen.items():
            _, *correlations = expected(size, side)
            error += sum((a - b) ** 2 for a, b in zip(one.neighbours, correlations, strict=True))
        if len(seen) > 1:
            ratios = [math.log(sum(seen[side].variances) / expected(size, side)[0]) for side in seen]
            error += RATIO_WEIGHT * (ratios[1] - ratios[0]) ** 2
        errors.append(error)
    size = SIZES[int(np.argmin(errors))]
    share = expected(size, SIDES[0])[0]
    levels = [math.sqrt(variance / share) for variance in first.variances]
    return Blotches((levels[0], levels[1]), size)


@cache
def expected(size: float, side: int) -> tuple[float, float, float]:
    """Return what blocks of means of squares keep of blotches of level 1 without their planes.

    Args:
        size: Size of the blotches in pixels.
        side: Side of the squares in pixels.

    Returns:
        The variance of the means in blocks, and the correlations of neighbours one and two means apart.
    """
    lags = np.arange(-side * SIDE, side * SIDE + 1)
    rho = np.exp(-((lags / (WIDTH * size)) ** 2) / 4)
    weights = np.clip(side - np.abs(np.arange(1 - side, side)), 0, None) / side**2
    of_means = np.convolve(rho, weights, "same")[side * SIDE :: side][:SIDE]
    along = of_means[np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))]
    covariance = np.kron(along, along)
    rest = np.eye(SIDE**2) - plane_projection().numpy()
    covariance = (rest @ covariance @ rest).reshape(SIDE, SIDE, SIDE, SIDE)
    at = np.arange(SIDE)
    variance = np.einsum("ijij->", covariance) / (SIDE**2 - 3)
    mean_square = variance * (SIDE**2 - 3) / SIDE**2
    products = [covariance[:, at[lag:], :, at[:-lag]][:, at, at].mean() for lag in (1, 2)]
    return float(variance), float(products[0] / mean_square), float(products[1] / mean_square)


def _without_planes(blocks: np.ndarray) -> Tensor:
    """Return blocks, (m, C, 8, 8), without their best fitting planes."""
    flat = torch.from_numpy(blocks).flatten(2)
    return (flat - flat @ plane_projection().float()).reshape(blocks.shape)


def _neighbours(residuals: Tensor, lag: int) -> float:
    """Return the mean correlation of means that are `lag` apart in rows or columns of blocks, (m, C, 8, 8)."""
    across, down = residuals[..., lag:] * residuals[..., :-lag], residuals[..., lag:, :] * residuals[..., :-lag, :]
    return float((across.mean() + down.mean()) / 2 / residuals.square().mean().clamp(min=1e-12))


def _slope(of_luma: np.ndarray, of_colour: np.ndarray) -> float:
    """Return the slope of the logarithm of the variance of colour over that of brightness."""
    x, y = np.log(255**2 * of_luma + LEAST_LEVEL), np.log(255**2 * of_colour + 1e-3)
    return float(np.cov(x, y)[0, 1] / x.var(ddof=1)) if x.var() > LEAST_LEVEL else 0.0


def _agreements(residuals: Tensor) -> tuple[float, float]:
    """Return mean squared correlations in blocks, (m, 3, 8, 8): of brightness and a difference, of two differences."""
    squares = residuals.square().sum((2, 3))

    def agreement(a: int, b: int) -> float:
        product = (residuals[:, a] * residuals[:, b]).sum((1, 2))
        return float((product.square() / (squares[:, a] * squares[:, b] + LEAST_SQUARES)).mean())

    return (agreement(0, 1) + agreement(0, 2)) / 2, agreement(1, 2)
