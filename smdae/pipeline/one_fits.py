"""The work on one FITS file: its images and cubes are denoised plane by plane; all else is copied."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from smdae.errors import OutputError
from smdae.files import fits, packing
from smdae.files.fits import Image
from smdae.files.picture import Picture
from smdae.files.writing import whole
from smdae.pipeline.found_noise import NoiseFacts
from smdae.pipeline.model_choice import ModelFor
from smdae.pipeline.options import Options, refuse_options
from smdae.pipeline.outcome import denoised
from smdae.pipeline.picture_names import parted_name
from smdae.pipeline.picture_noise import is_noise_shared, refuse_unit
from smdae.pipeline.places import STREAM, Job
from smdae.pipeline.placing import origin_of, put_result
from smdae.pipeline.reading import called, refuse_misnamed
from smdae.pipeline.records import record_of, words_of
from smdae.pipeline.replacing import refuse_result
from smdae.pipeline.shared_noise import Numbered, with_shared_noise
from smdae.pipeline.summary import summarise
from smdae.progress import Watch

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement


def planes_of(image: "Image", file: BinaryIO) -> Numbered:
    """Return the planes of an image as pictures; a page raises InputError where the file is damaged."""

    def page(number: int) -> Picture:
        values = image.plane(file, number)
        return Picture(values, 1.0, "TIFF", is_finite=bool(np.isfinite(values).all()))

    return Numbered(image.count, page)


def one_fits(
    job: Job, options: Options, model_for: ModelFor, watch: Watch | None, data: bytes | None
) -> dict[str, Any]:
    """Denoise a FITS file, write the result, and return its JSON record."""
    from smdae.denoising.pages import is_blank

    _refuse(options)
    name = called(job)
    origin = origin_of(job, options.messages)
    options = replace(options, mend=False)
    found: list[NoiseFacts] = []
    judged: list[Judgement | None] = []
    changed: set[int] = set()
    with fits.opened(job.source if data is None else data, name) as file:
        refuse_misnamed(job, options, "a FITS file", (*fits.ENDINGS, *([packing.ENDING] if file.was_packed else [])))
        if options.ending or not (job.target == STREAM or fits.is_named(job.target) or _is_alike(job)):
            target = options.ending or job.target
            hint = "leave --format out" if options.ending else "name it .fits"
            raise OutputError(f"a FITS file stays one, and is not written as '{target}'", hint)
        if job.target != STREAM and not options.will_make(job.target.parent):
            refuse_result(job, options.overwrite)
        first = planes_of(file.images[0], file.file).page(0)
        model = model_for(first)
        refuse_unit(first, options, name)
        del first

        def results(image: "Image") -> Iterator[np.ndarray]:
            planes = planes_of(image, file.file)
            is_cube = image.count > 1
            shares = is_cube and is_noise_shared(model, options)
            shared = with_shared_noise(planes, model, options, name) if shares else options
            for k in range(image.count):
                if watch:
                    watch(k, image.count)
                page = planes.page(k)
                if is_cube and is_blank(page.pixels):
                    yield page.pixels
                    continue
                outcome = denoised(page, model, shared, None, name, judging=not is_cube)
                found.append(outcome.found.facts())
                judged.append(outcome.judgement)
                changed.update([image.number] if outcome.task is not None else [])
                yield outcome.picture.pixels

        def words(image: "Image") -> str | None:
            return words_of(model) if image.number in changed and not options.strip else None

        is_kept = job.target == STREAM or job.replaced is not None
        packs = file.was_packed if is_kept else job.target.suffix.lower() == packing.ENDING

        def pieces() -> Iterator[bytes]:
            written = fits.written(file, results, words)
            return packing.packed(written) if packs else written

        def put(target: Path) -> None:
            with whole(target, overwrite=options.overwrite, origin=origin) as to:
                for piece in pieces():
                    to(piece)

        put_result(job, put, pieces, options.stdout)
        if file.left:
            options.messages.note(f"'{name}': left as they are: units {', '.join(file.left)}")
    summarise({"": found} if found else {}, judged, model, job, options)
    return record_of(job, model, found, [], judged) | {"planes": sum(image.count for image in file.images)}


def _is_alike(job: Job) -> bool:
    """Return whether a result has the ending of its input."""
    source, target = (parted_name(path.name)[1].lower() for path in (job.source, job.target))
    return source == target


def _refuse(options: Options) -> None:
    """Raise UsageError for options that do not go with FITS files."""
    asked = {
        "--save-noise": options.profile,
        "--quality": options.quality and not options.many,
        "--bit-depth": options.depth,
        "--linear": options.linear,
        options.selection.option: options.selection.some,
    }
    refuse_options(options, asked, "FITS files")
