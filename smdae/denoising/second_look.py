"""Grain or texture: a second look at noise that was found, by what a network takes out of the picture for it.

    e = y - D(y, C),   z_c = e_c / sd_c   in cells of 8 x 8 pixels,   with D the small network for colours

C is the noise that blocks of the picture tell (`estimation.grain`), which texture can pretend to be. Of noise z is as
strong everywhere, nearly normal, and its neighbours are correlated as C says; if the network is told less noise it
takes out less, and if more, little more. Texture is in part spared, as the network knows it for structure: z is weaker,
uneven from cell to cell, has long tails, and is finer than C; if more noise is told, more texture is taken out.

    log odds of grain = perceptron(f),   log(level of the noise / level told) = another perceptron(f)

with f the features below, standardised, the odds that blocks gave among them (`estimation.feature_numbers`). Both were
fitted to pictures that blocks may take for grain; for the odds each counts by the decibels that are at stake
(`benchmarks/second_look.py`, which writes them to second_look.json).
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.estimation.blocks import tiles_of
from smdae.estimation.compression import is_lossy
from smdae.estimation.feature_numbers import Perceptron, read_numbers, standardised
from smdae.estimation.scale import Scale
from smdae.models.conditioning import Conditioning
from smdae.noise import Noise
from smdae.protocols import posterior_mean

NETWORK = "natural-color-small"
NUMBERS = Path(__file__).with_name("second_look.json")
CELL, COARSE = 8, 4  # pixels a side of cells, and of means that show how coarse z is
MAX_PIXELS = 100_000  # looked at in one picture
MIN_CELLS = 60
LEAST_SQUARE = 1e-12  # mean of z^2 that others are divided by
MAX_SATURATED = 0.1  # of the pixels of a cell,
MAX_INVALID = 0.1  # likewise
LEAST_ENERGY_OF_OTHERS = 0.01  # where other levels are told
MAX_ODDS = 6.0  # of the first look, as a logarithm
LOW, HIGH = 0.1, 0.95  # quantiles of the energies of cells
MAX_FACTORS = (0.5, 2.0)  # of the level
DOWNWARD = 0.5  # share of a correction to less noise that is made: to take out too little costs more than too much
OTHER_LEVELS = (0.6, 1.6)  # that the network is told besides, over the level of the noise
LEAST_ENERGY, LEAST_STRUCTURE = 1e-4, 0.25  # of cells, as shares of the variance of the noise, in logarithms

FEATURES = (
    "first odds",  # that blocks gave, as a logarithm
    "log level",  # of the noise, in gray levels
    "correlation",  # of neighbours, as told
    "balance",  # log of the mean of z^2
    "unevenness",  # deviation of the logarithm of the energies of cells
    "weakest",  # log of the energy that a tenth of the cells are below, over the median
    "strongest",  # log of that which a twentieth are above, over the median
    "slope",  # of the logarithm of the energy of z over that of what is left in the cell
    "excess correlation",  # of neighbours in z, over what was told
    "tails",  # log(1 + kurtosis) of z
    "coarseness",  # log of the energy of the means of 4 x 4 pixels of z, over that of z
    "correlation of channels",  # in z, the mean of two
    "channels as told",
    "compressed",
    "quality",
    "colour",
    "energy if told less",  # mean of the logarithm of the energies of cells over those above
    "correlation if told less",  # of neighbours in z, over that above
    "energy if told more",
    "correlation if told more",
)


@dataclass(frozen=True, eq=False)
class SecondLook:
    """The odds that features are those of grain, and the correction of its level, as functions fitted to samples.

    Attributes:
        mean, deviation: Of the features in the fit, each with shape (len(FEATURES),).
        lowest, highest: Of the features in the fit; beyond, they count no more.
        odds: The log odds that they are those of grain, and not of texture.
        level: The logarithm of the level of grain over that which blocks told.
    """

    mean: np.ndarray
    deviation: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    odds: Perceptron
    level: Perceptron

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the look whose fitted numbers a JSON file holds; raise ValueError if they are for other features."""
        return cls(**read_numbers(path, FEATURES))

    def log_odds(self, f: np.ndarray) -> float:
        """Return the natural logarithm of the odds that features are those of grain, and not of texture."""
        return float(self.odds(self._standard(f)))

    def level_factor(self, f: np.ndarray) -> float:
        """Return the factor from the level that blocks told to that of the noise, if the picture has grain."""
        told = float(self.level(self._standard(f)))
        return float(np.clip(math.exp(told if told > 0 else DOWNWARD * told), *MAX_FACTORS))

    def _standard(self, f: np.ndarray) -> np.ndarray:
        return standardised(f, self.lowest, self.highest, self.mean, self.deviation)


@cache
def second_look() -> SecondLook:
    """Return the fitted numbers that come with smdae; their file is read once."""
    return SecondLook.read(NUMBERS)


def features_of(
    planes: np.ndarray,
    scale: Scale,
    valid: np.ndarray | None,
    noise: Noise,
    odds: float,
    jpeg: int | None,
    network: Any,
) -> np.ndarray | None:
    """Return the features that tell grain from texture, (len(FEATURES),).

    None is returned if too few cells of the picture count, or the network takes nothing out of most.

    Args:
        planes: The picture, with shape (H, W, C).
        scale: What its values mean.
        valid: Which pixels count, with shape (H, W); None for all.
        noise: That which was found, white being 1.
        odds: Logarithm of the odds of grain that blocks gave.
        jpeg: The quality that the picture was compressed at; None if it was not.
        network: `NETWORK`, loaded.
    """
    parts = []
    for rows, columns in tiles_of(planes.shape[0], planes.shape[1], MAX_PIXELS):
        y = torch.from_numpy(np.ascontiguousarray(scale.to_unit(planes[rows, columns]).transpose(2, 0, 1)))[None]
        shown = None if valid is None else torch.from_numpy(np.ascontiguousarray(valid[rows, columns]))
        if min(y.shape[2:]) >= CELL:
            taken = _taken_out(y, shown, scale.unit_clip, noise, network)
            parts += [] if taken is None else [taken]
    energy = np.concatenate([part.energies[0] for part in parts]) if parts else np.zeros(0)
    if len(energy) < MIN_CELLS or np.median(energy) <= 0:
        return None
    log_energy = np.log(np.maximum(energy, LEAST_ENERGY))
    log_structure = np.log(np.concatenate([part.structure for part in parts]) + LEAST_STRUCTURE)
    moments = np.average([part.moments for part in parts], axis=0, weights=[part.pixels for part in parts])
    variance, square, fourth, beside, coarse, shared = moments.tolist()
    square = max(square, LEAST_SQUARE)
    told = (noise.grain[0][1] + noise.grain[1][0]) / 2 if len(noise.grain) > 1 else 0.0
    return np.array(
        [
            float(np.clip(odds, -MAX_ODDS, MAX_ODDS)),
            math.log(max(255 * math.sqrt(variance), 0.05)),
            told,
            math.log(energy.mean()),
            log_energy.std(),
            math.log(np.quantile(energy, LOW) / np.median(energy) + 1e-3),
            math.log(np.quantile(energy, HIGH) / np.median(energy)),
            float(np.cov(log_structure, log_energy)[0, 1] / max(log_structure.var(ddof=1), 1e-9)),
            beside / square - told,
            math.log1p(max(fourth / square**2 - 3, -0.5)),
            math.log(coarse / square + 1e-4),
            shared,
            0.0 if noise.channels is None else _mean_of_pairs(np.array(noise.channels)),
            float(is_lossy(jpeg)),
            (jpeg or 0) / 100,
            float(planes.shape[2] > 1),
            *_at_other_levels(parts),
        ]
    )


def _at_other_levels(parts: list["_TakenOut"]) -> np.ndarray:
    """Return the features of what is taken out if other levels are told, two for each of `OTHER_LEVELS`."""
    log_energies = np.log(np.concatenate([part.energies for part in parts], 1) + LEAST_ENERGY_OF_OTHERS)
    correlations = np.average([part.correlations for part in parts], 0, [part.pixels for part in parts])
    return np.stack([(log_energies[1:] - log_energies[0]).mean(1), correlations[1:] - correlations[0]], 1).ravel()


@dataclass(frozen=True, eq=False)
class _TakenOut:
    """What a network took out of a part of a picture.

    Attributes:
        energies: Mean of z^2 in each cell that counts, as the noise was found and at each of `OTHER_LEVELS`, with
            shape (1 + len(OTHER_LEVELS), n).
        correlations: Of neighbours in z, likewise, with shape (1 + len(OTHER_LEVELS),).
        structure: Variance of what is left in the cell, over that of the noise, with shape (n,).
        pixels: Their number, in all cells.
        moments: Mean of the variance of the noise that was found, of z^2, of z^4, of the product of neighbours and of
            the square of means of 4 x 4 pixels times 16, and the mean correlation of two channels, 0 of one.
    """

    energies: np.ndarray
    correlations: np.ndarray
    structure: np.ndarray
    pixels: int
    moments: tuple[float, float, float, float, float, float]


def _taken_out(
    y: Tensor, valid: Tensor | None, clip: tuple[float, float], noise: Noise, network: Any
) -> _TakenOut | None:
    """Return what is taken out of a part of a picture, (1, C, H, W); None if all of its cells are left out.

    Cells that are constant or invalid, as in bars and transparent parts, are left out, and so are those around them.
    Saturated cells count in the moments, but have no energy.

    Args:
        y: The part, black being 0 and white 1.
        valid: Which pixels count, with shape (H, W); None for all.
        clip: The values of black and white; pixels at or beyond these are saturated.
        noise: The noise that was found.
        network: `NETWORK`, loaded.
    """
    height, width = (side // CELL * CELL for side in y.shape[2:])
    whole, y = y, y[..., :height, :width]
    clean = _posterior_mean(network, whole, noise)[..., :height, :width]
    empty = (F.max_pool2d(y, CELL) + F.max_pool2d(-y, CELL) == 0).all(1)  # (1, H/8, W/8)
    if valid is not None:
        empty = empty | (_cells(1 - valid[None, :height, :width].float()) > MAX_INVALID)
    kept = F.max_pool2d(empty.float(), 3, 1, 1) == 0
    if not kept.any():
        return None
    sd = noise.sd(clean)
    others = (_posterior_mean(network, whole, noise.amplified(level))[..., :height, :width] for level in OTHER_LEVELS)
    z, *z_of_others = ((y - one) / sd for one in (clean, *others))
    saturated = _cells(((y <= clip[0]) | (y >= clip[1])).float()).mean(1)
    counting = kept & (saturated < MAX_SATURATED)
    structure = (_cells(clean.square()) - _cells(clean).square()).clamp(min=0) / _cells(sd.square())
    square = z.square()
    inside = kept[:, None].repeat_interleave(CELL, 2).repeat_interleave(CELL, 3)  # (1, 1, H, W)
    products = [_product_of_neighbours(one, inside) for one in (z, *z_of_others)]
    squares = [_mean(one.square(), inside) for one in (z, *z_of_others)]
    blurred = COARSE**2 * F.avg_pool2d(z, COARSE).square()
    unit = F.normalize(z[0, :, inside[0, 0]], dim=1)  # (C, pixels)
    return _TakenOut(
        np.stack([_cells(one.square()).mean(1)[counting].double().numpy() for one in (z, *z_of_others)]),
        np.array(products) / np.maximum(squares, LEAST_SQUARE),
        structure.mean(1)[counting].double().numpy(),
        unit.shape[1],
        (
            float(sd.double().square().mean()),
            squares[0],
            _mean(square.square(), inside),
            products[0],
            _mean(blurred, inside[..., ::COARSE, ::COARSE]),
            _mean_of_pairs((unit @ unit.T).numpy()) if len(unit) > 1 else 0.0,
        ),
    )


def _product_of_neighbours(z: Tensor, inside: Tensor) -> float:
    """Return the mean product of neighbours, in rows and columns, that are both inside; for shapes see `_mean`."""
    pairs = (inside[..., 1:] & inside[..., :-1], inside[..., 1:, :] & inside[..., :-1, :])
    products = (z[..., 1:] * z[..., :-1], z[..., 1:, :] * z[..., :-1, :])
    return sum(_mean(product, pair) for product, pair in zip(products, pairs, strict=True)) / 2


def _mean(x: Tensor, inside: Tensor) -> float:
    """Return the mean of x, (1, C, h, w), over some places, (1, 1, h, w), and all channels."""
    return float(x[0, :, inside[0, 0]].mean())


def _cells(x: Tensor) -> Tensor:
    """Return the means over cells, (1, C, H/8, W/8), for x with shape (1, C, H, W)."""
    return F.avg_pool2d(x, CELL)


def _mean_of_pairs(matrix: np.ndarray) -> float:
    """Return the mean of what is off the diagonal of a matrix, (C, C)."""
    return float(matrix[~np.eye(len(matrix), dtype=bool)].mean())


def _posterior_mean(network: Any, y: Tensor, noise: Noise) -> Tensor:
    """Return D(y, C), with the shape of y, (1, C, H, W).

    Of pictures that are not of three channels one is shown to the network, as three that are alike, and is the result.
    """
    count, sigma = y.shape[1], noise.sigma
    if count == 3:
        shown, told = y, Conditioning.of(noise, y, sigma)
    else:
        middle = slice(count // 2, count // 2 + 1)
        plain = Conditioning.of(noise.channel(count // 2), y[:, middle], sigma)
        sd = None if plain.sd is None else plain.sd.expand(-1, 3, -1, -1)
        shown, told = y[:, middle].expand(-1, 3, -1, -1), Conditioning(sd, plain.grain, torch.ones(1), plain.jpeg)
    with torch.inference_mode():
        clean = posterior_mean(network.conditioned(told), shown, sigma)
    return clean if count == 3 else clean.mean(1, keepdim=True).expand(-1, count, -1, -1)
