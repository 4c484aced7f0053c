"""Learning: how good is each contestant after so many steps, and after so many seconds, by every measure there is?

    J_j(theta_t)            held-out, of the averaged weights, under every objective j, its own and all others
    F(theta_t)              1/2 E |psi - grad log q_sigma|^2 over q_sigma of the patches fitted on
    PSNR(theta_t)           of held-out crops, denoised in one step, x + sigma^2 psi(x)

All values but PSNR are times 2 sigma^2/d, 1/(d sigma^2) for `dae`: squared error per dimension over sigma^2, for the
implicit ones less a constant. Equivalent objectives bring down the same F, at different speed: their gradients have the
same expectation and different noise.
"""

import statistics
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from smdae.comparing.contestants import NEAR_BEST_DB, Course, near_best_point
from smdae.comparing.evaluation import scale
from smdae.comparing.learning import pictures
from smdae.comparing.part import Context, Part, Tables
from smdae.comparing.text import grid, number, paragraph

NOT_YET = "not yet"  # of a fit that ended without coming near the best


@dataclass(frozen=True)
class Value:
    """J of a fit under one objective."""

    objective: str  # name of the objective that was fitted
    seed: int  # number of the fit, from 0
    step: int  # steps done
    seconds: float  # time spent in them
    judged_by: str  # the objective it is judged by, or fisher
    value: float | None  # J, raw
    error: float | None  # standard error of J over the examples
    scaled: float | None  # J as squared error per dimension over sigma^2


@dataclass(frozen=True)
class Quality:
    """PSNR of a fit on held-out crops after some of its steps."""

    objective: str  # the name of the objective that was fitted
    seed: int  # number of the fit, from 0
    step: int  # steps done
    seconds: float  # time spent in them
    psnr: float | None  # the mean PSNR, in dB; None where the model does not denoise


@dataclass(frozen=True)
class End:
    """The end of the fits of an objective."""

    objective: str  # its name
    outcome: str  # done, degenerated or diverged: the worst of its fits
    reason: str | None  # why it is not done; None if it is
    fits: int  # number of fits
    steps: int  # steps of the first
    seconds: float  # time spent in them, on average
    psnr: float | None  # PSNR on held-out crops in dB, the mean over the fits
    psnr_deviation: float | None  # standard deviation of the PSNR over the fits; None of a single fit
    near_best_step: int | None  # step at which the first fit came within 0.3 dB of the best final PSNR of any fit
    near_best_seconds: float | None  # time that its steps took up to there


@dataclass(frozen=True)
class Baseline:
    """PSNR in dB of the same crops without a fit: as they are, and after the linear filter of the patches."""

    name: str
    psnr: float


def measure(context: Context) -> Generator[float, None, Tables]:
    """Return the figures of all fits, the tables `ends`, `values`, `quality` and `baselines`, after yielding 0 once."""
    yield 0.0
    contest, courses = context.contest, context.courses
    values = [
        Value(c.objective, c.seed, p.step, p.seconds, name, v.mean, v.error, v.mean * scale(contest, name))
        for c in courses
        for p in c.points
        for name, v in p.values.items()
    ]
    quality = [Quality(c.objective, c.seed, p.step, p.seconds, p.psnr) for c in courses for p in c.points]
    baselines = []
    if contest.crops is not None:
        wiener = contest.crops.psnr(contest.lift(contest.wiener()))
        baselines = [Baseline("noisy", contest.crops.psnr()), Baseline("linear filter", wiener)]
    return {"ends": [*_ends(courses)], "values": values, "quality": quality, "baselines": baselines}


def _ends(courses: Sequence[Course]) -> Iterator[End]:
    ranks = ("done", "degenerated", "diverged")
    for name in dict.fromkeys(course.objective for course in courses):
        ours = [course for course in courses if course.objective == name]
        worst = max(ours, key=lambda course: ranks.index(course.outcome or "done"))
        figures = [c.points[-1].psnr for c in ours if c.outcome == "done" and c.points]
        quality = [psnr for psnr in figures if psnr is not None]
        near = near_best_point(ours[0], courses)
        yield End(
            name,
            worst.outcome or "done",
            worst.reason,
            len(ours),
            ours[0].step,
            statistics.fmean(c.points[-1].seconds if c.points else 0.0 for c in ours),
            statistics.fmean(quality) if quality else None,
            statistics.stdev(quality) if len(quality) > 1 else None,
            near.step if near else None,
            near.seconds if near else None,
        )


def summarise(tables: Tables) -> list[str]:
    """Return lines of text on how the fits ended, and on each model under each objective."""
    ends, values = tables["ends"], tables["values"]
    lines = _qualities(ends, tables["baselines"]) if tables["baselines"] else _times(ends)
    lines += [line for e in ends if e.reason for line in paragraph(f"{e.objective}, step {e.steps:,}: {e.reason}.")]
    last = {(v.objective, v.judged_by): v.scaled for v in values if v.seed == 0}
    judges = list(dict.fromkeys(v.judged_by for v in values))
    models = list(dict.fromkeys(v.objective for v in values))
    if models:
        text = "Each model (rows) under each objective (columns), held-out, as squared error per dimension over sigma^2"
        lines += ["", *paragraph(text + ", for implicit objectives less a constant:"), ""]
        table = [(m, *(number(last.get((m, j)), 4) for j in judges)) for m in models]
        lines += grid(("fitted with", *judges), table)
    return lines


def _qualities(ends: Sequence[End], baselines: Sequence[Baseline]) -> list[str]:
    """Return lines on how well each fit denoises in the end, and when it came near the best."""
    rows = []
    for e in ends:
        spread = "" if e.psnr_deviation is None else f" +- {e.psnr_deviation:.2f}"
        quality = number(e.psnr) + spread if e.outcome == "done" else e.outcome
        if e.near_best_step is not None:
            reached, after = f"{e.near_best_step:,}", number(e.near_best_seconds, 1)
        else:
            reached = after = "-" if e.psnr is None else NOT_YET
        rows.append((e.objective, quality, reached, after, number(e.seconds, 1)))
    rows += [(b.name, number(b.psnr), "", "", "") for b in baselines]
    lines = grid(("fitted with", "PSNR\ndB", "near best\nstep", "near best\nseconds", "total\nseconds"), rows)
    note = f"Near best: within {NEAR_BEST_DB:g} dB of the best"
    if any(NOT_YET in row for row in rows):
        note += f"; {NOT_YET} where a fit ended farther from it"
    if any(e.psnr is None for e in ends):
        note += "; - where the score is of clean patches, or the fit did not end as it should"
    note += "."
    return [*lines, "", *paragraph(note)]


def _times(ends: Sequence[End]) -> list[str]:
    """Return lines on how each fit ended, where there are no images to denoise."""
    rows = [(e.objective, e.outcome, f"{e.steps:,}", number(e.seconds, 1)) for e in ends]
    return grid(("fitted with", "ended", "steps", "seconds"), rows)


LEARNING = Part(
    title="Learning",
    explains="How good is each contestant after so many steps, and after so many seconds, under every objective and in "
    "decibels? Equivalent objectives bring down the same Fisher divergence to q_sigma, at a speed that the noise of "
    "their gradients sets.",
    equation="J_ESMq, J_ISMq, J_ESMq_sigma, J_ISMq_sigma, J_DSMq_sigma, J_DAE_sigma: Vincent (2011), sections 2 to 4",
    rows={"ends": End, "values": Value, "quality": Quality, "baselines": Baseline},
    fits="all",
    measure=measure,
    pictures={
        "curves": "Held-out PSNR against steps and seconds, and the Fisher divergence to q_sigma against steps; bands "
        "are one standard deviation over the fits.",
        "matrix": "Every model (rows) under every objective (columns), above the least of its column: equivalent "
        "columns rank the models alike.",
    },
    draw=pictures.draw,
    summarise=summarise,
)
