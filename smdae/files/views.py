"""Visualisations: a film or a sheet of the steps of an image, and a heat map of a quantity over it."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

SECONDS = 4.0  # of a film, about
LAST = 1.5  # seconds that the last frame stays
SHOWN = 12  # frames on a sheet, at most
CELL = 320  # pixels of a frame on it, at most
MAX_SIDE = 1024  # pixels a side of a film
SPACE = 4
DPI = 100


def _eight_bit(frame: np.ndarray, white: float, largest: int) -> Image.Image:
    """Return a frame as it is shown: uint8, no side longer than that."""
    values = np.rint(np.clip(frame.astype(np.float32) * (255 / white), 0, 255)).astype(np.uint8)
    image = Image.fromarray(values if values.ndim == 2 or values.shape[2] == 3 else values[..., 0])
    scale = min(1.0, largest / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image if scale == 1 else image.resize((width, height), Image.Resampling.BOX)


def film(frames: Sequence[np.ndarray], white: float) -> bytes:
    """Return a GIF that shows the frames, each with shape (H, W) or (H, W, 3), and stays at the last."""
    shown = [_eight_bit(frame, white, MAX_SIDE) for frame in frames]
    each = max(40, round(1000 * SECONDS / len(shown)))
    times = [each] * (len(shown) - 1) + [round(1000 * LAST)]
    buffer = io.BytesIO()
    shown[0].save(buffer, "GIF", save_all=True, append_images=shown[1:], duration=times, loop=0)
    return buffer.getvalue()


def still(frame: np.ndarray, white: float) -> bytes:
    """Return a PNG of one frame, of 8 bits."""
    buffer = io.BytesIO()
    _eight_bit(frame, white, max(frame.shape)).save(buffer, "PNG")
    return buffer.getvalue()


def sheet(frames: Sequence[np.ndarray], white: float, columns: int | None = None) -> bytes:
    """Return a PNG of up to SHOWN frames in rows: the first, the last, and frames evenly spaced between them.

    Args:
        frames: At least one, each with shape (H, W) or (H, W, 3), black being 0.
        white: The value of white in the frames.
        columns: Frames in a row; None for about as many as there are rows.
    """
    chosen = sorted({round(i) for i in np.linspace(0, len(frames) - 1, min(SHOWN, len(frames)))})
    shown = [_eight_bit(frames[i], white, CELL) for i in chosen]
    across = columns or math.ceil(math.sqrt(len(shown)))
    width, height = shown[0].size
    down = -(-len(shown) // across)
    size = (across * (width + SPACE) - SPACE, down * (height + SPACE) - SPACE)
    page = Image.new(shown[0].mode, size, 255 if shown[0].mode == "L" else (255, 255, 255))
    for k, image in enumerate(shown):
        page.paste(image, (k % across * (width + SPACE), k // across * (height + SPACE)))
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def heat_map(values: np.ndarray, label: str) -> bytes:
    """Return the bytes of a PNG that shows values, (H, W), in colours, and beside them the scale of these.

    The scale, from 0 to the 99.5 % quantile of the values, has a label.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = values.shape
    scale = 7 / max(height, width)
    figure = Figure(figsize=(width * scale + 1.4, height * scale + 0.2), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    top = max(float(np.quantile(values, 0.995)), 1e-6)
    drawn = axes.imshow(values, cmap="cividis", vmin=0, vmax=top, interpolation="nearest")
    axes.set_axis_off()
    figure.colorbar(drawn, ax=axes, label=label, extend="max", fraction=0.05, pad=0.02)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
