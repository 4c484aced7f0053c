"""Denoise an OME-Zarr volume: its full resolution part by part, and the smaller levels computed again from it.

Planes that fit into memory are denoised whole, like those of other stacks. Larger ones are cut into regions, each read
with the margin that the model needs. In regions outliers are not repaired and offsets of rows and columns not taken
off, as that takes the whole plane.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.errors import OutputError, UsageError
from smdae.files import ome_levels, ome_metadata, ome_zarr
from smdae.files.images import refuse_infinite
from smdae.files.ome_zarr import Volume
from smdae.files.picture import Picture, from_samples, samples_of
from smdae.files.refusals import refusals
from smdae.files.slabs import ROOM, Slab, slabs
from smdae.files.whole_folder import refuse_folder, whole_folder
from smdae.files.zarr_chunks import fill_of, grid_of
from smdae.files.zarr_images import Image, array_of
from smdae.pipeline.found_noise import NoiseFacts, without_noise
from smdae.pipeline.model_choice import ModelFor
from smdae.pipeline.options import Options, refuse_options
from smdae.pipeline.outcome import Outcome, denoised
from smdae.pipeline.picture_noise import refuse_unit
from smdae.pipeline.places import STREAM, Job
from smdae.pipeline.placing import origin_of, put_result
from smdae.pipeline.reading import called
from smdae.pipeline.records import precisions, record_of
from smdae.pipeline.replacing import refuse_misplaced
from smdae.pipeline.result_format import refuse_other_format
from smdae.pipeline.summary import summarise
from smdae.pipeline.volume_channels import Channel, channels_of, chosen_channels, is_chosen, planes_in, refuse_beyond
from smdae.progress import Watch

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement

MEMORY_SHARE = 0.25  # of the memory available


@dataclass(eq=False)
class _Run:
    """The work on a volume, and what came of it.

    Attributes:
        noted: The facts about the noise of each channel, by its label.
        judged: The estimated quality, if there is only one plane.
    """

    volume: Volume
    job: Job
    options: Options
    model: Any
    watch: Watch | None
    noted: dict[str, NoiseFacts] = field(default_factory=dict)
    judged: "list[Judgement | None]" = field(default_factory=list)
    products: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the name of the volume in messages."""
        return called(self.job)

    def write(self, folder: Path) -> None:
        """Write the result to a new folder."""
        if self.options.takes_nothing_out:
            with _writing(self.job):
                ome_zarr.copied(self.volume, folder)
            for image in self.volume.images:
                chosen = chosen_channels(image, self.volume, self.options.selection)
                self.noted |= {label: without_noise() for label, _ in chosen.values()}
            return
        plans = []
        for image in self.volume.images:
            channels = channels_of(image, self.volume, self.model, self.options, self.name)
            plans.append((image, channels, self._parts(image, channels)))
        with _writing(self.job):
            anew = [image.place / level for image, *_ in plans for level in image.levels]
            ome_zarr.copied(self.volume, folder, anew)
        total, done = sum(len(parts) for *_, parts in plans), 0
        remarks: list[str | None] = []
        for image, channels, parts in plans:
            target = array_of(folder / image.place / image.levels[0], "r+")
            changed = False
            for k, slab in enumerate(parts):
                if self.watch:
                    self.watch(done + k, total)
                if image.is_missing(slab.start, slab.stop):
                    self._note_missing(image, channels, slab)
                    continue
                with ome_zarr.reading(self.name):
                    values = np.array(image.array[(*slab.lead, *slab.padded)])
                changed |= self._denoise(image, channels, slab, values)
                with _writing(self.job):
                    target[(*slab.lead, *slab.kept)] = values[(..., *slab.inner)]
            done += len(parts)
            remarks.append(self._levels(image, folder, changed))
        for words in dict.fromkeys((*self.volume.remarks, *filter(None, remarks))):
            self.options.messages.note(f"'{self.name}': {words}" if self.options.many else words)

    def _parts(self, image: "Image", channels: dict[int, Channel]) -> "list[Slab]":
        """Return the parts that an image is cut into."""
        from smdae.denoising.flat import SIDE
        from smdae.memory import left

        halos = [channel.halo for channel in channels.values()]
        widest = None if None in halos else max((SIDE, *(halo for halo in halos if halo)))
        room = min(ROOM, int(MEMORY_SHARE * left()))
        multiple = max((channel.multiple for channel in channels.values()), default=1)
        return slabs(image.shape, grid_of(image.array), image.array.dtype.itemsize, room, widest, multiple)

    def _denoise(self, image: "Image", channels: dict[int, Channel], slab: Slab, values: np.ndarray) -> bool:
        """Denoise the planes of a part in place, and return whether anything changed.

        `values` holds the part and its margin; afterwards only the part itself is denoised right.
        """
        from smdae.denoising.pages import is_blank

        kept = values[(..., *slab.inner)]
        before = kept.copy()
        is_whole = slab.kept == slab.padded
        alone = is_whole and image.count == 1
        for index in np.ndindex(values.shape[:-2]):
            place = tuple(axis.start + k for axis, k in zip(slab.lead, index, strict=True))
            channel = channels.get(image.channel(place))
            if channel is None or not is_chosen(image, place, self.options.selection):
                continue
            if (channel.found.noise.is_none and not is_whole) or is_blank(values[index]):
                self._note(channel, before[index])
                continue
            picture = from_samples(values[index], "TIFF")
            options = self.options if alone else channel.options if is_whole else replace(channel.options, mend=False)
            outcome = denoised(picture, self.model, options, None, self.name, judging=alone)
            refuse_infinite(outcome.picture)
            self._show(channel, picture, outcome)
            self._note(channel, before[index], outcome)
            if alone:
                self.judged.append(outcome.judgement)
            kept[index] = samples_of(outcome.picture)[slab.inner]
        for part in image.missing(slab.start, slab.stop):
            kept[part] = fill_of(image.array)
        return not np.array_equal(before, kept, equal_nan=kept.dtype.kind == "f")

    def _show(self, channel: Channel, picture: Picture, outcome: Outcome) -> None:
        """Show the first plane or region of a channel in the report."""
        if self.options.report is not None and channel.label not in self.noted:
            part = channel.label.removesuffix(": ")
            self.options.report.show(str(self.job.source), picture, outcome.picture, outcome.found, part)

    def _note(self, channel: Channel, before: np.ndarray, outcome: Outcome | None = None) -> None:
        """Add the facts about a plane, or a region of one, to those of its channel; no outcome if it was skipped."""
        lost = int((~np.isfinite(before)).sum()) if before.dtype.kind == "f" else 0
        repaired, banded = (outcome.found.repaired, outcome.found.prepared.is_banded) if outcome else (0, False)
        if outcome is not None:
            self.products = self.products or precisions(outcome, self.model)
        last = self.noted.get(channel.label) or replace(channel.found.facts(), lost=0, repaired=0, is_banded=False)
        self.noted[channel.label] = replace(
            last, lost=last.lost + lost, repaired=last.repaired + repaired, is_banded=last.is_banded or banded
        )

    def _note_missing(self, image: "Image", channels: dict[int, Channel], slab: Slab) -> None:
        """Add the facts about a part that was never written, whose pixels have the fill value, to its channels."""
        height, width = ((rows := slab.kept[0]).stop - rows.start, (columns := slab.kept[1]).stop - columns.start)
        filled = np.broadcast_to(fill_of(image.array), (height, width))
        for place in product(*(range(axis.start, axis.stop) for axis in slab.lead)):
            channel = channels.get(image.channel(place))
            if channel is not None and is_chosen(image, place, self.options.selection):
                self._note(channel, filled)

    def _levels(self, image: "Image", folder: Path, changed: bool) -> str | None:
        """Write the smaller levels of an image, computed again if the first changed; return a remark if any."""
        with _writing(self.job):
            if changed:
                return ome_levels.rebuilt(image, folder / image.place, self.name)
            for level in image.levels[1:]:
                ome_zarr.copied_array(image.group / level, folder / image.place / level)
        return None


def one_volume(
    job: Job, options: Options, model_for: ModelFor, watch: Watch | None, data: bytes | None
) -> dict[str, Any]:
    """Denoise an OME-Zarr volume; return its JSON record."""
    _refuse(job, options)
    name, origin = called(job), origin_of(job, options.messages)
    how: dict[str, Any] = {"overwrite": options.overwrite, "may_go": ome_metadata.may_be_replaced}
    with ome_zarr.opened(job.source, name) as volume:
        refuse_beyond(volume, options, name)
        endings = (ome_metadata.ENDING, job.source.suffix.lower())
        refuse_other_format(job, options, "an OME-Zarr", endings, "name it .ome.zarr")
        if not options.will_make(job.target.parent):
            refuse_folder(job.target, **how)
            refuse_misplaced(job)
        image = volume.images[0]
        first = planes_in(image, image.written(image.planes(0)), name).page(0)
        refuse_unit(first, options, name)
        run = _Run(volume, job, options, model_for(first), watch)

        def put(target: Path) -> None:
            with whole_folder(target, origin=origin, **how) as folder:
                run.write(folder)

        put_result(job, put, lambda: (), options.stdout)
    if run.noted:
        parts = {label: [noted] for label, noted in run.noted.items()}
        summarise(parts, run.judged, run.model, job, options)
    axes = [image.axes for image in volume.images]
    return record_of(job, run.model, [*run.noted.values()], run.products, run.judged) | {
        "pages": sum(image.count for image in volume.images),
        "axes": axes[0] if len(axes) == 1 else axes,
        "channels": sum(image.channels for image in volume.images),
    }


@contextmanager
def _writing(job: Job) -> Iterator[None]:
    """Raise OutputError within the context for whatever stops the writing of a result, codecs among it.

    Settings of a codec may let it read, and not write.
    """
    from smdae.named import foreign_errors

    failed = OutputError(f"cannot write '{job.target}': the codecs of '{job.source}' fail")
    with foreign_errors(lambda error: failed), refusals(job.target):
        yield


def _refuse(job: Job, options: Options) -> None:
    """Raise UsageError for options that go only with single pictures, or with files."""
    asked = {
        "--adapt": options.adapt,
        "--save-noise": options.profile,
        "--bit-depth": options.depth,
        "--linear": options.linear and not options.many,
        "--quality": options.quality and not options.many,
        "--strip-metadata": options.strip,
        "--axes": options.selection.axes,
    }
    refuse_options(options, asked, "OME-Zarr")
    if job.target == STREAM:
        raise UsageError("an OME-Zarr is a folder, and does not go to stdout", "name one with -o")
