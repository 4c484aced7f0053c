"""The treatment of each kind of noise: how a model of white noise becomes a model of the noise of a picture.

    white   the model itself, at the level; if channels share noise, at the level along their principal direction
    shot    the model after a transform that makes the noise white (`stabilised`)
    grain   two passes of the model, one of them over sub-pictures (`correlated`)

A network that takes the noise model is conditioned on shared noise and on grain instead (`informed`). For shot noise it
gets the transform too: that is better by 0.1 dB than conditioning on the levels (FMD), and keeps means. Grain whose
level depends on brightness, as in laser scanning microscopes, gets the transform first, which leaves it one level.
Noise without fine details is taken out at a fraction of the size (`coarse`), where it gets the treatment of its means.
Blotches of colour are taken out first (`blotched`); what is left gets the treatment of the other noise.

A gray model takes the channels of a picture one by one; then each channel has its own noise and treatment.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smdae.curves import Affine
from smdae.denoising.blotched import Blotched, Rest
from smdae.denoising.coarse import Coarse, of_means
from smdae.denoising.correlated import Correlated, white_level
from smdae.denoising.given_noise import refuse_other_unit, rms_level
from smdae.denoising.informed import Informed, InformedOfGrain
from smdae.denoising.noise_search import find_noise
from smdae.denoising.preparation import Prepared
from smdae.denoising.stabilised import Stabilised, Whitening, transforms
from smdae.errors import UsageError
from smdae.estimation.estimate import KINDS, Estimate, Kind
from smdae.noise import Noise
from smdae.protocols import CanClip, TakesNoise, offers, single_level

MAX_CLIPPED_SHARE = 0.005  # of pixels at white, up to which a picture is treated as not clipped there

Treatment = Callable[[Any], Any]  # from a model of white noise, or another version of it, to a model of the noise


def noise_for(
    prepared: Prepared, model: Any, kind: Kind | Noise, sigma: Sequence[float] | None, jpeg: int | None = None
) -> Estimate:
    """Return the noise to take out of a picture, white being 1.

    Args:
        prepared: The picture.
        model: The model that is to take it out. For one that was fitted at a single level, the noise is white and has
            that level.
        kind: The kind of noise, `auto` to find it, or the noise itself, in the picture's unit.
        sigma: Its total level, white being 1, for all channels or for each; None to estimate it.
        jpeg: The JPEG quality that the picture was compressed at, if known.

    Raises:
        UsageError: The noise is of another number of channels or in another unit, or its kind is unknown.
    """
    if isinstance(kind, Noise):
        own = kind.shifted(-prepared.scale.black) if prepared.scale.black else kind
        found = Estimate(_of_channels(own.scaled(1 / prepared.scale.span), prepared), 0.0)
        if sigma is None:
            refuse_other_unit(found.noise, kind, prepared)
    elif kind not in KINDS:
        how = f"smdae.Noise.from_yaml(open({str(kind)!r}).read()) reads a profile"
        raise UsageError(
            f"unknown noise '{kind}'; there are {', '.join(KINDS)}, or a Noise",
            how if str(kind).lower().endswith((".yaml", ".yml")) else None,
        )
    elif (level := single_level(model)) is not None:
        return Estimate(_white(sigma or (level,)), 0.0)
    elif sigma is not None and (kind == "white" or len(sigma) > 1):
        return Estimate(_white(sigma), 0.0)
    else:
        found = find_noise(prepared.pixels, prepared.scale, prepared.valid, jpeg, kind)
    if sigma is None:
        return found
    if found.noise.is_none or found.noise.is_white or len(sigma) > 1:
        return Estimate(_white(sigma), 0.0, jpeg=found.jpeg)
    known = found.noise.amplified(sigma[0] / rms_level(prepared, found.noise))
    if known.kind != "grain":  # the correlation of grain is estimated still, with an error no smaller than the level's
        known = replace(known, level_error=0.0)
    return Estimate(known, 0.0, jpeg=found.jpeg)


def _white(sigma: Sequence[float]) -> Noise:
    return Noise(tuple(Affine(read=level) for level in sigma))


def _of_channels(noise: Noise, prepared: Prepared) -> Noise:
    """Return noise fitted to a picture's channels: for gray stored as colour, the noise of one channel."""
    count = prepared.pixels.shape[2] if prepared.pixels.ndim == 3 else 1
    if prepared.is_shared and noise.count == prepared.original.shape[2]:
        noise = noise.channel(0)
    if noise.count not in (None, count):
        raise UsageError(
            f"the noise has {noise.count} channels, and the picture has {count}", "give noise with as many channels"
        )
    return noise


def treatment_for(
    base: Any,
    noise: Noise,
    prepared: Prepared,
    channels: int,
    whitened: Sequence[Whitening] | None = None,
    one_pass: bool = False,
) -> tuple[Treatment, tuple[float, ...]]:
    """Return the treatment that turns a model of white noise into one of this noise, and the levels to call it with.

    The levels have white being 1; there is one, or one for each channel if they differ.

    Args:
        base: The model of white noise.
        noise: The noise, white being 1.
        prepared: The image.
        channels: Number of channels of the image.
        whitened: Transforms that give noise that depends on brightness one level; None for those of `whitenings`.
        one_pass: Whether a network that takes the noise takes grain in one pass instead of two.

    Raises:
        UsageError: The noise has another number of channels.
    """
    if noise.blotches is not None:
        rest = None
        if not (other := replace(noise, blotches=None)).is_none:
            treat, levels = treatment_for(base, other, prepared, channels, whitened, one_pass)
            level = math.sqrt(sum(one**2 for one in levels) / len(levels))
            rest = Rest(treat, level, is_wide(other, base, one_pass))
        return Blotched(base, noise.blotches, rest).with_model, (rms_level(prepared, noise),)
    if noise.coarseness > 1:
        level, side = rms_level(prepared, noise), noise.coarseness
        treat, levels = treatment_for(base, of_means(noise), prepared, channels, whitened, one_pass)
        of_these = math.sqrt(sum(one**2 for one in levels) / len(levels))
        return (lambda version: Coarse(treat(version), of_these, side)), (level,)
    if takes_noise(base) and not noise.is_signal_dependent and all(noise.levels):
        return _informed(base, noise, prepared, channels, one_pass)
    if noise.kind == "white":
        levels = tuple(white_level(noise, level) for level in noise.levels)
        return _unchanged, levels[:1] if len(set(levels)) == 1 else levels
    parts = _parts(base, noise, channels)
    count = channels // len(parts)
    treated: list[Correlated] | list[Stabilised]
    if noise.is_signal_dependent:
        whitened = whitened or whitenings(base, noise, prepared, channels)
        treated = [
            Stabilised(base, whitening, _of_one_level(base, part, whitening.level, count, one_pass))
            for part, whitening in zip(parts, whitened, strict=True)
        ]
        level = rms_level(prepared, noise)
    else:
        grain = [Correlated.of(base, part, white_level(part, part.sigma), count) for part in parts]
        treated, level = grain, math.sqrt(sum(model.level**2 for model in grain) / len(grain))
    return _of_each(treated), (level,)


def set_to_clipping(model: Any, noise: Noise, prepared: Prepared) -> Any:
    """Return a model of white noise, set to clipped pictures if the noise of this one was clipped and it can be set."""
    if not (offers(model, CanClip) and prepared.scale.may_clip):
        return model
    noise = replace(noise, blotches=None)
    if noise.kind == "grain" and not takes_noise(model):
        return model  # it was fitted to clipped white noise, and clipped grain looks different
    is_clipped = noise.kind == "white" or is_clipped_at_white(prepared)
    return model.clipped(1.0) if is_clipped else model


def is_wide(noise: Noise, base: Any, one_pass: bool) -> bool:
    """Return whether the treatment of noise has a halo too wide for small tiles; arguments as for `treatment_for`."""
    is_single = one_pass and takes_noise(base) and noise.blotches is None
    return of_means(noise).kind == "grain" and not is_single


def takes_noise(model: Any) -> bool:
    """Return whether a model is a network that was fitted to noise of all kinds, and can be conditioned on it."""
    return offers(model, TakesNoise) and model.takes_noise


def _informed(
    base: Any, noise: Noise, prepared: Prepared, channels: int, one_pass: bool
) -> tuple[Treatment, tuple[float, ...]]:
    """Return the treatment that conditions a network on this noise, and the level to call it with."""
    if noise.is_white and noise.jpeg is None:
        return _unchanged, (noise.levels[0],)
    level = rms_level(prepared, noise)
    kind = _informed_kind(noise, one_pass)
    return _of_each([kind(base, part) for part in _parts(base, noise, channels)]), (level,)


def _informed_kind(noise: Noise, one_pass: bool) -> type[Informed] | type[InformedOfGrain]:
    return InformedOfGrain if noise.kind == "grain" and not one_pass else Informed


def _of_one_level(base: Any, noise: Noise, level: float, count: int, one_pass: bool) -> Treatment | None:
    """Return the treatment of the grain that a transform leaves of noise; None if what it leaves is white.

    Args:
        base: The model of white noise.
        noise: The noise before the transform.
        level: The level after it.
        count: Number of channels that the model takes at once.
        one_pass: As for `treatment_for`.
    """
    if noise.kind != "grain":
        return None
    left = replace(noise, curves=(Affine(read=level),))
    if takes_noise(base):
        return _informed_kind(noise, one_pass)(base, left).with_model
    return Correlated.of(base, left, white_level(left, level), count).with_model


class _Separate:
    """A score model of pictures of several channels, made of one for each: psi(y)_c = psi_c(y_c)."""

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


def _of_each(treated: Sequence[Any]) -> Treatment:
    """Return the treatment that is made of one for each group of channels."""
    if len(treated) == 1:
        treatment: Treatment = treated[0].with_model
        return treatment
    return lambda version: _Separate([model.with_model(version) for model in treated])


def _unchanged(model: Any) -> Any:
    return model


def _parts(base: Any, noise: Noise, channels: int) -> list[Noise]:
    """Return the noise of each group of channels that the model processes at once: all, or each by itself."""
    return [noise.channel(c) for c in range(channels)] if base.channels == 1 < channels else [noise]


def whitenings(base: Any, noise: Noise, prepared: Prepared, channels: int) -> tuple[Whitening, ...]:
    """Return the transforms that give noise one level, one for each group of channels that the model takes.

    Arguments and errors are those of `treatment_for`.
    """
    parts = _parts(base, noise, channels)
    count = channels // len(parts)
    return tuple(_whitening(part, prepared, count, c) for c, part in enumerate(parts))


def _whitening(noise: Noise, prepared: Prepared, count: int, first: int) -> Whitening:
    """Return the transforms of the noise of `count` channels, starting with channel `first`."""
    planes = np.atleast_3d(prepared.pixels)[:, :, first : first + count]
    ends = prepared.scale.to_unit(np.array([planes.min(), planes.max()]))
    low, high = float(ends[0]), float(ends[1])
    clip = prepared.scale.unit_clip if prepared.scale.clip is not None else None
    if is_clipped_at_white(prepared):  # then the model is set to clipped pictures, and results may lie beyond white
        clip = None
    least = min(low, 0.0) if prepared.scale.standard else low
    return Whitening(*transforms(noise.for_channels(count).curves, least, high, clip))


def is_clipped_at_white(prepared: Prepared) -> bool:
    """Return whether more than MAX_CLIPPED_SHARE of the pixels are clipped at white."""
    clip = prepared.scale.clip
    return clip is not None and float(np.mean(prepared.pixels >= clip[1])) > MAX_CLIPPED_SHARE
