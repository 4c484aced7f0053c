"""The distance of pictures from a clean one, one after the other.

PSNR and SSIM are those of `denoising.metrics`: clipped to black and white, over all channels, 11 x 11 Gaussian window.
"""

from collections.abc import Iterator
from pathlib import Path

from smdae.errors import InputError, SmdaeError
from smdae.files.corpus import refuse_other_white
from smdae.files.picture import Picture
from smdae.pipeline.reading import like, measurable


def measured(
    files: list[Path], reference: Path, white: float | None
) -> Iterator[tuple[Path, tuple[float, float] | SmdaeError]]:
    """Yield each file with its PSNR in dB and SSIM, or with the error that kept it from being measured.

    Raises:
        InputError: The reference cannot be read, or floats hold NaN or infinity.
        UsageError: Floats have values far beyond 1, and white is not given.
        MemoryLimitError: The reference takes more memory than there is.
    """
    from smdae.denoising.metrics import psnr_and_ssim

    clean = measurable(reference)
    for file in files:
        try:
            picture = measurable(file)
            like(clean, picture, reference, name=f"'{file}'")
        except SmdaeError as error:
            yield file, error
            continue
        yield (
            file,
            psnr_and_ssim(
                (picture.pixels, _white(picture, white, file)), (clean.pixels, _white(clean, white, reference))
            ),
        )


def _white(picture: Picture, white: float | None, file: Path) -> float:
    """Return the value of white in a picture: for floats `white`, if it is given.

    Raises:
        InputError: The picture has NaN or infinity.
        UsageError: The picture has floats far beyond 1, and `white` is not given.
    """
    if picture.pixels.dtype.kind != "f" or picture.stored:
        return picture.white
    if not picture.is_finite:
        raise InputError("a picture with NaN or infinity cannot be measured", "leave it out")
    if white is None:
        refuse_other_white(picture.pixels, str(file))
    return white or 1.0
