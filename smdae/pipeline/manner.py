"""How pictures are denoised and written: what the options of `denoise` come to."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smdae.files.tiff_axes import Selection
from smdae.pipeline.extras import Extras
from smdae.pipeline.messages import SILENT, Messages, Put, to_stdout

if TYPE_CHECKING:
    from smdae.estimation.estimate import Kind
    from smdae.estimation.scale import Scale
    from smdae.noise import Noise
    from smdae.pipeline.report import Report

__all__ = ["Manner"]


@dataclass(frozen=True)
class Manner:
    """How to denoise and write.

    Attributes:
        model: A file or name, None for what there is.
        device: A name for `device.find`.
        levels: On the 0 to 255 scale, one for all channels or one for each; None to find them.
        white: The value of white, None for that of the samples' type.
        black: The value of black, None for 0.
        scale: What values mean, as of all pages of a stack; None to find out.
        noise: What kind it is, `auto` to find out, or the noise itself in the pictures' unit.
        luma: How much of the way to the estimate for brightness, 0 to 1.
        chroma: How much for colours, 0 to 1.
        mask: A picture of where to change anything, None for everywhere.
        profile: Where the noise that was found goes, None for nowhere.
        strength: How much of the way to the estimate, 0 to 1.
        how: What `denoise` takes as it is: sampler, stride, ensemble, precision.
        tile: Side of the tiles in pixels, None for what memory allows.
        depth: Of the result's samples, a dtype; None for the input's.
        ending: That was asked for, None for the input's.
        overwrite: Whether files may be replaced by results.
        beside: Whether files may be replaced by what is written beside them.
        made: A folder to be made for the results.
        adapt: Whether the model is adapted to each picture.
        reference: The clean picture, to measure by.
        blend: How much of the way from the mean to a sample of the posterior, 0 to 1.
        extras: What is written beside the result.
        checks: Whether the model's self-checks are wanted.
        many: Whether it is one of many, so that what is said of it must name it.
        local: The number of this process on this machine, None if it is the only one.
        fast: Whether to take the small bundled network.
        quality: Of JPEG and WebP results, 1 to 100; None for as good as is usual.
        strip: Whether results are without the words, dates and places of their inputs.
        linear: Whether camera raw files are developed to linear light.
        mend: Whether outliers are repaired and rows and columns levelled.
        imports: Modules of the user's own that a model file may name, as module:name.
        report: Where what is to be shown of pictures is collected; None for nowhere.
        selection: What of TIFF stacks is denoised, and what their axes are.
        messages: Who hears what is said of pictures.
        stdout: Takes the bytes of results that have no file.
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
    how: dict[str, Any] = field(default_factory=dict)
    tile: int | None = None
    depth: str | None = None
    ending: str | None = None
    overwrite: bool = False
    beside: bool = False
    made: Path | None = None
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
