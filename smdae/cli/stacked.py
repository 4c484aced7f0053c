"""A TIFF of many pages, each read, denoised and written before the next; all share one noise and one scale."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from smdae.cli.found import Found, is_found, look, refuse_unit
from smdae.cli.manner import Manner
from smdae.cli.outcome import denoised
from smdae.cli.places import Job
from smdae.cli.placing import origin_of, put_result
from smdae.cli.reading import bare, called, kind_of
from smdae.cli.records import estimates, precisions, record_of
from smdae.cli.told import tell
from smdae.errors import InputError, OutputError

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.estimation.scale import Scale
    from smdae.files.picture import Picture

__all__ = ["Pages", "denoise_stack", "for_all_pages", "page_of", "typical"]

Watch = Callable[[int, int], object]
Chooser = Callable[["Picture"], Any]


class Pages(Protocol):
    """Pictures of one kind, by their numbers."""

    def __len__(self) -> int: ...
    def page(self, number: int, /) -> "Picture": ...


def denoise_stack(
    job: Job, manner: Manner, model_for: Chooser, watch: Watch | None, data: bytes | None
) -> dict[str, Any]:
    """A TIFF of many pages, each read, denoised and written before the next."""
    from smdae.files import stack

    for name, wanted in (("--reference", manner.reference is not None), ("--samples and the like", manner.extras.some)):
        if wanted:
            raise InputError(f"'{job.source}' has many pages", f"{name} goes with a single picture")
    origin = origin_of(job)
    found: list[Found] = []
    judgements: list[Judgement | None] = []
    products: list[str] = []
    with stack.opened(job.source if data is None else data, str(job.source)) as pages:
        first = pages.page(0)
        kind = kind_of(job, first, manner)
        if kind != "TIFF":
            raise OutputError(f"'{called(job)}': {kind} cannot hold {len(pages)} pages", "write TIFF")
        refuse_unit(first, manner, called(job))
        model = model_for(first)
        del first
        growth = 4 if manner.depth else 1  # bytes of a sample, at most, for one
        alike = for_all_pages(pages, model, manner, called(job)) if is_found(model, manner) else manner

        def results() -> Iterator["Picture"]:
            for number, page in enumerate(pages):
                seen = watch and page_of(watch, number, len(pages))
                outcome = denoised(bare(page, manner), model_for(page), alike, seen, called(job))
                if manner.report is not None and not number:
                    manner.report.show(str(job.source), page.pixels, outcome.picture.pixels, outcome.found, len(pages))
                found.append(outcome.found)
                judgements.append(outcome.judgement)
                products.extend(precisions(outcome, model))
                del page
                yield outcome.picture
            pages.close()  # it may be what is replaced

        arguments = (len(pages), growth * pages.nbytes)
        put_result(
            job,
            lambda target: stack.write(target, results(), *arguments, overwrite=manner.overwrite, origin=origin),
            lambda: stack.encoded(results(), *arguments),
        )
    tell(found, judgements, model, is_found(model, manner), job.source if manner.many else None)
    record = record_of(job, model, found, products)
    return record | estimates(judgements) | {"pages": len(found)}


def page_of(watch: Watch, number: int, count: int) -> Watch:
    """Return what watches a page, whose steps are some of those of all pages."""
    return lambda done, of: watch(number * of + done, count * of)


def for_all_pages(pages: "Pages", model: Any, manner: Manner, name: str) -> Manner:
    """Return how to denoise every page: with the noise of the typical one, and its scale."""
    from smdae.denoising.pages import unscaled

    median, manner = typical(pages, model, manner, name)
    return replace(manner, noise=unscaled(median.noise, median.prepared.scale))


def typical(pages: "Pages", model: Any, manner: Manner, name: str) -> tuple[Found, Manner]:
    """Return the noise of the page whose level is the median of some, and the manner with a scale for all pages.

    Arguments and errors are those of `look`.
    """
    from smdae.denoising.pages import typical as typical_of

    def look_at(number: int, scale: "Scale | None") -> Found:
        return look(pages.page(number), model, replace(manner, scale=scale or manner.scale), name)

    median, scale = typical_of(len(pages), look_at)
    return median, replace(manner, scale=scale or manner.scale)
