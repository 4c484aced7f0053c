"""Figures of one picture that was denoised blind: PSNR by the rules of `real_noise`, and the camera it is from."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.blind.true_noise import fitted, is_affine
from smdae.denoising.preparation import prepare


@dataclass(frozen=True)
class Result:
    """Figures of one picture; PSNR in dB.

    Attributes:
        name: Of the file.
        noisy: PSNR of the noisy picture.
        blind: PSNR of what the command wrote.
        told: PSNR with the true noise, by the way in which it is described.
        bm3d: PSNR of BM3D; None without it.
        kind: Of the true noise.
        level: Root mean square of the true noise, in the unit of the picture.
        found: Level that was found.
        described: The noise that was found, in words.
        truth: PSNR to which the estimate is compared.
        estimate: PSNR that is printed; None if none is.
        error: Its standard error.
        doubts: Why none is printed.
    """

    name: str
    noisy: float
    blind: float
    told: dict[str, float]
    bm3d: float | None
    kind: str
    level: float
    found: float
    described: str
    truth: float
    estimate: float | None
    error: float | None
    doubts: tuple[str, ...]


def group_of(name: str) -> str:
    """Return the camera or microscope in a file name: its first word, and the second too if that begins with a letter.

    Words are parted by underscores: Canon80D_8_8_3200_ball_6 is of Canon80D, Confocal_BPAE_G_1 of Confocal_BPAE. A
    single word counts without the number at its end: kidney3 is of kidney.
    """
    first, *rest = Path(name).stem.split("_")
    if not rest:
        return first.rstrip("0123456789") or first
    return f"{first}_{rest[0]}" if rest[0][:1].isalpha() else first


def psnr_of(difference: np.ndarray, peak: float) -> float:
    """Return PSNR in dB."""
    return 10 * math.log10(peak**2 / max(float(np.mean(np.square(difference, dtype=np.float64))), 1e-30))


def quality(result: np.ndarray, clean: np.ndarray) -> float:
    """Return PSNR in dB of a result, by the rule above for its type."""
    if not is_affine(clean, result):
        return psnr_of(result.astype(np.float64) - clean, 255.0)
    return psnr_of(fitted(result, clean) - clean, float(clean.max()) - float(clean.min()))


def truth_of(result: np.ndarray, clean: np.ndarray, noisy: np.ndarray) -> float:
    """Return the PSNR in dB that the command means to estimate: in the noisy picture's unit, with its white as peak."""
    if not is_affine(clean, noisy):
        return quality(result, clean)
    return psnr_of(result.astype(np.float64) - fitted(clean, noisy), prepare(noisy).scale.span)
