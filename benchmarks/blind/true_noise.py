"""The noise of a pair of pictures, measured in the residual noisy - clean, in three descriptions (see `real_noise`)."""

from dataclasses import dataclass, replace

import numpy as np

from smdae.noise import Affine, Noise, Table

LAGS = 4  # 0 to 3 pixels
TORUS = 64  # pixels a side, on which a correlation is made one that noise can have
ROUNDS = 30
BINS, MIN_PIXELS = 32, 500  # of brightness
MIN_CORRELATION = 0.25  # of neighbours, from which noise is grain
MIN_RATIO = 1.3  # of the levels of bins, from which noise is shot
MIN_LEVEL = 0.1  # of the total level, below which a residual is not divided by its level


def is_affine(clean: np.ndarray, noisy: np.ndarray) -> bool:
    """Return whether two pictures may show the scene in different units: they are not both of 8 bits."""
    return not clean.dtype == noisy.dtype == np.uint8


def fitted(x: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Return a x + b, with the shape of x, a and b being those that fit best in the least squares sense."""
    x, to = x.astype(np.float64), to.astype(np.float64)
    variance = x.var()
    slope = ((x - x.mean()) * (to - to.mean())).mean() / variance if variance > 0 else 0.0
    return to.mean() + slope * (x - x.mean())


@dataclass(frozen=True, eq=False)
class Levels:
    """Mean and standard deviation of noise by brightness, and the pixels of each bin."""

    at: np.ndarray
    bias: np.ndarray
    sd: np.ndarray
    pixels: np.ndarray


def levels_of(clean: np.ndarray, noise: np.ndarray) -> Levels:
    """Return the levels of noise (H, W) in bins of the clean values (H, W), merged until each has MIN_PIXELS."""
    low, high = float(clean.min()), float(clean.max())
    bins = np.minimum((clean.ravel() - low) * (BINS / max(high - low, 1e-30)), BINS - 1).astype(int)
    merged, pixels, current = np.zeros(BINS, int), 0, 0
    counts = np.bincount(bins, minlength=BINS)
    for bin_, count in enumerate(counts):
        merged[bin_] = current
        pixels += count
        if pixels >= MIN_PIXELS and counts[bin_ + 1 :].sum() >= MIN_PIXELS:
            current, pixels = current + 1, 0
    bins = merged[bins]
    count = np.bincount(bins)
    at, bias, square = (np.bincount(bins, v.ravel()) / count for v in (clean, noise, noise**2))
    return Levels(at, bias, np.sqrt(np.maximum(square - bias**2, 0)), count)


def grain_of(noise: np.ndarray) -> np.ndarray:
    """Return the correlation (LAGS, LAGS) of noise (H, W, C) with mean 0, rows and columns apart; mean of channels."""
    height, width = noise.shape[:2]
    rho = np.empty((LAGS, LAGS))
    for dy in range(LAGS):
        for dx in range(LAGS):
            right = noise[: height - dy, : width - dx] * noise[dy:, dx:]
            left = noise[: height - dy, dx:] * noise[dy:, : width - dx]
            rho[dy, dx] = (right.mean() + left.mean()) / 2
    return rho / max(rho[0, 0], 1e-30)


def possible(rho: np.ndarray) -> np.ndarray:
    """Return a correlation near rho, (LAGS, LAGS), that noise can have: no power of its spectrum is negative.

    By turns negative powers become 0, and what lies beyond the lags does (Papoulis and Gerchberg); what is left of them
    in the end goes under white noise.
    """
    lag = np.minimum(np.arange(TORUS), TORUS - np.arange(TORUS))
    inside = np.maximum(lag[:, None], lag) < LAGS
    table = np.where(inside, rho[np.ix_(np.minimum(lag, LAGS - 1), np.minimum(lag, LAGS - 1))], 0.0)
    for _ in range(ROUNDS):
        power = np.fft.fft2(table).real.clip(min=0)
        table = np.where(inside, np.fft.ifft2(power).real, 0.0)
        table /= table[0, 0]
    table[0, 0] += max(0.0, -float(np.fft.fft2(table).real.min()))
    return (table / table[0, 0])[:LAGS, :LAGS]


def true_noise(clean: np.ndarray, noisy: np.ndarray) -> tuple[dict[str, Noise], float]:
    """Return the noise of a pair, (H, W) or (H, W, C), by the way it is described, and its root mean square."""
    x, y = (np.atleast_3d(picture).astype(np.float64) for picture in (clean, noisy))
    zero, white = 0.0, 255.0
    if is_affine(clean, noisy):
        x = fitted(x, y)
        zero, white = float(x.min()), float(x.max())
    noise = y - x
    each = [levels_of(x[..., c], noise[..., c]) for c in range(x.shape[2])]
    for c, levels in enumerate(each):  # where a curve bends, noise has a mean, which no one could take out
        noise[..., c] -= np.interp(x[..., c], levels.at, levels.bias)
    total = float(np.sqrt(np.mean(noise**2)))
    plain = Noise((Affine(read=total),), white, zero)
    if total == 0:
        return {"curve": plain, "level": plain, "white": plain}, total

    sd = np.stack([np.interp(x[..., c], levels.at, levels.sd) for c, levels in enumerate(each)], -1)
    shape = noise / np.maximum(sd, MIN_LEVEL * total)
    rho = grain_of(shape)
    channels = None
    if x.shape[2] > 1:
        matrix = np.corrcoef(shape.reshape(-1, x.shape[2]), rowvar=False)
        matrix = (matrix + matrix.T) / 2
        np.fill_diagonal(matrix, 1.0)
        channels = tuple(map(tuple, matrix.tolist()))
    table = tuple(Table(tuple(levels.at.tolist()), tuple(levels.sd.tolist())) for levels in each)
    filled = [levels.sd[levels.pixels >= 0.01 * x[..., 0].size] for levels in each]
    ratio = float(np.mean([sd.max() / max(sd.min(), 1e-9 * total) for sd in filled]))
    if (rho[0, 1] + rho[1, 0]) / 2 > MIN_CORRELATION:
        grain = tuple(map(tuple, possible(rho).tolist()))
        level = replace(plain, grain=grain, channels=channels)
        return {"curve": replace(level, curves=table), "level": level, "white": plain}, total
    curve = replace(plain, curves=table) if ratio > MIN_RATIO else plain
    return {"curve": curve, "level": replace(plain, channels=channels), "white": plain}, total
