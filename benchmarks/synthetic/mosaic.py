"""A camera with a sensor behind a mosaic, as `cameras` has three of them.

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
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.synthetic.demosaicing import sites
from benchmarks.synthetic.optics import (
    LIGHT,
    Pair,
    Range,
    blurred,
    coarsened,
    counted,
    log_uniform,
    resized,
    tone_curve,
)

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
CHROMA_TAIL = 0.5  # share of the wider of the two Gaussians that filter chroma noise


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
