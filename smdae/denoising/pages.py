"""One noise and one scale for all pages of a stack.

A few pages are examined. Their shared noise is that of the page with the median noise level, among the pages that have
the commonest kind of noise; pages without noise are left out unless they are the majority. If any examined page is not
on the usual scale of its type, all pages share one scale, from the darkest to the brightest value of the examined.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from smdae.denoising.arrays import as_python
from smdae.denoising.given_noise import rms_level
from smdae.denoising.pictures import Pictures
from smdae.denoising.preparation import Prepared
from smdae.denoising.request import bundled_for, checked_pixels
from smdae.denoising.task import Task
from smdae.estimation.estimate import Kind
from smdae.estimation.scale import Scale
from smdae.files.model_file import load
from smdae.noise import Noise
from smdae.protocols import single_level

MAX_EXAMINED = 5  # pages


class ExaminedPage(Protocol):
    """A page that was examined: its pixels as they are denoised, and its noise, or the task that holds both."""

    @property
    def prepared(self) -> Prepared:
        """Return the prepared page."""

    @property
    def noise(self) -> Noise:
        """Return its noise, white being 1."""


Page = TypeVar("Page", bound=ExaminedPage)


def examined_pages(count: int) -> list[int]:
    """Return the numbers, from 0, of the pages to examine in a stack of `count`, 1 or more: up to 5, evenly spaced."""
    return sorted({round(i * (count - 1) / (MAX_EXAMINED - 1)) for i in range(MAX_EXAMINED)})


def is_blank(pixels: np.ndarray) -> bool:
    """Return whether a page is empty: it has no finite value, or all its finite values are equal."""
    finite = pixels[np.isfinite(pixels)]
    return not finite.size or bool((finite == finite[0]).all())


def typical_page(numbers: Sequence[int], examine: Callable[[int, Scale | None], Page]) -> tuple[Page, Scale | None]:
    """Return the page with the median level among those with the most frequent kind of noise, and a scale for all.

    The scale is None if each page keeps its own.

    Args:
        numbers: The numbers of the pages to examine, from 0.
        examine: Examines the page of a number on a scale, None for its own.
    """
    pages = [examine(number, None) for number in numbers]
    scales = [page.prepared.scale for page in pages]
    scale = None
    if not all(own.standard for own in scales):
        black, white = min(own.black for own in scales), max(own.white for own in scales)
        scale = replace(scales[0], black=black, white=white, standard=False)
        pages = [examine(number, scale) for number in numbers]
    noisy = [page for page in pages if not page.noise.is_none]
    if 2 * len(noisy) < len(pages):
        noisy = [page for page in pages if page.noise.is_none]
    ((kind, _),) = Counter(page.noise.kind for page in noisy).most_common(1)
    of_kind = [page for page in noisy if page.noise.kind == kind]
    of_kind.sort(key=lambda page: rms_level(page.prepared, page.noise))
    return of_kind[len(of_kind) // 2], scale


def unscaled(noise: Noise, scale: Scale) -> Noise:
    """Return noise, given in units where white is 1, in the unit of a picture that has this scale."""
    noise = noise.scaled(scale.span)
    return noise.shifted(scale.black) if scale.black else noise


def tasks_of(
    pictures: Pictures,
    model: Any,
    sigma: float | Sequence[float] | None,
    noise: Kind | Noise | None,
    device: torch.device | str,
    options: Mapping[str, Any],
) -> Iterator[Task | None]:
    """Yield the task of each picture; if the noise of several is to be estimated, they share one estimate.

    For an empty picture of several, which stays as it is, None is yielded. `options` are those of `Task.of`; all else
    is as for `denoise`, and so are the UsageError, InputError and ModelError that it raises.
    """
    loaded: dict[str, Any] = {}
    sigma, options = as_python(sigma), {name: as_python(value) for name, value in options.items()}

    def task_of(number: int, scale: Scale | None, noise: Kind | Noise | None) -> Task:
        page = checked_pixels(pictures.arrays[number])
        visible = pictures.alpha[number] > 0 if pictures.alpha else None
        return Task.of(
            page,
            _loaded(model, page, visible, device, loaded),
            sigma,
            noise=noise,
            device=device,
            visible=visible,
            scale=scale,
            jpeg=pictures.quality,
            stored=None if pictures.stored is None else pictures.stored.name,
            **options,
        )

    empty = [len(pictures.arrays) > 1 and is_blank(checked_pixels(page)) for page in pictures.arrays]
    first = task_of(empty.index(False) if False in empty else 0, None, noise)
    if len(pictures.arrays) == 1:
        yield first
        return
    is_given = isinstance(noise, Noise) or single_level(first.loaded) is not None
    is_given |= sigma is not None and (noise == "white" or not isinstance(sigma, int | float))
    channels = pictures.channels or (0,) * len(pictures.arrays)
    shared: dict[int, tuple[Kind | Noise | None, Scale | None]] = dict.fromkeys(channels, (noise, None))
    for channel in () if is_given else shared:
        own = [number for number, its_channel in enumerate(channels) if its_channel == channel and not empty[number]]
        if not own:
            continue
        examined = [own[k] for k in examined_pages(len(own))]
        median, scale = typical_page(examined, lambda number, scale: task_of(number, scale, noise))
        shared[channel] = unscaled(median.noise, median.prepared.scale), scale
    for number, channel in enumerate(channels):
        of_channel, scale = shared[channel]
        yield None if empty[number] else task_of(number, scale, of_channel)


def _loaded(model: Any, page: Any, visible: Any, device: torch.device | str, loaded: dict[str, Any]) -> Any:
    """Return the loaded model for a page; `loaded` holds those loaded before, by name."""
    name = bundled_for(page, visible) if model is None else model
    if not isinstance(name, str | Path):
        return name
    if str(name) not in loaded:
        loaded[str(name)] = load(name).to(device)
    return loaded[str(name)]
