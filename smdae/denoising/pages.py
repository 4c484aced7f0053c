"""The pages of a stack share one noise and one scale: those of the page whose level is the median of some.

Of the pages only those count whose kind of noise most have, and those found free of noise only where they are the
larger part. Where pages are not on the usual scale of their type, one scale from the darkest to the brightest of those
that are looked at serves all.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from smdae.denoising.pictures import Given
from smdae.denoising.preparation import Prepared
from smdae.denoising.request import bundled_for, checked_pixels
from smdae.denoising.task import Task
from smdae.denoising.treatment import level_in
from smdae.estimation.estimate import Kind
from smdae.estimation.scale import Scale
from smdae.noise import Noise
from smdae.protocols import single_level

__all__ = ["ExaminedPage", "is_blank", "some_of", "tasks_of", "typical", "unscaled"]

MAX_EXAMINED = 5  # pages


class ExaminedPage(Protocol):
    """A page that was examined: how it is denoised, and its noise, white being 1."""

    @property
    def prepared(self) -> Prepared:
        """Return the page as it is denoised."""

    @property
    def noise(self) -> Noise:
        """Return its noise, white being 1."""


Page = TypeVar("Page", bound=ExaminedPage)


def some_of(count: int) -> list[int]:
    """Return the numbers of the pages, counted from 0, that are looked at."""
    return sorted({round(i * (count - 1) / (MAX_EXAMINED - 1)) for i in range(MAX_EXAMINED)})


def is_blank(pixels: np.ndarray) -> bool:
    """Return whether there is nothing to see in a page: no finite number at all, or one alone."""
    finite = pixels[np.isfinite(pixels)]
    return not finite.size or bool((finite == finite[0]).all())


def typical(numbers: Sequence[int], look: Callable[[int, Scale | None], Page]) -> tuple[Page, Scale | None]:
    """Return the page of the median level of some, and the scale for all pages; None for that of each.

    Args:
        numbers: Of the pages that are looked at.
        look: Returns what is found of a page, counted from 0, on a scale; None for its own.
    """
    looked = [look(number, None) for number in numbers]
    scales = [one.prepared.scale for one in looked]
    scale = None
    if not all(one.standard for one in scales):
        black, white = min(one.black for one in scales), max(one.white for one in scales)
        scale = replace(scales[0], black=black, white=white, standard=False)
        looked = [look(number, scale) for number in numbers]
    levels = {id(one): level_in(one.prepared, one.noise) for one in looked}
    noisy = sorted((one for one in looked if not one.noise.is_none), key=lambda one: levels[id(one)])
    if 2 * len(noisy) < len(looked):
        noisy = [one for one in looked if one.noise.is_none]
    ((kind, _),) = Counter(one.noise.kind for one in noisy).most_common(1)
    alike = [one for one in noisy if one.noise.kind == kind]
    return alike[len(alike) // 2], scale


def unscaled(noise: Noise, scale: Scale) -> Noise:
    """Return noise, white being 1, in the unit of its picture."""
    noise = noise.scaled(scale.span)
    return noise.shifted(scale.black) if scale.black else noise


def tasks_of(
    told: Given,
    model: Any,
    sigma: float | Sequence[float] | None,
    noise: Kind | Noise | None,
    device: torch.device | str,
    how: Mapping[str, Any],
) -> Iterator[Task]:
    """Yield the task of each picture; where the noise of several is estimated, they share it.

    Args:
        told: The pictures.
        model: As for `denoise`.
        sigma: As for `denoise`.
        noise: As for `denoise`.
        device: Where to compute.
        how: Further arguments of `Task.of`.

    Raises:
        UsageError, InputError, ModelError: As `denoise`.
    """
    loaded: dict[str, Any] = {}

    def task_of(number: int, scale: Scale | None, noise: Kind | Noise | None) -> Task:
        page = checked_pixels(told.pictures[number])
        visible = told.alpha[number] > 0 if told.alpha else None
        return Task.of(
            page,
            _loaded(model, page, visible, device, loaded),
            sigma,
            noise=noise,
            device=device,
            visible=visible,
            scale=scale,
            jpeg=told.quality,
            stored=None if told.stored is None else told.stored.name,
            **how,
        )

    first = task_of(0, None, noise)
    if len(told.pictures) == 1:
        yield first
        return
    is_told = isinstance(noise, Noise) or single_level(first.loaded) is not None
    is_told |= sigma is not None and (noise == "white" or not isinstance(sigma, int | float))
    channels = told.channels or (0,) * len(told.pictures)
    shared: dict[int, tuple[Kind | Noise | None, Scale | None]] = dict.fromkeys(channels, (noise, None))
    for channel in () if is_told else shared:
        own = [number for number, one in enumerate(channels) if one == channel]
        some = [own[k] for k in some_of(len(own))]
        some = [number for number in some if not is_blank(told.pictures[number])] or some[:1]
        median, scale = typical(some, lambda number, scale: task_of(number, scale, noise))
        shared[channel] = unscaled(median.noise, median.prepared.scale), scale
    for number, channel in enumerate(channels):
        of_channel, scale = shared[channel]
        yield task_of(number, scale, of_channel)


def _loaded(model: Any, page: Any, visible: Any, device: torch.device | str, loaded: dict[str, Any]) -> Any:
    """Return a model that is loaded, each only once."""
    from smdae.files.model_file import load

    name = bundled_for(page, visible) if model is None else model
    if not isinstance(name, str | Path):
        return name
    if str(name) not in loaded:
        loaded[str(name)] = load(name).to(device)
    return loaded[str(name)]
