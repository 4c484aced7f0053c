"""Denoise a TIFF of many pages or channels: each page is read, denoised and written before the next.

All pages of a channel share one noise and one scale.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from smdae.errors import InputError, UsageError
from smdae.files import stack
from smdae.files.formats import FORMATS
from smdae.files.picture import Picture
from smdae.files.stack import Group, Stack
from smdae.files.tiff_survey import BITS_STAY, Key
from smdae.files.tiff_writing import Style
from smdae.pipeline.found_noise import NoiseFacts
from smdae.pipeline.model_choice import ModelFor
from smdae.pipeline.noise_choice import saved
from smdae.pipeline.options import Options, refuse_single
from smdae.pipeline.outcome import denoised
from smdae.pipeline.picture_noise import is_noise_shared, refuse_unit
from smdae.pipeline.places import STREAM, Job
from smdae.pipeline.placing import beside, origin_of, put_result
from smdae.pipeline.reading import called, converted, refuse_misnamed, warn_of_channels
from smdae.pipeline.records import precisions, record_of, words_of
from smdae.pipeline.replacing import refuse_place
from smdae.pipeline.result_format import kind_of, refuse_one_picture
from smdae.pipeline.shared_noise import typical_noise, with_shared_noise
from smdae.pipeline.summary import say_remarks, summarise
from smdae.progress import Watch, part_of

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement


@dataclass(eq=False)
class _Run:
    """The work on a stack, and what it found.

    Attributes:
        model: The model that denoises its first page.
        shared: The settings for the pages of each channel, which share their noise and scale.
        has_changed: Whether the pixels of any page so far are others than before.
    """

    job: Job
    options: Options
    model: Any
    model_for: ModelFor
    pages: "Stack"
    shared: "dict[Key, Options]"
    watch: Watch | None
    noise: "dict[Key, list[NoiseFacts]]" = field(default_factory=dict)
    judgements: "list[Judgement | None]" = field(default_factory=list)
    products: list[str] = field(default_factory=list)
    has_changed: bool = False

    def results(self) -> Iterator[list[Picture]]:
        """Yield the results of one page after the other, a picture for each of its channels."""
        pages = self.pages
        for number in range(len(pages)):
            before = pages.pictures(number)
            channels = zip(before, pages.survey.keys(number), pages.survey.is_selected(number), strict=True)
            after = [
                self._denoised(picture, key, number) if chosen else converted(picture, self.options)
                for picture, key, chosen in channels
            ]
            pairs = zip(before, after, strict=True)
            self.has_changed |= any(result.pixels is not picture.pixels for picture, result in pairs)
            del before, pairs, channels
            yield after
            del after  # the next page is made while nothing of this one is held

    def _denoised(self, picture: Picture, key: "Key", number: int) -> Picture:
        """Return a channel of a page denoised, and keep what there is to report of it."""
        from smdae.denoising.pages import is_blank

        if is_blank(picture.pixels):
            return converted(picture, self.options)
        watch = part_of(self.watch, number, len(self.pages))
        outcome = denoised(picture, self.model_for(picture), self.shared[key], watch, called(self.job))
        report = self.options.report
        if report is not None and key not in self.noise:
            part = _part(self.pages, key, number)
            report.show(str(self.job.source), picture, outcome.picture, outcome.found, part)
        self.noise.setdefault(key, []).append(outcome.found.facts())
        self.judgements.append(outcome.judgement)
        self.products.extend(precisions(outcome, self.model))
        return outcome.picture

    def style(self) -> "Style":
        """Return how the result is written."""
        job, options = self.job, self.options
        target = job.target.name if job.target != STREAM else job.source.name
        style = stack.style_for(self.pages, job.source.name, target, options.depth, options.strip)
        # --strength 0 goes the whole way through writing, which shows that nothing is lost there.
        may_stay = options.strength > 0 and not options.strip and not self.pages.is_renamed(*style.names)
        return replace(
            style,
            words=lambda: words_of(self.model) if self.products and not options.strip else None,
            is_unchanged=lambda: may_stay and not self.has_changed,
        )

    def record(self) -> dict[str, Any]:
        """Return the JSON record of the result."""
        facts = [page for _, noise in sorted(self.noise.items()) for page in noise]
        axes = [series.text for series in self.pages.axes]
        return record_of(self.job, self.model, facts, self.products, self.judgements) | {
            "pages": len(self.pages),
            "axes": axes[0] if len(axes) == 1 else axes,
            "channels": len(self.pages.groups),
        }


def denoise_stack(
    job: Job, options: Options, model_for: ModelFor, watch: Watch | None, data: bytes | None
) -> dict[str, Any]:
    """Denoise a TIFF of many pages or channels page by page, write the result, and return its JSON record.

    Only one page is in memory at a time.
    """
    if options.profile is not None:
        refuse_place(options.profile, options.overwrite_beside)
    origin = origin_of(job, options.messages)
    name = called(job)
    with stack.opened(job.source if data is None else data, name, options.selection) as pages:
        refuse_single(options, f"'{name}' has {_held(pages)}")
        first = pages.pictures(0)[0]
        refuse_misnamed(job, options, f"a TIFF of {_held(pages)}", FORMATS["TIFF"].suffixes)
        refuse_one_picture(job, options, "TIFF", _held(pages))
        kind_of(job, first, options)
        refuse_unit(first, options, name)
        warn_of_channels(len(pages), first, job, options)
        model = model_for(first)
        del first
        count = len({key.channel for key in pages.groups})
        shared = {key: _for_group(group, count, model, options, name) for key, group in pages.groups.items()}
        profile = [] if options.profile is None else [(options.profile, _profile(pages, shared, model, name))]
        run = _Run(job, options, model, model_for, pages, shared, watch)
        style = run.style()
        with beside(profile, options.overwrite_beside, origin and replace(origin, is_target=False)):
            put_result(
                job,
                lambda path: stack.write(path, pages, run.results(), style, overwrite=options.overwrite, origin=origin),
                lambda: stack.encoded(pages, run.results(), style),
                options.stdout,
            )
        is_copy = style.is_unchanged()
        say_remarks([words for words in pages.remarks if words == BITS_STAY or not is_copy], job, options)
    several = len(pages.groups) > 1
    channels = {called_key(pages, key) + ": " if several else "": noise for key, noise in sorted(run.noise.items())}
    piece = "page" if len(pages) > 1 else "channel"
    summarise(channels, run.judgements, model, job, options, piece, may_be_floats=True)
    return run.record()


def _held(pages: "Stack") -> str:
    """Return in words what a TIFF holds that is not a single picture."""
    if len(pages) == 1 and not pages.groups:
        return "one bit a sample"
    count, piece = (len(pages.groups), "channel") if len(pages) == 1 < len(pages.groups) else (len(pages), "page")
    return f"{count} {piece}" + "s" * (count > 1)


def called_key(pages: "Stack", key: "Key") -> str:
    """Return the name of a channel in messages, with the number of its series where there are several."""
    channel = f"channel {key.channel + 1}"
    return channel if len(pages.axes) == 1 else f"series {key.series + 1}, {channel}"


def _part(pages: "Stack", key: "Key", number: int) -> str:
    """Return the page and the channel of a picture of a stack, in words; empty if it has only one."""
    page = f"page {number + 1} of {len(pages)}" if len(pages) > 1 else ""
    channel = called_key(pages, key) if len(pages.groups) > 1 else ""
    return ", ".join(words for words in (page, channel) if words)


def _for_group(group: "Group", channels: int, model: Any, options: Options, name: str) -> Options:
    """Return the settings by which every page of a channel is denoised.

    A level that the user gave holds for the channel; the rest of the noise and the scale are from its typical page.
    """
    from smdae.denoising.pages import is_blank

    if options.levels is not None and len(options.levels) > 1 and channels > 1:
        if len(options.levels) != channels:
            raise UsageError(f"--sigma has {len(options.levels)} values, and '{name}' has {channels} channels")
        options = replace(options, levels=(options.levels[group.key.channel],))
    if not is_noise_shared(model, options) or not len(group):
        return options
    if channels > 1 and all(is_blank(group.page(number).pixels) for number in range(len(group))):
        return options  # of a channel without data all pages stay
    return with_shared_noise(group, model, options, name)


def _profile(pages: "Stack", shared: "Mapping[Key, Options]", model: Any, name: str) -> bytes:
    """Return the profile of the noise that the pages share, in their own unit.

    Raises:
        InputError: There is none, or there are several channels, each with its own.
    """
    from smdae.noise import Noise

    chosen = [group for group in pages.groups.values() if len(group)]
    if not chosen:
        return saved(Noise.gaussian(0.0), name)
    if len(chosen) != 1:
        raise InputError(
            f"'{name}' has {len(chosen)} channels with noise of their own, and a profile is of one",
            "choose one for --save-noise with --channel, such as --channel 1",
        )
    (group,) = chosen
    options = shared[group.key]
    if isinstance(options.noise, Noise):
        return saved(options.noise, name)
    median, _ = typical_noise(group, model, options, name)
    return saved(median.in_unit, name)
