"""Views of pictures for `denoise --report`: before, after and what was taken out, as PNG, and the noise as numbers.

A picture of up to a megapixel is shown whole. Of a larger one the part with the most detail is shown pixel by pixel,
and the whole reduced. Black and white are those of the picture, or for scientific pictures its darkest and brightest
values. What was taken out is amplified until three standard deviations fill a quarter of the range to either side of
gray.
"""

from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from smdae.pipeline.noise_chart import curve_of

if TYPE_CHECKING:
    from smdae.estimation.scale import Scale
    from smdae.pipeline.found_noise import PictureNoise

MAX_WHOLE = 1 << 20  # pixels of a picture that is shown whole
PART = 768  # pixels a side, of the part of a larger one
MAX_GAIN = 64  # factor on what was taken out


@dataclass(frozen=True, eq=False)
class Pair:
    """The same pixels before and after.

    Attributes:
        width, height: Its size in pixels.
        before, after, residual: The bytes of PNG files.
        gain: The factor by which the residual is amplified.
    """

    title: str
    width: int
    height: int
    before: bytes
    after: bytes
    residual: bytes
    gain: int


@dataclass(frozen=True, eq=False)
class View:
    """A picture in the report.

    Attributes:
        pairs: The parts of it that are shown.
        described: The noise in words, or why there is none.
        curve: Brightnesses, and the level of the noise at each; None where there is none.
        unit: The unit of the curve, in words.
    """

    name: str
    size: str
    pairs: tuple[Pair, ...]
    described: str
    curve: tuple[list[float], list[float]] | None
    unit: str
    warnings: tuple[str, ...] = field(default=())


def view_of(
    name: str, before: np.ndarray, after: np.ndarray, found: "PictureNoise", part: str = "", white: float = 1.0
) -> View:
    """Return the view of a picture, or a `part` of its file, for the report: PNGs before and after, and its noise.

    Pixels are (H, W) or (H, W, C); the result is divided by `white` to be in the unit of the input.
    """
    height, width = before.shape[:2]
    scale = found.prepared.scale
    pairs = []
    if height * width <= MAX_WHOLE:
        pairs.append(_pair("the whole picture", before, after, scale, white))
    else:
        top, left = _most_detail(after)
        rows, columns = slice(top, top + PART), slice(left, left + PART)
        where = f"{min(PART, width)} x {min(PART, height)} pixels from column {left}, row {top}"
        pairs.append(_pair(where, before[rows, columns], after[rows, columns], scale, white))
        step = -(-max(height, width) // 1024)
        title = f"the whole picture, one pixel of {step} x {step}"
        pairs.append(_pair(title, _reduced(before, step), _reduced(after, step), scale, white))
    size = f"{width} x {height}" + (f", {part}" if part else "")
    noise = found.estimate.noise
    if noise.is_none:
        why = f" ({found.estimate.reason})" if found.estimate.reason else ""
        return View(name, size, tuple(pairs), f"no noise found{why}", None, "")
    points = curve_of(found, *((255.0, 0.0) if scale.standard else (scale.span, scale.black)))
    unit = "white being 255" if scale.standard else "in the unit of the picture"
    return View(name, size, tuple(pairs), found.described, points, unit)


def _pair(title: str, before: np.ndarray, after: np.ndarray, scale: "Scale", factor: float) -> Pair:
    x, y = (scale.to_unit(np.nan_to_num(pixels.astype(np.float32))) for pixels in (before, after / np.float32(factor)))
    residual = x - y
    spread = float(np.sqrt(np.square(residual).mean()))
    gain = int(np.clip(0.25 / (3 * spread), 1, MAX_GAIN)) if spread else 1
    height, width = before.shape[:2]
    return Pair(title, width, height, _png(x), _png(y), _png(0.5 + gain * residual), gain)


def _png(values: np.ndarray) -> bytes:
    """Return values from 0 to 1, (H, W) or (H, W, C), as a PNG of 8 bits; unless C is 3 only the first channel."""
    pixels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] != 3:
        pixels = pixels[:, :, 0]
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _reduced(pixels: np.ndarray, step: int) -> np.ndarray:
    """Return an image reduced to the means of blocks of step x step pixels."""
    height, width = (side // step * step for side in pixels.shape[:2])
    planes = pixels[:height, :width].astype(np.float32).reshape(height // step, step, width // step, step, -1)
    means: Any = planes.mean((1, 3))
    found: np.ndarray = means if pixels.ndim == 3 else means[:, :, 0]
    return found


def _most_detail(pixels: np.ndarray) -> tuple[int, int]:
    """Return the top row and left column of the square of PART pixels with the largest standard deviation.

    Squares are tried a quarter of their side apart.
    """
    plane = np.nan_to_num((pixels if pixels.ndim == 2 else pixels.mean(2)).astype(np.float32))
    height, width = plane.shape

    def starts(length: int) -> list[int]:
        return sorted({min(start, max(0, length - PART)) for start in range(0, max(1, length - PART // 2), PART // 4)})

    places = [(top, left) for top in starts(height) for left in starts(width)]
    return max(places, key=lambda at: float(plane[at[0] : at[0] + PART : 4, at[1] : at[1] + PART : 4].std()))
