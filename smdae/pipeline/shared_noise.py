"""The noise and the scale that the pages of a file share: those of a typical page (see `denoising.pages`)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from smdae.files.picture import Picture
from smdae.pipeline.found_noise import PictureNoise
from smdae.pipeline.options import Options
from smdae.pipeline.picture_noise import find_noise

if TYPE_CHECKING:
    from smdae.estimation.scale import Scale


class Pages(Protocol):
    """Pictures of one kind, by their numbers."""

    def __len__(self) -> int: ...
    def page(self, number: int, /) -> Picture:
        """Return the page of a number, counted from 0."""
        ...


@dataclass(frozen=True, eq=False)
class Numbered:
    """Pictures by their numbers, counted from 0, each of which `page` returns."""

    count: int
    page: Callable[[int], "Picture"]

    def __len__(self) -> int:
        return self.count


def with_shared_noise(pages: Pages, model: Any, options: Options, name: str) -> Options:
    """Return the settings for all pages of a file: those given, with the noise and the scale that the pages share.

    Arguments and errors are those of `typical_noise`.
    """
    median, options = typical_noise(pages, model, options, name)
    return replace(options, noise=median.in_unit)


def typical_noise(
    pages: Pages, model: Any, options: Options, name: str, may_be_empty: bool = False
) -> tuple[PictureNoise, Options]:
    """Estimate the noise of a few pages; return the noise of the page with the median level, and the settings.

    The settings are `options` with a scale for all pages.

    Args:
        pages: All pages, of which a few are examined.
        model: The model that is to denoise them.
        options: How they are to be denoised.
        name: What messages call the file.
        may_be_empty: Whether pages may all be without a value, such as those of a channel that was not recorded. They
            have no noise then; else they are refused.

    Raises:
        UsageError, InputError: As `find_noise`.
    """
    from smdae.denoising.pages import examined_pages, is_blank, typical_page

    examined = {number: pages.page(number) for number in examined_pages(len(pages))}
    numbers = [number for number, picture in examined.items() if not is_blank(picture.pixels)]
    if not numbers:
        numbers = [next((n for n in range(len(pages)) if not is_blank(pages.page(n).pixels)), 0)]
        examined[numbers[0]] = pages.page(numbers[0])
        if may_be_empty and not np.isfinite(examined[numbers[0]].pixels).any():
            return _empty(examined[numbers[0]], model, options, name), options

    def examine(number: int, scale: "Scale | None") -> PictureNoise:
        return find_noise(examined[number], model, replace(options, scale=scale or options.scale), name)

    median, scale = typical_page(numbers, examine)
    return median, replace(options, scale=scale or options.scale)


def _empty(page: Picture, model: Any, options: Options, name: str) -> PictureNoise:
    """Return that a page without any value has no noise."""
    found = find_noise(replace(page, pixels=np.zeros_like(page.pixels)), model, options, name)
    return replace(found, estimate=replace(found.estimate, reason="it has no values"))
