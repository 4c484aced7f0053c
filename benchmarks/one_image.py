"""What does a fit on one noisy image alone, from scratch, come to?

    python benchmarks/one_image.py VAL [--sigma 25] [--max-time 300] [SETTING=VALUE...]

No other image is used, clean or noisy. For each image of VAL the PSNR of non-local means, of BM3D where it is
installed, and of a small network fitted by implicit score matching to this image and stopped by Stein's estimate on a
strip that is held out; when it was stopped, and after how many seconds.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import yaml
from protocol import noisy_pairs
from skimage.restoration import denoise_nl_means

from smdae.denoising.denoise import denoise
from smdae.fitting.precision import denormals_flushed
from smdae.fitting.prepare import prepare
from smdae.fitting.settings import check
from smdae.memory import keep_freed_memory


def nlm(image: np.ndarray, sigma: float) -> np.ndarray:
    """Denoise by non-local means with the settings that scikit-image proposes for a known level."""
    kind = {"patch_size": 5, "patch_distance": 6, "fast_mode": True}
    return denoise_nl_means(image, h=0.6 * sigma, sigma=sigma, **kind)


def bm3d(image: np.ndarray, sigma: float) -> np.ndarray | None:
    """Denoise by BM3D; return None if its package is not installed."""
    try:
        from bm3d import bm3d as of
    except ImportError:
        return None
    return of(image, sigma)


def psnr(result: np.ndarray | None, clean: np.ndarray) -> float:
    """Return the PSNR of a result in dB, white being 1; nan for None."""
    return np.nan if result is None else 10 * np.log10(1 / np.mean((np.clip(result, 0, 1) - clean / 255) ** 2))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("val", type=Path)
    parser.add_argument("--sigma", type=float, default=25)
    parser.add_argument("--max-time", type=float, default=300)
    parser.add_argument("settings", nargs="*")
    options = parser.parse_intermixed_args()
    given = {name: yaml.safe_load(value) for name, value in (setting.split("=") for setting in options.settings)}
    fixed = {"model": "unet", "noisy": True, "sigma": options.sigma, "max_time": options.max_time}
    settings = check(fixed | given)
    print(f"sigma {options.sigma:g}, {options.max_time:g} s, {given}")
    print(f"{'image':8}{'NLM':>8}{'BM3D':>8}{'fit':>8}{'best step':>11}{'seconds':>9}", flush=True)
    rows = []
    for number, (clean, noisy) in enumerate(noisy_pairs(options.val, options.sigma), 1):
        image, level = noisy / np.float32(255), options.sigma / 255
        begun, best, step = time.perf_counter(), -np.inf, 0
        with denormals_flushed():
            prepared = prepare([image], 1.0, settings)
            for report in prepared.run():
                if report.validation and report.validation.value > best:
                    best, step = report.validation.value, report.step
        seconds = time.perf_counter() - begun
        results = nlm(image, level), bm3d(image, level), denoise(image, prepared.fitted(), level)
        rows.append([psnr(result, clean) for result in results])
        print(f"{number:<8}" + "".join(f"{value:8.2f}" for value in rows[-1]) + f"{step:11}{seconds:9.0f}", flush=True)
    print(f"{'mean':8}" + "".join(f"{value:8.2f}" for value in np.mean(rows, 0)))


if __name__ == "__main__":
    keep_freed_memory()
    main()
