"""The work on one OME-Zarr volume: its first level is denoised part by part, and the smaller ones are made anew.

Planes that fit into memory are denoised whole, as those of other stacks are. Larger ones are cut into regions, each
seen with the margin that the model needs; of them outliers are not repaired, nor rows and columns levelled, which takes
all of a plane.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.errors import OutputError, UsageError
from smdae.pipeline.found import Noted, is_found, refuse_unit
from smdae.pipeline.options import Options, refuse_options
from smdae.pipeline.outcome import Outcome, denoised
from smdae.pipeline.places import STREAM, Job
from smdae.pipeline.placing import origin_of, put_result
from smdae.pipeline.reading import called
from smdae.pipeline.records import estimates, precisions, record_of
from smdae.pipeline.summary import tell
from smdae.pipeline.volume_channels import Channel, VolumePlanes, channels_of, is_chosen, refuse_beyond
from smdae.progress import Watch

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.files.ome_zarr import Image, Volume
    from smdae.files.picture import Picture
    from smdae.files.slabs import Slab

__all__ = ["one_volume"]

MEMORY_SHARE = 0.25  # of the memory available


@dataclass(eq=False)
class _Run:
    """The work on a volume, and what came of it.

    Attributes:
        volume, job, options, model, watch: As they are given.
        noted: What is told of each channel, by its label.
        judged: How good the result is, of a single plane.
        products: The precision of the products.
    """

    volume: "Volume"
    job: Job
    options: Options
    model: Any
    watch: Watch | None
    noted: dict[str, Noted] = field(default_factory=dict)
    judged: "list[Judgement | None]" = field(default_factory=list)
    products: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the name of the volume in messages."""
        return called(self.job)

    def write(self, folder: Path) -> None:
        """Write the result to a new folder."""
        from smdae.files import ome_zarr

        if not self.options.strength or not (self.options.luma or self.options.chroma):
            with _writing(self.job):
                ome_zarr.copied(self.volume, folder)
            return
        plans = []
        for image in self.volume.images:
            channels = channels_of(image, self.volume, self.model, self.options, self.name)
            plans.append((image, channels, self._parts(image, channels)))
        with _writing(self.job):
            anew = [image.place / level for image, *_ in plans for level in image.levels]
            ome_zarr.copied(self.volume, folder, anew)
        total, begun = sum(len(parts) for *_, parts in plans), 0
        ways: list[str | None] = []
        for image, channels, parts in plans:
            target = ome_zarr.array_of(folder / image.place / image.levels[0], "r+")
            changed = False
            for k, slab in enumerate(parts):
                if self.watch:
                    self.watch(begun + k, total)
                with ome_zarr.reading(self.name):
                    values = np.array(image.array[(*slab.lead, *slab.seen)])
                changed |= self._denoise(image, channels, slab, values)
                with _writing(self.job):
                    target[(*slab.lead, *slab.kept)] = values[(..., *slab.inner)]
            begun += len(parts)
            ways.append(self._levels(image, folder, changed))
        for words in dict.fromkeys((*self.volume.remarks, *filter(None, ways))):
            self.options.messages.note(f"'{self.name}': {words}" if self.options.many else words)

    def _parts(self, image: "Image", channels: dict[int, Channel]) -> "list[Slab]":
        """Return the parts that an image is cut into."""
        from smdae.denoising.flat import SIDE
        from smdae.files.ome_zarr import grid_of
        from smdae.files.slabs import ROOM, slabs
        from smdae.memory import left

        halos = [one.halo for one in channels.values()]
        widest = None if None in halos else max((SIDE, *(halo for halo in halos if halo)))
        room = min(ROOM, int(MEMORY_SHARE * left()))
        multiple = max((one.multiple for one in channels.values()), default=1)
        return slabs(image.shape, grid_of(image.array), image.array.dtype.itemsize, room, widest, multiple)

    def _denoise(self, image: "Image", channels: dict[int, Channel], slab: "Slab", values: np.ndarray) -> bool:
        """Take the noise out of the planes of a part, in place, and return whether anything changed.

        `values` are what is seen of it; what is right of them afterwards is what the part keeps.
        """
        from smdae.denoising.pages import is_blank
        from smdae.files.images import refuse_infinite
        from smdae.files.picture import from_samples, samples_of

        kept = values[(..., *slab.inner)]
        before = kept.copy()
        is_whole = slab.kept == slab.seen
        alone = is_whole and len(image.planes) == 1
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
            kept[part] = image.array.fill_value
        return not np.array_equal(before, kept, equal_nan=kept.dtype.kind == "f")

    def _show(self, channel: Channel, picture: "Picture", outcome: Outcome) -> None:
        """Let the report show the first plane, or region, of a channel."""
        if self.options.report is not None and channel.label not in self.noted:
            part = channel.label.removesuffix(": ")
            self.options.report.show(str(self.job.source), picture, outcome.picture, outcome.found, part)

    def _note(self, channel: Channel, before: np.ndarray, outcome: Outcome | None = None) -> None:
        """Keep what there is to tell of a plane, or a region of one, and of what became of it if anything did."""
        lost = int((~np.isfinite(before)).sum()) if before.dtype.kind == "f" else 0
        repaired, banded = (outcome.found.repaired, outcome.found.is_banded) if outcome else (0, False)
        if outcome is not None:
            self.products = self.products or precisions(outcome, self.model)
        last = self.noted.get(channel.label) or replace(channel.found.noted(), lost=0, repaired=0, is_banded=False)
        self.noted[channel.label] = replace(
            last, lost=last.lost + lost, repaired=last.repaired + repaired, is_banded=last.is_banded or banded
        )

    def _levels(self, image: "Image", folder: Path, changed: bool) -> str | None:
        """Write the smaller levels of an image: made anew where the first changed, else as they were."""
        from smdae.files import ome_levels, ome_zarr

        with _writing(self.job):
            if changed:
                return ome_levels.rebuilt(image, folder / image.place, self.name)
            for level in image.levels[1:]:
                ome_zarr.copied_array(image.group / level, folder / image.place / level)
        return None


def one_volume(
    job: Job, options: Options, model_for: "Callable[[Picture], Any]", watch: Watch | None, data: bytes | None
) -> dict[str, Any]:
    """Denoise an OME-Zarr volume; return its JSON record.

    Raises:
        UsageError: Something is asked for that goes with single pictures, or with files.
        InputError: The volume is damaged, not supported, or the extra is missing.
        OutputError: The result cannot be written.
    """
    from smdae.files import ome_metadata, ome_zarr
    from smdae.files.whole_folder import refuse_folder, whole_folder

    _refuse(job, options)
    name, origin = called(job), origin_of(job, options.messages)
    how: dict[str, Any] = {"overwrite": options.overwrite, "may_go": ome_metadata.may_be_replaced}
    with ome_zarr.opened(job.source, name) as volume:
        refuse_beyond(volume, options, name)
        if options.ending or job.target.suffix.lower() not in (ome_metadata.ENDING, job.source.suffix.lower()):
            told = options.ending or job.target
            raise OutputError(f"an OME-Zarr stays one, and is not written as '{told}'", "name it .ome.zarr")
        if not (options.made and not job.target.parent.exists()):
            refuse_folder(job.target, **how)
        first = VolumePlanes(volume.images[0], volume.images[0].planes, name).page(0)
        refuse_unit(first, options, name)
        run = _Run(volume, job, options, model_for(first), watch)

        def put(target: Path) -> None:
            with whole_folder(target, origin=origin, **how) as folder:
                run.write(folder)

        put_result(job, put, lambda: (), options.stdout)
    found = is_found(run.model, options)
    if run.noted:
        parts = {label: [noted] for label, noted in run.noted.items()}
        tell(parts, run.judged, run.model, found, job.source if options.many else None, options.messages)
    axes = [image.axes for image in volume.images]
    return (
        record_of(job, run.model, [*run.noted.values()], run.products)
        | estimates(run.judged)
        | {
            "pages": sum(len(image.planes) for image in volume.images),
            "axes": axes[0] if len(axes) == 1 else axes,
            "channels": sum(image.channels for image in volume.images),
        }
    )


@contextmanager
def _writing(job: Job) -> Iterator[None]:
    """Turn whatever stops the writing of a result into OutputError, for as long as the context lasts."""
    from smdae.files.refusals import refusals

    with refusals(job.target):
        yield


def _refuse(job: Job, options: Options) -> None:
    """Raise UsageError for what goes with single pictures, or with files."""
    asked = {
        "--reference": options.reference,
        "--mask": options.mask,
        "--adapt": options.adapt,
        "--save-noise": options.profile,
        options.extras.option: options.extras.some,
        "--bit-depth": options.depth,
        "--linear": options.linear and not options.many,
        "--quality": options.quality and not options.many,
        "--strip-metadata": options.strip,
        "--axes": options.selection.axes,
    }
    refuse_options(asked, "OME-Zarr")
    if job.target == STREAM:
        raise UsageError("an OME-Zarr is a folder, and does not go to stdout", "name one with -o")
