"""Denoisers that nothing is fitted for, to compare with, and the one table of their names.

    nlm       non-local means: patches that look alike, averaged                          (Buades, Coll and Morel 2005)
    wavelet   coefficients shrunk band by band, averaged over shifts   (Chang et al. 2000; Coifman and Donoho 1995)
    tv        the least total variation + (x - y)^2 / 2w                            (Rudin et al. 1992; Chambolle 2004)
    bm3d      groups of like blocks, shrunk together                                                (Dabov et al. 2007)

Their constants are those that did best on 24 photographs of BSDS500's training set at sigma 15, 25 and 50. Libraries
are imported when they are used: scikit-image and PyWavelets are the extra `baselines`; bm3d, whose licence is for
non-commercial use alone, serves those who installed it themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from smdae.errors import UsageError

SHIFTS = 4  # of the picture against the wavelets' grid, each way


@dataclass(frozen=True)
class Baseline:
    """A row of the table."""

    run: Callable[[np.ndarray, float], np.ndarray]  # denoises an image, (H, W) with white 1, of a level
    needs: tuple[str, ...]  # what it imports
    smooth: bool = True  # whether a small change of the image changes the result little, as Stein's estimate asks for


def nlm(image: np.ndarray, sigma: float) -> np.ndarray:
    """Return a noisy image, (H, W), denoised by non-local means: 5 x 5 patches within 6 pixels, h = 0.65 sigma."""
    from skimage.restoration import denoise_nl_means

    found: np.ndarray = denoise_nl_means(
        image, patch_size=5, patch_distance=6, h=0.65 * sigma, sigma=sigma, fast_mode=True
    )
    return found


def wavelet(image: np.ndarray, sigma: float) -> np.ndarray:
    """Return a noisy image, (H, W), denoised by BayesShrink of Daubechies-2 wavelets: four scales, 16 shifts."""
    import pywt
    from skimage.restoration import denoise_wavelet

    # By default fewer scales are shrunk, and noise stays in the coarse ones.
    scales = min(4, max(1, pywt.dwtn_max_level(image.shape, "db2")))
    how = {"wavelet": "db2", "wavelet_levels": scales, "mode": "soft", "method": "BayesShrink", "rescale_sigma": True}
    total = np.zeros_like(image)
    for shift in np.ndindex(SHIFTS, SHIFTS):
        shrunk = denoise_wavelet(np.roll(image, shift, (0, 1)), sigma=sigma, **how)
        total += np.roll(shrunk, (-shift[0], -shift[1]), (0, 1))
    return total / SHIFTS**2


def tv(image: np.ndarray, sigma: float) -> np.ndarray:
    """Return a noisy image, (H, W), denoised by total variation: Chambolle's projection, w = 0.8 sigma, 50 steps."""
    from skimage.restoration import denoise_tv_chambolle

    found: np.ndarray = denoise_tv_chambolle(image, weight=0.8 * sigma, eps=0.0, max_num_iter=50)
    return found


def bm3d(image: np.ndarray, sigma: float) -> np.ndarray:
    """Return a noisy image, (H, W) with white 1, denoised by BM3D, with its authors' package; not clipped."""
    import bm3d as package

    return np.asarray(package.bm3d(image, sigma)).reshape(image.shape)


BASELINES: dict[str, Baseline] = {
    "nlm": Baseline(nlm, ("skimage",)),
    "wavelet": Baseline(wavelet, ("skimage", "pywt")),
    "tv": Baseline(tv, ("skimage",)),
    "bm3d": Baseline(bm3d, ("bm3d",), smooth=False),
}

# What a package is called where it comes from, and how to get it.
EXTRA = "pip install 'smdae[baselines]'"
PACKAGES = {
    "skimage": ("scikit-image", EXTRA),
    "pywt": ("PyWavelets", EXTRA),
    "bm3d": ("bm3d", "pip install bm3d; its licence is for non-commercial use only"),
}


def check(names: Sequence[str]) -> None:
    """Raise UsageError for a name that is not in the table, and for one whose package is not installed."""
    for name in names:
        if name not in BASELINES:
            raise UsageError(f"unknown baseline '{name}'; there are {', '.join(BASELINES)}")
        for module in BASELINES[name].needs:
            if find_spec(module) is None:
                package, hint = PACKAGES[module]
                raise UsageError(f"the baseline '{name}' needs {package}, which is not installed", hint)
