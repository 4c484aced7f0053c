"""The settings by which pictures are denoised and written, which the options of `denoise` give."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smdae.errors import InputError, UsageError
from smdae.files.tiff_axes import Selection
from smdae.pipeline.extras import Extras
from smdae.pipeline.messages import SILENT, Messages, Put, to_stdout

if TYPE_CHECKING:
    from smdae.estimation.estimate import Kind
    from smdae.estimation.scale import Scale
    from smdae.files.picture import Picture
    from smdae.noise import Noise
    from smdae.pipeline.report import Report


@dataclass(frozen=True)
class Options:
    """The settings by which pictures are denoised and written.

    Attributes:
        model: The file or name of the model; None for $SMDAE_MODEL or the bundled one that fits.
        levels: The noise levels on the 0 to 255 scale, one for all channels or one for each; None to take those of
            `noise` or of the model, or to estimate them.
        white: The value of white in the pictures' unit, None for that of the sample type.
        black: The value of black in that unit, None for 0.
        scale: The values of black and white for all pages of a stack; None to find them for each picture.
        noise: The kind of noise, white, shot or grain, or `auto` to find it; or a `Noise` in the pictures' unit, which
            is scaled to `levels` if these are given.
        luma: The share of the noise in brightness to remove, 0 to 1, times `strength`.
        chroma: The share of the noise in colours to remove, 0 to 1, times `strength`.
        mask: The file of a picture that is white where changes are let through; None for everywhere.
        profile: The file that the estimated noise is written to; None for none.
        strength: The share of the noise to remove, 0 to 1.
        task_options: The sampler, steps, step_size, seed, stride, ensemble and precision, by these names.
        tile: The side of the tiles in pixels, None for as large as memory allows.
        depth: The dtype of the result's samples: uint8, uint16 or float32; None for that of the input.
        ending: The ending of the results, with its dot; None for that of the input.
        overwrite: Whether results may replace existing files.
        overwrite_beside: Whether the files written beside results may replace existing ones.
        new_folder: A folder that is created for the results; None if they go to none.
        reference: The file of the clean picture to measure the result by; None for none.
        blend: How far to go from the posterior mean to a sample of the posterior, 0 to 1.
        many: Whether there are many pictures, so that messages must name each.
        local: The number of this process on this machine, from 0; None if it is the only one.
        quality: The quality of JPEG and WebP results, 1 to 100; None for the usual one.
        strip: Whether the words, dates and places in the metadata are left out of results.
        linear: Whether camera raw files are developed to linear light.
        mend: Whether outliers are repaired, and offsets of rows and columns subtracted.
        imports: The modules of the user's own that a model file may name, as module:name.
        stdout: A function of bytes, which writes those of results that go to stdout.
    """

    model: str | None = None
    device: str = "auto"
    levels: tuple[float, ...] | None = None
    white: float | None = None
    black: float | None = None
    scale: "Scale | None" = None
    noise: "Kind | Noise" = "auto"
    luma: float = 1.0
    chroma: float = 1.0
    mask: Path | None = None
    profile: Path | None = None
    strength: float = 1.0
    task_options: dict[str, Any] = field(default_factory=dict)
    tile: int | None = None
    depth: str | None = None
    ending: str | None = None
    overwrite: bool = False
    overwrite_beside: bool = False
    new_folder: Path | None = None
    adapt: bool = False
    reference: Path | None = None
    blend: float = 0.0
    extras: Extras = field(default_factory=Extras)
    checks: bool = False
    many: bool = False
    local: int | None = None
    fast: bool = False
    quality: int | None = None
    strip: bool = False
    linear: bool = False
    imports: tuple[str, ...] = ()
    mend: bool = True
    report: "Report | None" = None
    selection: Selection = field(default_factory=Selection)
    messages: Messages = SILENT
    stdout: Put = to_stdout

    @property
    def takes_nothing_out(self) -> bool:
        """Return whether pictures stay as they are: `strength` is 0, or both `luma` and `chroma` are 0."""
        return not self.strength or not (self.luma or self.chroma)

    def white_of(self, picture: "Picture") -> float:
        """Return the value of white in a picture: the one the user gave, else that of its sample type."""
        return self.white or picture.white

    def will_make(self, folder: Path) -> bool:
        """Return whether a folder for results does not exist yet, and will be made."""
        return self.new_folder is not None and not os.path.exists(folder)


def refuse_single(options: Options, file: str, more: Mapping[str, object] | None = None) -> None:
    """Raise InputError for an option that goes with a single picture alone, as `file`, in words, holds several."""
    asked = {"--reference": options.reference, options.extras.option: options.extras.some, **(more or {})}
    for name, is_asked in asked.items():
        if is_asked:
            raise InputError(file, f"{name} goes with a single picture")


def refuse_options(options: Options, asked: Mapping[str, object], files: str, hint: str = "leave it out") -> None:
    """Raise UsageError for the first option that was asked for, by name, and does not go with files of this kind.

    A reference, a mask and the files beside the result go with single pictures alone.
    """
    single = {
        "--reference": options.reference,
        "--mask": options.mask,
        options.extras.option: options.extras.some,
    }
    for name, is_asked in (single | dict(asked)).items():
        if is_asked:
            raise UsageError(f"{name} does not go with {files}", hint)
