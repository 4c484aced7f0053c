"""Time and memory of a step on log axes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.comparing.drawing import BLACK, GRAY, figure, frame, note, png, style
from smdae.comparing.part import Context, Tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXACT = "ism-parzen exact"  # where the divergence is pushed through all directions


def draw(tables: Tables, context: Context) -> Mapping[str, bytes]:
    """Return {"cost": a plot of time and memory against size, as a PNG file}; an empty mapping without steps."""
    return {"cost": _cost(tables)} if tables["steps"] else {}


def _lines(axes: "Axes", tables: Tables, against: str, of: str, unit: float) -> None:
    """Draw a line for each objective, and one dashed line for each slope that is expected."""
    ends: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for slope in tables["slopes"]:
        if slope.against != against:
            continue
        ours = [s for s in tables["steps"] if (s.objective, s.against) == (slope.objective, slope.against)]
        x, y = [step.size for step in ours], [getattr(step, of) / step.batch / unit for step in ours]
        axes.plot(x, y, label=slope.objective, **_look(slope.objective))
        power = getattr(slope, f"{of}_expected")
        ends.setdefault((power, slope.objective if power > 1 else ""), []).append((x[-1], y[-1]))
    for (power, _), points in ends.items():
        last = max(x for x, _ in points)
        level = np.exp(np.mean([np.log(y) + power * np.log(last / x) for x, y in points]))
        upper = np.array([last / 8, last])
        axes.plot(upper, level * (upper / last) ** power, color=GRAY, linestyle="--", linewidth=1.2, zorder=1)
        text = {0: "constant", 1: f"\u221d {against}"}.get(power, f"\u221d {against}\u00b2")
        note(axes, text, (last, level), (4, 0), va="center", annotation_clip=False)


def _look(name: str) -> dict[str, Any]:
    return style(name) if name != EXACT else {"color": BLACK, "linewidth": 2, "linestyle": ":", "marker": "D"}


def _cost(tables: Tables) -> bytes:
    by_n = [step for step in tables["steps"] if step.against == "n"]
    drawn = figure(13.5 if by_n else 9.5, 5.4)
    panels: Sequence[Any] = drawn.subplots(1, 3 if by_n else 2)
    frame(panels[0], "Time, by size of the patches", "numbers in a patch, d", "microseconds an example")
    frame(panels[1], "Memory, by size of the patches", "numbers in a patch, d", "KiB held at once, an example")
    _lines(panels[0], tables, "d", "seconds", 1e-6)
    _lines(panels[1], tables, "d", "bytes", 1024)
    if by_n:
        frame(panels[2], "Time, by number of patches", "patches in the Parzen density, n", "microseconds an example")
        _lines(panels[2], tables, "n", "seconds", 1e-6)
    for axes, against in zip(panels, "ddn", strict=False):
        _log(axes, sorted({step.size for step in tables["steps"] if step.against == against}))
    handles, labels = panels[0].get_legend_handles_labels()
    handles.append(panels[0].plot([], [], color=GRAY, linestyle="--", linewidth=0.9)[0])
    labels.append("slope expected")
    drawn.legend(handles, labels, loc="outside lower center", ncols=7, frameon=False, handlelength=4)
    return png(drawn)


def _log(axes: "Axes", sizes: Sequence[int]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
