"""The two tables of `real_noise`: gains in PSNR against the oracle, and printed estimates of PSNR against the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.blind.results import Result, group_of

MAX_WORSE = 0.05  # dB below the noisy picture that no picture should be
MIN_GAIN = 0.05  # dB of the oracle, of which a share says something


@dataclass(frozen=True)
class Line:
    """A line of the tables: figures of a set or a group in it; the fields are the columns."""

    name: str
    pictures: int
    noisy: float
    blind: float
    oracle: float
    way: str
    bm3d: float | None
    share: float | None
    worst: float
    worst_name: str
    worse: int
    printed: int
    within: int
    median_error: float | None
    largest_error: float | None


def best_way(results: Sequence[Result]) -> str:
    """Return the way of telling the true noise that is best on average."""
    return max(results[0].told, key=lambda way: float(np.mean([result.told[way] for result in results])))


def line_of(name: str, results: Sequence[Result], way: str) -> Line:
    """Return the figures of some results, the true noise being described in one way."""
    noisy, blind, oracle = (
        float(np.mean(values)) for values in zip(*((r.noisy, r.blind, r.told[way]) for r in results), strict=True)
    )
    scores = [r.bm3d for r in results if r.bm3d is not None]
    worst = min(results, key=lambda r: r.blind - r.noisy)
    # What is printed has an error, but for infinite figures, which JSON does not know.
    printed = [(r.estimate, r.error, r.truth) for r in results if r.estimate is not None and r.error is not None]
    errors = [error for _, error, _ in printed]
    return Line(
        name=name,
        pictures=len(results),
        noisy=noisy,
        blind=blind,
        oracle=oracle,
        way=way,
        bm3d=float(np.mean(scores)) if scores else None,
        share=(blind - noisy) / (oracle - noisy) if oracle - noisy > MIN_GAIN else None,
        worst=worst.blind - worst.noisy,
        worst_name=worst.name,
        worse=sum(r.blind - r.noisy < -MAX_WORSE for r in results),
        printed=len(printed),
        within=sum(abs(estimate - truth) <= 2 * error for estimate, error, truth in printed),
        median_error=float(np.median(errors)) if errors else None,
        largest_error=max(errors) if errors else None,
    )


def lines_of(name: str, results: Sequence[Result]) -> list[Line]:
    """Return the line of a set and, if it has several cameras or microscopes, one for each."""
    way = best_way(results)
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(group_of(result.name), []).append(result)
    some = groups if len(groups) > 1 else {}
    return [line_of(name, results, way), *(line_of(f"  {group}", them, way) for group, them in some.items())]


def cell(value: float | None, layout: str, width: int) -> str:
    """Return a number, or a dash, at the right of a column."""
    return f"{'-' if value is None else format(value, layout):>{width}}"


QUALITY = (
    f"{'PSNR in dB':24}{'pictures':>9}{'noisy':>8}{'blind':>8}{'oracle':>8} {'told':6}{'BM3D':>8}{'of gain':>9}"
    f"{'worst':>8}{'worse':>7}  worst picture"
)
PRINTED = f"{'printed PSNR':24}{'pictures':>9}{'printed':>9}{'within 2':>10}{'median error':>14}{'largest':>9}"


def quality_row(line: Line) -> str:
    """Return a line of the first table."""
    return (
        f"{line.name:24}{line.pictures:9}{line.noisy:8.2f}{line.blind:8.2f}{line.oracle:8.2f} {line.way:6}"
        f"{cell(line.bm3d, '.2f', 8)}{cell(line.share, '.0%', 9)}{line.worst:+8.2f}{line.worse:7}  {line.worst_name}"
    )


def printed_row(line: Line) -> str:
    """Return a line of the second table."""
    within = line.within / line.printed if line.printed else None
    return (
        f"{line.name:24}{line.pictures:9}{line.printed:9}{cell(within, '.0%', 10)}"
        f"{cell(line.median_error, '.2f', 14)}{cell(line.largest_error, '.2f', 9)}"
    )


def picture_row(result: Result) -> str:
    """Return a line about one picture."""
    values = " ".join(f"{way} {value:.2f}" for way, value in result.told.items())
    estimate = f"{result.estimate:.2f} +- {result.error:.2f}" if result.estimate and result.error else "not printed"
    doubts = f" ({'; '.join(result.doubts)})" if result.doubts else ""
    return (
        f"    {result.name}: noisy {result.noisy:.2f}, blind {result.blind:.2f}, {values}, "
        f"BM3D {cell(result.bm3d, '.2f', 0)}; true {result.kind} {result.level:.3g}, found {result.described}, "
        f"level {result.found:.3g}; estimate {estimate}{doubts}, truth {result.truth:.2f}"
    )
