"""How far is the estimated level of the noise from the true one?

    python benchmarks/noise_level.py VAL...

VAL are folders of clean pictures. Noise is added in float, and again clipped and rounded to 8 bits; of colour pictures
every channel is estimated by itself. Bias, mean absolute error and the largest error, beside the median of details
(Donoho and Johnstone); and by how many dB the bundled network does worse with the estimate than with the truth.
"""

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
from protocol import noisy_pairs, psnr_on

import smdae
from smdae.estimation.noise_level import estimate, mad_level


def row(values: list[float], sigma: float) -> str:
    errors = np.array(values) - sigma
    return f"{errors.mean():8.2f}{np.abs(errors).mean():7.2f}{np.abs(errors).max():7.2f}"


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        head = f"{'float: bias':>13}{'MAE':>7}{'max':>7}{'8-bit':>10}{'MAE':>7}{'max':>7}"
        print(f"{folder.name:12}{head}{'details, MAE':>14}{'dB lost':>14}")
        for sigma in (5, 15, 25, 50, 75):
            rows, details, seconds, lost = "", [], 0.0, []
            for stored in (False, True):
                values = []
                for _, noisy in noisy_pairs(folder, sigma, stored):
                    begun = time.perf_counter()
                    values += [255 * s for s in estimate(noisy, 255.0)]
                    seconds += time.perf_counter() - begun
                    details += [mad_level(plane) for plane in np.moveaxis(np.atleast_3d(noisy), 2, 0)]
                rows += row(values, sigma) + "  "
                pairs = noisy_pairs(folder, sigma, stored)
                given, found = (psnr_on(pairs, partial(smdae.denoise, sigma=s, white=255)) for s in (sigma, None))
                lost.append(given - found)
            halves = np.array_split(np.abs(np.array(details) - sigma), 2)
            tail = f"{halves[0].mean():7.2f} /{halves[1].mean():6.2f}{lost[0]:8.3f} /{lost[1]:6.3f}"
            print(f"sigma {sigma:<6}{'':5}{rows}{tail}", flush=True)
        print(f"{seconds / len(values):.3f} s a channel")
