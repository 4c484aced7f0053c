"""Denoise a camera raw file: its mosaic is denoised and then developed, or, for other sensors, the developed one."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.errors import OutputError, UsageError
from smdae.files import raw
from smdae.files.exif import stripped
from smdae.files.formats import FORMATS, SUFFIXES
from smdae.files.images import encode
from smdae.files.picture import WHITES, Picture, with_depth
from smdae.files.raw import Shot
from smdae.pipeline.found_noise import PictureNoise
from smdae.pipeline.model_choice import ModelFor
from smdae.pipeline.noise_choice import saved
from smdae.pipeline.options import Options, refuse_options
from smdae.pipeline.outcome import denoised
from smdae.pipeline.picture_names import is_raw_name
from smdae.pipeline.places import STREAM, Job
from smdae.pipeline.placing import beside, origin_of, put_bytes
from smdae.pipeline.reading import called
from smdae.pipeline.records import record_of
from smdae.pipeline.replacing import refuse_place
from smdae.pipeline.result_format import kind_of, warn_of_look
from smdae.pipeline.summary import AS_TOLD, summarise
from smdae.progress import Watch

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.mosaic import Mosaic
    from smdae.noise import Noise

LEVEL_ERROR = 0.08  # relative standard error of the estimated level of a sensor's noise
SAMPLE_SIZE = 1 << 17  # values of a mosaic over which the noise is described


def one_raw(job: Job, options: Options, model_for: ModelFor, watch: Watch | None, data: bytes | None) -> dict[str, Any]:
    """Denoise a camera raw file, write the picture developed from it, and return its JSON record."""
    _refuse(options)
    name = called(job)
    origin = origin_of(job, options.messages)
    with raw.opened(job.source.read_bytes() if data is None else data, name, not options.many) as shot:
        depth, kind = _target(job, options, shot.size)
        if options.profile is not None:
            refuse_place(options.profile, options.overwrite_beside)
        options = replace(options, depth=depth)
        judgement: Judgement | None = None
        if shot.mosaic is None:
            options.messages.note(f"'{name}' {shot.reason}: developed first, and denoised then")
            picture = shot.developed(linear=options.linear)
            model = model_for(picture)
            outcome = denoised(picture, model, options, watch, name)
            result, found, judgement = outcome.picture, outcome.found, outcome.judgement
        else:
            model = model_for(stand_in((1, 1), "uint16"))
            found = noise_of(shot, shot.mosaic, options)
            pixels = _clean(shot.mosaic, found, model, options, watch)
            result = with_depth(shot.developed(pixels, options.linear), options.depth)
    if options.strip:
        result = replace(result, metadata=stripped(result.metadata))
    warn_of_look(job, result, kind, options)
    whole = encode(result, kind, options.quality)
    aside = [] if options.profile is None else [(options.profile, _profile(found, shot, name))]
    with beside(aside, options.overwrite_beside, origin and replace(origin, is_target=False)):
        put_bytes(job, whole, options.overwrite, origin, options.stdout)
    facts = [found.facts()]
    summarise({"": facts}, [judgement], model, job, options)
    return record_of(job, model, facts, [], [judgement])


def _refuse(options: Options) -> None:
    """Raise UsageError for options that go only with pictures that are developed already."""
    asked = {
        "--adapt": options.adapt,
        "--blend": options.blend,
        "--white": options.white,
        "--black": options.black is not None,
        "--sigma of several channels": options.levels is not None and len(options.levels) > 1,
        "--noise grain": options.noise == "grain",
        f"--sampler {options.task_options['sampler']}": options.task_options["sampler"] != "tweedie",
        options.selection.option: options.selection.some,
    }
    refuse_options(options, asked, "camera raw files", "develop them first")


def stand_in(size: tuple[int, int], depth: str) -> Picture:
    """Return a colour picture of a size, (width, height), that takes almost no memory, to check formats and models."""
    pixels = np.broadcast_to(np.arange(3).astype(depth), (size[1], size[0], 3))
    return Picture(pixels, WHITES[depth], "TIFF")


def _target(job: Job, options: Options, size: tuple[int, int]) -> tuple[str, str]:
    """Return the sample type and the format of the result: 16 bits where the format holds them, unless one was chosen.

    Raises:
        OutputError: The result cannot be written there, or not in that format.
    """
    if job.target != STREAM and is_raw_name(job.target):
        raise OutputError(f"cannot write '{job.target}': raw files are developed, not written", "name a TIFF with -o")
    ending = options.ending or ("" if job.target == STREAM else job.target.suffix.lower())
    kind = SUFFIXES.get(ending, "TIFF")
    depth = options.depth or ("uint16" if "uint16" in FORMATS[kind].samples else "uint8")
    return depth, kind_of(job, stand_in(size, depth), options)


def noise_of(shot: "Shot", mosaic: "Mosaic", options: Options) -> PictureNoise:
    """Return the noise of the four planes of a mosaic: the one given, else that in the file, else an estimate.

    Raises:
        UsageError: The noise that was given has another number of channels.
    """
    from smdae.curves import Affine
    from smdae.denoising.given_noise import rms_level
    from smdae.denoising.preparation import Prepared
    from smdae.denoising.sensor import sensor_curves
    from smdae.estimation.estimate import Estimate
    from smdae.estimation.scale import Scale
    from smdae.noise import Noise

    planes = mosaic.planes
    prepared = Prepared(planes, planes, Scale(0.0, 1.0, (mosaic.floor, 1.0)))
    given = None if options.levels is None else options.levels[0] / 255
    if options.takes_nothing_out:
        noise = Noise.gaussian(0.0)
    elif isinstance(options.noise, Noise):
        noise = _as_planes(options.noise, shot, mosaic)
    elif given is not None and options.noise == "white":
        noise = Noise.gaussian(given)
    else:
        curves = shot.noise or sensor_curves(planes, mosaic.floor)
        noise = Noise.gaussian(0.0) if curves is None else Noise(curves, level_error=LEVEL_ERROR)
    if given is not None and not noise.is_none:
        noise = replace(noise.amplified(given / rms_level(prepared, noise)), level_error=0.0)
    if options.noise == "white" and given is None and not noise.is_none:
        noise = Noise((Affine(read=rms_level(prepared, noise)),))
    if noise.is_none:
        return PictureNoise(prepared, Estimate(noise, 0.0))
    sample = planes.reshape(-1)[:: max(1, planes.size // SAMPLE_SIZE)]
    described = noise.scaled(255.0).describe(sample * 255, unit=1.0)
    if shot.noise is not None and options.noise == "auto" and given is None:
        described += f", {AS_TOLD}"
    level = 255 * rms_level(prepared, noise)
    return PictureNoise(prepared, Estimate(noise, LEVEL_ERROR), described, (level,), level)


def _as_planes(noise: "Noise", shot: "Shot", mosaic: "Mosaic") -> "Noise":
    """Return the noise of the four planes, black being 0 and white 1, from noise in the sensor's unit.

    Raises:
        UsageError: The noise is grain, or has another number of curves than one, three or four.
    """
    if noise.kind == "grain":
        raise UsageError("the noise of the profile is grain, and that of a sensor is not", "leave --noise out")
    colours = mosaic.colours.reshape(-1).tolist()
    places = {1: [0] * 4, 3: colours, 4: [0, 1, 2, 3]}.get(len(noise.curves))
    if places is None:
        raise UsageError(f"the noise has {len(noise.curves)} channels, and a mosaic has 4 planes")
    black = shot.black.reshape(-1).tolist()
    curves = [noise.curves[i].shifted(-b).scaled(1 / (shot.white - b)) for i, b in zip(places, black, strict=True)]
    return type(noise)(tuple(curves), level_error=noise.level_error)


def _profile(found: PictureNoise, shot: "Shot", name: str) -> bytes:
    """Return the noise of a mosaic as a YAML profile, in the sensor's unit; raise InputError if there is no noise.

    If the file has no mosaic, the profile is of the developed picture.
    """
    from smdae.noise import Noise

    if shot.mosaic is None:
        return saved(found.in_unit, name)
    noise = found.estimate.noise
    if noise.is_none:
        return saved(noise, name)
    curves = noise.curves * (4 // len(noise.curves))
    black = shot.black.reshape(-1).tolist()
    own = [curve.scaled(shot.white - b).shifted(b) for curve, b in zip(curves, black, strict=True)]
    zero = float(min(black))
    return saved(Noise(tuple(own), white=shot.white, zero=zero, level_error=noise.level_error), name)


def _clean(
    mosaic: "Mosaic", found: PictureNoise, model: Any, options: Options, watch: Watch | None
) -> np.ndarray | None:
    """Return the denoised pixels of a mosaic; None if the mosaic has no noise.

    White pixels stay as they are: if one colour alone fell a little below white, the picture would have a tint.
    """
    from smdae.denoising.mosaic import denoised as without_noise

    noise = found.estimate.noise
    if noise.is_none:
        return None
    pixels = without_noise(
        mosaic,
        noise.curves * (4 // len(noise.curves)),
        model,
        watch,
        strength=options.strength,
        luma=options.luma,
        chroma=options.chroma,
        device=next(model.parameters()).device,
        tile=options.tile,
        or_cpu=options.device == "auto",
        **options.task_options,
    )
    return np.where(mosaic.pixels >= 1, mosaic.pixels, pixels)
