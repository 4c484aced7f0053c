"""Say in words how a picture was denoised: its noise, the estimated quality, and warnings.

A single picture has a line for each of these. Each of many pictures has one line, and `-v` adds the rest. On a terminal
that line has 80 columns: details are left out first, and then the beginning of a long name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from smdae.pipeline.messages import Messages
from smdae.pipeline.options import Options
from smdae.pipeline.picture_noise import is_noise_estimated
from smdae.pipeline.places import Job

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.pipeline.found_noise import NoiseFacts

MAX_CHANNELS = 12  # that are told of one by one; a file may have thousands of series
MAX_DOUBTS = 3  # that are shown; each page of a stack may have its own
MAX_SIGMA_MISMATCH = 0.2  # relative difference of sigma and the model's level, beyond which there is a warning
MAX_SIGMA_MISMATCH_OF_ESTIMATE = 0.4  # the same of an estimate, which errs itself
COLUMNS = 80
MIN_NAME = 12  # columns of a shortened name
NONE = "no noise found: left as it is"
AS_TOLD = "as the file says"  # of noise that is not estimated
DETAIL = re.compile(r"( \([^()]*\)|, [^,()]*)$")  # the last one of a description


def summarise(
    channels: "Mapping[str, Sequence[NoiseFacts]]",
    judgements: "Sequence[Judgement | None]",
    model: Any,
    job: Job,
    options: Options,
    piece: str = "page",
    may_be_floats: bool = False,
) -> None:
    """Say how a picture was denoised: its noise, the estimated quality, and warnings.

    Args:
        channels: The noise of each page, at least one, by the name of the channel; "" if there are no channels.
        judgements: The estimated quality of each page; None for one that was left as it is.
        model: The model that denoised it.
        job: The picture; if it is one of many, its path is in front of every line.
        options: The settings, with the receiver of messages.
        piece: What a page of this file is called.
        may_be_floats: Whether a result of this kind of file takes --bit-depth.
    """
    messages = options.messages
    source = job.source if options.many else None
    is_estimated = is_noise_estimated(model, options)
    name = f"'{source}': " if source else ""
    judged = [judgement for judgement in judgements if judgement is not None]
    quality = _quality(judged, piece)
    more = 0 if messages.is_verbose() or len(channels) <= MAX_CHANNELS else len(channels) - MAX_CHANNELS
    is_single = len(channels) == 1
    channels = dict(islice(channels.items(), len(channels) - more))
    for part, pages in channels.items():
        none, noise = _none(pages, is_estimated), _noise(pages, is_estimated, piece)
        if source is None and (none or noise):
            messages.note(part + (none or f"noise: {noise}{_estimated(noise)}"))
        elif source is not None:
            told = quality if is_single else ""
            if none or noise or told:
                _note_in_a_line(str(source), part, none or noise, told, messages)
    if quality and source is None:
        messages.note(f"{quality}, estimated")
    elif quality and source is not None and not is_single:
        _note_in_a_line(str(source), "", "", quality, messages)
    remark = messages.note if source is None else messages.detail
    for part, pages in channels.items():
        for words in _remarks(pages):
            remark(name + part + words)
    for words in _gains(judged):
        remark(name + words)
    for part, pages in channels.items():
        noise_of = _first(pages).estimate.noise
        for level in noise_of.levels if noise_of.kind == "white" else ():
            if level:
                _warn_of_level(model, 255 * level, name + part, messages)
        _warn_of_seen(model, _first(pages).seen, name + part, messages)
    is_rounded = any(page.is_rounded for pages in channels.values() for page in pages)
    if is_rounded and may_be_floats and options.depth is None:
        messages.warn(f"{name}rounding to whole counts loses much of so few; TIFF and --bit-depth 32f keep fractions")
    if more:
        messages.note(f"{name}{more:,} more channels (-v lists them)")
    _say_doubts(judged, name, messages, piece)


def say_remarks(remarks: Sequence[str], job: Job, options: Options) -> None:
    """Say remarks about a file, each with its name in front if it is one of many."""
    for words in remarks:
        options.messages.note(f"'{job.source}': {words}" if options.many else words)


def _first(pages: "Sequence[NoiseFacts]") -> "NoiseFacts":
    """Return the first page that has noise, or the first of all if none has."""
    return next((page for page in pages if not page.estimate.noise.is_none), pages[0])


def _none(pages: "Sequence[NoiseFacts]", is_estimated: bool) -> str:
    """Return the words for a picture without noise, with the reason; "" if there is noise, or if it was given."""
    first = _first(pages)
    if not is_estimated or not first.estimate.noise.is_none:
        return ""
    reason = first.estimate.reason
    return NONE + (f" ({reason})" if reason else "")


def _noise(pages: "Sequence[NoiseFacts]", is_estimated: bool, piece: str) -> str:
    """Return the estimated noise in words; "" if there is no noise, or if the noise was given."""
    first = _first(pages)
    if not is_estimated or first.estimate.noise.is_none:
        return ""
    return first.described + (f" on {len(pages)} {piece}s" if len(pages) > 1 else "")


def _quality(judged: "Sequence[Judgement]", piece: str) -> str:
    """Return the estimated PSNR of the results in words; empty if none can be trusted."""
    trusted = [judgement for judgement in judged if judgement.is_trusted]
    if len(trusted) == 1:
        return f"PSNR {trusted[0].text}"
    if trusted:
        low, high = (end(judgement.psnr for judgement in trusted) for end in (min, max))
        return f"PSNR {low:.1f} to {high:.1f} dB on {len(trusted)} {piece}s"
    return ""


def _remarks(pages: "Sequence[NoiseFacts]") -> list[str]:
    """Return lines about outliers, NaN or infinite pixels, and offsets of rows and columns."""
    said = []
    repaired = sum(page.repaired for page in pages)
    if repaired:
        were = "pixel was an outlier" if repaired == 1 else "pixels were outliers"
        said.append(f"{repaired:,} {were}, and repaired")
    lost = sum(page.lost for page in pages)
    if lost:
        how = "pixel is NaN or infinite, and left as it was"
        said.append(f"1 {how}" if lost == 1 else f"{lost:,} pixels are NaN or infinite, and left as they were")
    if any(page.is_banded for page in pages):
        said.append("rows or columns had offsets, and are levelled")
    return said


def _gains(judged: "Sequence[Judgement]") -> list[str]:
    """Return lines about what adapting the model gained; an empty list if nothing was adapted."""
    said = []
    tried = [judgement for judgement in judged if judgement.gain is not None]
    known = [judgement.gain for judgement in tried if judgement.is_gain_known and judgement.gain]
    if known:
        said.append(f"adapted: +{max(known):.2f} dB, estimated")
    elif any(judgement.gain for judgement in tried):
        said.append("adapted: better, but by how much cannot be estimated")
    elif tried:
        said.append("adapting gains nothing here")
    shares = [judgement.transform for judgement in judged if judgement.transform is not None]
    if shares:
        best = 100 * max(shares)
        better = f"adapted: the transform of the noise alone, which predicts hidden pixels {best:.2g} % better"
        said.append(better if best else "adapting gains nothing here: the transform stays that of the noise")
    return said


def _say_doubts(judged: "Sequence[Judgement]", name: str, messages: Messages, piece: str) -> None:
    """Say that the quality is not estimated, and why as a detail; for one of many pictures only the detail."""
    doubts = [*dict.fromkeys(doubt for judgement in judged for doubt in judgement.doubts)]
    if not doubts:
        return
    doubtful = sum(not judgement.is_trusted for judgement in judged)
    of_pages = "" if len(judged) == 1 else f" of one {piece}" if doubtful == 1 else f" of {doubtful} {piece}s"
    more = [f"{len(doubts) - MAX_DOUBTS:,} more reasons"] if len(doubts) > MAX_DOUBTS + 1 else []
    shown = doubts[:MAX_DOUBTS] if more else doubts
    if not name:
        messages.note(f"PSNR{of_pages} not estimated" + ("" if messages.is_verbose() else " (-v says why)"))
    messages.detail(
        f"{name}why it is not: {'; '.join([*shown, *more])}" if not name else f"{name}no PSNR: {'; '.join(shown)}"
    )


def _estimated(noise: str) -> str:
    """Return what is added to the words on the noise where they are an estimate; empty where they are none."""
    return "" if noise.startswith(NONE) or noise.endswith(AS_TOLD) else ", estimated"


def _note_in_a_line(name: str, part: str, noise: str, quality: str, messages: Messages) -> None:
    """Say of one picture among many what its noise is and how good it is, with a short form of 80 columns."""
    estimated = _estimated(noise)

    def line(shown: str, noise: str) -> str:
        return f"'{shown}': {part}{'; '.join(filter(None, (noise, quality)))}{estimated}"

    short = ""
    for noise_in_short in _shortened(noise):
        room = COLUMNS - len("smdae: ") - len(line("", noise_in_short))
        short = line(name if len(name) <= room else f"...{name[3 - max(MIN_NAME, room) :]}", noise_in_short)
        if len(name) <= room:
            break
    messages.note(line(name, noise), short=short)


def _shortened(noise: str) -> Iterator[str]:
    """Yield a description of noise, and then with one detail less at its end each time, but never without sigma."""
    yield noise
    while (shorter := DETAIL.sub("", noise)) != noise and ("sigma" in shorter or "sigma" not in noise):
        noise = shorter
        yield noise


def _warn_of_level(model: Any, sigma: float, name: str, messages: Messages) -> None:
    """Warn if the model was fitted for other levels of noise than sigma, white being 255."""
    if model.level is not None:
        own = 255 * model.level
        if abs(sigma / own - 1) > MAX_SIGMA_MISMATCH:
            messages.warn(f"{name}the result may be poor: sigma {sigma:.3g} is far from {own:g}, the model's level")
            messages.detail(
                f"{name}a model of one level is good up to {100 * MAX_SIGMA_MISMATCH:.0f} % from it; networks take many"
            )
        return
    low, high = (255 * level for level in model.noise_range)
    if not low <= round(sigma, 6) <= high:
        messages.warn(f"{name}the result may be poor: sigma {sigma:.3g} is not from {low:g} to {high:g}")
        messages.detail(f"{name}the model was fitted for these levels, white being 255; --white gives a smaller white")


def _warn_of_seen(model: Any, seen: float | None, name: str, messages: Messages) -> None:
    """Warn if a picture does not seem to have the one level that a model takes out; None where that was not asked."""
    own = 255 * (model.level or 0.0)
    if seen is not None and abs(seen - own) > MAX_SIGMA_MISMATCH_OF_ESTIMATE * own:
        messages.warn(
            f"{name}the result may be poor: its noise looks like sigma {seen:.2g}, not {own:g}, the model's level"
        )
        messages.detail(f"{name}a model of one level takes out that level; bundled networks take many")
