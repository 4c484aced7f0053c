"""The treatment of each kind of noise: which a picture has, and how a model of white noise becomes one for it.

    white   the model itself, at the level; of channels that share noise, at that of their widest direction
    shot    the model after a transform that makes the noise white (`stabilised`)
    grain   two passes of it over sub-pictures (`correlated`)

A network that takes the noise model is told of channels that share noise and of grain instead (`informed`). For shot
noise the transform is better by 0.1 dB than to tell it of the levels (FMD), and keeps means.

Channels that a gray model takes one by one have noise, and so a treatment, of their own.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smdae.curves import Affine
from smdae.denoising.correlated import Correlated, white_level
from smdae.denoising.informed import Informed, InformedOfGrain
from smdae.denoising.preparation import Prepared
from smdae.denoising.stabilised import Stabilised, Whitening, transforms
from smdae.errors import UsageError
from smdae.estimation.estimate import KINDS, Estimate, Kind, estimate
from smdae.noise import Noise
from smdae.protocols import TakesNoise, offers, single_level

__all__ = ["Form", "form_for", "is_cut", "level_in", "noise_for", "takes_noise", "whitenings"]

LEVEL_SAMPLE = 1 << 17  # pixels that a level is averaged over
MAX_CUT_SHARE = 0.005  # of the pixels, that white may have cut off before the model is told of it

Form = Callable[[Any], Any]


def noise_for(
    prepared: Prepared, model: Any, kind: Kind | Noise, sigma: Sequence[float] | None, jpeg: int | None = None
) -> Estimate:
    """Return the noise to take out of a picture, white being 1.

    Args:
        prepared: The picture.
        model: What takes it out; one that was fitted at a single level takes that for white noise.
        kind: What kind it is, `auto` to find out, or the noise itself, in the picture's unit.
        sigma: Its total level, white being 1, for all channels or for each; None for what is found.
        jpeg: The quality that the picture was compressed at, if that is known.

    Raises:
        UsageError: The noise is of another number of channels or in another unit, or its kind is unknown.
    """
    if isinstance(kind, Noise):
        own = kind.shifted(-prepared.scale.black) if prepared.scale.black else kind
        found = Estimate(_of_channels(own.scaled(1 / prepared.scale.span), prepared), 0.0)
        if sigma is None:
            _refuse_other_unit(found.noise, prepared)
    elif kind not in KINDS:
        raise UsageError(f"unknown noise '{kind}'; there are {', '.join(KINDS)}, or a Noise")
    elif (level := single_level(model)) is not None:
        return Estimate(_white(sigma or (level,)), 0.0)
    elif sigma is not None and (kind == "white" or len(sigma) > 1):
        return Estimate(_white(sigma), 0.0)
    else:
        found = estimate(prepared.pixels, prepared.scale, prepared.valid, jpeg, kind)
    if sigma is None:
        return found
    if found.noise.is_none or found.noise.is_white or len(sigma) > 1:
        return Estimate(_white(sigma), 0.0, jpeg=found.jpeg)
    return Estimate(found.noise.amplified(sigma[0] / level_in(prepared, found.noise)), 0.0, jpeg=found.jpeg)


def level_in(prepared: Prepared, noise: Noise) -> float:
    """Return the root mean square level of noise over a picture, white being 1; of channels too."""
    planes = prepared.pixels[:, :, None] if prepared.pixels.ndim == 2 else prepared.pixels
    some = planes.reshape(-1, planes.shape[2])[:: max(1, planes.shape[0] * planes.shape[1] // LEVEL_SAMPLE)]
    x = torch.from_numpy(prepared.scale.to_unit(some)).double().T[None, :, None]  # (1, C, 1, n)
    return noise.sd(x).square().mean().sqrt().item()


def _white(sigma: Sequence[float]) -> Noise:
    return Noise(tuple(Affine(read=level) for level in sigma))


def _of_channels(noise: Noise, prepared: Prepared) -> Noise:
    """Return noise as of a picture's channels: of gray stored as colour, that of one channel."""
    count = prepared.pixels.shape[2] if prepared.pixels.ndim == 3 else 1
    if prepared.is_shared and noise.count == prepared.original.shape[2]:
        noise = noise.channel(0)
    if noise.count not in (None, count):
        raise UsageError(
            f"the noise is of {noise.count} channels, and the picture has {count}", "give noise of as many channels"
        )
    return noise


def _refuse_other_unit(noise: Noise, prepared: Prepared) -> None:
    """Raise UsageError for noise, white being 1, that is larger than all that its picture spans."""
    scale = prepared.scale
    if (level := level_in(prepared, noise)) >= 1:
        raise UsageError(
            f"noise of level {level * scale.span:.4g} is larger than the range of the picture, "
            f"{scale.black:.4g} to {scale.white:.4g}",
            "is it in the unit of other pictures? 'smdae info' tells the range of a noise profile",
        )


def form_for(
    base: Any, noise: Noise, prepared: Prepared, channels: int, whitened: Sequence[Whitening] | None = None
) -> tuple[Form, tuple[float, ...]]:
    """Return a function that makes a model of white noise one of this noise, and the levels to call the latter with.

    Args:
        base: The model.
        noise: White being 1.
        prepared: The image.
        channels: Of the image.
        whitened: The transforms of shot noise; None for those of `whitenings`.
    """
    if takes_noise(base) and noise.kind != "shot" and all(noise.levels):
        return _informed(base, noise, prepared, channels)
    if noise.kind == "white":
        levels = tuple(white_level(noise, level) for level in noise.levels)
        return _unchanged, levels[:1] if len(set(levels)) == 1 else levels
    each = _parts(base, noise, channels)
    count = channels // len(each)
    made: list[Correlated] | list[Stabilised]
    if noise.kind == "grain":
        coarse = [Correlated.of(base, one, white_level(one, one.sigma), count) for one in each]
        made, level = coarse, math.sqrt(sum(one.inner**2 for one in coarse) / len(coarse))
    else:
        whitened = whitened or whitenings(base, noise, prepared, channels)
        made = [Stabilised(base, one.each, one.level) for one in whitened]
        level = level_in(prepared, noise)
    if len(made) == 1:
        return made[0].on, (level,)
    return (lambda inner: Separate([one.on(inner) for one in made])), (level,)


def takes_noise(model: Any) -> bool:
    """Return whether a model is a network that was fitted to noise that is not white."""
    return offers(model, TakesNoise) and model.takes_noise


def _informed(base: Any, noise: Noise, prepared: Prepared, channels: int) -> tuple[Form, tuple[float, ...]]:
    """Return a function that makes a network a model of this noise, and the level to call that with."""
    if noise.is_white and noise.jpeg is None:
        return _unchanged, (noise.levels[0],)
    level = level_in(prepared, noise)
    kind = InformedOfGrain if noise.kind == "grain" else Informed
    if base.channels == channels:
        return kind(base, noise).on, (level,)
    each = [kind(base, noise.channel(c)) for c in range(channels)]
    return (lambda inner: Separate([one.on(inner) for one in each])), (level,)


def _unchanged(model: Any) -> Any:
    return model


def _parts(base: Any, noise: Noise, channels: int) -> list[Noise]:
    """Return the noise of each part of an image that the model takes by itself."""
    return [noise.channel(c) for c in range(channels)] if base.channels == 1 < channels else [noise]


def whitenings(base: Any, noise: Noise, prepared: Prepared, channels: int) -> tuple[Whitening, ...]:
    """Return the transforms that make shot noise white, one for each group of channels that the model takes.

    Arguments are those of `form_for`.
    """
    each = _parts(base, noise, channels)
    count = channels // len(each)
    return tuple(_whitening(one, prepared, count, c) for c, one in enumerate(each))


def _whitening(noise: Noise, prepared: Prepared, count: int, first: int) -> Whitening:
    """Return the transforms of shot noise in `count` channels, from the first on."""
    planes = np.atleast_3d(prepared.pixels)[:, :, first : first + count]
    ends = prepared.scale.to_unit(np.array([planes.min(), planes.max()]))
    low, high = float(ends[0]), float(ends[1])
    clip = prepared.scale.unit_clip if prepared.scale.clip is not None else None
    if is_cut(prepared):  # then the model is told of clipping, and finds what lies beyond
        clip = None
    least = min(low, 0.0) if prepared.scale.standard else low
    return Whitening(*transforms(noise.for_channels(count).curves, least, high, clip))


def is_cut(prepared: Prepared) -> bool:
    """Return whether white has cut the noise off in more than a few pixels."""
    clip = prepared.scale.clip
    return clip is not None and float(np.mean(prepared.pixels >= clip[1])) > MAX_CUT_SHARE


class Separate:
    """A score model of several channels, each of which has a model of its own.

    Args:
        models: One for each channel, each of pictures with one channel.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        self.models = tuple(models)
        first = self.models[0]
        self.channels = len(self.models)
        self.noise_range = first.noise_range
        halos = [model.halo for model in self.models]
        self.halo = None if None in halos else max(halos)
        self.shift_multiple = max(model.shift_multiple for model in self.models)
        self.bytes_per_pixel = first.bytes_per_pixel

    def score(self, y: Tensor, sigma: float) -> Tensor:
        """Return psi(y, sigma), with the shape of y, (B, C, H, W)."""
        return torch.cat([model.score(y[:, c : c + 1], sigma=sigma) for c, model in enumerate(self.models)], 1)
