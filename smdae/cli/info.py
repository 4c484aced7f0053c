"""`smdae info`: the noise that `denoise` would find, in words and as a chart; nothing is written.

    sigma(x) = sqrt(mean_c sd_c(x)^2)       the level at the brightness x, c being the channels

is drawn from the darkest to the brightest values of the picture, but for one in a thousand at either end.
"""

import io
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smdae.cli import console
from smdae.cli.options import Json, check_range
from smdae.cli.places import STREAM, sources
from smdae.errors import BatchError, SmdaeError, UsageError

if TYPE_CHECKING:
    from smdae.cli.manner import Manner
    from smdae.cli.outcome import Found
    from smdae.files.picture import Picture

__all__ = ["chart", "command"]

COLUMNS, ROWS = 48, 9  # of a chart, in characters
DARKEST, BRIGHTEST = 0.001, 0.999  # of the values, as quantiles, between which levels are drawn
AXIS_ENDS = (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10)  # times a power of ten
MOST_LAGS = 3  # pixels, whose correlation is told
INDENT = "  "


@dataclass(frozen=True)
class _Unloaded:
    """What finding noise asks of a model: of any level, and of gray, so that gray stored as colour is taken for gray.

    No weights are needed to answer, so none are loaded.
    """

    level: float | None = None
    noise_range: tuple[float, float] = (0.0, math.inf)
    channels: int = 1


@dataclass(frozen=True, eq=False)
class _Seen:
    """What there is to tell of a file.

    Attributes:
        name: What messages call it.
        picture: It, or the first of its pages.
        pages: How many it has.
        found: The noise, of the typical page of many.
        on_255: Whether values are told on the scale of 8 bits, else in the picture's unit.
        model: The file or name of the model that `denoise` would take.
        channel: Which it is, counted from 1, and of how many.
    """

    name: str
    picture: "Picture"
    pages: int
    found: "Found"
    on_255: bool
    model: str
    channel: tuple[int, int] = (1, 1)

    @property
    def hidden(self) -> float:
        """The part of the pixels that do not count."""
        valid = self.found.prepared.valid
        return 0.0 if valid is None else 1 - float(valid.mean())


def command(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", help="Images, folders of them, patterns; - is stdin.", readable=False, show_default=False
        ),
    ],
    noise: Annotated[
        str,
        typer.Option(
            "--noise",
            help="white, shot (depends on brightness), grain (correlated), a profile's file, or auto.",
        ),
    ] = "auto",
    white: Annotated[
        float | None, typer.Option("--white", help="The value of white. [default: 255, 65535, or 1 in floats]")
    ] = None,
    black: Annotated[float | None, typer.Option("--black", help="The value of black. [default: 0]")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Search folders to their depth.")] = False,
    json_: Json = False,
) -> int:
    """Print the noise of images; write nothing.

    smdae info noisy.png                         what denoise would take out

    smdae info scans/ -r --json                  an object a file, a line each
    """
    from smdae.cli.noise_choice import noise_named

    check_range(white, black)
    kind = noise_named(noise)
    found = sources(inputs, recursive)
    if STREAM in inputs and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("nothing is piped into stdin", "pipe an image in, or name a file")

    from smdae.cli.manner import Manner
    from smdae.memory import keep_freed_memory

    keep_freed_memory()
    manner = Manner(white=white, black=black, noise=kind)
    in_colour = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    failed = told = 0
    with console.guarded():
        for source in found:
            try:
                if json_:
                    for seen in _seen(source, manner):
                        console.result({"input": str(source)} | _record(seen))
                else:
                    for seen in _seen(source, manner):
                        lines = _lines(seen)
                        _print(["", *lines] if told else lines, in_colour)
                        told += 1
            except SmdaeError as error:
                if len(found) == 1:
                    raise
                failed += 1
                console.failure(error)
                if json_:
                    console.result({"input": str(source), "error": error.message, "code": error.code})
    if failed:
        raise BatchError(f"{failed} of {len(found)} inputs failed")
    return 0


def _seen(source: Path, manner: "Manner") -> list[_Seen]:
    """Return what there is to tell of each channel of a file; errors are those of reading it and of `outcome.look`."""
    from smdae.cli.one_picture import piped, typical
    from smdae.cli.outcome import look
    from smdae.files import images, stack

    data = piped() if source == STREAM else None
    name = str(source) if data is None else "stdin"
    content = source if data is None else data
    if stack.count(content) > 1:
        with stack.opened(content, name) as pages:
            return [
                _of(name, group.page(0), len(group), *typical(group, _Unloaded(), manner, name), of_channels)
                for group in pages.groups.values()
                for of_channels in [(group.key.channel + 1, len(pages.groups))]
            ]
    picture = images.read(content, name)
    return [_of(name, picture, 1, look(picture, _Unloaded(), manner, name), manner)]


def _of(
    name: str, picture: "Picture", pages: int, found: "Found", manner: "Manner", channel: tuple[int, int] = (1, 1)
) -> _Seen:
    from smdae.cli.model_choice import choose

    # As `outcome.look` describes it.
    on_255 = found.prepared.scale.standard or manner.white is not None
    return _Seen(name, picture, pages, found, on_255, choose(None, picture), channel)


# ---- what is told -------------------------------------------------------------------------------------------------


def _record(seen: _Seen) -> dict[str, Any]:
    """Return what --json says of a file; values are in the picture's unit, sigma in that of `denoise -s`."""
    found, noise, scale = seen.found, seen.found.estimate.noise, seen.found.prepared.scale
    height, width = seen.picture.pixels.shape[:2]
    curve = list(zip(*_curve(found, scale.span, scale.black), strict=True))
    return {
        "size": [width, height],
        "pages": seen.pages,
        "channel": seen.channel[0],
        "color": seen.picture.pixels.ndim == 3,
        "samples": seen.picture.depth,
        "format": seen.picture.format,
        "jpeg": found.estimate.jpeg if seen.picture.quality is None else seen.picture.quality,
        "kind": "none" if noise.is_none else noise.kind,
        "described": found.described,
        "reason": found.estimate.reason,
        "sigma": found.levels[0] if len(found.levels) == 1 else list(found.levels),
        "curve": [] if noise.is_none else curve if noise.is_signal_dependent else [curve[0], curve[-1]],
        "grain": noise.grain if noise.kind == "grain" else None,
        "channels": noise.channels,
        "white": scale.white,
        "black": scale.black,
        "clip": scale.clip,
        "outliers": found.repaired,
        "hidden": seen.hidden,
        "model": seen.model,
    }


def _curve(found: "Found", factor: float, offset: float) -> tuple[list[float], list[float]]:
    """Return brightnesses of a picture and the level of its noise at each, averaged over the channels.

    Args:
        found: The noise.
        factor: What levels are multiplied by, white being 1.
        offset: What black becomes.

    Returns:
        Two lists of COLUMNS numbers.
    """
    import numpy as np
    import torch

    low, high = np.quantile(found.prepared.sample().astype(np.float64), (DARKEST, BRIGHTEST))
    if low == high:
        low, high = 0.0, 1.0
    x = torch.linspace(low, high, COLUMNS, dtype=torch.float64)
    squares = torch.stack([curve.sd(x).square() for curve in found.estimate.noise.curves])  # (curves, COLUMNS)
    return (x * factor + offset).tolist(), (squares.mean(0).sqrt() * factor).tolist()


def _lines(seen: _Seen) -> list[str]:
    """Return what is told of a file, a line each."""
    found, noise, scale = seen.found, seen.found.estimate.noise, seen.found.prepared.scale
    quality = f", JPEG quality {seen.picture.quality}"  # which the first line tells
    told = [f"noise: {found.described.removesuffix(quality)}"]
    if noise.is_none:
        told = [f"no noise found ({found.estimate.reason})" if found.estimate.reason else "no noise found"]
    told.append(_range(seen))
    if not noise.is_none:
        factor, offset = (255.0, 0.0) if seen.on_255 else (scale.span, scale.black)
        told.append(f"sigma by brightness, {'white being 255' if seen.on_255 else 'in the unit of the picture'}")
        told += [f"{INDENT}{line}" for line in chart(*_curve(found, factor, offset))]
    if noise.kind == "grain":
        told.append(_correlation(noise.grain))
    told.append(f"model: {seen.model}")
    return [f"{seen.name}: {_kind(seen)}", *(f"{INDENT}{line}" for line in told)]


def _kind(seen: _Seen) -> str:
    """Return the size and the kind of a picture in words."""
    import numpy as np

    pixels = seen.picture.pixels
    height, width = pixels.shape[:2]
    size = f"{width} x {height}" if seen.pages == 1 else f"{seen.pages} pages of {width} x {height}"
    if pixels.ndim == 2:
        colours = "gray"
    else:
        colours = "gray, stored as colour" if seen.found.prepared.is_shared else "colour"
    bits = 8 * np.dtype(seen.picture.depth).itemsize
    depth = f"{bits}-bit floats" if seen.picture.depth.startswith("float") else f"{bits} bits"
    if seen.channel[1] > 1:
        size = f"channel {seen.channel[0]} of {seen.channel[1]}, {size}"
    format = seen.picture.format if seen.picture.quality is None else f"JPEG quality {seen.picture.quality}"
    return f"{size} in {colours}, {depth}, {format}"


def _range(seen: _Seen) -> str:
    """Return what the values of a picture mean, and how many of its pixels are left out, in words."""
    scale, repaired = seen.found.prepared.scale, seen.found.repaired
    ends = f"white {_number(scale.white)}, black {_number(scale.black)}"
    if scale.clip is None:
        clipped = "not clipped"
    elif scale.clip == (scale.black, scale.white):
        clipped = "clipped"
    else:
        clipped = f"clipped at {_number(scale.clip[0])} and {_number(scale.clip[1])}"
    words = [f"{ends}, {clipped}"]
    if repaired:
        words.append(f"{repaired:,} {'outlier' if repaired == 1 else 'outliers'}")
    if seen.hidden:
        share = f"{100 * seen.hidden:.{0 if seen.hidden >= 0.1 else 1}f} %"
        words.append(f"{share} of its pixels {'not finite' if seen.picture.alpha is None else 'hidden'}")
    return "; ".join(words)


def _correlation(grain: Sequence[Sequence[float]]) -> str:
    """Return the correlation of pixels that are next to each other, and a few farther, in words."""
    lags = range(1, min(MOST_LAGS + 1, len(grain)))
    across = " ".join(f"{grain[0][lag]:.2f}" for lag in lags)
    down = " ".join(f"{grain[lag][0]:.2f}" for lag in lags)
    return f"correlation of pixels {', '.join(map(str, lags))} apart: {across} across, {down} down"


def chart(x: Sequence[float], y: Sequence[float]) -> list[str]:
    """Return a curve as lines of plain text, from 0 up, with a star in each column.

    Args:
        x: Where it is told, evenly spaced, one for each column, at least 3.
        y: Its values, not negative.
    """
    top = _axis_end(max(y))
    height = [round((ROWS - 1) * value / top) for value in y]
    labels = {ROWS - 1: _number(top), (ROWS - 1) // 2: _number(top / 2), 0: "0"}
    wide = max(map(len, labels.values()))
    lines = []
    for row in reversed(range(ROWS)):
        stars = "".join("*" if h == row else " " for h in height)
        lines.append(f"{labels.get(row, ''):>{wide}} |{stars}".rstrip())
    low, middle, high = (_number(value) for value in (x[0], (x[0] + x[-1]) / 2, x[-1]))
    columns = len(x)
    before = low.ljust((columns - len(middle)) // 2)
    axis = f"{before}{middle}".ljust(columns - len(high)) + high
    return [*lines, f"{'':>{wide}} +{'-' * columns}", f"{'':>{wide}}  {axis}"]


def _axis_end(largest: float) -> float:
    """Return the end of an axis from 0 that holds a value."""
    if not largest > 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(largest))
    return next((end * unit for end in AXIS_ENDS if end * unit >= largest), 10 * unit)


def _number(value: float) -> str:
    """A number with three digits, or all of those before the point."""
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def _print(lines: Sequence[str], in_colour: bool) -> None:
    """Print lines on stdout, in colour on a terminal; without control characters, which a file's name may hold."""
    clean = ["".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in lines]
    text = "".join(f"{line}\n" for line in clean)
    if in_colour:
        from rich.console import Console
        from rich.text import Text

        drawn = io.StringIO()
        terminal = Console(file=drawn, force_terminal=True, highlight=False, markup=False, soft_wrap=True)
        for line in clean:
            shown = Text(line, "bold" if line and not line.startswith(INDENT) else "")
            shown.highlight_regex(r"(?<=\|)[ *]+$", "cyan")
            terminal.print(shown)
        text = drawn.getvalue()
    console.stream(text.encode(sys.stdout.encoding or "ascii", "backslashreplace"))
