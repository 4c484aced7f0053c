"""`smdae compare --reference CLEAN IMAGE...`: how close pictures are to a clean one, and a gate for pipelines.

PSNR and SSIM are those of `denoising.quality`: clipped to black and white, over all channels, 11 x 11 Gaussian window.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from smdae.cli import console
from smdae.cli.places import STREAM, sources
from smdae.errors import BatchError, GateError, InputError, SmdaeError, UsageError

if TYPE_CHECKING:
    from smdae.files.picture import Picture

__all__ = ["measure"]


def measure(inputs: list[Path], reference: Path, least: float | None, white: float | None, as_json: bool) -> int:
    """Print PSNR and SSIM of pictures, a line each on stdout.

    Args:
        inputs: Files, folders, patterns.
        reference: The clean picture that all show.
        least: PSNR in dB that each must have; None for none.
        white: The value of white in floats; None for 1.
        as_json: Whether lines are JSON objects.

    Raises:
        UsageError: There is nothing to measure.
        InputError: The reference, or the only picture, cannot be read or is of another size.
        BatchError: Some of many cannot.
        GateError: One has a lower PSNR.
    """
    from smdae.cli.reading import like, read_picture
    from smdae.denoising.quality import likeness

    if STREAM in inputs or reference == STREAM:
        raise UsageError("compare reads files, not stdin", "name a file")
    if least is not None and not math.isfinite(least):
        raise UsageError(f"--min-psnr {least} is not a number of decibels")
    files = sources(inputs)
    clean = read_picture(reference)
    failures: list[str] = []
    below: list[str] = []
    with console.guarded():
        for file in files:
            try:
                picture = read_picture(file)
                like(clean, picture, reference, name=f"'{file}'")
            except SmdaeError as error:
                if len(files) == 1:
                    raise
                failures.append(error.message)
                console.failure(error)
                if as_json:
                    console.result({"input": str(file), "error": error.message, "code": error.code})
                continue
            psnr, ssim = likeness((picture.pixels, _white(picture, white)), (clean.pixels, _white(clean, white)))
            if least is not None and psnr < least:
                below.append(f"'{file}' has {psnr:.2f} dB")
            if as_json:
                numbers = {"psnr": psnr if math.isfinite(psnr) else None, "ssim": None if math.isnan(ssim) else ssim}
                console.result({"input": str(file), **numbers, "identical": psnr == math.inf})
            else:
                console.text(f"PSNR {psnr:6.2f} dB   SSIM {ssim:.4f}   {file}")
    if failures:
        raise BatchError(f"{len(failures)} of {len(files)} pictures could not be measured:", None, failures)
    if below:
        raise GateError(f"{len(below)} of {len(files)} below --min-psnr {least:g}:", None, below)
    return 0


def _white(picture: "Picture", white: float | None) -> float:
    if picture.pixels.dtype.kind != "f":
        return picture.white
    if not picture.is_finite:
        raise InputError("a picture with NaN or infinity cannot be measured")
    return white or 1.0
