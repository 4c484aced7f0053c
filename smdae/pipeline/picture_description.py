"""Descriptions of pictures and of their noise, as `denoise` would find it: in words, as a chart and as JSON."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from smdae.files.picture import Picture
from smdae.pipeline.noise_chart import chart, correlation, curve_of, number

if TYPE_CHECKING:
    from smdae.pipeline.found_noise import PictureNoise
    from smdae.pipeline.options import Options

INDENT = "  "


@dataclass(frozen=True)
class _Unloaded:
    """A stand-in for a model while noise is estimated, which needs no weights.

    It takes any level. It is a gray model, so that gray stored as colour is treated as gray.
    """

    level: float | None = None
    noise_range: tuple[float, float] = (0.0, math.inf)
    channels: int = 1


UNLOADED = _Unloaded()


@dataclass(frozen=True, eq=False)
class Description:
    """A picture file, or a channel of one, and its noise, as `info` describes it.

    Attributes:
        picture: The picture, or the first of its pages.
        found: The noise; for many pages that of the page with the median level.
        on_255: Whether values are shown on the 0 to 255 scale, rather than in the picture's unit.
        model: The file or name of the model that `denoise` would use.
        channel: The number of the channel, counted from 1, and the number of all.
        series: The number of the series of a TIFF, counted from 1.
        what: The kind of file in words; empty to derive it from the picture.
        part: The series and the channel in words; empty to derive them from the number of the channel.
    """

    name: str
    picture: Picture
    pages: int
    found: "PictureNoise"
    on_255: bool
    model: str
    channel: tuple[int, int] = (1, 1)
    series: int = 1
    what: str = ""
    part: str = ""
    piece: str = "page"

    @property
    def hidden(self) -> float:
        """Return the share of the pixels, 0 to 1, that the estimate of the noise leaves out."""
        valid = self.found.prepared.valid
        return 0.0 if valid is None else 1 - float(valid.mean())


def described(
    name: str,
    picture: Picture,
    pages: int,
    found: "PictureNoise",
    options: "Options",
    *,
    channel: tuple[int, int] = (1, 1),
    series: int = 1,
    what: str = "",
    part: str = "",
    piece: str = "page",
) -> Description:
    """Return the description of a picture, with the model that `denoise` would use.

    `pages` is the number of pages of its file, and `found` the noise that was found with `options`. All other arguments
    are attributes of `Description`.
    """
    from smdae.pipeline.model_choice import choose

    # The same rule as in `find_noise`, so that words and chart agree.
    on_255 = found.prepared.scale.standard or options.white is not None
    return Description(name, picture, pages, found, on_255, choose(None, picture), channel, series, what, part, piece)


def record_of(description: Description) -> dict[str, Any]:
    """Return the JSON record of a file; values are in the picture's unit, sigma in that of `denoise -s`."""
    found, noise, scale = description.found, description.found.estimate.noise, description.found.prepared.scale
    height, width = description.picture.pixels.shape[:2]
    curve = list(zip(*curve_of(found, scale.span, scale.black), strict=True))
    return {
        "size": [width, height],
        "pages": description.pages,
        "series": description.series,
        "channel": description.channel[0],
        "color": description.picture.pixels.ndim == 3,
        "samples": description.picture.depth,
        "format": description.picture.format,
        "jpeg": found.estimate.jpeg if description.picture.quality is None else description.picture.quality,
        "kind": "none" if noise.is_none else noise.kind,
        "described": found.described,
        "reason": found.estimate.reason,
        "sigma": found.levels[0] if len(found.levels) == 1 else list(found.levels),
        "curve": [] if noise.is_none else curve if noise.is_signal_dependent else [curve[0], curve[-1]],
        "grain": noise.grain if noise.kind == "grain" and len(noise.grain) > 1 else None,
        "blotches": None if noise.blotches is None else asdict(noise.blotches.scaled(scale.span)),
        "channels": noise.channels,
        "white": scale.white,
        "black": scale.black,
        "clip": scale.clip,
        "outliers": found.repaired,
        "hidden": description.hidden,
        "model": description.model,
    }


def lines_of(description: Description) -> list[str]:
    """Return the description of a file as lines of text."""
    found, noise, scale = description.found, description.found.estimate.noise, description.found.prepared.scale
    quality = f", JPEG quality {description.picture.quality}"  # is in the first line already
    text = [f"noise: {found.described.removesuffix(quality)}"]
    if noise.is_none:
        text = [f"no noise found ({found.estimate.reason})" if found.estimate.reason else "no noise found"]
    text.append(_range(description))
    if not noise.is_none:
        factor, offset = (255.0, 0.0) if description.on_255 else (scale.span, scale.black)
        text.append(f"sigma by brightness, {'white being 255' if description.on_255 else 'in the unit of the picture'}")
        text += [f"{INDENT}{line}" for line in chart(*curve_of(found, factor, offset))]
    if noise.kind == "grain" and len(noise.grain) > 1:  # pixels may be correlated by blotches alone
        text.append(correlation(noise.grain))
    text.append(f"model: {description.model}")
    return [f"{description.name}: {_kind(description)}", *(f"{INDENT}{line}" for line in text)]


def _kind(description: Description) -> str:
    """Return the size and the kind of a picture in words."""
    import numpy as np

    if description.what:
        return description.what
    pixels = description.picture.pixels
    height, width = pixels.shape[:2]
    size = f"{width} x {height}"
    if description.pages > 1:
        size = f"{description.pages} {description.piece}s of {size}"
    if pixels.ndim == 2:
        colours = "gray"
    else:
        colours = "gray, stored as colour" if description.found.prepared.is_shared else "colour"
    bits = 8 * np.dtype(description.picture.depth).itemsize
    depth = f"{bits}-bit floats" if description.picture.depth.startswith("float") else f"{bits} bits"
    if description.channel[1] > 1:
        part = description.part or f"channel {description.channel[0]} of {description.channel[1]}"
        size = f"{part}, {size}"
    format = (
        description.picture.format
        if description.picture.quality is None
        else f"JPEG quality {description.picture.quality}"
    )
    return f"{size} in {colours}, {depth}, {format}"


def _range(description: Description) -> str:
    """Return in words which values are black and white, and how many pixels are left out."""
    scale, repaired = description.found.prepared.scale, description.found.repaired
    ends = f"white {number(scale.white)}, black {number(scale.black)}"
    if scale.clip is None:
        clipped = "not clipped"
    elif scale.clip == (scale.black, scale.white):
        clipped = "clipped"
    else:
        clipped = f"clipped at {number(scale.clip[0])} and {number(scale.clip[1])}"
    words = [f"{ends}, {clipped}"]
    if repaired:
        words.append(f"{repaired:,} {'outlier' if repaired == 1 else 'outliers'}")
    if description.hidden:
        share = f"{100 * description.hidden:.{0 if description.hidden >= 0.1 else 1}f} %"
        words.append(f"{share} of its pixels {'not finite' if description.picture.alpha is None else 'hidden'}")
    return "; ".join(words)
