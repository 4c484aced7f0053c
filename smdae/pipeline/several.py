"""A file of several pictures that is no TIFF, such as an animation: all are held in memory, and written at the end."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from smdae.errors import InputError, OutputError
from smdae.files.formats import FORMATS
from smdae.pipeline.found import Found, is_found, is_shared
from smdae.pipeline.manner import Manner
from smdae.pipeline.outcome import denoised
from smdae.pipeline.places import Job
from smdae.pipeline.placing import origin_of, put_file, put_result
from smdae.pipeline.reading import called, kind_of, refuse_misnamed
from smdae.pipeline.records import estimates, precisions, record_of
from smdae.pipeline.stacked import for_all_pages
from smdae.pipeline.told import tell
from smdae.progress import Watch, part_of

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.files.parts import Parts
    from smdae.files.picture import Picture

__all__ = ["denoise_parts"]

Chooser = Callable[["Picture"], Any]


def denoise_parts(
    parts: "Parts", job: Job, manner: Manner, model_for: Chooser, watch: Watch | None, data: bytes | None
) -> dict[str, Any]:
    """Denoise all pictures of a file, write the result, and return its JSON record.

    Raises:
        InputError: An option goes only with a single picture.
        OutputError: The format of the result cannot hold several pictures, or it cannot be written.
    """
    alone = {
        "--reference": manner.reference is not None,
        "--samples and the like": manner.extras.some,
        "--save-noise": manner.profile is not None,
    }
    for name, wanted in alone.items():
        if wanted:
            raise InputError(f"'{called(job)}' is {parts.container.called}", f"{name} goes with a single picture")
    origin = origin_of(job, manner.messages)
    endings = FORMATS[parts.container.format].suffixes
    first = parts.page(0)
    refuse_misnamed(job, manner, f"{parts.container.called} in {parts.container.format}", endings)
    kind = kind_of(job, first, manner)
    if kind != parts.container.format:
        raise OutputError(
            f"'{called(job)}': {kind} cannot hold {parts.container.called}", f"write {parts.container.format}"
        )
    model = model_for(first)
    if manner.depth is not None and manner.depth != first.pixels.dtype:
        raise OutputError(f"{parts.container.called} keeps its bit depth", "leave --bit-depth out")
    share = parts.container.alike and is_shared(model, manner)
    alike = for_all_pages(parts, model, manner, called(job)) if share else manner
    found: list[Found] = []
    judgements: list[Judgement | None] = []
    products: list[str] = []
    results: list[Picture | None] = []
    for number, part in enumerate(parts):
        seen = part_of(watch, number, len(parts))
        outcome = denoised(part, model, alike, seen, called(job))
        if manner.report is not None and not number:
            of = f"page 1 of {len(parts)}" if len(parts) > 1 else ""
            manner.report.show(str(job.source), part, outcome.picture, outcome.found, of)
        found.append(outcome.found)
        judgements.append(outcome.judgement)
        products.extend(precisions(outcome, model))
        results.append(None if outcome.picture.pixels is part.pixels else outcome.picture)
    whole = parts.encoded(results, manner.quality, manner.strip)
    put_result(job, lambda target: put_file(target, whole, manner.overwrite, origin), lambda: [whole], manner.stdout)
    tell(found, judgements, model, is_found(model, manner), job.source if manner.many else None, manner.messages)
    return record_of(job, model, found, products) | estimates(judgements) | {"pages": len(found)}
