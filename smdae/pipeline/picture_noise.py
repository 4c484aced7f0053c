"""The noise of a picture: given by the user or the model, or else estimated."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.errors import InputError, UsageError
from smdae.files.picture import Picture, likely_white
from smdae.pipeline.found_noise import PictureNoise
from smdae.pipeline.options import Options

if TYPE_CHECKING:
    from smdae.denoising.preparation import Prepared
    from smdae.estimation.estimate import Estimate

MAX_LOOKED_AT = 2048  # pixels a side, where the level of the noise is not that which is taken out
MIN_LEVEL = 1e-12  # the least given sigma, white being 1: squares of smaller ones underflow in float32


def is_noise_estimated(model: Any, options: Options) -> bool:
    """Return whether the noise is estimated from the picture, rather than given by the user or by the model."""
    is_asked = options.levels is None and isinstance(options.noise, str) and not options.takes_nothing_out
    return is_asked and model.level is None


def is_noise_shared(model: Any, options: Options) -> bool:
    """Return whether pages share an estimate of their noise: all of it, or only its kind if a level is given."""
    is_open = isinstance(options.noise, str) and not options.takes_nothing_out and model.level is None
    return is_open and (options.levels is None or (len(options.levels) == 1 and options.noise != "white"))


def find_noise(picture: Picture, model: Any, options: Options, name: str) -> PictureNoise:
    """Return the noise of a picture: the given one, or an estimate from its pixels.

    Raises:
        UsageError: The given level or noise is in another unit, or the noise has another number of channels.
        InputError: There is no usable pixel, or nearly all are outliers.
    """
    from smdae.denoising.preparation import prepare
    from smdae.denoising.treatment import noise_for
    from smdae.estimation.scale import scale_of_integers

    if options.black is not None and options.black >= options.white_of(picture):
        white = options.white_of(picture)
        raise UsageError(f"--black {options.black:g} is not below {white:g}, the white of '{name}'", "give --white too")
    visible = None if picture.alpha is None else picture.alpha > 0
    scale = options.scale
    if scale is None and picture.stored is not None and options.white is None and options.black is None:
        scale = scale_of_integers(picture.pixels, picture.stored)
    try:
        keep, share = options.levels is not None or model.level is not None, model.channels != 3
        prepared = prepare(
            picture.pixels,
            options.white,
            options.black,
            visible,
            keep_scale=keep,
            share=share,
            scale=scale,
            mend=options.mend,
        )
    except InputError as error:
        raise InputError(f"cannot denoise '{name}': {error.message}", error.hint) from None
    unit = options.white_of(picture) / 255 / prepared.scale.span
    given = _given_levels(picture, prepared, unit, options, name)
    kind = options.noise
    if kind == "auto" and given is not None and options.task_options.get("sampler", "tweedie") != "tweedie":
        kind = "white"  # the only kind that the other samplers take
    try:
        found = noise_for(prepared, model, kind, given, picture.quality)
    except UsageError as error:
        raise UsageError(f"cannot denoise '{name}': {error.message}", error.hint) from None
    described = _described(picture, prepared, found, unit, options)
    if model.level is None or given is not None or not isinstance(kind, str):
        return described
    return replace(described, seen=_level_of(prepared) / unit)


def _level_of(prepared: "Prepared") -> float:
    """Return the root mean square of the levels of white noise in a picture, or in the middle of a large picture.

    The unit is that in which white lies 1 above black.
    """
    from smdae.estimation.correlated import rms
    from smdae.estimation.noise_level import levels

    starts = (max(0, (side - MAX_LOOKED_AT) // 2) for side in prepared.pixels.shape[:2])
    middle = tuple(slice(start, start + MAX_LOOKED_AT) for start in starts)
    valid = None if prepared.valid is None else prepared.valid[middle]
    return rms([level.sigma for level in levels(prepared.pixels[middle], prepared.scale.span, valid=valid)])


def _given_levels(
    picture: Picture, prepared: "Prepared", unit: float, options: Options, name: str
) -> tuple[float, ...] | None:
    """Return the levels of --sigma, white being 1: one, or one for each channel; None if none is given.

    `unit` is what 1 on the 0 to 255 scale of --sigma is then.

    Raises:
        UsageError: A level is too small, or there is one for each of another number of channels.
    """
    if options.levels is None:
        return None
    given = tuple(level * unit for level in options.levels)
    if any(0 < level < MIN_LEVEL for level in given):
        least, scale = min(level for level in options.levels if level), prepared.scale
        raise UsageError(
            f"--sigma {least:g} is too small for the range of '{name}', {scale.black:g} to {scale.white:g}",
            "look at --black and --white",
        )
    if len(given) == 1:
        return given
    channels = picture.pixels.shape[2] if picture.pixels.ndim == 3 else 1
    if len(given) != channels:
        has = f"{channels} channel{'s' * (channels > 1)}"
        raise UsageError(f"--sigma has {len(given)} values, and '{name}' has {has}")
    return given[:1] if prepared.is_shared else given


def _described(
    picture: Picture, prepared: "Prepared", found: "Estimate", unit: float, options: Options
) -> PictureNoise:
    """Return the noise of a picture with its description in words; arguments as in `_given_levels`."""
    from smdae.denoising.given_noise import rms_level

    noise = found.noise
    if noise.is_none:
        return PictureNoise(prepared, found)
    # On the scale where white is 255 if the picture has the usual white of its type, else in its own unit.
    factor = 255.0 if prepared.scale.standard or options.white else prepared.scale.span
    shown, level = noise.scaled(factor), rms_level(prepared, noise)
    described = shown.describe(prepared.sample() * shown.white, unit=1.0)
    if picture.quality is not None:
        described += f", JPEG quality {picture.quality}"
    elif found.jpeg is not None:
        described += f", once a JPEG of quality {found.jpeg}"
    if noise.kind == "white":
        return PictureNoise(prepared, found, described, tuple(one / unit for one in noise.levels), level * factor)
    return PictureNoise(prepared, found, described, (level / unit,), level * factor)


def refuse_unit(picture: Picture, options: Options, name: str) -> None:
    """Raise UsageError where a level and no white are given, and the values of a picture are in another unit.

    Those of floats are far beyond 1, and nearly all of those of integers lie closer together than the level.
    """
    if not options.levels or options.white is not None:
        return
    if picture.pixels.dtype.kind != "f" or picture.stored:
        _refuse_above(picture, max(options.levels), options, name)
        return
    finite = picture.pixels[np.isfinite(picture.pixels)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    white = likely_white(largest)
    if white is not None:
        raise UsageError(
            f"the values of '{name}' reach {largest:.4g}, and --sigma is given for white 1",
            f"did you mean --white {white:g}? or leave --sigma out",
        )


def _refuse_above(picture: Picture, sigma: float, options: Options, name: str) -> None:
    """Raise UsageError where sigma, of 255, is more than the range of nearly all values of a picture of integers."""
    from smdae.estimation.scale import scale_of, scale_of_integers

    if options.black is not None:
        return
    scale = scale_of_integers(picture.pixels, picture.stored) if picture.stored else scale_of(picture.pixels)
    level = sigma * picture.white / 255
    if not scale.standard and level > scale.span:
        raise UsageError(
            f"--sigma {sigma:g} is {level:.4g} in '{name}', whose values are {scale.black:.4g} to {scale.white:.4g}",
            f"did you mean --sigma {sigma * 255 / picture.white:.3g}? --sigma 255 is {picture.white:g} here",
        )
