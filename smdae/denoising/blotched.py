"""Take blotches of colour out of the means of squares, guided by the brightness, and other noise out of what is left.

Blotches (`smdae.blotches`) are coarser than what networks see at once, and told as noise of red, green and blue they
would take details of the brightness with them. So only the colours change, and only as far as the means h of squares
of s x s pixels do. With D the denoiser of the means, P the part of a change that leaves the brightness alone, U bicubic
interpolation, and D_0 the denoiser of the other noise,

    y' = y - U(w P(h - D(h))),   x^ = D_0(y')

The weight w is 1 but where the change is larger than noise is, as on small things of a strong colour. D sees red, green
and blue, of which the brightness has next to no noise, so that it finds the edges there.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.blotches import Blotches, colour_of, difference_of
from smdae.curves import Affine
from smdae.denoising.coarse import INTERPOLATED, enlarged, means
from smdae.denoising.informed import Informed
from smdae.denoising.tiles import Tiled
from smdae.models.conditioning import SMOOTHED
from smdae.noise import Noise
from smdae.protocols import TakesNoise, offers, posterior_mean, widened

LARGEST_SIZES = {2: 6.5, 4: 14.0, 8: math.inf}  # of blotches in pixels, by the side of their squares
SELDOM, NEVER = 3.5, 5.0  # changes, over the levels, from which on and beyond which colour is real
AROUND = 1  # means, within which colours are spared together
LEAST_LEVEL = 1e-6  # white being 1
TOLD = 1.25  # the level that D is told, over that of the means: it spares what is coarser than it sees


def side_of(blotches: Blotches) -> int:
    """Return the side in pixels of the squares out of whose means blotches are taken."""
    return next(side for side, size in LARGEST_SIZES.items() if blotches.size < size)


class Colours:
    """The denoiser D of the means of squares, which returns by how much colour differences are to change.

    Args:
        model: A score model of pictures, in one or three channels.
        blotches: The blotches of the means, white being 1, their size in squares.
    """

    def __init__(self, model: Any, blotches: Blotches) -> None:
        self.model, self.blotches = model, blotches

    def change(self, h: Tensor) -> Tensor:
        """Return what is to be taken off the differences Cb and Cr, (B, 2, h, w), of means h, (B, 3, h, w)."""
        if self.model.channels != 1:
            return difference_of(h - self._denoised(h, self.blotches.sds))
        differences = difference_of(h)
        planes = [
            self._denoised(differences[:, c : c + 1], (level,)) if level else differences[:, c : c + 1]
            for c, level in enumerate(self.blotches.levels)
        ]
        return differences - torch.cat(planes, 1)

    def _denoised(self, h: Tensor, sds: tuple[float, ...]) -> Tensor:
        """Return D(h), with the shape of h, for noise with such standard deviations in the channels."""
        noise = Noise(tuple(Affine(read=TOLD * sd) for sd in sds), grain=self.blotches.grain)
        inner = self.model.model if isinstance(self.model, Tiled) else self.model
        if not (offers(inner, TakesNoise) and inner.takes_noise):
            return posterior_mean(self.model, h, noise.sigma)
        model: Any = Informed(inner, noise)
        if isinstance(self.model, Tiled):
            model = Tiled(model, self.model.side, self.model.where)
        return posterior_mean(model, h, noise.sigma)


@dataclass(frozen=True)
class Rest:
    """How the other noise is taken out.

    Attributes:
        treat: Turns a version of the model into that of the other noise.
        level: The level to call that with.
        is_wide: Whether it tiles the model inside it by itself, as its halo is wide.
    """

    treat: Callable[[Any], Any]
    level: float
    is_wide: bool

    def model_of(self, version: Any) -> Any:
        """Return the model of the other noise, tiled if the version is."""
        if self.is_wide or not isinstance(version, Tiled):
            return self.treat(version)
        return Tiled(self.treat(version.model), version.side, version.where)


class Blotched:
    """A score model for blotches of colour and other noise, psi(y) = (x^ - y) / sigma^2.

    Args:
        model: A score model of pictures, of which both denoisers are made.
        blotches: The blotches, white being 1.
        rest: How the other noise is taken out; None if there is none.
    """

    def __init__(self, model: Any, blotches: Blotches, rest: Rest | None) -> None:
        self.blotches, self.side, self.rest = blotches, side_of(blotches), rest
        of_means = Blotches(blotches.levels, max(blotches.size / self.side, 1.0))
        self.of_means = of_means.scaled(kept_by_means(blotches, self.side))
        self.channels, self.noise_range, self.bytes_per_pixel = 3, model.noise_range, model.bytes_per_pixel
        self.inner = self.colours = model
        after = self.with_model(model).inner
        self.shift_multiple = math.lcm(self.side * model.shift_multiple, after.shift_multiple if rest else 1)
        halo = None if model.halo is None else self.side * (model.halo + SMOOTHED // 2 + INTERPOLATED + AROUND)
        if rest:
            halo = None if halo is None or after.halo is None else halo + after.halo
        self.halo = widened(halo, multiple=self.shift_multiple)

    def with_model(self, model: Any) -> "Blotched":
        """Return a copy that uses another version of the model: in another precision, or computed by tiles."""
        changed = copy.copy(self)
        changed.colours = Colours(model, self.of_means)
        changed.inner = self.rest.model_of(model) if self.rest else None
        return changed

    def without(self, y: Tensor) -> Tensor:
        """Return y', pictures, (B, 3, H, W), without their blotches."""
        change = self._spared(self.colours.change(means(y, self.side)))
        colour = colour_of(enlarged(change, self.side, y.shape[-2:]))
        # Where a colour would leave the range, the change is shortened: clipped, it would change the brightness.
        beyond = torch.where(colour > 0, y - y.clamp(max=0), y.clamp(min=1) - y)
        share = (beyond / colour.abs().clamp(min=1e-12)).amin(1, keepdim=True).clamp(0, 1)
        return y - share * colour

    def _spared(self, change: Tensor) -> Tensor:
        """Return a change of the differences of means, (B, 2, h, w), less where noise is hardly ever as strong.

        So small things of a strong colour, such as lamps and letters, keep it.
        """
        levels = change.new_tensor(self.of_means.levels).clamp(min=LEAST_LEVEL)[:, None, None]
        strength = F.max_pool2d((change / levels).square().sum(1, keepdim=True).sqrt(), 2 * AROUND + 1, 1, AROUND)
        return change * ((NEVER - strength) / (NEVER - SELDOM)).clamp(0, 1)

    def reconstruct(self, y: Tensor) -> Tensor:
        """Return the clean estimate x^, with the shape of y, (B, 3, H, W)."""
        rest = self.without(y)
        if self.rest is None:
            return rest
        planes = rest.flatten(0, 1)[:, None] if self.inner.channels == 1 else rest
        return posterior_mean(self.inner, planes, self.rest.level).reshape(rest.shape)

    def score(self, y: Tensor, sigma: Any) -> Tensor:
        """Return psi(y) = (x^ - y) / sigma^2, with the shape of y."""
        return (self.reconstruct(y) - y) / torch.as_tensor(sigma, dtype=y.dtype, device=y.device) ** 2


def kept_by_means(blotches: Blotches, side: int) -> float:
    """Return the level of the means of squares over that of the pixels."""
    along = blotches.along(side)
    return along[0] / side + 2 * sum((side - lag) / side**2 * along[lag] for lag in range(1, side))
