"""The noise of a picture, estimated from the picture alone: white, shot or grain, or none.

    white   one level for each channel, from the smallest eigenvalues of patches of weak texture (`noise_level`), and
            the correlation between channels, from the level of their mean (`shared`)
    shot    a level for each brightness, from the diagonal details of the flattest blocks (`curve`, `shot`)
    grain   correlated neighbours: level and correlation of the flattest blocks (`grain`, `correlated`)

Shot noise and grain are taken only if the picture shows them beyond what texture could pretend; noise as faint as
texture is none. Grain comes with its odds against texture, and the estimate that holds if it is texture:
`denoising.noise_search` decides by a second look. The constants were chosen on synthetic cameras
(`benchmarks/cameras.py`), on 26 real pairs of two cameras, and on white noise added to photographs.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from smdae.curves import Affine
from smdae.errors import InputError
from smdae.estimation import noise_level
from smdae.estimation.absence import why_drawn
from smdae.estimation.blocks import MAX_PIXELS, SIDE, Blocks, survey, tiles_of
from smdae.estimation.compression import is_lossy, jpeg_quality
from smdae.estimation.correlated import (
    FAINTEST,
    MAX_DECAY_OF_WHITE,
    STRONG_WHITE,
    ChannelBlocks,
    channel_blocks,
    correlated_noise,
    curves_of,
    grain_features,
    levels_of_compressed,
    rms,
)
from smdae.estimation.counts import few_counts
from smdae.estimation.filling import filled
from smdae.estimation.noise_level import mean_decay
from smdae.estimation.print_screen import is_print_screen
from smdae.estimation.scale import Scale, in_bytes
from smdae.estimation.shared import correlation_of_channels
from smdae.estimation.shot import shot_curves
from smdae.noise import Noise

Kind = Literal["auto", "white", "shot", "grain"]
KINDS: tuple[Kind, ...] = ("auto", "white", "shot", "grain")

# Decay of the eigenvalues (`noise_level.Level`) above which what is as strong as STRONG_WHITE is texture, and no noise.
# Texture seldom looks so strong: what is fainter is texture above MAX_DECAY_OF_WHITE.
MAX_DECAY_OF_STRONG = 0.40
MIN_SIDE = 2 * SIDE  # pixels: in smaller pictures only white noise is looked for,
FAINTEST_OF_SMALL = 8 / 255  # and what has no larger sigma may be texture
MAX_SAMPLE = 1 << 18  # values from which the range of a picture is taken
LOW_QUANTILE, HIGH_QUANTILE = 0.001, 0.999  # of the values, between which it lies
MIN_RANGE = 1e-6  # white being 1
MAX_PATCHES, MAX_PATCHES_OF_COLOUR = 120_000, 20_000  # of a gray picture, and of a channel of a colour picture
SMALL = 45_000  # pixels of a colour picture that is used as a gray one
MAX_CORRELATION_OF_SHOT = 0.25  # of neighbours in blocks: with more, there is grain, or fine texture in all blocks
SURROUNDINGS = 9  # pixels a side, over which brightness is averaged
ERROR_OF_SHOT, ERROR_OF_GRAIN = 0.08, 0.15  # standard error of the level, relative


@dataclass(frozen=True, eq=False)
class Estimate:
    """The noise that was found in a picture.

    Attributes:
        noise: The noise, white being 1; of level 0 if there is none.
        error: Standard error of its level, relative; the noise remembers it, wherever it is used later.
        reason: Why there is none, in a few words; empty if there is noise.
        jpeg: Quality at which the picture was compressed, given or found; None if it was not, or if none was found.
        odds: Natural logarithm of the odds that it is grain and not texture; infinite if it is not in question.
        instead: The estimate that holds if it is texture; None if it is not in question.
        is_drawn: Whether there is none because the picture is drawn, or a printed screen of dots.
    """

    noise: Noise
    error: float
    reason: str = ""
    jpeg: int | None = None
    odds: float = math.inf
    instead: "Estimate | None" = None
    is_drawn: bool = False


def estimate(
    pixels: np.ndarray,
    scale: Scale,
    valid: np.ndarray | None = None,
    jpeg: int | None = None,
    kind: Kind = "auto",
) -> Estimate:
    """Return the noise that is found in a picture.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        scale: The scale of its values.
        valid: Which pixels count, with shape (H, W); None for those that are finite.
        jpeg: Quality at which it was compressed; None to find out.
        kind: The kind of its noise, if that is known.

    Raises:
        InputError: No pixel counts.
    """
    planes, valid, scale = as_planes(pixels, scale, valid)
    if jpeg is None:
        jpeg = jpeg_quality(planes, valid)
    found = _estimate(_Picture(planes, scale, valid, jpeg), kind)
    instead = None if found.instead is None else _remembered(found.instead, jpeg)
    return replace(_remembered(found, jpeg), instead=instead)


def _remembered(found: Estimate, jpeg: int | None) -> Estimate:
    """Return an estimate with the quality of the compression, whose noise holds how well its level is known."""
    return replace(found, noise=replace(found.noise, level_error=found.error), jpeg=jpeg)


def as_planes(
    pixels: np.ndarray, scale: Scale, valid: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None, Scale]:
    """Return a picture as noise is estimated from it, which of its pixels count, (H, W), None for all, and its scale.

    It has shape (H, W, C), with C = 1 if all channels are equal; NaN and infinity are filled from around them; and it
    is uint8 if it holds the values of 8 bits.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        scale: The scale of its values.
        valid: Which pixels count, with shape (H, W); None for those that are finite.

    Raises:
        InputError: No pixel counts.
    """
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if planes.dtype.kind == "f":
        finite = np.isfinite(planes).all(2)
        if not finite.all():
            valid = finite if valid is None else valid & finite
            if valid.any():
                planes = filled(planes, valid)
    if valid is not None and not valid.any():
        raise InputError("none of its pixels is valid", "all are hidden, masked or not finite")
    if planes.shape[2] > 1 and (planes == planes[:, :, :1]).all():  # gray that is stored as colour
        planes = planes[:, :, :1]
    planes, scale = in_bytes(planes, scale, valid)
    return planes, valid, scale


@dataclass(frozen=True, eq=False)
class _Picture:
    """A picture and what is known of it.

    Attributes:
        planes: With shape (H, W, C), finite.
        scale: The scale of its values.
        valid: Which pixels count, with shape (H, W); None for all.
        jpeg: Quality at which it was compressed; None if it was not.
    """

    planes: np.ndarray
    scale: Scale
    valid: np.ndarray | None = None
    jpeg: int | None = None

    @cached_property
    def levels(self) -> tuple[noise_level.Level, ...]:
        """Return the level of each channel from the smallest eigenvalues."""
        return self._levels(self.planes, self.valid)

    def level_within(self, channel: int, low: float, high: float) -> float:
        """Return the level of a channel where the mean of its surroundings is between two values, white being 1.

        Of a large picture the tiles are used that blocks are taken from.
        """
        if low == -math.inf and high == math.inf:
            return self.levels[channel].sigma
        height, width, _ = self.planes.shape
        parts = [self._within((*place, channel), low, high) for place in tiles_of(height, width, MAX_PIXELS)]
        tiles, within = (np.concatenate(each) for each in zip(*parts, strict=True))
        return self._levels(tiles[:, :, None], within)[0].sigma

    def _within(self, place: tuple[slice, slice, int], low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Return a tile of a channel, (h, w), and which of its pixels are in such surroundings; none of the last row.

        So no patch lies across two tiles, one below the other.
        """
        tile = self.planes[place]
        plane = torch.from_numpy(np.ascontiguousarray(self.scale.to_unit(tile)))
        around = F.avg_pool2d(plane[None, None], SURROUNDINGS, 1, SURROUNDINGS // 2, count_include_pad=False)[0, 0]
        within: np.ndarray = ((around >= low) & (around <= high)).numpy()
        if self.valid is not None:
            within &= self.valid[place[:2]]
        within[-1] = False
        return tile, within

    def _levels(self, planes: np.ndarray, valid: np.ndarray | None) -> tuple[noise_level.Level, ...]:
        height, width, count = self.planes.shape
        most = MAX_PATCHES if count == 1 or height * width <= SMALL else MAX_PATCHES_OF_COLOUR
        rounding = 1 / self.scale.span / math.sqrt(12) if self.planes.dtype.kind == "u" else 0.0
        values, white = (self.scale.to_unit(planes), 1.0) if self.scale.black else (planes, self.scale.span)
        return noise_level.levels(values, white, most, valid, self.scale.may_clip, rounding)

    @property
    def range(self) -> float:
        """Return how much of the scale the values fill, from 0 to 1: with more than 8 bits it may be little."""
        if self.planes.dtype == np.uint8:
            return 1.0
        some = self.planes.reshape(-1)[:: max(1, self.planes.size // MAX_SAMPLE)]
        low, high = np.quantile(self.scale.to_unit(some), (LOW_QUANTILE, HIGH_QUANTILE))
        return float(np.clip(high - low, MIN_RANGE, 1.0))


def _estimate(picture: _Picture, kind: Kind) -> Estimate:
    """Return the noise of a picture, without the quality of its compression."""
    planes, scale, levels = picture.planes, picture.scale, picture.levels
    if min(planes.shape[:2]) < MIN_SIDE:
        return _white(levels, scale.may_clip, max(FAINTEST * picture.range, FAINTEST_OF_SMALL))
    blocks = survey(planes, scale, picture.valid)
    drawn = why_drawn(planes, blocks, is_lossy(picture.jpeg))
    if not drawn and kind == "auto" and is_print_screen(planes):
        drawn = "it is a printed screen of dots"
    if drawn:
        return replace(_none(drawn), is_drawn=True)
    if kind == "white":
        return _white(levels, scale.may_clip, faintest=0.0, known=True)
    photons = few_counts(planes, blocks, scale) if kind in ("auto", "shot") else None
    if photons is not None:
        return Estimate(Noise(photons), ERROR_OF_SHOT)
    seen = channel_blocks(blocks)
    if seen is not None and kind in ("auto", "grain"):
        correlated = correlated_noise(blocks, seen, levels, picture.jpeg, forced=kind == "grain")
        if correlated is not None:
            grain, odds = correlated
            instead = None if math.isinf(odds) else _independent(picture, blocks, seen, kind)
            return Estimate(grain, ERROR_OF_GRAIN, odds=odds, instead=instead)
    return _independent(picture, blocks, seen, kind)


def _independent(picture: _Picture, blocks: Blocks, seen: list[ChannelBlocks] | None, kind: Kind) -> Estimate:
    """Return the noise of a picture whose neighbouring pixels are independent: shot or white, or none."""
    levels, clipped = picture.levels, picture.scale.may_clip
    is_correlated = seen is not None and sum(one.grain.nearest for one in seen) > MAX_CORRELATION_OF_SHOT * len(seen)
    is_textured = is_correlated and mean_decay(levels) <= MAX_DECAY_OF_WHITE
    if kind == "shot" or (kind == "auto" and (is_textured or not is_correlated)):
        curves = shot_curves(blocks, picture.level_within, clipped, forced=kind == "shot", is_textured=is_textured)
        if curves is not None:
            return Estimate(Noise(curves), ERROR_OF_SHOT)
    found = _white(levels, clipped, FAINTEST * picture.range)
    if found.noise.is_none or kind != "auto":
        return found
    shared = correlation_of_channels(picture.planes, levels, picture.scale, picture.valid, clipped)
    if shared is None:
        return found
    curves = found.noise.curves
    if is_lossy(picture.jpeg) and seen is not None:
        curves = curves_of(levels_of_compressed(seen, levels))
    return replace(found, noise=Noise(curves, channels=shared))


def grain_features_of(pixels: np.ndarray, scale: Scale) -> np.ndarray | None:
    """Return the features that tell grain from texture, (len(FEATURES),); None for drawings and for too few blocks.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8 or uint16.
        scale: The scale of its values.
    """
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    jpeg, blocks = jpeg_quality(planes), survey(planes, scale, None)
    if why_drawn(planes, blocks, is_lossy(jpeg)):
        return None
    return grain_features(blocks, _Picture(planes, scale).levels, jpeg)


def _none(reason: str) -> Estimate:
    """Return an estimate that there is no noise."""
    return Estimate(Noise((Affine(),)), 0.0, reason)


def _white(levels: tuple[noise_level.Level, ...], clipped: bool, faintest: float, known: bool = False) -> Estimate:
    """Return white noise of given levels, or none if it may be texture.

    Args:
        levels: The level of each channel.
        clipped: Whether the noise may be clipped at black and white.
        faintest: The level up to which it may be texture.
        known: Whether the noise is known to be white, so that the decay of strong noise says nothing against it.
    """
    mean = rms([level.sigma for level in levels])
    if mean <= faintest:
        return _none(f"no more than sigma {255 * mean:.1f}" if mean else "none is to be seen")
    of_strong = math.inf if known else MAX_DECAY_OF_STRONG
    if mean_decay(levels) > (MAX_DECAY_OF_WHITE if mean < STRONG_WHITE else of_strong):
        return _none("what there is looks like texture")
    noise = Noise(curves_of([level.sigma for level in levels]))
    return Estimate(noise, noise_level.standard_error(mean, clipped) / mean)
