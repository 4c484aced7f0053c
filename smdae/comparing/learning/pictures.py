"""Curves of the fits, and the matrix of models and objectives."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.comparing.contestants import NEAR_BEST_DB
from smdae.comparing.drawing import GRAY, figure, frame, note, png, style
from smdae.comparing.evaluation import FISHER
from smdae.comparing.part import Context, Tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(tables: Tables, context: Context) -> Mapping[str, bytes]:
    """Return the plots `curves` and `matrix` by name, as PNG files; an empty mapping if no fit made a step."""
    moved = {q.objective for q in tables["quality"] if q.step > 0}
    if not moved:
        return {}
    return {"curves": _curves(tables, moved), "matrix": _matrix(tables)}


def _band(axes: "Axes", rows: Sequence[Any], of: str, against: str, name: str, label: str | None = None) -> None:
    """Draw the mean over the fits of one objective, and a band of one standard deviation."""
    steps = sorted({row.step for row in rows if row.step > 0})
    groups = [[row for row in rows if row.step == step] for step in steps]
    figures = [[getattr(row, of) for row in group if getattr(row, of) is not None] for group in groups]
    kept = [i for i, values in enumerate(figures) if values]
    if not kept:
        return
    across = [statistics.fmean(getattr(row, against) for row in groups[i]) for i in kept]
    mean = np.array([statistics.fmean(figures[i]) for i in kept])
    axes.plot(across, mean, label=label, **style(name))
    if any(len(figures[i]) > 1 for i in kept):
        spread = np.array([statistics.stdev(figures[i]) if len(figures[i]) > 1 else 0.0 for i in kept])
        axes.fill_between(across, mean - spread, mean + spread, color=style(name)["color"], alpha=0.25, linewidth=0)


def _curves(tables: Tables, moved: set[str]) -> bytes:
    """Draw the PSNR by steps and by time beside the Fisher divergence; of rows, which have no PSNR, that by both."""
    from matplotlib.ticker import FuncFormatter

    names = [end.objective for end in tables["ends"] if end.objective in moved]
    of_images = any(q.psnr is not None for q in tables["quality"])
    drawn = figure(13 if of_images else 10, 4.8)
    panels = drawn.subplots(1, 3 if of_images else 2)
    judged, fishers = ([*panels[:2]], [panels[2]]) if of_images else ([], [*panels])
    for axes, against in zip(judged, ("steps", "seconds"), strict=False):
        frame(axes, f"Denoising, by {'steps' if against == 'steps' else 'time'}", against, "held-out PSNR, dB")
    for axes, against in zip(fishers, ("steps", "seconds"), strict=False):
        frame(axes, "Fisher divergence to q\u03c3", against, "per dimension, \u00d7 2\u03c3\u00b2")
    for name in names:
        quality = [q for q in tables["quality"] if q.objective == name]
        values = [v for v in tables["values"] if v.objective == name and v.judged_by == FISHER]
        for axes, against in zip(judged, ("step", "seconds"), strict=False):
            _band(axes, quality, "psnr", against, name)
        for axes, against in zip(fishers, ("step", "seconds"), strict=False):
            _band(axes, values, "scaled", against, name, label=name if against == "step" else None)
    _mark_best(judged, tables)
    positive = [v.scaled for v in tables["values"] if v.judged_by == FISHER and v.step > 0 and (v.scaled or 0) > 0]
    for fisher in fishers if positive and max(positive) > 5 * min(positive) else []:
        fisher.set_yscale("log")
        fisher.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        fisher.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    for axes in panels:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(_between_powers))
    drawn.legend(loc="outside lower center", ncols=min(len(names), 5), frameon=False, handlelength=4)
    return png(drawn)


def _between_powers(value: float, _: object) -> str:
    """Return the text of a mark between two powers of ten, which is empty for all but 2 and 5 times the lower."""
    return f"{value:,.10g}" if f"{value:e}"[0] in "25" else ""


def _mark_best(judged: Sequence["Axes"], tables: Tables) -> None:
    """Mark the PSNRs near the best one, and the PSNR of the linear filter, in plots of the PSNR."""
    baselines = {b.name: b.psnr for b in tables["baselines"]}
    finals = [end.psnr for end in tables["ends"] if end.psnr is not None]
    for axes in judged:
        if finals:
            axes.axhspan(max(finals) - NEAR_BEST_DB, max(finals), color="#f0f0f0", zorder=0)
            text = f"within {NEAR_BEST_DB:g} dB of the best"
            note(axes, text, (0, max(finals)), (3, -3), xycoords=("axes fraction", "data"), va="top", fontsize=8)
        if "linear filter" in baselines:
            linear = baselines["linear filter"]
            axes.axhline(linear, color=GRAY, linewidth=1, linestyle="--")
            at_right = {"xycoords": ("axes fraction", "data"), "ha": "right", "fontsize": 8}
            note(axes, "linear filter", (1, linear), (-2, 3), **at_right)


def _matrix(tables: Tables) -> bytes:
    values = [v for v in tables["values"] if v.seed == 0]
    last = {(v.objective, v.judged_by): v.scaled for v in values}
    models, judges = (list(dict.fromkeys(getattr(v, of) for v in values)) for of in ("objective", "judged_by"))
    table = np.array([[last.get((m, j)) for j in judges] for m in models], float)  # None becomes NaN
    with np.errstate(all="ignore"):
        above = table - np.array([np.min(c[np.isfinite(c)], initial=np.inf) for c in table.T])
    drawn = figure(1.9 + 0.85 * len(judges), 1.6 + 0.42 * len(models))
    axes = drawn.subplots()
    shade = np.log10(np.where(np.isfinite(above), above, np.nan).clip(1e-4, 10))
    axes.imshow(shade, cmap="cividis_r", vmin=-4, vmax=1, aspect="auto")
    for i, row in enumerate(above):
        for j, value in enumerate(row):
            text = "-" if not np.isfinite(value) else f"{value:.4f}" if value < 10 else f"{value:.0f}"
            dark = np.isfinite(value) and value > 0.03
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(judges)), judges, rotation=30, ha="right", fontsize=9)
    axes.set_yticks(range(len(models)), models, fontsize=9)
    axes.set_title("J above the least of its column", loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel("judged by")
    axes.set_ylabel("fitted with")
    return png(drawn)
