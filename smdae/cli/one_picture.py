"""The work on one picture: read it, refuse what cannot be, find model and level, denoise, write."""

import math
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from smdae.cli import console
from smdae.cli.extras import made_of, targets
from smdae.cli.manner import Manner
from smdae.cli.model_choice import choose, load_denoiser, placed, tell_left, tell_noise, tell_quality
from smdae.cli.outcome import Found, Noted, Outcome, denoised, is_found, look, refuse_unit, self_checked, white_of
from smdae.cli.places import STREAM, Job, check_target, refuse_place
from smdae.errors import InputError, OutputError, UsageError

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.files.picture import Picture
    from smdae.files.stack import Group, Key, Stack
    from smdae.files.writing import Origin


class Pages(Protocol):
    """Pictures of one kind, by their numbers."""

    def __len__(self) -> int: ...
    def page(self, number: int, /) -> "Picture": ...


Watch = Callable[[int, int], object]
Chooser = Callable[["Picture"], Any]

__all__ = [
    "beside",
    "called",
    "estimates",
    "figures",
    "for_all_pages",
    "forget",
    "is_number",
    "origin_of",
    "piped",
    "put",
    "record_of",
    "typical",
    "worker",
    "written",
]

MAX_ATTEMPTS = 5  # at writing into a folder that others take away
MAX_PAGES_ASKED = 5  # of a stack, that its noise is estimated on


def worker(manner: Manner, watch: Watch | None = None) -> Callable[[Job], dict[str, Any]]:
    """A function that does one job and returns what --json says of it; it may be called from many threads."""
    loaded: dict[str, Any] = {}
    lock = Lock()

    def model_for(picture: "Picture") -> Any:
        from smdae.device import find

        where = find(manner.device, manner.local)
        name = choose(manner.model, picture, manner.fast)
        with lock:
            if name not in loaded:
                if not loaded:
                    tell_left(manner.model, manner.fast)
                loaded[name] = placed(load_denoiser(name, manner.imports), where, manner.many)
                if not manner.model:
                    console.note(f"model '{name}'", now=True)
            return loaded[name]

    def work(job: Job) -> dict[str, Any]:
        from smdae.cli.one_fits import one_fits
        from smdae.cli.one_raw import one_raw
        from smdae.cli.one_stream import is_video, streamed
        from smdae.files import fits, images, raw, stack

        begun = time.perf_counter()
        data = None
        if job.source == STREAM or is_video(job.source):
            data, record = streamed(job, manner, model_for)
            if record is not None:
                return record | {"seconds": round(time.perf_counter() - begun, 3)}
        if data is None and os.path.exists(job.source) and not os.path.isfile(job.source):
            data = images.content(job.source, str(job.source))  # a pipe can be read only once
        if raw.is_raw(job.source if data is None else data, called(job)):
            do = one_raw
        elif fits.is_fits(job.source if data is None else data):
            do = one_fits
        else:
            if manner.linear and not manner.many:
                raise UsageError("--linear is for camera raw files", "leave it out")
            pages = stack.count(job.source if data is None else data)
            do = _stack if pages > 1 or manner.selection.some else _single
        return do(job, manner, model_for, watch, data) | {"seconds": round(time.perf_counter() - begun, 3)}

    return work


def _single(job: Job, manner: Manner, model_for: Chooser, watch: Watch | None, data: bytes | None) -> dict[str, Any]:
    """A file with one picture."""
    from smdae.denoising.quality import likeness
    from smdae.files.images import encode
    from smdae.files.stack import rewritten

    origin = origin_of(job)
    picture = _bare(_read(job.source, data), manner)
    clean = _like(_read(manner.reference), picture, manner.reference) if manner.reference is not None else None
    kind = _kind(job, picture, manner)
    refuse_unit(picture, manner, called(job))
    more = [] if job.target == STREAM and not manner.extras.some else targets(manner.extras, job)
    for path in [*more, *([] if manner.profile is None else [manner.profile])]:
        # In a folder that is to be made for the result there is nothing yet.
        if not (manner.made and path.parent == job.target.parent and not path.parent.exists()):
            refuse_place(path, manner.beside, path == manner.extras.steps and manner.extras.folder)
    model = model_for(picture)
    outcome = denoised(picture, model, manner, watch, called(job))
    result, found, judged = outcome.picture, outcome.found, outcome.judgement
    tell_noise([found], model, is_found(model, manner), job.source if manner.many else None)
    profile = [] if manner.profile is None else [(manner.profile, _profile(found, job))]
    extra = _extra(job, outcome, manner, kind, watch) if manner.extras.some else []
    as_it_is = manner.quality is None and not manner.strip
    if result.pixels is picture.pixels and kind == picture.format and as_it_is:
        whole = data if data is not None else job.source.read_bytes()  # not a bit of it changes
    elif kind == picture.format == "TIFF":
        source = job.source if data is None else data
        whole, remarks = rewritten(source, called(job), result, job.target.name, manner.strip)
        _tell(remarks, job, manner)
    else:
        whole = encode(result, kind, manner.quality)
    with beside([*extra, *profile], manner.beside, origin and replace(origin, is_target=False)):
        written(job, manner, lambda target: put(target, whole, manner.overwrite, origin), lambda: [whole])
    tell_quality([judged], job.source if manner.many else None)
    record = record_of(job, model, [found], _precisions(outcome, model)) | estimates([judged])
    if extra:
        record["beside"] = [str(path) for path, _ in extra]
    if manner.checks:
        checks = outcome.task and self_checked(outcome.task)  # None where memory does not suffice
        record["selfchecks"] = checks and asdict(checks)
    if clean is not None:
        for name, shown in (("", result), ("_noisy", picture)):
            values = likeness((shown.pixels, white_of(shown, manner)), (clean.pixels, white_of(clean, manner)))
            record |= {f"psnr{name}": values[0], f"ssim{name}": values[1]}
    return record


def _stack(job: Job, manner: Manner, model_for: Chooser, watch: Watch | None, data: bytes | None) -> dict[str, Any]:
    """A TIFF of many pages or channels, each page read, denoised and written before the next."""
    from smdae.files import stack

    for name, wanted in (("--reference", manner.reference is not None), ("--samples and the like", manner.extras.some)):
        if wanted:
            raise InputError(f"'{job.source}' has many pages", f"{name} goes with a single picture")
    origin = origin_of(job)
    name_of = called(job)
    told = job.source if manner.many else None
    found: dict[Key, list[Noted]] = {}
    judgements: list[Judgement | None] = []
    precisions: list[str] = []
    with stack.opened(job.source if data is None else data, name_of, manner.selection) as pages:
        first = pages.pictures(0)[0]
        kind = _kind(job, first, manner)
        if kind != "TIFF":
            raise OutputError(f"{kind} cannot hold {len(pages)} pages", "write TIFF")
        refuse_unit(first, manner, name_of)
        model = model_for(first)
        del first
        alike = {key: _for_group(group, pages, model, manner, name_of) for key, group in pages.groups.items()}

        def results() -> Iterator[list["Picture"]]:
            for number in range(len(pages)):
                seen = watch and _page_of(watch, number, len(pages))
                yield [
                    outcome(picture, key, seen) if chosen else _left(picture, manner)
                    for picture, key, chosen in zip(
                        pages.pictures(number), pages.keys(number), pages.is_selected(number), strict=True
                    )
                ]

        def outcome(picture: "Picture", key: "Key", seen: Watch | None) -> "Picture":
            if _is_blank(picture):
                return _left(picture, manner)
            done = denoised(picture, model_for(picture), alike[key], seen, name_of)
            found.setdefault(key, []).append(done.found.noted())
            judgements.append(done.judgement)
            precisions.extend(_precisions(done, model))
            return done.picture

        target = job.target.name if job.target != STREAM else job.source.name
        style = stack.style_for(pages, job.source.name, target, manner.depth, manner.strip)
        written(
            job,
            manner,
            lambda path: stack.write(path, pages, results(), style, overwrite=manner.overwrite, origin=origin),
            lambda: stack.encoded(pages, results(), style),
        )
        count, channels, axes = len(pages), len(pages.groups), [one.told for one in pages.axes]
        _tell(pages.remarks, job, manner)
    for key, some in sorted(found.items()):
        tell_noise(some, model, is_found(model, manner), told, f"channel {key.channel + 1}: " if channels > 1 else "")
    tell_quality(judgements, told)
    every = [one for _, some in sorted(found.items()) for one in some]
    record = record_of(job, model, every, precisions) | estimates(judgements)
    return record | {"pages": count, "axes": axes[0] if len(axes) == 1 else axes, "channels": channels}


def _tell(remarks: Sequence[str], job: Job, manner: Manner) -> None:
    """Say what there is to say of a file, which is named among many."""
    for remark in remarks:
        console.note(f"'{job.source}': {remark}" if manner.many else remark)


def _is_blank(picture: "Picture") -> bool:
    """Return whether there is nothing to see in a picture: no number at all, or one alone."""
    finite = picture.pixels[np.isfinite(picture.pixels)]
    return not finite.size or bool((finite == finite[0]).all())


def _left(picture: "Picture", manner: Manner) -> "Picture":
    """Return a picture as it was, with the samples that its result is to have."""
    from smdae.files.picture import with_depth

    return with_depth(picture, manner.depth, white_of(picture, manner))


def _page_of(watch: Watch, number: int, count: int) -> Watch:
    """Return what watches a page, whose steps are some of those of all pages."""
    return lambda done, of: watch(number * of + done, count * of)


def for_all_pages(pages: "Pages", model: Any, manner: Manner, name: str) -> Manner:
    """Return how to denoise every page: with the noise of the typical one, and its scale."""
    median, manner = typical(pages, model, manner, name)
    scale = median.prepared.scale
    noise = median.estimate.noise.scaled(scale.span)
    return replace(manner, noise=noise.shifted(scale.black) if scale.black else noise)


def _for_group(group: "Group", pages: "Stack", model: Any, manner: Manner, name: str) -> Manner:
    """Return how to denoise every page of a channel: with the noise of the typical one, and its scale."""
    channels = len({key.channel for key in pages.groups})
    if manner.levels is not None and len(manner.levels) == channels > 1:
        manner = replace(manner, levels=(manner.levels[group.key.channel],))
    if not is_found(model, manner) or not len(group):
        return manner
    return for_all_pages(group, model, manner, name)


def typical(pages: "Pages", model: Any, manner: Manner, name: str) -> tuple[Found, Manner]:
    """Return the noise of the page whose level is the median of some, and the manner with a scale for all pages.

    Arguments and errors are those of `look`.
    """
    count = len(pages)
    places = sorted({round(i * (count - 1) / max(1, MAX_PAGES_ASKED - 1)) for i in range(MAX_PAGES_ASKED)})
    some = [pages.page(place) for place in places if place < count]
    some = [picture for picture in some if not _is_blank(picture)] or some[:1]
    looked = [look(picture, model, manner, name) for picture in some]
    scales = [one.prepared.scale for one in looked]
    if not all(scale.standard for scale in scales):
        black, white = min(scale.black for scale in scales), max(scale.white for scale in scales)
        manner = replace(manner, scale=replace(scales[0], black=black, white=white, standard=False))
        looked = [look(picture, model, manner, name) for picture in some]
    noisy = sorted((one for one in looked if not one.estimate.noise.is_none), key=lambda one: one.levels[0])
    if 2 * len(noisy) < len(looked):
        noisy = [one for one in looked if one.estimate.noise.is_none]
    return noisy[len(noisy) // 2], manner


def called(job: Job) -> str:
    return "stdin" if job.source == STREAM else str(job.source)


def _profile(found: Found, job: Job) -> bytes:
    """Return the noise of a picture as YAML, in the picture's unit."""
    scale = found.prepared.scale
    noise = found.estimate.noise
    if noise.is_none:
        raise InputError(
            f"no noise was found in '{called(job)}', so there is no profile of it to save", "leave --save-noise out"
        )
    noise = noise.scaled(scale.span)
    return (noise.shifted(scale.black) if scale.black else noise).to_yaml().encode()


def _kind(job: Job, picture: "Picture", manner: Manner) -> str:
    """The format of the result; refuses what cannot be written."""
    from smdae.files.picture import with_depth

    result = with_depth(picture, manner.depth, white_of(picture, manner), pixels=False)
    return check_target(job, result, manner.ending, manner.overwrite, manner.made)


def piped(begun: bytes = b"") -> bytes:
    """Return all of stdin, if it begins as a picture does: what has no end is refused before it is read to it.

    `begun` is what was read of it before.
    """
    from smdae.files import fits, raw
    from smdae.files.images import HEAD, bounded, format_of

    head = begun + sys.stdin.buffer.read(max(0, HEAD - len(begun)))
    if not raw.is_raw(head, "stdin") and not fits.is_fits(head):
        format_of(head[:HEAD], "stdin")
    return bounded(sys.stdin.buffer, head, "stdin")


def _read(source: Path, data: bytes | None = None) -> "Picture":
    from smdae.files.images import read

    return read(source if data is None else data, "stdin" if source == STREAM else str(source))


def _bare(picture: "Picture", manner: Manner) -> "Picture":
    """Return a picture with what its result is to keep of its metadata."""
    from smdae.files.exif import stripped

    return replace(picture, metadata=stripped(picture.metadata)) if manner.strip else picture


def _like(reference: "Picture", picture: "Picture", path: Path) -> "Picture":
    if not reference.is_finite:
        raise InputError(f"--reference '{path}' holds NaN or infinity", "it is to be the clean picture")
    if reference.pixels.shape != picture.pixels.shape:
        raise InputError(
            f"--reference '{path}' is {_size(reference)}, the input is {_size(picture)}",
            "they must show the same picture",
        )
    return reference


def _size(picture: "Picture") -> str:
    height, width = picture.pixels.shape[:2]
    return f"{width} x {height} in {'colour' if picture.pixels.ndim == 3 else 'gray'}"


def written(
    job: Job, manner: Manner, to: Callable[[Path], object], pieces: Callable[[], Iterable[bytes | memoryview]]
) -> None:
    """Write to stdout piece by piece, or by `to`, with folders on the way that are gone again if it fails."""
    if job.target == STREAM:
        for piece in pieces():
            console.stream(piece)
        return
    new = next((place for place in reversed(job.target.parents) if not place.exists()), None)
    try:
        for attempt in range(MAX_ATTEMPTS):
            if new:
                job.target.parent.mkdir(parents=True, exist_ok=True)
            try:
                to(job.target)
                break
            except OutputError:  # another run may have made the same folder, and taken it away as empty
                if not new or job.target.parent.exists() or attempt == MAX_ATTEMPTS - 1:
                    raise
    except BaseException:
        if new:
            forget(new)
        raise


def _extra(job: Job, outcome: Outcome, manner: Manner, kind: str, watch: Watch | None) -> list[tuple[Path, bytes]]:
    """What is written beside the result."""
    if outcome.task is None or outcome.finished is None:
        raise InputError(
            f"nothing was taken out of '{job.source}', so there is nothing to be unsure of",
            "give the level of its noise: --sigma 10",
        )
    device = next(outcome.task.loaded.parameters()).device
    mean = outcome.task.pixels if outcome.mean is None else outcome.mean
    arguments = outcome.task, mean, outcome.judgement, outcome.frames, outcome.finished, kind, device
    return list(made_of(manner.extras, job, *arguments, watch or (lambda done, of: None), manner.quality))


@contextmanager
def beside(files: Sequence[tuple[Path, bytes]], overwrite: bool, origin: "Origin | None") -> Iterator[None]:
    """Files written before what is within, and taken away again if that fails."""
    new: list[Path] = []
    folders: list[Path] = []
    try:
        for path, data in files:
            first = next((place for place in reversed(path.parents) if not place.exists()), None)
            if first:
                path.parent.mkdir(parents=True)
                folders.append(first)
            fresh = not os.path.lexists(path)
            put(path, data, overwrite, origin)
            if fresh:
                new.append(path)
        yield
    except BaseException:
        for path in new:
            with suppress(OSError):
                path.unlink()
        for folder in folders:
            forget(folder)
        raise


def put(target: Path, data: bytes, overwrite: bool, origin: "Origin | None") -> None:
    from smdae.files.writing import write

    write(target, data, overwrite=overwrite, origin=origin)


def origin_of(job: Job) -> "Origin | None":
    """Return the file that a result is made of, None for a stream.

    Raises:
        OutputError: It is to be replaced, and is not what it was when the run began.
    """
    from smdae.files.writing import Origin, refuse_changed

    if job.replaced is not None:
        refuse_changed(job.source, job.replaced)
    with suppress(OSError, ValueError):  # of which reading it tells
        status = job.replaced or job.source.stat()
        if job.source != STREAM and stat.S_ISREG(status.st_mode):

            def lost(what: str) -> None:
                console.warn(f"'{job.target}' is replaced, but {what} could not be kept")

            return Origin(status, job.replaced is not None, lost)
    return None


def estimates(judgements: "Sequence[Judgement | None]") -> dict[str, Any]:
    """Estimated PSNR, its standard error and what speaks against it: of one picture, or lists of those of many."""
    values: dict[str, list[Any]] = {
        "psnr_estimated": [judged.psnr if judged and judged.is_trusted else None for judged in judgements],
        "psnr_estimated_error": [judged.error if judged and judged.is_trusted else None for judged in judgements],
        "gain": [judged and judged.gain for judged in judgements],
        "transform": [judged and judged.transform for judged in judgements],
        "doubts": [list(judged.doubts) if judged else [] for judged in judgements],
    }
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def _plain(levels: tuple[float, ...]) -> float | list[float]:
    return levels[0] if len(levels) == 1 else list(levels)


def record_of(job: Job, model: Any, found: "Sequence[Found | Noted]", precisions: Sequence[str]) -> dict[str, Any]:
    from smdae.protocols import HasCard, offers

    card = model.card if offers(model, HasCard) else {}
    sigmas = [_plain(one.levels) for one in found]
    kinds = ["none" if one.estimate.noise.is_none else one.estimate.noise.kind for one in found]
    noise = [
        {"kind": kind, "described": one.described, "reason": one.estimate.reason, "outliers": one.repaired}
        for kind, one in zip(kinds, found, strict=True)
    ]
    return {
        "input": str(job.source),
        "output": str(job.target),
        "sigma": sigmas[0] if len(sigmas) == 1 else sigmas,
        "noise": noise[0] if len(noise) == 1 else noise,
        "model": {name: card.get(name) for name in ("model", "objective", "sigma")},
        "device": str(next(model.parameters()).device),
        "precision": precisions[0] if precisions else None,
    }


def _precisions(outcome: Outcome, model: Any) -> list[str]:
    """Return the precision of the products by which a picture was denoised; none if nothing was done to it."""
    return [] if outcome.task is None else [outcome.task.precision_on(next(model.parameters()).device)]


def figures(record: dict[str, Any]) -> str:
    """PSNR and SSIM in words."""
    return (
        f"PSNR {record['psnr']:.2f} dB (noisy {record['psnr_noisy']:.2f}), "
        f"SSIM {record['ssim']:.4f} (noisy {record['ssim_noisy']:.4f})"
    )


def is_number(value: Any) -> bool:
    """False for the infinities and nan, which JSON does not know."""
    return not isinstance(value, float) or math.isfinite(value)


def forget(folder: Path) -> None:
    """Take away a folder that was made, and those in it, if no result came to be there."""
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            os.rmdir(place)
