"""The mosaic of a camera's sensor, which measures one colour in each pixel, and pictures made of it.

The pattern is one of 2 x 2 with green twice, on a diagonal (Bayer). All ways to fill in what is missing
(`smdae.demosaicing`) keep what the sensor measured. Two are linear, bilinear and gradient-corrected, so that the
covariance of the noise in the picture is known exactly.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.demosaicing import directional, linear

LAGS, TORUS = 9, 32  # pixels: of the correlation, and of the mosaics that it is computed on
BALANCE = (0.4, 2.5)  # the least and the largest weight of a colour, as a share of that of green
RED = 0

Demosaicing = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Mosaic:
    """The values that a sensor measured behind its colour filters.

    Attributes:
        pixels: The values, float32 with shape (H, W), black being 0 and white 1.
        colours: The colour of each pixel of the pattern, 0, 1 or 2 for red, green or blue, with shape (2, 2).
        balance: Factors of red, green and blue that make gray gray.
        floor: The least value that a pixel could have, at most 0.
    """

    pixels: np.ndarray
    colours: np.ndarray
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    floor: float = 0.0

    @property
    def planes(self) -> np.ndarray:
        """Return the pixels of each place of the pattern, row by row, with shape (H // 2, W // 2, 4)."""
        height, width = (side // 2 * 2 for side in self.pixels.shape)
        whole = self.pixels[:height, :width]
        return np.stack([whole[i::2, j::2] for i in range(2) for j in range(2)], 2)

    @property
    def weights(self) -> np.ndarray:
        """Return square roots of the factors of red, green and blue, (3,), limited to BALANCE; the largest is 1."""
        w = np.sqrt(np.clip(np.array(self.balance) / self.balance[1], BALANCE[0] ** 2, BALANCE[1] ** 2))
        found: np.ndarray = w / w.max()
        return found


def places() -> Iterator[tuple[slice, slice]]:
    """Return an iterator over the four places of the pattern: the rows and the columns of its pixels, as slices."""
    return ((slice(i, None, 2), slice(j, None, 2)) for i in range(2) for j in range(2))


def at_sites(colours: Tensor, mosaic: Mosaic) -> Tensor:
    """Return, for each pixel, the colour that the sensor has there, (H, W), from colours (H, W, 3), or (3,) for all."""
    result = torch.empty(mosaic.pixels.shape)
    for place, colour in zip(places(), mosaic.colours.reshape(-1).tolist(), strict=True):
        result[place] = colours[colour] if colours.ndim == 1 else colours[place][..., colour]
    return result


# ---- demosaicing ----------------------------------------------------------------------------------------------------


def bilinear(mosaic: Tensor) -> Tensor:
    """Return the picture (3, H, W) of an RGGB mosaic (H, W): each missing value is the mean of its neighbours.

    Both sides have 3 pixels or more, as they are mirrored.
    """
    return linear(mosaic[None, None], mosaic.new_zeros(1, 1, 1, 1))[0]


def gradient_corrected(mosaic: Tensor) -> Tensor:
    """Return the picture (3, H, W) of an RGGB mosaic (H, W): bilinear, plus a Laplacian of the measured colour.

    Both sides have 3 pixels or more, as they are mirrored.
    """
    return linear(mosaic[None, None], mosaic.new_ones(1, 1, 1, 1))[0]


def edge_directed(mosaic: Tensor) -> Tensor:
    """Return the picture (3, H, W) of an RGGB mosaic (H, W): green along edges, then the differences to green.

    Both sides have 3 pixels or more, as they are mirrored.
    """
    return directional(mosaic[None, None])[0]


LINEAR: dict[str, Demosaicing] = {"bilinear": bilinear, "gradient-corrected": gradient_corrected}


def demosaiced(mosaic: Tensor, colours: np.ndarray, demosaicing: Demosaicing) -> Tensor:
    """Return the picture (3, H, W) of a mosaic (H, W), H, W >= 3, whose pattern is `colours`, (2, 2), any of four."""
    (row, column), *_ = np.argwhere(colours == RED).tolist()
    padded = F.pad(mosaic[None, None], (column, 0, row, 0), mode="reflect")[0, 0] if row or column else mosaic
    return demosaicing(padded)[:, row:, column:]


@functools.cache
def covariance(name: str, levels: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the covariance that demosaicing gives to white noise in an RGGB mosaic.

    A picture is the sum of the responses to the single pixels of the mosaic, whose noise is independent. So its
    covariance, averaged over the pattern, is the mean of their autocorrelations.

    Args:
        name: A name of `LINEAR`.
        levels: The levels of the noise in red, green and blue.

    Returns:
        The level of each channel, (3,); the correlation of pixels, (LAGS, LAGS), averaged over channels and directions;
        the correlation of the channels, (3, 3).
    """
    between = np.zeros((3, 3))  # covariance of the channels in one pixel
    within = np.zeros((3, TORUS, TORUS))  # covariance of two pixels of a channel, by their distance
    for place, colour in enumerate((0, 1, 1, 2)):
        mosaic = torch.zeros(TORUS, TORUS, dtype=torch.float64)
        mosaic[TORUS // 2 + place // 2, TORUS // 2 + place % 2] = levels[colour]
        response = LINEAR[name](mosaic).numpy()  # (3, TORUS, TORUS)
        between += np.einsum("chw,dhw->cd", response, response) / 4
        within += np.fft.ifft2(np.abs(np.fft.fft2(response)) ** 2).real / 4
    sd = np.sqrt(between.diagonal())
    channels = between / np.outer(sd, sd)
    channels = (channels + channels.T) / 2
    np.fill_diagonal(channels, 1.0)
    rho = (within / within[:, :1, :1]).mean(0)
    rho = (rho + np.roll(rho[::-1], 1, 0)) / 2
    rho = ((rho + rho.T) / 2)[:LAGS, :LAGS]
    return sd, rho / rho[0, 0], channels
