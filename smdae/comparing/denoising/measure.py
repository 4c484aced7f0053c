"""Denoising: how close does each contestant come to the clean image, at the level of the contest and around it?

    PSNR, SSIM              of the estimate, clipped to black and white, averaged over held-out images
    estimated PSNR          the same without the clean images, |r|^2 + 2 sigma^2 v'Jv - d sigma^2, r = D(y) - y
    x <- x + step           each sampler that a model can take, after the one that all take, x + sigma^2 psi(x)

All have the same noise, at three levels the same up to its size: drawn in float, neither clipped nor rounded. At the
level of the contest every fit is measured, elsewhere the first of each objective.
"""

import math
import statistics
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from torch import Tensor

from smdae.comparing.denoising import pictures
from smdae.comparing.denoising.denoisers import Denoiser, Example, Job, LeftOut, examples, plan
from smdae.comparing.part import Context, Part, Tables
from smdae.comparing.text import grid, number, paragraph
from smdae.denoising import sure
from smdae.denoising.metrics import psnr, ssim
from smdae.denoising.sure import Risk
from smdae.errors import SmdaeError

TIMED_SIDE = 64  # pixels on a side of the picture on which a step is timed
MAX_NAME = 18  # characters of a name in the terminal
MAX_ERROR = 2.0  # dB, a standard error that leaves nothing of an estimate


@dataclass(frozen=True)
class Quality:
    """The figures of a denoiser at one level with one sampler."""

    contestant: str  # its name
    kind: str  # noisy, linear, fit, file or baseline
    sigma: float  # level of the noise, white being 255
    known: bool  # whether the contestant was made for this level, or for any
    sampler: str | None  # its name; None for what is no model
    fits: int  # how many fits the figures are means of
    psnr: float | None  # PSNR in dB, the mean over images
    psnr_deviation: float | None  # standard deviation of the PSNR over the fits; None of a single fit
    ssim: float | None  # SSIM, at most 1, the mean over images
    estimated_psnr: float | None  # by Stein's estimate, of the first fit and one step, at the level of the contest
    estimated_error: float | None  # its standard error
    seconds_per_megapixel: float | None  # the median over images
    best: bool = False  # whether no other sampler takes the contestant further at this level


def measure(context: Context) -> Generator[float, None, Tables]:
    """Measure every denoiser at every level, with each of its samplers that `plan` chooses.

    Yield the share of the work that is done, 0 to 1. Return two tables in a dict: `quality`, a `Quality` for each
    measurement, and `left_out`, a `LeftOut` with the reason for each one that was not made or failed. Without images
    to denoise `quality` is empty.
    """
    yield 0.0
    shown = examples(context)
    if not shown:
        what = "are rows of numbers" if context.contest.target is None else "come from a density"
        why = f"examples {what}, there are no images to denoise"
        return {"quality": [], "left_out": [LeftOut("all", None, None, why)]}
    jobs, left_out = plan(context)
    paces: dict[Denoiser, float] = {}
    for who in dict.fromkeys(job.denoiser for job in jobs):
        paces[who] = _pace(who, shown[0], context.contest.sigma)
        yield 0.0
    efforts = [job.scores * paces[job.denoiser] for job in jobs]
    rows, done, whole = [], 0.0, sum(efforts)
    for job, effort in zip(jobs, efforts, strict=True):
        try:
            row = yield from _figures(job, shown, done / whole, effort / whole)
            rows.append(row)
        except SmdaeError as error:
            left_out.append(LeftOut(job.denoiser.name, 255 * job.level, job.sampler, error.message))
        done += effort
    return {"quality": _with_best(rows), "left_out": left_out}


def _figures(job: Job, shown: Sequence[Example], done: float, share: float) -> Generator[float, None, Quality]:
    """Measure one row of the table; yield the share of the whole work that is done."""
    who, level = job.denoiser, job.level
    by_fit, alike, seconds, risks = [], [], [], []
    for fit in range(job.fits):
        quality = []
        for i, example in enumerate(shown):
            noisy = example.noisy(level)
            begun = time.perf_counter()
            estimate = who.denoise(noisy, level, job.sampler, fit, seed=i).cpu()
            seconds.append((time.perf_counter() - begun) / noisy.numel() * 1e6)
            clean = example.clean.cpu()
            quality.append(psnr(estimate, clean, 1.0))
            alike.append(ssim(estimate[0], clean[0], 1.0))
            if job.probed and fit == 0:
                risks.append(_risk(who, example, level, estimate))
            yield done + share * (fit + (i + 1) / len(shown)) / job.fits
        by_fit.append(statistics.fmean(quality))
    return Quality(
        who.name,
        who.kind,
        255 * level,
        who.knows(level),
        job.sampler,
        job.fits,
        _finite(statistics.fmean(by_fit)),
        _finite(statistics.stdev(by_fit)) if job.fits > 1 else None,
        _finite(statistics.fmean(alike)),
        statistics.fmean(risk.psnr() for risk in risks) if risks else None,
        math.hypot(*(risk.psnr_error for risk in risks)) / len(risks) if risks else None,
        statistics.median(seconds) if who.kind != "noisy" else None,
    )


def _pace(who: Denoiser, example: Example, level: float) -> float:
    """Return about how many seconds one step takes, timed on a small image, after one run that loads its library."""
    noisy = example.noisy(level)[..., :TIMED_SIDE, :TIMED_SIDE]
    for _ in range(2):
        begun = time.perf_counter()
        with suppress(SmdaeError):  # which is reported where it is measured
            who.denoise(noisy, level)
    return time.perf_counter() - begun


def _risk(who: Denoiser, example: Example, level: float, estimate: Tensor) -> Risk:
    """Return Stein's estimate of the error of an estimate that is clipped to [0, 1]."""

    def denoise(noisy: Tensor) -> Tensor:
        return who.denoise(noisy, level).clamp(0, 1)

    noisy = example.noisy(level)
    change = sure.jacobian_product(denoise, noisy, example.probe, level)
    return sure.estimate(estimate.to(noisy).clamp(0, 1) - noisy, example.probe, change, level)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _with_best(rows: Sequence[Quality]) -> list[Quality]:
    """Return the rows, of which the best of each contestant and level is marked."""
    ranked = sorted(rows, key=lambda row: row.psnr or -math.inf)
    best = {(row.contestant, row.sigma): row for row in ranked}  # the last is kept
    return [replace(row, best=best[row.contestant, row.sigma] is row) for row in rows]


def summarise(tables: Tables) -> list[str]:
    """Return lines of text on all denoisers, on the samplers, and on what was left out."""
    rows: Sequence[Quality] = tables["quality"]
    lines = [*_overview(rows), *_by_sampler(rows)] if rows else []
    grouped: dict[tuple[float | None, str], tuple[dict[str, None], dict[str, None]]] = {}
    for out in tables["left_out"]:
        who, which = grouped.setdefault((out.sigma, out.reason), ({}, {}))
        who[out.contestant] = None
        if out.sampler:
            which[out.sampler] = None
    for (sigma, reason), (who, which) in grouped.items():
        what = f"{', '.join(which)} of {', '.join(who)}" if which else ", ".join(who)
        lines += paragraph(f"Left out: {what}{f' at sigma {sigma:.3g}' if sigma else ''}: {reason}.")
    return lines


def _overview(rows: Sequence[Quality]) -> Iterator[str]:
    sigmas = sorted({row.sigma for row in rows})
    middle = sigmas[len(sigmas) // 2]
    table = []
    for name in dict.fromkeys(row.contestant for row in rows):
        here = [row for row in rows if row.contestant == name]
        first = {row.sigma: row for row in here if row.sampler in (None, "tweedie")}
        cells = [number(first[s].psnr) + " *"[not first[s].known] if s in first else "- " for s in sigmas]
        at = first.get(middle)
        estimate = "-" if at is None or at.estimated_psnr is None else _with_error(at)
        best = [row.sampler for row in here if row.best and row.sigma == middle and row.sampler]
        psnr_and_ssim, speed = (number(at.ssim, 3), number(at.seconds_per_megapixel)) if at else ("-", "-")
        table.append((_short(name), *cells, psnr_and_ssim, estimate, speed, *(best or ["-"])))
    tops = [f"sigma\n{s:.3g} " for s in sigmas]
    yield from grid(("PSNR, dB", *tops, "SSIM", "estimated\nPSNR", "s/MP", "best\nsampler"), table)
    yield ""
    yield from paragraph(f"By one step; SSIM, estimated PSNR, time and best sampler at sigma {middle:.3g}.")
    if any(not row.known for row in rows):
        yield from paragraph("* A level that it was not fitted at, served in its noise units.")


def _by_sampler(rows: Sequence[Quality]) -> Iterator[str]:
    names = list(dict.fromkeys(row.sampler for row in rows if row.sampler))
    found = {(row.contestant, row.sigma, row.sampler): row for row in rows}
    several = dict.fromkeys((row.contestant, row.sigma) for row in rows if row.sampler not in (None, "tweedie"))
    table = []
    for name, sigma in several:
        got = [found.get((name, sigma, sampler)) for sampler in names]
        table.append((_short(name), f"{sigma:.3g}", *(number(row.psnr) if row else "-" for row in got)))
    if table:
        yield ""
        yield from grid(("PSNR, dB", "sigma", *names), table)
        yield ""


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 3] + "..."


def _with_error(row: Quality) -> str:
    if row.estimated_psnr is None or row.estimated_error is None or row.estimated_error > MAX_ERROR:
        return "-"
    return f"{row.estimated_psnr:.1f} +- {max(row.estimated_error, 0.1):.1f}"


DENOISING = Part(
    title="Denoising",
    explains="How close does each contestant come to held-out images, at the level of the noise that all were fitted "
    "at and at others? All take one step along the score, x + sigma^2 psi(x); every other sampler is set beside it.",
    equation="r(x) = x + sigma^2 psi(x): Vincent (2011), section 4.3; Robbins (1956), Miyasawa (1961)",
    rows={"quality": Quality, "left_out": LeftOut},
    fits="all",
    measure=measure,
    pictures={
        "quality": "PSNR of each contestant at each level by one step, bars of one standard deviation over the fits; "
        "hollow where a model was not fitted at the level.",
        "crops": "What is made of two held-out images, and below each its difference from the clean one, magnified.",
    },
    draw=pictures.draw,
    summarise=summarise,
)
