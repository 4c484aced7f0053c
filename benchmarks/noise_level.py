"""How far is the estimated level of the noise from the true one?

    python benchmarks/noise_level.py VAL...

VAL are folders of clean pictures. Noise is added in float and, after the slash, clipped and rounded to 8 bits; of
colour pictures every channel is estimated by itself. The first table has the mean absolute error, beside that of the
median of details (Donoho and Johnstone); the second bias, the largest error, and by how many dB the bundled network
does worse with the estimate than with the truth.
"""

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from markdown_table import head, row
from protocol import is_colour, noisy_pairs, psnr_on

import smdae
from smdae.estimation.noise_level import estimate, mad_level

LEVELS = (5, 15, 25, 50, 75)


@dataclass
class Errors:
    """Errors of one folder at one level, a list for float noise and one for that of 8 bits; `lost` in dB."""

    ours: list[np.ndarray] = field(default_factory=list)
    details: list[np.ndarray] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)


def measured(folder: Path, sigma: float) -> Errors:
    """Return the errors of all pictures, and what they cost."""
    found = Errors()
    for stored in (False, True):
        pairs = noisy_pairs(folder, sigma, stored)
        ours = [255 * level for _, noisy in pairs for level in estimate(noisy, 255.0)]
        details = [mad_level(plane) for _, noisy in pairs for plane in np.moveaxis(np.atleast_3d(noisy), 2, 0)]
        found.ours.append(np.array(ours) - sigma)
        found.details.append(np.array(details) - sigma)
        given, blind = (psnr_on(pairs, partial(smdae.denoise, sigma=s, white=255)) for s in (sigma, None))
        found.lost.append(given - blind)
    return found


def both(values: list[float], digits: int = 2) -> str:
    """Return two figures for a cell."""
    return " / ".join(f"{value:.{digits}f}" for value in values)


if __name__ == "__main__":
    print(head("sigma", *LEVELS))
    more = [head("", *LEVELS)]
    for folder in map(Path, sys.argv[1:]):
        found = [measured(folder, sigma) for sigma in LEVELS]
        name = folder.name + (", each channel" if is_colour(folder) else "")
        print(row(name, *(both([np.abs(one).mean() for one in errors.ours]) for errors in found)))
        details = (both([np.abs(one).mean() for one in errors.details]) for errors in found)
        print(row(f"{name}, median of details", *details), flush=True)
        more.append(row(f"{name}: bias", *(both([one.mean() for one in errors.ours]) for errors in found)))
        more.append(row(f"{name}: largest", *(both([np.abs(one).max() for one in errors.ours]) for errors in found)))
        more.append(row(f"{name}: dB lost", *(both(errors.lost, 3) for errors in found)))
    print("\n" + "\n".join(more))
