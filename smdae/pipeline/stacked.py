"""A TIFF of many pages or channels, each page read, denoised and written before the next.

All pages of a channel share one noise and one scale.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from smdae.errors import InputError, OutputError
from smdae.files.formats import FORMATS
from smdae.pipeline.found import Found, Noted, is_found, is_shared, look, refuse_unit, white_of
from smdae.pipeline.noise_choice import saved
from smdae.pipeline.options import Options
from smdae.pipeline.outcome import denoised
from smdae.pipeline.places import STREAM, Job, refuse_place
from smdae.pipeline.placing import beside, origin_of, put_result
from smdae.pipeline.reading import called, kind_of, refuse_misnamed
from smdae.pipeline.records import estimates, precisions, record_of, words_of
from smdae.pipeline.summary import tell
from smdae.progress import Watch, part_of

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.estimation.scale import Scale
    from smdae.files.picture import Picture
    from smdae.files.stack import Group, Key, Stack

__all__ = ["Pages", "denoise_stack", "for_all_pages", "remark", "typical"]

Chooser = Callable[["Picture"], Any]


class Pages(Protocol):
    """Pictures of one kind, by their numbers."""

    def __len__(self) -> int: ...
    def page(self, number: int, /) -> "Picture":
        """Return the page of a number, counted from 0."""
        ...


def denoise_stack(
    job: Job, options: Options, model_for: Chooser, watch: Watch | None, data: bytes | None
) -> dict[str, Any]:
    """Denoise a TIFF of many pages or channels page by page, write the result, and return its JSON record.

    Only one page is in memory at a time.

    Raises:
        InputError: The file is damaged, or an option goes only with a single picture.
        OutputError: The format of the result cannot hold several pages, or it cannot be written.
    """
    from smdae.denoising.pages import is_blank
    from smdae.files import stack
    from smdae.files.tiff_survey import BITS_STAY

    for option, wanted in (
        ("--reference", options.reference is not None),
        (options.extras.option, options.extras.some),
    ):
        if wanted:
            raise InputError(f"'{job.source}' has many pages", f"{option} goes with a single picture")
    if options.profile is not None:
        refuse_place(options.profile, options.beside)
    origin = origin_of(job, options.messages)
    name = called(job)
    changed = False
    found: dict[Key, list[Noted]] = {}
    judgements: list[Judgement | None] = []
    products: list[str] = []
    with stack.opened(job.source if data is None else data, name, options.selection) as pages:
        first = pages.pictures(0)[0]
        refuse_misnamed(job, options, f"a TIFF of {len(pages)} pages", FORMATS["TIFF"].suffixes)
        kind = kind_of(job, first, options)
        if kind != "TIFF":
            raise OutputError(f"'{name}': {kind} cannot hold {len(pages)} pages", "write TIFF")
        refuse_unit(first, options, name)
        model = model_for(first)
        del first
        alike = {key: _for_group(group, pages, model, options, name) for key, group in pages.groups.items()}
        aside = [] if options.profile is None else [(options.profile, _profile(pages, alike, model, name))]

        def results() -> Iterator[list["Picture"]]:
            nonlocal changed
            for number in range(len(pages)):
                seen = part_of(watch, number, len(pages))
                before = pages.pictures(number)
                after = [
                    outcome(picture, key, number, seen) if chosen else _left(picture, options)
                    for picture, key, chosen in zip(before, pages.keys(number), pages.is_selected(number), strict=True)
                ]
                changed |= any(one.pixels is not other.pixels for one, other in zip(before, after, strict=True))
                del before
                yield after
                del after  # the next page is made while nothing of this one is held

        def outcome(picture: "Picture", key: "Key", number: int, seen: Watch | None) -> "Picture":
            if is_blank(picture.pixels):
                return _left(picture, options)
            done = denoised(picture, model_for(picture), alike[key], seen, name)
            if options.report is not None and key not in found:
                options.report.show(str(job.source), picture, done.picture, done.found, _part(pages, key, number))
            found.setdefault(key, []).append(done.found.noted())
            judgements.append(done.judgement)
            products.extend(precisions(done, model))
            return done.picture

        target = job.target.name if job.target != STREAM else job.source.name
        style = stack.style_for(pages, job.source.name, target, options.depth, options.strip)
        # --strength 0 goes the whole way through writing, which shows that nothing is lost there.
        may_stay = options.strength > 0 and not options.strip and not pages.is_renamed(*style.names)
        style = replace(
            style,
            words=lambda: words_of(model) if products and not options.strip else None,
            is_unchanged=lambda: may_stay and not changed,
        )
        with beside(aside, options.beside, origin and replace(origin, is_target=False)):
            put_result(
                job,
                lambda path: stack.write(path, pages, results(), style, overwrite=options.overwrite, origin=origin),
                lambda: stack.encoded(pages, results(), style),
                options.stdout,
            )
        is_copy = style.is_unchanged()
        remark([words for words in pages.remarks if words == BITS_STAY or not is_copy], job, options)
    some = sorted(found.items())
    several = len(pages.groups) > 1
    channels = {_called(pages, key) + ": " if several else "": noted for key, noted in some}
    tell(channels, judgements, model, is_found(model, options), job.source if options.many else None, options.messages)
    record = record_of(job, model, [one for _, noted in some for one in noted], products) | estimates(judgements)
    axes = [one.told for one in pages.axes]
    return record | {
        "pages": len(pages),
        "axes": axes[0] if len(axes) == 1 else axes,
        "channels": len(pages.groups),
    }


def remark(remarks: Sequence[str], job: Job, options: Options) -> None:
    """Say the remarks about a file, each with its name in front where there are many files."""
    for words in remarks:
        options.messages.note(f"'{job.source}': {words}" if options.many else words)


def _called(pages: "Stack", key: "Key") -> str:
    """Return the name of a channel in messages, with the number of its series where there are several."""
    channel = f"channel {key.channel + 1}"
    return channel if len(pages.axes) == 1 else f"series {key.series + 1}, {channel}"


def _part(pages: "Stack", key: "Key", number: int) -> str:
    """Return the page and the channel of a picture of a stack, in words; empty if it has only one."""
    page = f"page {number + 1} of {len(pages)}" if len(pages) > 1 else ""
    channel = _called(pages, key) if len(pages.groups) > 1 else ""
    return ", ".join(words for words in (page, channel) if words)


def _left(picture: "Picture", options: Options) -> "Picture":
    """Return a picture undenoised, converted to the sample type of the result."""
    from smdae.files.picture import with_depth

    return with_depth(picture, options.depth, white_of(picture, options))


def for_all_pages(pages: "Pages", model: Any, options: Options, name: str) -> Options:
    """Return the settings for all pages: those given, with the noise and the scale of the typical page."""
    from smdae.denoising.pages import unscaled

    median, options = typical(pages, model, options, name)
    return replace(options, noise=unscaled(median.noise, median.prepared.scale))


def _for_group(group: "Group", pages: "Stack", model: Any, options: Options, name: str) -> Options:
    """Return the settings by which every page of a channel is denoised.

    A level that was given is that of the channel; the rest of the noise and the scale are those of its typical page.
    """
    channels = len({key.channel for key in pages.groups})
    if options.levels is not None and len(options.levels) == channels > 1:
        options = replace(options, levels=(options.levels[group.key.channel],))
    if not is_shared(model, options) or not len(group):
        return options
    return for_all_pages(group, model, options, name)


def _profile(pages: "Stack", alike: "Mapping[Key, Options]", model: Any, name: str) -> bytes:
    """Return the profile of the noise that the pages share, in their own unit.

    Raises:
        InputError: There is none, or there are several channels, each with its own.
    """
    from smdae.denoising.pages import unscaled
    from smdae.noise import Noise

    chosen = [group for group in pages.groups.values() if len(group)]
    if len(chosen) != 1:
        raise InputError(
            f"'{name}' has {len(chosen)} channels with noise of their own, and a profile is of one",
            "choose one for --save-noise with --channel, such as --channel 1",
        )
    (group,) = chosen
    options = alike[group.key]
    if isinstance(options.noise, Noise):
        return saved(options.noise, name)
    median, _ = typical(group, model, options, name)
    return saved(unscaled(median.noise, median.prepared.scale), name)


def typical(pages: "Pages", model: Any, options: Options, name: str) -> tuple[Found, Options]:
    """Estimate the noise of some pages; return that of the median level, and the settings with a scale for all pages.

    Arguments and errors are those of `found.look`.
    """
    from smdae.denoising.pages import is_blank, some_of
    from smdae.denoising.pages import typical as typical_of

    looked = {number: pages.page(number) for number in some_of(len(pages))}
    some = [number for number, picture in looked.items() if not is_blank(picture.pixels)] or list(looked)[:1]

    def look_at(number: int, scale: "Scale | None") -> Found:
        return look(looked[number], model, replace(options, scale=scale or options.scale), name)

    median, scale = typical_of(some, look_at)
    return median, replace(options, scale=scale or options.scale)
