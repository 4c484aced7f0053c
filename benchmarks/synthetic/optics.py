"""What happens to a picture with values from 0 to 1 in any synthetic camera: tone curves, blur, resizing, counting."""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

Range = tuple[float, float]
Pair = tuple[np.ndarray, np.ndarray]  # clean and noisy

CURVES = {"srgb": (2.4, 0.055), "bt709": (1 / 0.45, 0.099)}  # exponent, offset
LIGHT = np.linspace(0, 1, 4096) ** 2  # linear light at which curves are tabulated, densest in the shadows


def tone_curve(name: str, contrast: float) -> np.ndarray:
    """Return a tone curve at `LIGHT`: a power with a straight toe, blended with the smooth step by `contrast`."""
    exponent, offset = CURVES[name]
    power = (1 + offset) * LIGHT ** (1 / exponent) - offset
    # The toe is the tangent of the power that meets the origin.
    corner = (offset * exponent / ((1 + offset) * (exponent - 1))) ** exponent
    slope = offset / (corner * (exponent - 1))
    curve = np.where(corner > LIGHT, slope * LIGHT, power)
    return (1 - contrast) * curve + contrast * curve**2 * (3 - 2 * curve)


def blurred(picture: np.ndarray, width: float) -> np.ndarray:
    """Return planes (H, W) or (H, W, C) under a Gaussian of `width` pixels."""
    return gaussian_filter(picture, (width, width, 0)[: picture.ndim], mode="mirror")


def resized(picture: np.ndarray, scale: float) -> np.ndarray:
    """Return a picture (H, W, 3) resized by `scale` with a bicubic filter that widens as the picture shrinks."""
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(picture, -1, 0)]
    return np.stack([np.asarray(plane.resize(size, Image.Resampling.BICUBIC), float) for plane in planes], -1)


def counted(expected: np.ndarray, gain: float, read: float, rng: np.random.Generator) -> np.ndarray:
    """Return `gain` Poisson(`expected`/`gain`) plus normal noise of variance `read`."""
    return gain * rng.poisson(np.maximum(expected, 0) / gain) + np.sqrt(read) * rng.standard_normal(expected.shape)


def coarsened(noise: np.ndarray, width: float, tail: float) -> np.ndarray:
    """Return noise under a Gaussian of `width` pixels and, by a share of `tail`, one of thrice that."""
    return (1 - tail) * blurred(noise, width) + tail * blurred(noise, 3 * width)


def kept(width: float, tail: float) -> float:
    """Return the sd that white noise of sd 1 keeps under `coarsened`."""
    impulse = np.zeros((65, 65))
    impulse[32, 32] = 1
    return float(np.linalg.norm(coarsened(impulse, width, tail)))


def log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(*np.log(bounds))))
