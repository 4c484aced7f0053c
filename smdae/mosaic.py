"""The mosaic of a camera's sensor, which measures one colour in each pixel, and pictures made of it linearly.

The pattern is one of 2 x 2 with green twice, on a diagonal (Bayer). Both ways to fill in what is missing, bilinear and
gradient-corrected (Malvar, He and Cutler, ICASSP 2004), keep what the sensor measured and are linear, so that the
covariance of the noise in the picture is known exactly.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["DEMOSAICINGS", "Mosaic", "at_sites", "covariance", "demosaiced", "places"]

LAGS, TORUS = 9, 32  # pixels: of the correlation, and of the mosaics that it is computed on
BALANCE = (0.4, 2.5)  # the least and the largest weight of a colour, as a share of that of green
RED = 0

Demosaicing = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Mosaic:
    """The values that a sensor measured behind its colour filters.

    Attributes:
        pixels: Black being 0 and white 1, with shape (H, W), float32.
        colours: Which of red, green and blue (0, 1, 2) each pixel of the pattern measures, with shape (2, 2).
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
        """Return the root of the balance of red, green and blue, limited, with shape (3,): 1 for the largest."""
        w = np.sqrt(np.clip(np.array(self.balance) / self.balance[1], BALANCE[0] ** 2, BALANCE[1] ** 2))
        return w / w.max()


def places() -> Iterator[tuple[slice, slice]]:
    """Return an iterator over the four places of the pattern: the rows and the columns of its pixels, as slices."""
    return ((slice(i, None, 2), slice(j, None, 2)) for i in range(2) for j in range(2))


def at_sites(colours: Tensor, mosaic: Mosaic) -> Tensor:
    """Return, for each pixel, the colour that the sensor has there, (H, W), from colours (H, W, 3), or (3,) for all."""
    result = torch.empty(mosaic.pixels.shape)
    for place, colour in zip(places(), mosaic.colours.reshape(-1).tolist(), strict=True):
        result[place] = colours[colour] if colours.ndim == 1 else colours[place][..., colour]
    return result


# ---- linear demosaicing ---------------------------------------------------------------------------------------------

GREEN_MEAN = ((0, 1, 0), (1, 4, 1), (0, 1, 0)), 4
OTHER_MEAN = ((1, 2, 1), (2, 4, 2), (1, 2, 1)), 4
CROSS = ((0, 0, -2, 0, 0), (0, 0, 4, 0, 0), (-2, 4, 8, 4, -2), (0, 0, 4, 0, 0), (0, 0, -2, 0, 0)), 16
ALONG = ((0, 0, 1, 0, 0), (0, -2, 0, -2, 0), (-2, 8, 10, 8, -2), (0, -2, 0, -2, 0), (0, 0, 1, 0, 0)), 16
DIAGONAL = ((0, 0, -3, 0, 0), (0, 4, 0, 4, 0), (-3, 0, 12, 0, -3), (0, 4, 0, 4, 0), (0, 0, -3, 0, 0)), 16


def _filtered(planes: Tensor, kernel: tuple[tuple[tuple[int, ...], ...], int], transposed: bool = False) -> Tensor:
    """Return planes, (H, W), under a kernel; they are mirrored at their ends about the last pixel."""
    weights = planes.new_tensor(kernel[0]) / kernel[1]
    weights = weights.T if transposed else weights
    room = len(weights) // 2
    padded = F.pad(planes[None, None], (room,) * 4, mode="reflect")
    return F.conv2d(padded, weights[None, None])[0, 0]


def bilinear(mosaic: Tensor) -> Tensor:
    """Return the picture (3, H, W) of an RGGB mosaic (H, W): each missing value is the mean of its neighbours."""
    planes = torch.zeros(3, *mosaic.shape, dtype=mosaic.dtype)
    for place, colour in zip(places(), (0, 1, 1, 2), strict=True):
        planes[colour][place] = mosaic[place]
    kernels = (OTHER_MEAN, GREEN_MEAN, OTHER_MEAN)
    return torch.stack([_filtered(plane, kernel) for plane, kernel in zip(planes, kernels, strict=True)])


def gradient_corrected(mosaic: Tensor) -> Tensor:
    """Return the picture (3, H, W) of an RGGB mosaic (H, W): bilinear, plus a Laplacian of the measured colour."""
    cross, across, diagonal = (_filtered(mosaic, kernel) for kernel in (CROSS, ALONG, DIAGONAL))
    down = _filtered(mosaic, ALONG, transposed=True)
    picture = mosaic.expand(3, -1, -1).clone()
    red, green, blue = picture
    at_red, beside_red, beside_blue, at_blue = places()
    green[at_red], green[at_blue] = cross[at_red], cross[at_blue]
    red[beside_red], red[beside_blue], red[at_blue] = across[beside_red], down[beside_blue], diagonal[at_blue]
    blue[beside_red], blue[beside_blue], blue[at_red] = down[beside_red], across[beside_blue], diagonal[at_red]
    return picture


DEMOSAICINGS: dict[str, Demosaicing] = {"bilinear": bilinear, "gradient-corrected": gradient_corrected}


def demosaiced(mosaic: Tensor, colours: np.ndarray, name: str) -> Tensor:
    """Return the picture (3, H, W) of a mosaic (H, W) of any of the four patterns."""
    (row, column), *_ = np.argwhere(colours == RED).tolist()
    padded = F.pad(mosaic[None, None], (column, 0, row, 0), mode="reflect")[0, 0] if row or column else mosaic
    return DEMOSAICINGS[name](padded)[:, row:, column:]


@functools.cache
def covariance(name: str, levels: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the covariance that demosaicing gives to white noise in an RGGB mosaic.

    A picture is the sum of the responses to the single pixels of the mosaic, whose noise is independent. So its
    covariance, averaged over the pattern, is the mean of their autocorrelations.

    Args:
        name: Of `DEMOSAICINGS`.
        levels: Of the noise in red, green and blue.

    Returns:
        The level of each channel, (3,); the correlation of pixels, (LAGS, LAGS), of all channels and both directions
        alike; that of the channels, (3, 3).
    """
    between = np.zeros((3, 3))  # covariance of the channels in one pixel
    within = np.zeros((3, TORUS, TORUS))  # covariance of two pixels of a channel, by their distance
    for place, colour in enumerate((0, 1, 1, 2)):
        mosaic = torch.zeros(TORUS, TORUS, dtype=torch.float64)
        mosaic[TORUS // 2 + place // 2, TORUS // 2 + place % 2] = levels[colour]
        response = DEMOSAICINGS[name](mosaic).numpy()  # (3, TORUS, TORUS)
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
