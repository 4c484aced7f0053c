"""Denoise a file of several pictures that is not a TIFF, such as an animation: all are held in memory until the end."""

from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.errors import OutputError
from smdae.files.formats import FORMATS
from smdae.files.parts import Parts
from smdae.files.picture import Picture
from smdae.pipeline.found_noise import NoiseFacts
from smdae.pipeline.model_choice import ModelFor
from smdae.pipeline.options import Options, refuse_single
from smdae.pipeline.outcome import denoised
from smdae.pipeline.picture_noise import is_noise_shared
from smdae.pipeline.places import Job
from smdae.pipeline.placing import origin_of, put_bytes
from smdae.pipeline.reading import called, refuse_misnamed, warn_of_channels
from smdae.pipeline.records import precisions, record_of, words_of
from smdae.pipeline.result_format import kind_of, refuse_one_picture
from smdae.pipeline.shared_noise import with_shared_noise
from smdae.pipeline.summary import summarise
from smdae.progress import Watch, part_of

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement


def denoise_parts(
    parts: Parts, job: Job, options: Options, model_for: ModelFor, watch: Watch | None, data: bytes | None
) -> dict[str, Any]:
    """Denoise all pictures of a file, write the result, and return its JSON record."""
    refuse_single(options, f"'{called(job)}' is {parts.container.called}", {"--save-noise": options.profile})
    origin = origin_of(job, options.messages)
    endings = FORMATS[parts.container.format].suffixes
    first = parts.page(0)
    refuse_misnamed(job, options, f"{parts.container.called} in {parts.container.format}", endings)
    refuse_one_picture(job, options, parts.container.format, parts.container.called, parts.container.piece == "frame")
    kind_of(job, first, options)
    model = model_for(first)
    if options.depth is not None and options.depth != first.pixels.dtype:
        raise OutputError(f"{parts.container.called} keeps its bit depth", "leave --bit-depth out")
    if parts.container.format == "NPY":
        warn_of_channels(len(parts), first, job, options)
    share = parts.container.alike and is_noise_shared(model, options)
    shared = with_shared_noise(parts, model, options, called(job)) if share else options
    found: list[NoiseFacts] = []
    judgements: list[Judgement | None] = []
    products: list[str] = []
    results: list[Picture | None] = []
    for number, part in enumerate(parts):
        if len(parts) > 1 and not np.isfinite(part.pixels).any():
            results.append(None)  # a page without a value stays
            continue
        progress = part_of(watch, number, len(parts))
        outcome = denoised(part, model, shared, progress, called(job))
        if options.report is not None and not number:
            page = f"{parts.container.piece} 1 of {len(parts)}" if len(parts) > 1 else ""
            options.report.show(str(job.source), part, outcome.picture, outcome.found, page)
        found.append(outcome.found.facts())
        judgements.append(outcome.judgement)
        products.extend(precisions(outcome, model))
        results.append(None if outcome.picture.pixels is part.pixels else outcome.picture)
    words = words_of(model) if products and not options.strip else None
    whole = parts.encoded(results, options.quality, options.strip, words)
    put_bytes(job, whole, options.overwrite, origin, options.stdout)
    summarise({"": found} if found else {}, judgements, model, job, options, parts.container.piece)
    return record_of(job, model, found, products, judgements) | {"pages": len(results)}
