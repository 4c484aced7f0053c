"""A description of noise in one line, for a user: its kind, its level, and what else there is to say."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from smdae.correlation import is_point

if TYPE_CHECKING:
    from smdae.blotches import Blotches
    from smdae.noise import Noise

SHADOWS, HIGHLIGHTS = 0.1, 0.9  # quantiles of the values
MAX_CHANNEL_DIFFERENCE = 0.1  # relative, of the levels of channels that are told as one
MIN_CORRELATION = 0.05  # of channels: smaller ones are not told


def described(noise: "Noise", values: np.ndarray | None = None, unit: float | None = None) -> str:
    """Return a description of noise in one line, "none" for no noise; the arguments are those of `Noise.describe`."""
    if noise.is_none:
        return "none"
    if unit is None:
        unit = 255 / (noise.white - noise.zero)
    if not noise.is_signal_dependent:  # the same at all values
        x = torch.tensor([noise.zero], dtype=torch.float64)
    elif values is not None:
        x = torch.from_numpy(values.astype(np.float64))
    else:
        x = torch.linspace(noise.zero, noise.white, 257, dtype=torch.float64, device="cpu")
    squares = torch.stack([curve.sd(x).square() for curve in noise.curves])  # (curves, n)
    levels = [level * unit for level in squares.mean(1).sqrt().tolist()]
    blotches = [] if noise.blotches is None else [_blotches(noise.blotches.scaled(unit))]
    if blotches and not squares.any():
        return ", ".join(filter(None, (*blotches, _recorded(noise))))
    kind = "grain" if not is_point(noise.grain) else "shot" if noise.is_signal_dependent else "white"
    words: list[str] = [kind, f"sigma {short(squares.mean().sqrt().item() * unit)}"]
    if noise.is_signal_dependent:
        ends = x.quantile(x.new_tensor([SHADOWS, HIGHLIGHTS]))
        at_ends = torch.stack([curve.sd(ends).square() for curve in noise.curves])  # (curves, 2)
        dark, bright = (short(level * unit) for level in at_ends.mean(0).sqrt().tolist())
        words[1] += f" ({dark} in shadows, {bright} in highlights)"
    if max(levels) > (1 + MAX_CHANNEL_DIFFERENCE) * min(levels):
        words.append(f"{' / '.join(map(short, levels))} by channel")
    if kind == "grain":
        words.append(f"grain size {noise.grain_size:.1f} px")
    if noise.channels is not None and len(noise.channels) > 1:
        rho = np.array(noise.channels)[np.triu_indices(len(noise.channels), 1)].mean()
        if abs(rho) >= MIN_CORRELATION:
            words.append(f"channels correlated by {rho:.2f}")
    return ", ".join(filter(None, (*words, *blotches, _recorded(noise))))


def _blotches(blotches: "Blotches") -> str:
    """Return blotches of colour in words; their levels are in the unit of the text."""
    return f"blotches of colour, sigma {short(blotches.sigma)}, {short(blotches.size)} px wide"


def _recorded(noise: "Noise") -> str:
    """Return impulses and JPEG in words; empty if there are none."""
    words = []
    if noise.impulses:
        words.append(f"{short(100 * noise.impulses)} % impulses")
    if noise.jpeg is not None:
        words.append(f"JPEG quality {noise.jpeg}")
    return ", ".join(words)


def how_known(noise: "Noise") -> str:
    """Return how well the level of noise is known, in words; empty if it was not estimated."""
    error = noise.level_error
    return f"estimated from a picture, with an error of about {short(100 * error)} %" if error else ""


def short(value: float) -> str:
    """Return a number with two significant digits, three from 10 on, and all before the point."""
    if value >= 999.5:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 9.95 else f"{value:.2g}"
