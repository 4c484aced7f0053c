"""Is the PSNR that is estimated without a clean image to be believed?

    python benchmarks/estimated_psnr.py VAL...         VAL being folders such as Set12 and McMaster

For each level, on float noise and on the same noise clipped and rounded to 8 bits, with sigma given and estimated: the
mean absolute difference between the estimate and the true PSNR, the mean standard error that comes with the estimate,
and the share of the images for which the truth lies within two of them, of those that no doubt was raised about.
"""

import sys
from pathlib import Path

import numpy as np
from protocol import is_colour, noisy_pairs

import smdae
from smdae.denoising.denoise import denoise
from smdae.denoising.judgement import judge
from smdae.denoising.task import Task

LEVELS = (15, 25, 50)


def rows(folder: Path, sigma: float, stored: bool, given: bool) -> tuple[np.ndarray, int]:
    """Return (true PSNR, estimated, standard error) of each image without a doubt, and how many images had one."""
    found, doubtful = [], 0
    model = smdae.load("natural-color" if is_colour(folder) else "natural-gray")
    for clean, noisy in noisy_pairs(folder, sigma, stored):
        level = sigma if given else None
        image, unit = (noisy, 255) if stored else (noisy / np.float32(255), 1)
        level = level if level is None or stored else level / 255
        task = Task.of(image, model, level)
        result = denoise(image, model, level)
        error = np.clip(result.astype(np.float64) * (255 / unit if not stored else 1), 0, 255) - clean
        judged = judge(task, result, not given)
        doubtful += bool(judged.doubts)
        if not judged.doubts:
            found.append((10 * np.log10(255**2 / np.mean(error**2)), judged.psnr, judged.error))
    return np.array(found).reshape(-1, 3), doubtful


def main() -> None:
    print(f"{'':24}{'sigma':>6}{'images':>8}{'doubted':>9}{'|diff|':>8}{'bias':>7}{'error':>7}{'within 2':>10}")
    for folder in map(Path, sys.argv[1:]):
        for stored in (False, True):
            for given in (True, False):
                for sigma in LEVELS:
                    values, doubtful = rows(folder, sigma, stored, given)
                    label = f"{folder.name} {'8-bit' if stored else 'float'} {'given' if given else 'found'}"
                    apart = values[:, 1] - values[:, 0]
                    within = np.abs(apart) <= 2 * values[:, 2]
                    print(
                        f"{label:24}{sigma:6}{len(values):8}{doubtful:9}{np.abs(apart).mean():8.2f}{apart.mean():7.2f}"
                        f"{values[:, 2].mean():7.2f}{within.sum():6}/{len(values):<3}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
