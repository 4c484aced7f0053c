"""Film, microscopes and scanners, as `cameras` has them.

film: grain, y = x + s sqrt(4x(1 - x)) k*n. The variance is largest in the mid-tones, as where grains cover an area at
    random (Newson, Delon and Galerne, Computer Graphics Forum 36(8), 2017); k is a Gaussian of 0.6 to 1.2 pixels, and
    most of n is shared by the channels. Its strength has no source beyond the look of film.

confocal, widefield: y = o + a Poisson(x/a) + sqrt(b) N(0,1) of a gray picture with the dark background of
    fluorescence. Fitted to the Fluorescence Microscopy Dataset (Zhang et al., CVPR 2019): a laser scanning microscope
    has few counts, a = 4 to 21 gray levels, and no correlation; a wide-field camera a = 0.4 to 1.7 and b = 100 to 200,
    with a correlation of 0.58 to 0.65 between neighbours.

scanning: photons counted as by `confocal`, whose neighbours are mixed afterwards: along the line, by a detector slower
    than its beam, or in both directions, by zooming or by a filter. Its figures have no source beyond two-photon
    pictures of cells, whose neighbours along the line are correlated by 0.44 to 0.46.

scan: a line sensor. Shot and read noise in linear light, shared in part by neighbours along the line, then the curve
    of sRGB and JPEG. Its figures have no source beyond the look of scans.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve1d, zoom

from benchmarks.synthetic.optics import LIGHT, Pair, Range, blurred, coarsened, counted, kept, log_uniform, tone_curve


@dataclass(frozen=True)
class Film:
    """Grain in a scanned negative or slide.

    Attributes:
        level: Range of the sd of the noise in the mid-tones, in gray levels.
        blur: Range of the width of a grain, in pixels.
        shared: Range of the share of the variance that the channels have in common.
        floor: Share of the mid-tones' sd that black and white keep.
    """

    level: Range
    blur: Range
    shared: Range
    floor: float = 0.3

    def take(self, picture: np.ndarray, rng: np.random.Generator) -> Pair:
        """Return the clean and the noisy picture of one (H, W, 3)."""
        level, blur, shared = (rng.uniform(*bounds) for bounds in (self.level, self.blur, self.shared))
        luma, chroma = rng.standard_normal((*picture.shape[:2], 1)), rng.standard_normal(picture.shape)
        grain = blurred(np.sqrt(shared) * luma + np.sqrt(1 - shared) * chroma, blur) / kept(blur, 0.0)
        sd = level / 255 * np.maximum(np.sqrt(4 * picture * (1 - picture)), self.floor)
        return picture, picture + sd * grain


@dataclass(frozen=True)
class Microscope:
    """A gray detector that counts photons.

    Attributes:
        gain: Range of a, in gray levels a count.
        read: Range of b, the variance of the read noise in squared gray levels.
        offset: Range of black, in gray levels.
        blur: Range of the width, in pixels, over which neighbours share their noise.
        peak: Range of the brightest signal, of 1.
        tail: Share of the wider of the two Gaussians that neighbours share their noise by.
    """

    gain: Range
    read: Range
    offset: Range
    blur: Range
    peak: Range = (0.4, 1.0)
    tail: float = 0.0

    def take(self, picture: np.ndarray, rng: np.random.Generator) -> Pair:
        """Return the clean and the noisy picture of a gray one (H, W)."""
        offset, peak, blur, read = (rng.uniform(*bounds) for bounds in (self.offset, self.peak, self.blur, self.read))
        expected = (255 - offset) * peak * picture**3  # the cube leaves most of the picture dark, as fluorescence is
        noise = counted(expected, log_uniform(rng, self.gain), read, rng) - expected
        noise = coarsened(noise, blur, self.tail) / kept(blur, self.tail)
        return (offset + expected) / 255, (offset + expected + noise) / 255


@dataclass(frozen=True)
class ScanningMicroscope:
    """A detector that counts photons, one pixel after the other, and whose neighbours are mixed.

    Attributes:
        gain: Range of a, in gray levels a count.
        read: Range of b, the variance of the read noise in squared gray levels.
        offset: Range of black, in gray levels.
        peak: Range of the brightest signal, of 1.
        power: Range of the power of the picture that the signal is: the larger, the more of it is dark.
        neighbour: Range of the weight of both neighbours along the line, against 1 of the pixel itself.
        blur: Range of the width of a filter, in pixels.
        zoom: Range of the factor by which the picture is enlarged.
    """

    gain: Range
    read: Range
    offset: Range
    peak: Range
    power: Range
    neighbour: Range
    blur: Range
    zoom: Range

    def take(self, picture: np.ndarray, rng: np.random.Generator) -> Pair:
        """Return the clean and the noisy picture of a gray one (H, W)."""
        offset, peak, power, read = (rng.uniform(*bounds) for bounds in (self.offset, self.peak, self.power, self.read))
        expected = (255 - offset) * peak * picture**power
        noise = counted(expected, log_uniform(rng, self.gain), read, rng) - expected
        mixing = rng.choice(["detector", "filter", "zoom"])
        if mixing == "detector":
            weight = rng.uniform(*self.neighbour)
            noise = convolve1d(noise, np.array([weight, 1, weight]) / np.sqrt(1 + 2 * weight**2), 1, mode="mirror")
        elif mixing == "filter":
            width = rng.uniform(*self.blur)
            noise = blurred(noise, width) / kept(width, 0.0)
        else:
            factor = rng.uniform(*self.zoom)
            expected, noise = (zoom(part, factor, order=1, mode="mirror") for part in (expected, noise))
        return (offset + expected) / 255, (offset + expected + noise) / 255


@dataclass(frozen=True)
class Scanner:
    """A line sensor of three colours under a lamp.

    Attributes:
        shot: Range of a, the variance per unit of linear signal.
        read: Range of b in squared units of linear signal.
        neighbour: Range of the weight of both neighbours along the line, against 1 of the pixel itself.
        optics: Range of the width, in pixels, of the blur before the sensor.
    """

    shot: Range
    read: Range
    neighbour: Range
    optics: Range = (0.5, 0.8)

    def take(self, picture: np.ndarray, rng: np.random.Generator) -> Pair:
        """Return the clean and the noisy picture of one (H, W, 3)."""
        curve = tone_curve("srgb", 0.0)
        shot, read = log_uniform(rng, self.shot), log_uniform(rng, self.read)
        weight = rng.uniform(*self.neighbour)
        kernel = np.array([weight, 1, weight]) / np.sqrt(1 + 2 * weight**2)
        linear = blurred(np.interp(picture, curve, LIGHT), rng.uniform(*self.optics))
        noise = convolve1d(counted(linear, shot, read, rng) - linear, kernel, 1, mode="mirror")
        return np.interp(linear, LIGHT, curve), np.interp(np.clip(linear + noise, 0, 1), LIGHT, curve)
