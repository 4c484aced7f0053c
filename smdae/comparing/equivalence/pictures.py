"""Intervals of the verdicts; differences along the path and against the number of draws."""

from collections.abc import Mapping

from smdae.comparing.drawing import BLUE, COLOURS, GRAY, RED, figure, frame, note, png
from smdae.comparing.equivalence.verdict import LIMIT, TOO_CLOSE
from smdae.comparing.part import Context, Tables

KINDS = {"equivalent": (BLUE, "o"), "different": (RED, "D"), "undecided": (GRAY, "s"), TOO_CLOSE: (GRAY, "v")}
MIN_DRAWN = 1e-6  # relative differences below are drawn here
MARKS = "ox^svd*P+"


def draw(tables: Tables, context: Context) -> Mapping[str, bytes]:
    """Return the plots `verdicts` and `equivalence` by name, as PNG files; an empty mapping if there are no pairs."""
    if not tables["verdicts"]:
        return {}
    return {"verdicts": _verdicts(tables), "equivalence": _differences(tables)}


def _verdicts(tables: Tables) -> bytes:
    verdicts = tables["verdicts"]
    drawn = figure(9, 1.4 + 0.34 * len(verdicts))
    axes = drawn.subplots()
    frame(axes, "Are the expected gradients equal?", "relative difference of expected gradients", "")
    largest = 3 * max([1.0, *(v.high for v in verdicts if v.high)])
    for i, v in enumerate(verdicts):
        colour, mark = KINDS[v.verdict]
        low, high = max(v.low, MIN_DRAWN), max(v.high or largest, MIN_DRAWN)
        axes.plot([low, high], [i, i], color=colour, linewidth=5, solid_capstyle="butt")
        axes.plot([high], [i], color=colour, marker=mark, markersize=7)
        beside = {"xycoords": ("axes fraction", "data"), "va": "center", "fontweight": "bold"}
        note(axes, v.verdict, (1, i), (6, 0), color=colour, **beside)
    axes.axvline(LIMIT, color="black", linewidth=1, linestyle="--")
    note(axes, f"{100 * LIMIT:g} %", (LIMIT, -0.8), (4, 0), color="black")
    axes.set_xscale("log")
    axes.set_xlim(MIN_DRAWN, largest)
    axes.set_ylim(len(verdicts) - 0.4, -1)
    labels = [f"{v.first}, {v.second}" + ("" if v.theory == "equal" else "  (control)") for v in verdicts]
    axes.set_yticks(range(len(verdicts)), labels, fontsize=9)
    return png(drawn)


def _differences(tables: Tables) -> bytes:
    from matplotlib.ticker import FuncFormatter, NullLocator

    drawn = figure(13, 5.2)
    path, draws = drawn.subplots(1, 2)
    frame(path, "J_a - J_b on the way", "from start (0) to end (1) of a fit", "change of J_a - J_b, scaled")
    frame(draws, "Gradients of more and more draws", "draws", "relative difference")
    pairs = list(dict.fromkeys((v.first, v.second, v.theory) for v in tables["verdicts"]))
    spans = []
    for i, (first, second, theory) in enumerate(pairs):
        look = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKS[i % len(MARKS)],
            "linestyle": "-" if theory == "equal" else (0, (4, 2)),
            "markersize": 5,
            "linewidth": 1.6,
        }
        label = f"{first}, {second}" + ("" if theory == "equal" else " (control)")
        on = [row for row in tables["on_path"] if (row.first, row.second) == (first, second)]
        if on:
            gaps, errors = [r.gap for r in on], [r.error for r in on]
            path.plot([r.t for r in on], gaps, **look)
            low, high = ([g + side * 2 * e for g, e in zip(gaps, errors, strict=True)] for side in (-1, 1))
            path.fill_between([r.t for r in on], low, high, color=look["color"], alpha=0.12, linewidth=0)
            spans += [abs(g) for g in gaps]
        rows = [r for r in tables["shrinking"] if (r.first, r.second) == (first, second)]
        # What is left of rounding alone has no law to follow.
        if rows and (rows[0].difference or 0) > 1e-4:
            draws.plot([r.draws for r in rows], [r.difference for r in rows], label=label, **look)
        else:
            draws.plot([], [], label=f"{label}: 0", **look)
    if tables["shrinking"]:
        n = sorted({r.draws for r in tables["shrinking"]})
        top = max((r.difference or 0 for r in tables["shrinking"] if r.theory == "equal"), default=0.0) or 1.0
        draws.plot(n, [1.6 * top * (n[0] / m) ** 0.5 for m in n], color=GRAY, linestyle=":", label="1 / root of draws")
    draws.set_xscale("log")
    draws.set_yscale("log")
    draws.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    draws.xaxis.set_minor_locator(NullLocator())
    if tables["shrinking"]:
        draws.set_xticks(n)
    if spans and max(spans) > 0.2:
        path.set_yscale("symlog", linthresh=0.02)
    drawn.legend(loc="outside right upper", frameon=False, fontsize=9)
    return png(drawn)
