"""A denoised image in a notebook: the picture, and a table of its model, noise and quality."""

import base64
import io
from html import escape

import numpy as np

from smdae.denoising.judgement import Judgement
from smdae.noise import Noise

MAX_SIDE = 512  # pixels of the picture; larger ones are thinned out


def as_html(pixels: np.ndarray, model: str, noise: Noise, quality: Judgement, uncertainty: np.ndarray | None) -> str:
    """Return a picture, if the array is one, above a table, as HTML.

    Args:
        pixels: The result, with axes in any order; only (H, W) and (H, W, 1 to 4) are drawn.
        model: The name of the model.
        noise: The noise taken out, in the unit of the pixels.
        quality: The estimated quality.
        uncertainty: The standard deviation of each pixel, in their unit; None if it was not asked for.
    """
    facts = {
        "model": model,
        "noise taken out": "none" if noise.is_none else noise.describe(unit=1.0),
        "estimated PSNR": quality.text if quality.is_trusted else f"not shown: {'; '.join(quality.doubts)}",
    }
    if uncertainty is not None and np.isfinite(uncertainty).any():
        facts["uncertainty, mean"] = f"{np.nanmean(uncertainty):.3g}"
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f"{_picture(pixels, noise)}<table>{rows}</table>"


def _picture(pixels: np.ndarray, noise: Noise) -> str:
    """Return an image element, from the zero to the white of the noise; empty for other arrays than pictures."""
    from PIL import Image

    planes = pixels[:, :, 0] if pixels.shape[2:] in ((1,), (2,)) else pixels
    if planes.ndim != 2 and planes.shape[2:] not in ((3,), (4,)):
        return ""
    every = -(-max(planes.shape[:2]) // MAX_SIDE)
    few = planes[::every, ::every].astype(np.float64)
    unit = np.nan_to_num((few - noise.zero) / (noise.white - noise.zero)).clip(0, 1)
    file = io.BytesIO()
    Image.fromarray(np.rint(255 * unit).astype(np.uint8)).save(file, "PNG")
    return f"<img alt='the denoised image' src='data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}'>"
