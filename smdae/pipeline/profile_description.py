"""Descriptions of noise profiles: the noise in words, and its level from black to white as a chart."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smdae.errors import InputError, UsageError
from smdae.noise_text import how_known
from smdae.pipeline.noise_chart import chart, correlation, curve, number
from smdae.pipeline.noise_choice import noise_named

if TYPE_CHECKING:
    from smdae.noise import Noise

INDENT = "  "


def record(file: Path) -> dict[str, Any]:
    """Return the JSON record of a noise profile, with values and levels in the unit of the pictures that it is for.

    Raises:
        UsageError, InputError: The file cannot be read, or is not a noise profile.
    """
    noise = _read(file)
    points = list(zip(*curve(noise, noise.zero, noise.white), strict=True))
    return {
        "profile": str(file),
        "kind": "none" if noise.is_none else noise.kind,
        "described": noise.describe(unit=1.0),
        "sigma": noise.sigma,
        "curve": points if noise.is_signal_dependent else [points[0], points[-1]],
        "grain": noise.grain if noise.kind == "grain" and len(noise.grain) > 1 else None,
        "blotches": None if noise.blotches is None else asdict(noise.blotches),
        "channels": noise.channels,
        "white": noise.white,
        "black": noise.zero,
        "level_error": noise.level_error,
    }


def lines(file: Path) -> list[str]:
    """Return the description of a noise profile as lines of text without newlines.

    Raises:
        UsageError, InputError: The file cannot be read, or is not a noise profile.
    """
    noise = _read(file)
    entries = [
        f"noise: {noise.describe(unit=1.0)}",
        *([f"level: {how_known(noise)}"] if noise.level_error else []),
        f"white {number(noise.white)}, black {number(noise.zero)}",
        "sigma by brightness, in the unit of the pictures",
    ]
    entries += [f"{INDENT}{line}" for line in chart(*curve(noise, noise.zero, noise.white))]
    if noise.kind == "grain" and len(noise.grain) > 1:  # pixels may be correlated by blotches alone
        entries.append(correlation(noise.grain))
    entries.append(f"use: smdae denoise noisy.png --noise {file}")
    return [f"{file}: a noise profile", *(f"{INDENT}{line}" for line in entries)]


def _read(file: Path) -> "Noise":
    if not os.path.isfile(file):
        raise InputError(f"cannot read '{file}': there is no such file")
    try:
        noise = noise_named(str(file))
    except UsageError as error:
        raise InputError(
            f"cannot read '{file}': {error.message.partition(': ')[2] or 'it is not a noise profile'}"
        ) from None
    if isinstance(noise, str):
        raise InputError(f"cannot read '{file}': it is not a noise profile")
    return noise
