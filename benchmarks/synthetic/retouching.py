"""What people do to pictures before they look at their noise: frame, resize, turn, blur and sharpen, or scan print.

Each function takes a picture in 0 to 255, float, with shape (H, W) or (H, W, C), and a source of chance.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

SCALES, MAX_ANGLE, TURNED = (0.45, 2.1), 15.0, 0.3  # degrees; share of the pictures that are turned
MIN_SIDE = 150  # pixels
KEPT = 0.75  # of the sides of a picture that is turned
PAGE = (420, 320)  # pixels across and down
FRAME = (0.04, 0.3)  # of the sides of a picture
BARS = 0.5  # share of the frames that are bars above and below


def rounded(picture: np.ndarray) -> np.ndarray:
    """Return a picture as uint8."""
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def resized_or_turned(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that resizes or turns pictures, each in the same way; it is linear in them."""
    scale, angle = float(np.exp(rng.uniform(*np.log(SCALES)))), float(rng.uniform(-MAX_ANGLE, MAX_ANGLE))
    is_turned = rng.random() < TURNED
    by = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)[int(rng.integers(2))]

    def of_plane(plane: np.ndarray) -> np.ndarray:
        image = Image.fromarray(plane.astype(np.float32))
        if not is_turned:
            sides = (max(MIN_SIDE, int(scale * side)) for side in image.size)
            return np.asarray(image.resize(tuple(sides), by))
        width, height = (int(KEPT * side) for side in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return np.asarray(image.rotate(angle, by).crop((left, top, left + width, top + height)))

    def work(picture: np.ndarray) -> np.ndarray:
        if picture.ndim == 2:
            return of_plane(picture)
        return np.dstack([of_plane(plane) for plane in np.moveaxis(picture, 2, 0)])

    return work


def framed(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that puts pictures, uint8, into the same frame or between the same bars, of one colour."""
    share, colour = float(rng.uniform(*FRAME)), int(rng.choice([0, 16, 128, 245, 255]))
    sides = (1, 0) if rng.random() < BARS else (1, 1)

    def work(picture: np.ndarray) -> np.ndarray:
        width = [(int(share * length * side),) * 2 for length, side in zip(picture.shape[:2], sides, strict=True)]
        return np.pad(picture, [*width, *[(0, 0)] * (picture.ndim - 2)], constant_values=colour)

    return work


def blurred(noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noise, blurred by up to two pixels, as strong as before."""
    width = rng.uniform(0.4, 1.8)
    soft = gaussian_filter(noise, (width, width, *[0] * (noise.ndim - 2)))
    return np.asarray(soft * (noise.std() / soft.std()))


def sharpened(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture after unsharp masking."""
    width = rng.uniform(0.7, 1.5)
    wide = gaussian_filter(picture, (width, width, *[0] * (picture.ndim - 2)))
    return np.asarray(picture + rng.uniform(0.3, 1.6) * (picture - wide))


def scanned_print(rng: np.random.Generator) -> np.ndarray:
    """Return a page of print, uint8, gray, from a scanner with little noise."""
    page = Image.new("L", PAGE, 255)
    pen, size = ImageDraw.Draw(page), int(rng.integers(9, 22))
    for line in range(PAGE[1] // (size + 3)):
        words = " ".join("".join(rng.choice(list("aeinorstlcm"), rng.integers(2, 9))) for _ in range(12))
        pen.text((8, 6 + (size + 3) * line), words, fill=0, font=ImageFont.load_default(size))
    shown = gaussian_filter(np.asarray(page, float), rng.uniform(0.3, 1.0)) * rng.uniform(0.8, 1.0) + rng.uniform(0, 20)
    return rounded(shown + rng.normal(0, rng.uniform(0.5, 6), shown.shape))
