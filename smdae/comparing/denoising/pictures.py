"""PSNR of all contestants at three levels, and crops with what is wrong in each."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from smdae.comparing.denoising.denoisers import denoisers, examples
from smdae.comparing.drawing import BLACK, BLUE, DPI, GRAY, GREEN, ORANGE, figure, frame, note, png
from smdae.comparing.part import Context, Tables
from smdae.denoising.metrics import psnr
from smdae.fitting.held_out import middle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# How each kind is drawn, and what it is called.
KINDS: dict[str, tuple[str, str, str]] = {
    "fit": (BLUE, "o", "fitted here"),
    "file": (GREEN, "s", "model file"),
    "baseline": (ORANGE, "D", "without a fit"),
}
PATCH = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # behind a figure, so that no line runs through it
LINES: dict[str, Any] = {"noisy": ":", "linear filter": "--"}
MAX_CROP = 96  # pixels on a side of a crop, at most
MIN_CROP_WIDTH = 192  # pixels of the picture that it takes, at least
COLUMNS = 7
MAGNIFIED = 0.15  # what the error, root mean square, is magnified to about
IMAGES = 2
MAX_NAME = 26  # of a name above a crop
GAP, LINE = 6, 17  # pixels between crops, and for each of two lines above them


def draw(tables: Tables, context: Context) -> Mapping[str, bytes]:
    """Return the bytes of PNG files by name, `quality`, of PSNR by level, and `crops`; none if nothing was measured."""
    if not tables["quality"]:
        return {}
    return {"quality": _quality(tables["quality"]), "crops": _crops(tables["quality"], context)}


def _quality(rows: Sequence[Any]) -> bytes:
    from matplotlib.lines import Line2D

    first = [row for row in rows if row.sampler in (None, "tweedie") and row.psnr is not None]
    sigmas = sorted({row.sigma for row in first})
    middle = sigmas[len(sigmas) // 2]
    dots = [row for row in first if row.kind in KINDS]
    rank = {row.contestant: row.psnr for row in sorted(dots, key=lambda row: row.sigma != middle, reverse=True)}
    names = sorted(rank, key=rank.__getitem__)
    drawn = figure(12, 1.7 + 0.3 * max(len(names), 3))
    panels = drawn.subplots(1, len(sigmas), sharey=True, squeeze=False)[0]
    seen: set[str] = set()
    for axes, sigma in zip(panels, sigmas, strict=True):
        frame(axes, f"\u03c3 = {sigma:.3g}", "PSNR, dB", "")
        here = [row for row in dots if row.sigma == sigma]
        lines = {row.contestant: row.psnr for row in first if row.contestant in LINES and row.sigma == sigma}
        seen |= _limits(axes, [row.psnr for row in here], lines)
        for row in here:
            colour, mark, _ = KINDS[row.kind]
            place = (row.psnr, names.index(row.contestant))
            axes.errorbar(*place, xerr=row.psnr_deviation, color=colour, marker=mark,
                          markersize=7, markerfacecolor=colour if row.known else "white", capsize=3)  # fmt: skip
            note(axes, f"{row.psnr:.2f}", place, (8, 0), va="center", fontsize=8, bbox=PATCH)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-1, len(names) - 0.4)
    kinds = [kind for kind in KINDS if any(row.kind == kind for row in dots)]
    handles = [Line2D([], [], color=KINDS[k][0], marker=KINDS[k][1], linestyle="", label=KINDS[k][2]) for k in kinds]
    if any(not row.known for row in dots):
        handles.append(Line2D([], [], color=GRAY, marker="o", markerfacecolor="white", linestyle="",
                              label="hollow: not fitted at this level"))  # fmt: skip
    handles += [Line2D([], [], color=GRAY, linestyle=line, label=name) for name, line in LINES.items() if name in seen]
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return png(drawn)


def _limits(axes: "Axes", dots: Sequence[float], lines: Mapping[str, float]) -> set[str]:
    """Set the axis to the dots and the linear filter, and return the names of the lines within it.

    The noisy images lie so far to the left that most often a word has to do.
    """
    low, high = min([*dots, lines.get("linear filter", np.inf)]), max([*dots, lines.get("linear filter", -np.inf)])
    room = max(high - low, 0.5)
    left = low - 0.15 * room
    axes.set_xlim(left, high + 0.3 * room)
    for name, value in lines.items():
        if value >= left:
            axes.axvline(value, color=GRAY, linestyle=LINES[name], linewidth=1, zorder=1)
        else:
            text = f"\u2190 {name} {value:.2f}"
            note(axes, text, (0, 0), (3, 3), xycoords="axes fraction", fontsize=8, bbox=PATCH)
    return {name for name, value in lines.items() if value >= left}


def _chosen(rows: Sequence[Any]) -> list[str]:
    """Return the names of those shown: the best fit, the best file, the baselines and the linear filter."""
    sigmas = sorted({row.sigma for row in rows})
    here = [row for row in rows if row.sigma == sigmas[len(sigmas) // 2] and row.sampler in (None, "tweedie")]
    ranked = sorted((row for row in here if row.psnr is not None), key=lambda row: row.psnr, reverse=True)
    of = {kind: [row for row in ranked if row.kind == kind] for kind in ("fit", "file", "baseline", "linear")}
    kept = [*of["fit"][:1], *of["file"][:1], *of["baseline"], *of["linear"]][: COLUMNS - 2]
    return [row.contestant for row in sorted(kept, key=lambda row: row.psnr)]


def _crops(rows: Sequence[Any], context: Context) -> bytes:
    sigma, able = context.contest.sigma, {denoiser.name: denoiser for denoiser in denoisers(context)}
    shown = examples(context)
    shown = [shown[i] for i in sorted({*np.linspace(0, len(shown) - 1, IMAGES).round().astype(int).tolist()})]
    names = ["noisy", *_chosen(rows)]
    blocks = []  # for each image the clean crop and the others
    for example in shown:
        estimates = [able[name].denoise(example.noisy(sigma), sigma) for name in names]
        part = middle(example.clean.shape[2:], MAX_CROP)
        blocks.append([image[0, 0][part].cpu() for image in (example.clean, *estimates)])
    errors = [(e.clamp(0, 1) - clean).square().mean().sqrt().item() for clean, _, *rest in blocks for e in rest]
    factor = max(1, round(MAGNIFIED / max(float(np.median(errors or [0.1])), 1e-3)))
    return _laid_out(blocks, names, factor)


def _laid_out(blocks: Sequence[Sequence[Tensor]], names: Sequence[str], factor: int) -> bytes:
    """Return a PNG file of the images with the difference of each below it, every pixel enlarged to a square."""
    high, wide = (max(block[0].shape[axis] for block in blocks) for axis in (0, 1))
    zoom = -(-MIN_CROP_WIDTH // wide)
    high, wide = zoom * high, zoom * wide
    columns, block_height = len(names) + 1, 2 * LINE + 2 * high + 3 * GAP
    canvas = np.ones((GAP + len(blocks) * block_height, GAP + columns * (wide + GAP)), np.float32)
    drawn = figure(canvas.shape[1] / DPI, canvas.shape[0] / DPI)
    drawn.set_layout_engine("none")
    axes = drawn.add_axes((0, 0, 1, 1), frameon=False)
    for i, (clean, *others) in enumerate(blocks):
        for j, (name, image) in enumerate(zip(("clean", *names), (clean, *others), strict=True)):
            top, left = GAP + i * block_height + 2 * LINE, GAP + j * (wide + GAP)
            seen = image.clamp(0, 1)
            _put(canvas, seen, zoom, top, left)
            axes.text(left, top - 1.5 * LINE, name[:MAX_NAME], fontsize=9.5, color=BLACK, va="center")
            if j > 0:
                _put(canvas, (0.5 + factor * (seen - clean)).clamp(0, 1), zoom, top + high + GAP, left)
                axes.text(left, top - 0.5 * LINE, f"{psnr(image, clean, 1.0):.2f} dB", fontsize=9, color=GRAY,
                          va="center")  # fmt: skip
        note = f"below each crop\nits difference from\nthe clean one,\n\u00d7 {factor} around gray"
        axes.text(GAP + wide - 4, top + high + GAP + high / 2, note, fontsize=9, color=GRAY, ha="right", va="center")
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    return png(drawn)


def _put(canvas: np.ndarray, image: Tensor, zoom: int, top: int, left: int) -> None:
    large = np.kron(image.numpy(), np.ones((zoom, zoom), np.float32))
    canvas[top : top + large.shape[0], left : left + large.shape[1]] = large
