"""Noisy images in place of clean ones: the noise level of each, and whether a fit can learn from such noise.

A score is that of q_sigma only if y = x + sigma eps with the sigma used in the fit. That is given, or estimated for
each image; if the estimates differ by no more than their errors, all images get their root mean square. A model of one
level takes more for one, as texture and small sizes put estimates off: those near their median, which it gets, and
leaves a few others out. If half of the images or more have noise that is not white, there is no such sigma, and a fit
would take correlated noise for structure. Then only a network that takes the noise model can be fitted (see
`refinement`), unless the level is given.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from smdae.denoising.noise_search import find_noise
from smdae.errors import InputError
from smdae.estimation import noise_level
from smdae.estimation.coarseness import MAX_COARSENESS_OF_WHITE, coarseness
from smdae.estimation.scale import scale_of
from smdae.fitting.settings import Settings
from smdae.fitting.splitting import chosen, evenly
from smdae.models import family

MAX_LEVEL_SPREAD = 0.1  # relative deviation of levels from their root mean square, up to which they are taken for one
MAX_ERROR = 0.25  # relative deviation of estimates from their median that are taken for one level
MAX_LEFT_OUT = 0.25  # share of the images, of other levels, that such a model leaves out
MAX_EXAMINED = 8  # images, evenly chosen, on which a given level and the whiteness of the noise are checked
OTHER_KINDS = {"grain": "its pixels are correlated", "shot": "it depends on brightness"}


@dataclass(frozen=True)
class Noise:
    """The noise of the images of a fit."""

    levels: tuple[float, ...]  # the level of each image, white being 1; 0 if no noise is visible
    warnings: tuple[str, ...]  # signs that it is not white noise of that level

    @property
    def range(self) -> tuple[float, float]:
        """Return the lowest and the highest level, white being 1, of the images that have noise; one at least has."""
        visible = [level for level in self.levels if level]
        return min(visible), max(visible)

    @property
    def text(self) -> str:
        """Return the level or the range of levels on the 0 to 255 scale, such as "25" or "10 to 25"."""
        low, high = (f"{255 * level:.3g}" for level in self.range)
        return low if low == high else f"{low} to {high}"

    def settled(self, settings: Settings) -> Settings:
        """Return the settings with these levels as their sigma."""
        low, high = (255 * level for level in self.range)
        return settings.model_copy(update={"sigma": low if low == high else (low, high)})

    def among(self, images: Sequence[np.ndarray]) -> tuple[Sequence[np.ndarray], list[float]]:
        """Return the images that have noise, and their levels."""
        noisy = [i for i, level in enumerate(self.levels) if level]
        return chosen(images, noisy), [self.levels[i] for i in noisy]


def noise_of(
    images: Sequence[np.ndarray],
    white: float,
    settings: Settings,
    watch: Callable[[int, int], None] = lambda done, of: None,
) -> Noise:
    """Return the noise of images, (H, W) or (H, W, C), as given in the settings or as estimated.

    `watch` is called with the number of images done, and with their total.

    Raises:
        InputError: No image has visible noise, or many have different levels and the model takes one.
    """
    examined = [images[i] for i in evenly(images, MAX_EXAMINED)]
    if settings.sigma == "auto":
        _refuse_other_kinds(examined, white, settings)
        levels = _merged(_estimated(images, white, watch))
        warnings: list[str] = []
        if len({*levels} - {0.0}) > 1 and family(settings.model).of_patches:
            levels, warnings = _one_level(levels, settings.model)
    else:
        levels = (settings.levels[1],) * len(images)
        warnings = _mismatch(levels[0], _estimated(examined, white))
    return Noise(levels, (*warnings, *_coarse(examined, white)))


def given_white(images: Sequence[np.ndarray], white: float) -> float | None:
    """Return white if it is not the usual one of the images' type; None if it is: then the values may show another."""
    dtype = images[0].dtype
    return None if white == (float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0) else white


def other_kind(images: Sequence[np.ndarray], white: float) -> str | None:
    """Return a sentence on the noise of the images if half of them or more have grain or shot noise; else None.

    The sentence says how many images have each of the two kinds. Up to MAX_EXAMINED images are looked at.

    Args:
        images: The images of a fit.
        white: The value of white in the images.

    Raises:
        InputError: No pixel of an image is valid, or too many pixels of one are impulses.
    """
    own = given_white(images, white)
    kinds: list[str] = [
        find_noise(images[i], scale_of(images[i], own)).noise.kind for i in evenly(images, MAX_EXAMINED)
    ]
    counts = {kind: kinds.count(kind) for kind in OTHER_KINDS}
    if 2 * sum(counts.values()) < len(kinds) or not any(counts.values()):
        return None
    words = [f"{kind} in {count} of {len(kinds)} images" for kind, count in counts.items() if count]
    (first, *_) = sorted(counts, key=counts.__getitem__, reverse=True)
    return f"the noise is {' and '.join(words)}: {OTHER_KINDS[first]}"


def _refuse_other_kinds(images: Sequence[np.ndarray], white: float, settings: Settings) -> None:
    """Raise InputError if half of the images or more have noise that is not white."""
    found = other_kind(images, white)
    if found is None:
        return
    known = "--init natural-color --color" if settings.color else "--init natural-gray"
    raise InputError(
        f"{found}, and the model is one of white noise",
        f"start from a network that takes such noise, {known}; --sigma S treats it as white noise of that level",
    )


def _estimated(
    images: Sequence[np.ndarray], white: float, watch: Callable[[int, int], None] = lambda done, of: None
) -> list[float]:
    """Return the estimated level of each image, the root mean square over its channels, white being 1."""
    found = []
    for image in images:
        levels = noise_level.estimate(image, white)
        found.append(math.sqrt(sum(level**2 for level in levels) / len(levels)))
        watch(len(found), len(images))
    return found


def _merged(found: list[float]) -> tuple[float, ...]:
    """Return the levels, replaced by their root mean square if all are within MAX_LEVEL_SPREAD of it; 0 stays 0."""
    visible = [level for level in found if level]
    if not visible:
        raise InputError(
            "the images show no noise, and --noisy is for noisy images",
            "leave --noisy out to fit on clean images, or give the level that they have: --sigma 5",
        )
    mean = math.sqrt(sum(level**2 for level in visible) / len(visible))
    if any(abs(level - mean) > MAX_LEVEL_SPREAD * mean for level in visible):
        return tuple(found)
    return tuple(mean if level else 0.0 for level in found)


def _one_level(found: tuple[float, ...], model: str) -> tuple[tuple[float, ...], list[str]]:
    """Return the levels of images for a model of one level: the median of estimates near it, else 0; and warnings.

    It raises InputError if many images have different levels.
    """
    visible = [level for level in found if level]
    middle = statistics.median(visible)
    near = [level for level in visible if abs(level - middle) <= MAX_ERROR * middle]
    others = len(visible) - len(near)
    if others > MAX_LEFT_OUT * len(visible):
        raise InputError(
            f"the images have noise of {_range(visible)}, and the model '{model}' takes one level",
            "fit a network, --model unet, or images of one level",
        )
    level = statistics.median(near)
    warnings = []
    if others:
        are, their = ("is", "its") if others == 1 else ("are", "their")
        count = f"{others:,} of {len(found):,} images {are} left out"
        warnings.append(f"{count}: {their} noise looks like another level than {255 * level:.3g}")
    if any(abs(one - level) > MAX_LEVEL_SPREAD * level for one in near):
        warnings.append(f"the images seem to have noise of {_range(near)}: taken for one level, {255 * level:.3g}")
    return tuple(level if one in near else 0.0 for one in found), warnings


def _range(levels: Sequence[float]) -> str:
    return f"{255 * min(levels):.3g} to {255 * max(levels):.3g}"


def _mismatch(given: float, found: list[float]) -> list[str]:
    """Return a list with a warning if the given level is far from the estimated ones, else an empty list."""
    if all(abs(level - given) <= noise_level.MAX_SIGMA_MISMATCH * given for level in found):
        return []
    low, high = 255 * min(found), 255 * max(found)
    estimated = f"{low:.3g} to {high:.3g}" if high - low > 0.1 else f"{high:.3g}"
    return [
        f"sigma {255 * given:.3g} was given, and the noise looks like {estimated}: a wrong level makes a wrong score"
    ]


def _coarse(images: Sequence[np.ndarray], white: float) -> list[str]:
    """Return a list with a warning if the noise is correlated between neighbours, else an empty list."""
    excess = float(np.median([coarseness(image, white) for image in images]))
    if excess <= MAX_COARSENESS_OF_WHITE:
        return []
    return [
        f"the noise is correlated: at half the size it is {excess:.1f} times what white noise would be "
        "(JPEG, resizing or demosaicing do that); a score fitted to it will take some noise for structure"
    ]
