"""The channels of an OME-Zarr volume, and how the planes of each are denoised.

A plane is named by its place, an index into all axes but the last two. The planes of a channel share their noise, that
of the plane with the median level, and their scale; channels share neither.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from smdae.errors import UsageError
from smdae.files import ome_zarr
from smdae.files.ome_zarr import Volume
from smdae.files.picture import Picture, from_samples
from smdae.files.tiff_axes import Selection
from smdae.files.zarr_images import Image
from smdae.pipeline.found_noise import PictureNoise
from smdae.pipeline.options import Options
from smdae.pipeline.picture_noise import is_noise_shared
from smdae.pipeline.shared_noise import Numbered, typical_noise

WINDOW, WINDOWS = 512, 4  # of a large plane, so many windows along each side are examined, of so many pixels a side


def planes_in(image: "Image", places: list[tuple[int, ...]], name: str) -> Numbered:
    """Return planes of an image as pictures, of large ones windows spread over them; damage raises InputError."""

    def page(number: int) -> Picture:
        with ome_zarr.reading(name):
            return from_samples(ome_zarr.sample(image, places[number], WINDOW, WINDOWS), "TIFF")

    return Numbered(len(places), page)


@dataclass(frozen=True, eq=False)
class Channel:
    """A channel, and how its planes are denoised.

    Attributes:
        found: The noise of the plane with the median level.
        halo: The width in pixels of the margin that a region needs; None if it needs the whole plane.
        multiple: Regions with their margins start at multiples of it.
    """

    label: str
    options: Options
    found: PictureNoise
    halo: int | None
    multiple: int


def is_chosen(image: "Image", place: tuple[int, ...], selection: "Selection") -> bool:
    """Return whether the user's selection of pages and channels holds the plane at a place."""
    number = int(np.ravel_multi_index(place, image.shape[:-2])) if place else 0
    of_page = selection.pages is None or number + 1 in selection.pages
    return of_page and (selection.channels is None or image.channel(place) + 1 in selection.channels)


def channels_of(image: "Image", volume: Volume, model: Any, options: Options, name: str) -> dict[int, Channel]:
    """Return the channels of an image that are to be denoised, by their numbers from 0.

    Raises:
        UsageError, InputError: As `typical_noise`.
    """
    return {
        c: _channel(label and f"{label}: ", planes_in(image, image.written(places), name), c, model, options, name)
        for c, (label, places) in chosen_channels(image, volume, options.selection).items()
    }


def chosen_channels(
    image: "Image", volume: Volume, selection: "Selection"
) -> dict[int, tuple[str, list[tuple[int, ...]]]]:
    """Return the channels of an image that are to be denoised by their numbers: the name and the planes of each."""
    prefix = f"image {image.place}" if len(volume.images) > 1 else ""
    chosen = {}
    for c in range(image.channels):
        if places := [place for place in image.planes(c) if is_chosen(image, place, selection)]:
            words = [prefix, f"channel {c + 1}" if image.channels > 1 else ""]
            chosen[c] = ", ".join(word for word in words if word), places
    return chosen


def refuse_beyond(volume: Volume, options: Options, name: str) -> None:
    """Raise UsageError for pages or channels that the volume does not have, and for levels of other channels."""
    chosen = options.selection
    channels = max(image.channels for image in volume.images)
    pages = max(image.count for image in volume.images)
    if chosen.channels is not None and max(chosen.channels) > channels:
        raise UsageError(f"--channel {max(chosen.channels)}: '{name}' has {channels} channel{'s' * (channels != 1)}")
    if chosen.pages is not None and max(chosen.pages) > pages:
        raise UsageError(f"--pages {max(chosen.pages)}: '{name}' has {pages} page{'s' * (pages != 1)}")
    if options.levels is not None and len(options.levels) not in (1, channels):
        raise UsageError(f"--sigma has {len(options.levels)} values, and '{name}' has {channels} channels")


def _channel(label: str, planes: Numbered, c: int, model: Any, options: Options, name: str) -> Channel:
    """Return the channel of these planes, number `c` of its image, with the noise that they share."""
    from smdae.denoising.task import Task

    if options.levels is not None and len(options.levels) > 1:
        options = replace(options, levels=(options.levels[c],))
    found, shared = typical_noise(planes, model, options, name)
    if is_noise_shared(model, options):
        shared = replace(shared, noise=found.in_unit)
    shared = replace(shared, scale=shared.scale or found.prepared.scale)
    if found.noise.is_none:
        return Channel(label, shared, found, 0, 1)
    task = Task.for_noise(found.prepared, model, found.noise, **options.task_options)
    halo = task.model.halo if task.is_one_step and not options.blend else None
    return Channel(label, shared, found, halo, task.model.shift_multiple)
