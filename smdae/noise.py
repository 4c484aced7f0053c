"""Noise q(y|x): how a clean picture x is corrupted to a noisy picture y.

    y = x + S(x) K e,   e ~ N(0, I),   S(x) = diag sd_c(x) (see `curves`),   K K' = R (see `correlation`)

Blotches of colour (see `blotches`), impulses, clipping, rounding and JPEG may follow, in this order. K is the symmetric
square root of the correlation R, which is the same at every place and has ones on its diagonal, so that sd_c(x) is the
standard deviation of y in channel c. With the covariance C(x) = S(x) R S(x),

    grad_y log q(y|x) = -C(x)^-1 (y - x)

is the target of denoising score matching, which holds for any kernel whose score is known (Vincent 2011, section 4.2).
If C is the same for all x, E[x|y] = y + C grad log q(y), and a denoiser D(y) has Stein's unbiased risk estimate
|D - y|^2 + 2 tr(C dD/dy) - tr C (Stein 1981). White noise of one level is the special case C = sigma^2 I.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Generator, Tensor

from smdae import checked, correlation, noise_profile
from smdae.blotches import Blotches
from smdae.checked import Matrix
from smdae.curves import Affine, Curve, Table, sds
from smdae.errors import UsageError
from smdae.noise_checks import checked_fields, refuse_no_pictures
from smdae.noise_text import described, how_known
from smdae.recording import additions, as_images, recorded

__all__ = ["Affine", "Curve", "Noise", "Table"]


@dataclass(frozen=True)
class Noise:
    """Noise whose parameters are in the unit of the picture.

    Pictures are tensors of shape (B, C, H, W), or (B, d): rows of d pixels with one channel.

    Attributes:
        curves: One `Affine` or `Table` for all channels, or one for each.
        white: Value of white in the picture.
        zero: Value of zero in the picture, below white.
        grain: Correlation `rho[dy][dx]` of pixels dy rows and dx columns apart: square, 1 at (0, 0), 0 beyond its end.
        channels: Correlation of the channels, C x C, with ones on the diagonal; None if they are independent.
        clip: The smallest and the largest value that can be stored; None if all can.
        rounding: Values are rounded to `zero` plus a multiple of this step; None if they are not.
        jpeg: Quality, 1 to 100, of a JPEG with all channels at full size; None if the picture is not compressed.
        impulses: Share of the pixels, 0 <= share < 1, set to either end of `clip`, or to `zero` or `white`, by chance.
        level_error: Relative standard error of its level, if that was estimated from a picture; 0 if it is known.
        coarseness: Side of squares, 1, 2 or 4 pixels, in whose means all of the noise is left: it has no finer details.
        blotches: Noise in the colours alone, for pictures of three channels; None if there is none.

    Raises:
        UsageError: A value makes no sense.
    """

    curves: tuple[Curve, ...]
    white: float = 1.0
    zero: float = 0.0
    grain: Matrix = ((1.0,),)
    channels: Matrix | None = None
    clip: tuple[float, float] | None = None
    rounding: float | None = None
    jpeg: int | None = None
    impulses: float = 0.0
    level_error: float = 0.0
    coarseness: int = 1
    blotches: Blotches | None = None

    def __post_init__(self) -> None:
        for name, value in checked_fields(self).items():
            object.__setattr__(self, name, value)

    @classmethod
    def gaussian(cls, sigma: float, white: float = 1.0) -> Self:
        """Return noise with C = sigma^2 I, `white` being the value of white; UsageError for sigma < 0 or not finite."""
        return cls((Affine(read=sigma),), white)

    @classmethod
    def poisson_gaussian(cls, gain: float, read: float, black: float = 0.0, white: float = 1.0) -> Self:
        """Return independent photon and read noise, sd^2 = gain max(x - black, 0) + read^2; UsageError if negative."""
        return cls((Affine(gain, black, read),), white)

    @property
    def count(self) -> int | None:
        """Return the number of channels that the noise has, or None if it fits any number."""
        if self.channels is not None or self.blotches is not None:
            return len(self.channels or "RGB")
        return len(self.curves) if len(self.curves) > 1 else None

    @property
    def is_signal_dependent(self) -> bool:
        """Return whether C depends on x."""
        return any(curve.level is None for curve in self.curves)

    @property
    def kind(self) -> Literal["white", "shot", "grain"]:
        """Return "grain" if neighbouring pixels are correlated, else "shot" if the level depends on x, else "white"."""
        if not correlation.is_point(self.grain) or self.blotches is not None:
            return "grain"
        return "shot" if self.is_signal_dependent else "white"

    @property
    def is_white(self) -> bool:
        """Return whether C = sigma^2 I: one level for all values and channels, and no correlation."""
        return self._level is not None

    @property
    def is_none(self) -> bool:
        """Return whether there is no noise at all: no blotches, no impulses, and level 0 for all values."""
        return self.blotches is None and self.impulses == 0 and all(curve.level == 0 for curve in self.curves)

    @property
    def is_gaussian(self) -> bool:
        """Return whether the noise is Gaussian: no blotches, impulses, clipping, rounding or JPEG follow."""
        return not additions(self)

    @property
    def _level(self) -> float | None:
        """Return sigma where C = sigma^2 I, else None."""
        correlated = self.blotches is not None or not (self.channels is None or correlation.is_diagonal(self.channels))
        levels = {curve.level for curve in self.curves}
        if correlated or len(levels) > 1 or not correlation.is_point(self.grain):
            return None
        return levels.pop()

    @property
    def levels(self) -> tuple[float, ...]:
        """Return the level of each curve, the root mean square of sd over all values; of each channel with blotches."""
        x = torch.linspace(self.zero, self.white, 257, dtype=torch.float64, device="cpu")
        known = tuple(c.sd(x).square().mean().sqrt().item() if c.level is None else c.level for c in self.curves)
        return known if self.blotches is None else self.blotches.added_to(known)

    @property
    def sigma(self) -> float:
        """Return one level for all channels: the root mean square of `levels`, in the picture's unit."""
        levels = self.levels
        return levels[0] if min(levels) == max(levels) else math.sqrt(sum(level**2 for level in levels) / len(levels))

    @property
    def grain_size(self) -> float:
        """Return the side of a grain in pixels, at least 1, see `correlation.grain_size`."""
        return correlation.grain_size(self.grain)

    def _check(self, x: Tensor) -> None:
        refuse_no_pictures(x)
        self._check_count(x.shape[1] if x.ndim == 4 else 1)

    def _check_count(self, count: int) -> None:
        if self.count not in (None, count):
            raise UsageError(f"the noise has {self.count} channels, and the picture has {count}")

    def sd(self, x: Tensor) -> Tensor:
        """Return the sd of y at clean x, with the shape of x; UsageError if x has other channels than the noise."""
        self._check(x)
        return sds(self.curves, x) if self.blotches is None else self.blotches.spread(sds(self.curves, x))

    def sd_of(self, image: np.ndarray) -> np.ndarray:
        """Return the sd at each value of a clean image, (H, W) or (H, W, C), float64; UsageError for another C."""
        x = torch.from_numpy(image.astype(np.float64))
        return self.sd(torch.atleast_3d(x).permute(2, 0, 1)[None])[0].permute(1, 2, 0).reshape(x.shape).numpy()

    def correlate(self, e: Tensor) -> Tensor:
        """Return K e, with the shape of e; e itself if nothing is correlated. UsageError if e has other channels."""
        self._check(e)
        return self._correlated(e, 0.5)

    def _correlated(self, e: Tensor, power: float) -> Tensor:
        """Return R^power e."""
        return correlation.apply(as_images(e), self.grain, self.channels, power).reshape(e.shape)

    def sample(self, x: Tensor, generator: Generator) -> Tensor:
        """Draw y from q(y|x).

        Args:
            x: Clean pictures; UsageError for other channels, or if JPEG follows and they have neither 1 nor 3.
            generator: A generator on the CPU, so that every device gets the same noise.

        Returns:
            Noisy pictures, with the shape, dtype and device of x. Rounding and JPEG let no gradient pass.
        """
        self._check(x)
        e = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
        level = self._level
        y = x + level * e if level is not None else x + sds(self.curves, x) * self._correlated(e, 0.5)
        return recorded(self, y, generator)

    def covariance(self, v: Tensor, x: Tensor) -> Tensor:
        """Return C(x) v = S R S v, with the shape of v, where C is that of S K e alone.

        Args:
            v: A direction, with the shape of x.
            x: Clean pictures, or denoised ones in their place, but not noisy ones; UsageError for other channels.
        """
        self._check(x)
        level = self._level
        if level is not None:
            return level**2 * v
        sd = sds(self.curves, x)
        return sd * self._correlated(sd * v, 1.0)

    def score(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return grad_y log q(y|x) = -C(x)^-1 (y - x), with the shape of noisy.

        Args:
            noisy: y.
            clean: x, with the shape of y.

        Raises:
            UsageError: The noise is not Gaussian, C is singular, or x has another number of channels than the noise.
        """
        if later := additions(self):
            raise UsageError(f"noise with {', '.join(later)} has no score", "fit an autoencoder, or leave these out")
        self._check(clean)
        level = self._level
        if level:
            return (clean - noisy) / level**2
        sd = self.sd(clean)
        if not (sd > 0).all():
            raise UsageError(
                "the covariance of the noise is singular, so the noise has no score",
                "leave out the pixels at which the noise is zero",
            )
        return self._correlated((clean - noisy) / sd, -1.0) / sd

    def scaled(self, factor: float) -> Self:
        """Return the same noise in units where values are `factor` times as large; UsageError unless it is positive."""
        if checked.number(factor, "the factor between units") <= 0:
            raise UsageError(f"the factor between units must be positive, not {factor:g}")
        rounding = None if self.rounding is None else self.rounding * factor
        changed = replace(self, rounding=rounding, blotches=self.blotches and self.blotches.scaled(factor))
        curves = tuple(curve.scaled(factor) for curve in self.curves)
        return replace(changed, curves=curves, **self._ends(lambda value: value * factor))

    def shifted(self, offset: float) -> Self:
        """Return the same noise in units in which every value is larger by `offset`."""
        return replace(self, curves=tuple(c.shifted(offset) for c in self.curves), **self._ends(lambda x: x + offset))

    def _ends(self, changed: Callable[[float], float]) -> dict[str, Any]:
        """Return the fields `white`, `zero` and `clip` by name, with a function applied to each value."""
        clip = None if self.clip is None else (changed(self.clip[0]), changed(self.clip[1]))
        return {"white": changed(self.white), "zero": changed(self.zero), "clip": clip}

    def of_unit(self) -> Self:
        """Return the same noise in the unit in which black is 0 and white is 1."""
        return self.shifted(-self.zero).scaled(1 / (self.white - self.zero))

    def amplified(self, factor: float) -> Self:
        """Return the noise with `factor` times the standard deviation; raise UsageError for a negative factor."""
        if factor < 0:
            raise UsageError(f"the factor that noise is amplified by must not be negative, and {factor:g} is")
        blotches = self.blotches.scaled(factor) if self.blotches and factor else None
        return replace(self, curves=tuple(curve.amplified(factor) for curve in self.curves), blotches=blotches)

    def for_channels(self, count: int) -> Self:
        """Return the same noise with a curve for each of `count` channels; UsageError if it has another number."""
        self._check_count(count)
        return replace(self, curves=self.curves if len(self.curves) == count else self.curves * count)

    def channel(self, c: int) -> Self:
        """Return the noise of channel c alone, counted from 0; raise UsageError if there is no such channel."""
        if self.count is not None and not 0 <= c < self.count:
            raise UsageError(f"the noise has {self.count} channels, and no channel {c}")
        return replace(self, curves=(self.curves[c if len(self.curves) > 1 else 0],), channels=None, blotches=None)

    def to_yaml(self) -> str:
        """Return the noise as YAML, from which `from_yaml` makes exactly the same noise."""
        kept = {f.name: v for f in fields(self) if (v := getattr(self, f.name)) != f.default or f.name == "white"}
        return noise_profile.dump(kept, "; ".join(filter(None, (self.describe(), how_known(self)))))

    @classmethod
    def from_yaml(cls, text: str, name: str = "the noise profile") -> Self:
        """Return the noise that YAML of `to_yaml` describes.

        Args:
            text: The YAML.
            name: What errors call it, such as the name of its file.

        Raises:
            UsageError: It is not YAML, not a noise profile, of a later version, or has a value that makes no sense.
        """
        try:
            return cls(**noise_profile.parse(text, [field.name for field in fields(cls)]))
        except UsageError as error:
            raise UsageError(f"{name}: {error.message}", error.hint) from None

    def describe(self, values: np.ndarray | None = None, unit: float | None = None) -> str:
        """Return a description of the noise in one line, such as "shot, sigma 12 (8 in shadows, 17 in highlights)".

        Args:
            values: Values of a picture, over which the variance is averaged; None for all from black to white equally.
            unit: Factor for the levels in the text; None for the one that makes white 255.
        """
        return described(self, values, unit)
