"""What does the noise of synthetic cameras look like?

    python -m benchmarks.cameras PICTURES [--count N] [--seed N] [--real FOLDER...]

Each camera turns a clean picture into a pair (clean, noisy) by which a blind denoiser is judged and its constants are
chosen. Both pictures go through the same pipeline; only the noisy one receives noise and JPEG, so that their
difference is noise and JPEG alone. The command prints a table of that difference, in which a FOLDER of real pairs
(`clean/` and `noisy/`, files of equal names) may stand beside the cameras.

dslr, phone, compact: a sensor behind an RGGB mosaic. The picture goes back to raw values and forward again, following
Brooks et al., "Unprocessing Images for Learned Raw Denoising" (CVPR 2019):

    raw     x = e G^-1 M^-1 f^-1(picture)               f tone curve, M colour matrix, G white balance, e exposure
    noise   y = min(a Poisson(x/a) + sqrt(b) N(0,1), 1)   so var(y|x) = a x + b
    picture = JPEG(resize(sharpen(filter(f(M G demosaic(y)/e)))))

    The lens and the filter before the sensor blur x, so that little is left that the mosaic would alias, and a narrow
    filter of chroma removes the false colours, which JPEG would otherwise turn into a loss greater than the noise. A
    wide filter against chroma noise follows edges, which it is taken to do perfectly: it acts on the difference of the
    two pictures alone, with a kernel of long tails, (g_w + g_3w)/2 with g_w a Gaussian of w pixels. In 26 pairs of two
    Canon cameras (PolyU) the chroma noise has a correlation of 0.92, 0.82, 0.62, 0.38 at distances 1, 2, 4, 8, the luma
    noise 0.58, 0.22, 0.07, 0.04. The tone curve bends, so the noisy picture is darker on average, as in SIDD: by 1 gray
    level in the mid-tones of dslr, by 6 in those of a phone with much noise.

    a is log-uniform. dslr: within the range of the Darmstadt Noise Dataset (DND), 1e-4 to 0.012, and on its line
    log10 b = 2.18 log10 a + 1.20 + N(0, 0.26). phone: within the range of the Smartphone Image Denoising Dataset
    (SIDD), 6.9e-4 to 2.2e-2, and on its line log10 b = 1.85 log10 a + 0.30 + N(0, 0.20); both as CycleISP samples
    them (Zamir et al., CVPR 2020). compact: log10 b = 2 log10 a + 0.6 + N(0, 0.20), a little below both. Demosaicing is
    bilinear, by the gradient-corrected filters of Malvar, He and Cutler (ICASSP 2004), or along the edges in the manner
    of Hamilton and Adams (US patent 5629734, 1997). The tone curve is that of sRGB or of ITU-R BT.709, blended with the
    smooth step 3x^2 - 2x^3. White balance gains are those that Brooks et al. draw, 1.9 to 2.4 for red and 1.5 to 1.9
    for blue; the colour matrices are of the usual size but of no particular camera. How far a camera filters luma and
    chroma is chosen so that the correlations agree with those of real pairs: CC15 and PolyU for dslr (0.70 between
    neighbours), SIDD for phone (0.44).

film: grain, y = x + s sqrt(4x(1 - x)) k*n. The variance is largest in the mid-tones, as where grains cover an area at
    random (Newson, Delon and Galerne, Computer Graphics Forum 36(8), 2017); k is a Gaussian of 0.6 to 1.2 pixels, and
    most of n is shared by the channels. Its strength has no source beyond the look of film.

confocal, widefield: y = o + a Poisson(x/a) + sqrt(b) N(0,1) of a gray picture with the dark background of
    fluorescence. Fitted to the Fluorescence Microscopy Dataset (Zhang et al., CVPR 2019): a laser scanning microscope
    has few counts, a = 4 to 21 gray levels, and no correlation; a wide-field camera a = 0.4 to 1.7 and b = 100 to 200,
    with a correlation of 0.58 to 0.65 between neighbours.

scan: a line sensor. Shot and read noise in linear light, shared in part by neighbours along the line, then the curve
    of sRGB and JPEG. Its figures have no source beyond the look of scans.
"""

import argparse
import io
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from scipy.ndimage import convolve, convolve1d, gaussian_filter

from smdae.errors import InputError, UsageError

__all__ = ["CAMERAS", "Camera", "Residual", "clean_pictures", "photograph", "residual"]

Range = tuple[float, float]
Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
CHROMA_TAIL = 0.5  # share of the wider of the two Gaussians that filter chroma noise
MIN_LONG_SIDE, MIN_SHORT_SIDE = 240, 160  # pixels of a clean picture
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"}

# Mosaics: RGGB, mirrored at the border about the outermost pixel, which keeps the pattern.


def sites(shape: tuple[int, int]) -> np.ndarray:
    """Return which channel an RGGB mosaic (H, W) has at each pixel: (H, W, 3), of 0 and 1."""
    row, column = np.indices(shape) % 2
    return np.stack([(row == 0) & (column == 0), row != column, (row == 1) & (column == 1)], -1).astype(float)


def spread(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return planes (H, W) or (H, W, C) filtered with a kernel (K, K)."""
    return convolve(values, kernel if values.ndim == 2 else kernel[..., None], mode="mirror")


GREEN_MEAN = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
OTHER_MEAN = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4


def bilinear(mosaic: np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3) of a mosaic (H, W): each missing value is the mean of its nearest neighbours."""
    planes = mosaic[..., None] * sites(mosaic.shape)
    return np.stack([spread(planes[..., c], GREEN_MEAN if c == 1 else OTHER_MEAN) for c in range(3)], -1)


CROSS = np.array([[0, 0, -2, 0, 0], [0, 0, 4, 0, 0], [-2, 4, 8, 4, -2], [0, 0, 4, 0, 0], [0, 0, -2, 0, 0]]) / 16
ALONG = np.array([[0, 0, 1, 0, 0], [0, -2, 0, -2, 0], [-2, 8, 10, 8, -2], [0, -2, 0, -2, 0], [0, 0, 1, 0, 0]]) / 16
DIAGONAL = np.array([[0, 0, -3, 0, 0], [0, 4, 0, 4, 0], [-3, 0, 12, 0, -3], [0, 4, 0, 4, 0], [0, 0, -3, 0, 0]]) / 16


def gradient_corrected(mosaic: np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3) of a mosaic (H, W): bilinear, corrected by the Laplacian of the channel at hand."""
    at = sites(mosaic.shape)
    cross, across, down, diagonal = (spread(mosaic, kernel) for kernel in (CROSS, ALONG, ALONG.T, DIAGONAL))
    even_row = (np.arange(mosaic.shape[0]) % 2 == 0)[:, None]
    green = np.where(at[..., 1] == 1, mosaic, cross)
    # A green pixel of an even row has its red neighbours beside it and its blue ones above and below.
    red = np.where(at[..., 1] == 1, np.where(even_row, across, down), np.where(at[..., 0] == 1, mosaic, diagonal))
    blue = np.where(at[..., 1] == 1, np.where(even_row, down, across), np.where(at[..., 2] == 1, mosaic, diagonal))
    return np.stack([red, green, blue], -1)


def edge_directed(mosaic: np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3) of a mosaic (H, W): green along the smaller gradient, then colour differences."""
    at = sites(mosaic.shape)

    def line(weights: list[float], axis: int) -> np.ndarray:
        return convolve1d(mosaic, np.array(weights), axis, mode="mirror")

    steps = [np.abs(line([1, 0, -1], axis)) + np.abs(line([-1, 0, 2, 0, -1], axis)) for axis in (0, 1)]
    greens = [line([-0.25, 0.5, 0.5, 0.5, -0.25], axis) for axis in (0, 1)]
    mean = (greens[0] + greens[1]) / 2
    guess = np.select([steps[0] < steps[1], steps[0] > steps[1]], greens, mean)
    green = np.where(at[..., 1] == 1, mosaic, guess)
    others = (spread(at[..., c] * (mosaic - green), OTHER_MEAN) for c in (0, 2))
    red, blue = (green + difference for difference in others)
    return np.stack([red, green, blue], -1)


# What happens to a picture with values from 0 to 1.

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


Pair = tuple[np.ndarray, np.ndarray]  # clean and noisy


@dataclass(frozen=True)
class Mosaic:
    """A colour sensor behind an RGGB mosaic, and the camera's software.

    Attributes:
        shot: Range of a, the variance per unit of raw signal, which ends at 1.
        read: Slope, intercept and scatter of log10 b on log10 a.
        demosaic: From (H, W) to (H, W, 3).
        matrix: From camera colours to linear sRGB; rows sum to 1.
        curve: A name of `CURVES`.
        contrast: Range of the share of the smooth step.
        luma_blur: Range of the width, in pixels, of the filter against luma noise.
        chroma_blur: The same against false colours.
        chroma_grain: The same against chroma noise; this filter acts on the noise alone.
        sharpening: Range of the amount of unsharp masking of luma, whose radius is 1 pixel.
        scale: Range of the factor by which the picture is resized.
        red, blue: Ranges of the gains of white balance.
        exposure: Range of the raw value of white.
        optics: Range of the width, in pixels, of the blur before the sensor.
    """

    shot: Range
    read: tuple[float, float, float]
    demosaic: Callable[[np.ndarray], np.ndarray]
    matrix: Matrix
    curve: str
    contrast: Range
    luma_blur: Range
    chroma_blur: Range
    chroma_grain: Range
    sharpening: Range
    scale: Range = (1.0, 1.0)
    red: Range = (1.9, 2.4)
    blue: Range = (1.5, 1.9)
    exposure: Range = (0.7, 0.9)
    optics: Range = (0.5, 0.7)

    def take(self, picture: np.ndarray, rng: np.random.Generator) -> Pair:
        """Return the clean and the noisy picture of one (H, W, 3)."""
        curve = tone_curve(self.curve, rng.uniform(*self.contrast))
        gains = np.array([rng.uniform(*self.red), 1.0, rng.uniform(*self.blue)]) / rng.uniform(*self.exposure)
        luma_blur, chroma_blur = rng.uniform(*self.luma_blur), rng.uniform(*self.chroma_blur)
        chroma_grain = rng.uniform(*self.chroma_grain)
        sharpening, scale = rng.uniform(*self.sharpening), rng.uniform(*self.scale)
        shot = log_uniform(rng, self.shot)
        slope, intercept, scatter = self.read
        read = 10 ** (slope * np.log10(shot) + intercept + scatter * rng.standard_normal())
        matrix = np.array(self.matrix)

        def shown(raw: np.ndarray) -> np.ndarray:
            linear = np.clip((self.demosaic(raw) * gains) @ matrix.T, 0, 1)
            return np.interp(linear, LIGHT, curve)

        def finished(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
            luma = blurred(luma, luma_blur)
            luma = luma + sharpening * (luma - blurred(luma, 1.0))
            picture = blurred(chroma, chroma_blur) + luma[..., None]
            return picture if scale == 1 else resized(picture, scale)

        linear = blurred(np.interp(picture, curve, LIGHT), rng.uniform(*self.optics))
        colours = np.clip(linear @ np.linalg.inv(matrix).T / gains, 0, 1)
        raw = (colours * sites(picture.shape[:2])).sum(-1)
        clean = shown(raw)
        noise = shown(np.minimum(counted(raw, shot, read, rng), 1)) - clean
        luma, luma_noise = clean @ LUMA, noise @ LUMA
        chroma, chroma_noise = clean - luma[..., None], noise - luma_noise[..., None]
        chroma_noise = coarsened(chroma_noise, chroma_grain, CHROMA_TAIL)
        return finished(luma, chroma), finished(luma + luma_noise, chroma + chroma_noise)


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


@dataclass(frozen=True)
class Jpeg:
    """The compression of the file: a range of qualities, and how chroma is stored."""

    quality: tuple[int, int]
    chroma: Literal["4:4:4", "4:2:2", "4:2:0"]

    def stored(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return an 8-bit picture as it comes back from the file."""
        file = io.BytesIO()
        quality = int(rng.integers(self.quality[0], self.quality[1], endpoint=True))
        Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=self.chroma)
        return np.asarray(Image.open(file))


@dataclass(frozen=True)
class Camera:
    """What takes the picture and how it is stored: a gray one or in colour, as JPEG or without loss."""

    device: Mosaic | Film | Microscope | Scanner
    jpeg: Jpeg | None = None
    gray: bool = False


CAMERAS = {
    "dslr": Camera(
        Mosaic(
            shot=(3e-4, 3e-3),
            read=(2.18, 1.20, 0.26),
            demosaic=gradient_corrected,
            matrix=((1.62, -0.48, -0.14), (-0.19, 1.47, -0.28), (0.01, -0.42, 1.41)),
            curve="srgb",
            contrast=(0.0, 0.5),
            luma_blur=(0.6, 0.9),
            chroma_blur=(0.8, 1.2),
            chroma_grain=(0.8, 1.6),
            sharpening=(0.1, 0.4),
        ),
        Jpeg((92, 92), "4:4:4"),
    ),
    "phone": Camera(
        Mosaic(
            shot=(2e-3, 1.4e-2),
            read=(1.85, 0.30, 0.20),
            demosaic=edge_directed,
            matrix=((1.80, -0.70, -0.10), (-0.25, 1.55, -0.30), (0.02, -0.60, 1.58)),
            curve="bt709",
            contrast=(0.3, 0.8),
            luma_blur=(0.0, 0.4),
            chroma_blur=(0.6, 1.0),
            chroma_grain=(0.0, 0.0),
            sharpening=(0.0, 0.3),
            scale=(0.7, 0.8),
        ),
        Jpeg((75, 90), "4:2:0"),
    ),
    "compact": Camera(
        Mosaic(
            shot=(1e-3, 8e-3),
            read=(2.0, 0.6, 0.20),
            demosaic=bilinear,
            matrix=((1.50, -0.40, -0.10), (-0.30, 1.60, -0.30), (-0.05, -0.35, 1.40)),
            curve="bt709",
            contrast=(0.0, 0.6),
            luma_blur=(0.3, 0.6),
            chroma_blur=(1.0, 1.5),
            chroma_grain=(1.0, 3.0),
            sharpening=(0.4, 0.9),
        ),
        Jpeg((80, 95), "4:2:2"),
    ),
    "film": Camera(Film(level=(6.0, 18.0), blur=(0.6, 1.2), shared=(0.7, 0.9))),
    "confocal": Camera(Microscope(gain=(4.0, 21.0), read=(4.0, 25.0), offset=(2.0, 8.0), blur=(0.0, 0.0)), gray=True),
    "widefield": Camera(
        Microscope(gain=(0.4, 1.7), read=(100.0, 200.0), offset=(10.0, 30.0), blur=(0.6, 0.7), tail=0.4), gray=True
    ),
    "scan": Camera(Scanner(shot=(3e-4, 3e-3), read=(1e-6, 1e-5), neighbour=(0.15, 0.35)), Jpeg((90, 90), "4:2:2")),
}


def photograph(camera: str, clean: np.ndarray, seed: int) -> Pair:
    """Return what a camera makes of a clean picture: the same without noise and JPEG, and with both.

    Args:
        camera: A name of `CAMERAS`.
        clean: uint8, (H, W, 3), or (H, W) for gray; a gray camera converts colours by ITU-R BT.601 luma.
        seed: Determines the camera's settings within their ranges and the noise.

    Returns:
        Two uint8 arrays of one shape: (H, W) for a gray camera, else (H, W, 3). A camera that resizes changes H and W.

    Raises:
        UsageError: No such camera.
        InputError: The picture is not uint8 of such a shape.
    """
    if camera not in CAMERAS:
        raise UsageError(f"no camera is named '{camera}'", f"choose one of {', '.join(CAMERAS)}")
    if clean.dtype != np.uint8 or clean.ndim not in (2, 3) or clean.shape[2:] not in ((), (3,)):
        raise InputError(f"a picture is {clean.dtype} with shape {clean.shape}", "give uint8, (H, W) or (H, W, 3)")
    settings, rng = CAMERAS[camera], np.random.default_rng(seed)
    image = Image.fromarray(clean).convert("L" if settings.gray else "RGB")
    taken = settings.device.take(np.asarray(image) / 255, rng)
    without, noisy = (np.clip(np.rint(255 * picture), 0, 255).astype(np.uint8) for picture in taken)
    return without, settings.jpeg.stored(noisy, rng) if settings.jpeg else noisy


def clean_pictures(folder: Path | str, count: int, seed: int, scale: int = 2) -> list[np.ndarray]:
    """Return pictures of a folder without grain or JPEG artefacts of their own, because they are shrunk.

    Args:
        folder: The folder of pictures.
        count: How many, chosen evenly in the order of their names.
        seed: Determines where the choice starts.
        scale: By which factor they are shrunk, each pixel being a mean of `scale` x `scale`.

    Returns:
        uint8 arrays (H, W, 3), of at least 240 x 160 pixels or 160 x 240.

    Raises:
        InputError: The folder has fewer pictures of sufficient size.
    """
    paths = []
    for path in sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in SUFFIXES):
        with Image.open(path) as image:
            short, long = sorted(length // scale for length in image.size)
        if short >= MIN_SHORT_SIDE and long >= MIN_LONG_SIDE:
            paths.append(path)
    if len(paths) < count:
        least = f"{scale * MIN_LONG_SIDE} x {scale * MIN_SHORT_SIDE}"
        raise InputError(f"'{folder}' has {len(paths)} pictures of at least {least} pixels, not {count}")
    start = np.random.default_rng(seed).uniform()
    chosen = [paths[int((k + start) * len(paths) / count)] for k in range(count)]
    pictures = []
    for path in chosen:
        with Image.open(path) as image:
            width, height = (length // scale * scale for length in image.size)
            pictures.append(np.asarray(image.convert("RGB").crop((0, 0, width, height)).reduce(scale)))
    return pictures


@dataclass(frozen=True)
class Residual:
    """Figures of noisy - clean, whose mean is taken off per channel.

    Attributes:
        sd: Standard deviation, in gray levels.
        across, down: Correlation of horizontal and of vertical neighbours.
        second, fourth: Correlation at distances 2 and 4, mean of both directions.
        channels: Mean correlation of two channels; NaN for gray.
        ratio: Largest over smallest sd among 16 bins of brightness that hold 1 % of the pixels.
        bias: The mean that was taken off, in gray levels.
    """

    sd: float
    across: float
    down: float
    second: float
    fourth: float
    channels: float
    ratio: float
    bias: float


def residual(clean: np.ndarray, noisy: np.ndarray) -> Residual:
    """Return the figures of a pair of uint8 arrays (H, W) or (H, W, 3)."""
    truth = np.atleast_3d(clean)
    noise = np.atleast_3d(noisy).astype(float) - truth
    bias = float(noise.mean())
    noise -= noise.mean((0, 1))
    variance = noise.var()

    def correlation(down: int, across: int) -> float:
        height, width = noise.shape[0] - down, noise.shape[1] - across
        return float((noise[:height, :width] * noise[down:, across:]).mean() / variance)

    between = np.corrcoef(noise.reshape(-1, noise.shape[2]), rowvar=False)
    channels = float((between.sum() - 3) / 6) if truth.shape[2] == 3 else float("nan")
    bins = truth.ravel() // 16
    pixels = np.bincount(bins, minlength=16)
    filled = pixels >= 0.01 * bins.size
    levels = np.sqrt(np.bincount(bins, noise.ravel() ** 2, 16)[filled] / pixels[filled])
    second, fourth = ((correlation(0, lag) + correlation(lag, 0)) / 2 for lag in (2, 4))
    ratio = float(levels.max() / levels.min())
    return Residual(variance**0.5, correlation(0, 1), correlation(1, 0), second, fourth, channels, ratio, bias)


COLUMNS = [field.name for field in fields(Residual)]


def row(name: str, pairs: Sequence[Pair]) -> str:
    """Return a line of the table: means over pairs, and the range of the sd."""
    found = np.array([astuple(residual(*pair)) for pair in pairs])
    means = "".join(f"{value:9.2f}" for value in found.mean(0))
    return f"{name:12}{len(pairs):6}{means}{found[:, 0].min():9.1f} to {found[:, 0].max():.1f}"


def real_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a folder that has `clean` and `noisy`, with files of equal names."""
    names = sorted(path.name for path in (folder / "noisy").iterdir())
    return [(np.asarray(Image.open(folder / "clean" / n)), np.asarray(Image.open(folder / "noisy" / n))) for n in names]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cameras", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pictures", type=Path, help="folder of clean pictures, which are shrunk by 2")
    parser.add_argument("--count", type=int, default=24, help="pictures per camera")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of real pairs")
    given = parser.parse_args()
    print(f"{'':12}{'pairs':>6}{''.join(f'{column:>9}' for column in COLUMNS)}{'sd from':>9}")
    pictures = clean_pictures(given.pictures, given.count, given.seed)
    for camera in CAMERAS:
        print(row(camera, [photograph(camera, picture, given.seed + k) for k, picture in enumerate(pictures)]))
    for folder in given.real:
        print(row(folder.name, real_pairs(folder)))


if __name__ == "__main__":
    main()
