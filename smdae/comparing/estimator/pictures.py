"""The noise of gradients against the level of the noise of the pairs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smdae.comparing.drawing import BLUE, GRAY, figure, frame, note, png, style
from smdae.comparing.part import Context, Tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Designs of `dsm` other than the plain one, all in its colour.
MARKS = {"paired": "1", "antithetic": "^", "frames": "s", "control": "v", "stein": "D"}
THETAS = {"fixed": "\u03b8 fixed", "own": "\u03b8 of each level"}


def draw(tables: Tables, context: Context) -> Mapping[str, bytes]:
    """Return {"variance": a plot of the variances by level, as a PNG file}; an empty mapping if there are no rows."""
    rows = tables["variances"]
    return {"variance": _variance(rows)} if rows else {}


def _look(name: str, design: str) -> dict[str, Any]:
    if design not in MARKS:
        return {"label": name, **style(name)}
    line = {"color": BLUE, "linewidth": 1.0, "linestyle": (0, (2, 1.5)), "marker": MARKS[design], "markersize": 6}
    return {"label": f"dsm, {design}", **line, "markerfacecolor": "white", "zorder": 4}


def _lines(axes: "Axes", rows: Sequence[Any], of: str) -> None:
    for name, design in dict.fromkeys((r.objective, r.design) for r in rows):
        if name != "dsm" and design in MARKS:
            continue
        ours = sorted((r for r in rows if (r.objective, r.design) == (name, design)), key=lambda r: r.sigma)
        points = [(r.sigma, getattr(r, of)) for r in ours if getattr(r, of) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), **_look(name, design))


def _law(axes: "Axes", rows: Sequence[Any]) -> None:
    """Draw 1/sigma^2 through the variance of `dsm` at the smallest level."""
    plain = [r for r in rows if (r.objective, r.design) == ("dsm", "independent") and r.variance is not None]
    if plain:
        low = min(plain, key=lambda row: row.sigma)
        ends = (low.sigma, 4 * low.sigma)
        axes.plot(ends, (low.variance, low.variance / 16), color=GRAY, linestyle="--", linewidth=1.2, zorder=3.5)
        note(axes, "\u221d 1/\u03c3\u00b2", (1.6 * low.sigma, low.variance / 1.6**2), (8, 4))


def _variance(rows: Sequence[Any]) -> bytes:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    drawn = figure(12, 9)
    panels = drawn.subplots(len(THETAS), 2, sharex=True)
    for (theta, words), (draws, cost) in zip(THETAS.items(), panels, strict=True):
        ours = [row for row in rows if row.theta == theta]
        frame(draws, f"At equal draws, {words}", "", "variance / |E gradient|\u00b2")
        frame(cost, f"At equal cost, {words}", "", "variance \u00d7 time, dsm = 1")
        _lines(draws, ours, "variance")
        _lines(cost, ours, "cost")
        if theta == "fixed":
            _law(draws, ours)
        cost.axhline(1, color=GRAY, linewidth=0.8, zorder=1)
        for axes in (draws, cost):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(sorted({row.sigma for row in rows}))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    for axes in panels[-1]:
        axes.set_xlabel("\u03c3 of the pairs, of 255")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, handlelength=4)
    return png(drawn)
