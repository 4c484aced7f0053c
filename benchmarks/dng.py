"""DNG files of a synthetic camera, written with tifffile, for the benchmark of raw files and for tests."""

import io

import numpy as np
import tifffile

BLACK, WHITE = 512, 16383
BALANCE = (2.0, 1.0, 1.6)  # that makes gray gray
PATTERNS = {"RGGB": (0, 1, 1, 2), "BGGR": (2, 1, 1, 0), "GRBG": (1, 0, 2, 1), "GBRG": (1, 2, 0, 1)}
# Of light in the primaries of sRGB, what red, green and blue pixels see of it, gray being gray.
SENSOR = np.array([[0.70, 0.22, 0.08], [0.15, 0.70, 0.15], [0.05, 0.25, 0.70]])
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
D65 = 21
LINEAR_RAW = 34892  # photometric interpretation of a demosaiced DNG


def scene(height: int = 96, width: int = 128) -> np.ndarray:
    """Return a picture made of formulas, sRGB from 0 to 1, with shape (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    sky = 0.35 + 0.4 * y / height
    disc = 1 / (1 + np.exp((np.hypot(x - width / 2, y - height / 2) - height / 4) / 0.7))
    waves = 0.5 + 0.5 * np.sin(x / 7.0 + 0.02 * y)
    picture = np.stack([sky * (1 - 0.5 * disc), 0.9 * sky + 0.2 * disc * waves, 0.4 + 0.35 * waves * (1 - disc)], -1)
    return picture.clip(0, 0.9)


def mosaic(picture: np.ndarray, pattern: str = "RGGB") -> np.ndarray:
    """Return what a sensor sees of an sRGB picture, from 0 to 1, with shape (H, W)."""
    light = np.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)
    measured = light @ SENSOR.T / BALANCE
    result = np.empty(picture.shape[:2])
    for place, colour in enumerate(PATTERNS[pattern]):
        result[place // 2 :: 2, place % 2 :: 2] = measured[place // 2 :: 2, place % 2 :: 2, colour]
    return result


def exposed(clean: np.ndarray, gain: float, read: float, seed: int = 0) -> np.ndarray:
    """Return a mosaic with photon and read noise, 14 bits above black, uint16."""
    rng = np.random.default_rng(seed)
    noisy = gain * rng.poisson(clean / gain) + read * rng.standard_normal(clean.shape) if gain else clean
    return np.rint(BLACK + noisy * (WHITE - BLACK)).clip(0, WHITE).astype(np.uint16)


def dng(
    values: np.ndarray,
    pattern: str = "RGGB",
    noise: tuple[float, ...] = (),
    orientation: int = 1,
    thumbnail: np.ndarray | None = None,
) -> bytes:
    """Return a DNG file.

    Args:
        values: A mosaic, (H, W), or a demosaiced picture, (H, W, 3), uint16.
        pattern: Of the mosaic.
        noise: What the file says of its noise, pairs of slope and offset; empty for nothing.
        orientation: Of EXIF.
        thumbnail: A picture that comes before the mosaic, as in files of cameras, (h, w, 3), uint8.
    """
    camera = np.diag(1 / np.array(BALANCE)) @ SENSOR @ np.linalg.inv(TO_XYZ)
    matrix = [int(part) for value in camera.ravel() for part in (round(10000 * value), 10000)]
    neutral = [int(part) for gain in BALANCE for part in (round(10000 / gain), 10000)]
    first = [
        (50706, "B", 4, (1, 4, 0, 0)),
        (50708, "s", 0, "Synthetic camera"),
        (271, "s", 0, "Synthetic"),
        (272, "s", 0, "Camera"),
        (306, "s", 0, "2026:05:04 03:02:01"),
        (274, "H", 1, orientation),
        (50721, "2i", 9, tuple(matrix)),
        (50728, "2I", 3, tuple(neutral)),
        (50778, "H", 1, D65),
    ]
    if noise:
        first.append((51041, "d", len(noise), noise))
    count = 1 if values.ndim == 2 else 3
    own = [(50714, "H", count, (BLACK,) * count), (50717, "I", count, (WHITE,) * count)]
    if values.ndim == 2:
        own += [(33421, "H", 2, (2, 2)), (33422, "B", 4, PATTERNS[pattern])]
        first.append((50710, "B", 3, (0, 1, 2)))
    how = {"photometric": "cfa" if values.ndim == 2 else LINEAR_RAW, "metadata": None}
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        if thumbnail is None:
            tiff.write(values, extratags=_unordered(first + own), **how)
        else:
            tiff.write(
                thumbnail, photometric="rgb", subifds=1, subfiletype=1, extratags=_unordered(first), metadata=None
            )
            tiff.write(values, subfiletype=0, extratags=_unordered(own), **how)
    return file.getvalue()


def _unordered(tags: list[tuple]) -> list[tuple]:
    """Return tags as tifffile takes them, for the first page alone or all alike."""
    return [(*tag, False) for tag in tags]
