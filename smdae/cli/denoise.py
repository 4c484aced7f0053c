"""`smdae denoise`: noisy pictures in, clean pictures of the same kind out."""

import math
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smdae.cli import console
from smdae.cli.options import Device, Json, Overwrite
from smdae.cli.places import STREAM, check_target, folder_of, plan
from smdae.errors import BatchError, InputError, ModelError, SmdaeError, UsageError

if TYPE_CHECKING:
    from smdae.files.picture import Picture

__all__ = ["command"]

APART = 0.2  # how far sigma may be from the model's level without a word


@dataclass(frozen=True)
class Manner:
    """How to denoise: levels on the 0 to 255 scale or None to find them, white of floats, the rest for `denoise`."""

    levels: tuple[float, ...] | None
    white: float | None
    rest: dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What to denoise: where from, where to, in which format, the picture, and the clean one if given."""

    source: Path
    target: Path
    kind: str
    picture: "Picture"
    clean: "Picture | None"


def command(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT", help="Noisy images; - is stdin.", show_default=False)
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="A file, a folder, or - for stdout. [default: NAME_denoised beside it]"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="A model file or name. [default: $SMDAE_MODEL, ./model.safetensors, natural-*]"
        ),
    ] = None,
    sigma: Annotated[
        str,
        typer.Option("--sigma", "-s", help="Level of the noise, white being 255, or R,G,B; auto finds it."),
    ] = "auto",
    stepper: Annotated[str, typer.Option("--stepper", help="How to move along the score.")] = "tweedie",
    stride: Annotated[
        int | None,
        typer.Option("--stride", help="Pixels between patches: more is faster, a little worse. [default: 1]"),
    ] = None,
    tile: Annotated[
        int | None, typer.Option("--tile", "-t", help="Side of a tile in pixels. [default: as memory allows]")
    ] = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Average over eight flips and turns: a little better, 8 x the time.")
    ] = False,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="The clean image: prints PSNR and SSIM.")
    ] = None,
    white: Annotated[
        float | None, typer.Option("--white", help="The value of white in float images. [default: 1]")
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    json_: Json = False,
) -> int:
    """Denoise images.

    smdae denoise noisy.png                      writes noisy_denoised.png

    cat noisy.png | smdae denoise - -o - > clean.png
    """
    from smdae.device import check_name, find
    from smdae.memory import keep_freed_memory

    levels = _levels(sigma)
    check_name(device)
    folder = folder_of(output)
    outputs = plan(inputs, output, folder)
    made = folder if folder and not folder.exists() else None
    if white is not None and not 0 < white < math.inf:
        raise UsageError(f"--white {white} is not a positive number")
    if stride is not None and stride < 1:
        raise UsageError(f"--stride {stride} is not a positive number")
    if tile is not None and tile < 64:
        raise UsageError(f"--tile {tile} is less than 64 pixels")
    if json_ and STREAM in outputs:
        raise UsageError("--json and an image cannot both go to stdout", "write the image to a file with -o")
    if reference is not None and len(inputs) > 1:
        raise UsageError("--reference goes with one input")
    if STREAM in outputs and sys.stdout.isatty():
        raise UsageError("an image is not written to a terminal", "redirect stdout, or write to a file with -o")
    if stepper != "tweedie":
        from smdae.denoising import STEPPERS

        if stepper not in STEPPERS:
            raise UsageError(f"unknown stepper '{stepper}'; there are {', '.join(STEPPERS)}")

    keep_freed_memory()
    manner = Manner(levels, white, {"stepper": stepper, "stride": stride, "tile": tile, "ensemble": ensemble})
    manner.rest["or_cpu"] = device == "auto"
    failures: list[SmdaeError] = []
    loaded: dict[str, Any] = {}
    clean = None
    try:
        for source, target in zip(inputs, outputs, strict=True):
            try:
                picture = _read(source)
                if reference is not None:
                    clean = _like(_read(reference), picture, reference)
                kind = check_target(target, picture, overwrite, made)
                where = find(device)
                chosen = _choose(model, picture)
                if chosen not in loaded:
                    loaded = {chosen: _load(chosen).to(where)}
                    if not model:
                        console.note(f"model '{chosen}'")
                if made:
                    made.mkdir(exist_ok=True)
                work = Work(source, target, kind, picture, clean)
                record = _one(work, loaded[chosen], manner, overwrite)
                if json_:
                    console.result({k: v if _is_number(v) else None for k, v in record.items()})
                elif clean is not None:
                    console.note(_figures(record))
            except SmdaeError as error:
                if len(inputs) == 1:
                    raise
                console.failure(error)
                failures.append(error)
                if json_:
                    console.result({"input": str(source), "error": error.message, "code": error.code})
    finally:
        if made:
            with suppress(OSError):
                made.rmdir()  # if no result came to be in it
    if failures:
        raise BatchError(f"{len(failures)} of {len(inputs)} inputs failed; the others are written")
    return 0


def _levels(text: str) -> tuple[float, ...] | None:
    """Sigma on the 0 to 255 scale, one for all channels or one for each; None to find it."""
    if text == "auto":
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(0 <= value < math.inf for value in values) or not any(values):
        raise UsageError(f"--sigma '{text}' is neither auto nor a positive number", "or one for each channel: 20,10,15")
    return values


def _read(source: Path) -> "Picture":
    from smdae.files.images import read

    if source != STREAM:
        return read(source, str(source))
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("nothing is piped into stdin", "pipe an image in, or name a file")
    return read(sys.stdin.buffer.read(), "stdin")


def _like(reference: "Picture", picture: "Picture", path: Path) -> "Picture":
    if reference.pixels.shape != picture.pixels.shape:
        raise InputError(
            f"--reference '{path}' is {_size(reference)}, the input is {_size(picture)}",
            "they must show the same picture",
        )
    return reference


def _size(picture: "Picture") -> str:
    height, width = picture.pixels.shape[:2]
    return f"{width} x {height} in {'colour' if picture.pixels.ndim == 3 else 'gray'}"


def _choose(model: str | None, picture: "Picture") -> str:
    """The model's file or name: -m, else $SMDAE_MODEL, else ./model.safetensors, else the bundled one that fits."""
    if model or os.environ.get("SMDAE_MODEL"):
        return model or os.environ["SMDAE_MODEL"]
    if Path("model.safetensors").exists():
        return "model.safetensors"
    return "natural-color" if picture.pixels.ndim == 3 else "natural-gray"


def _load(name: str) -> Any:
    """The model, if it can denoise."""
    from smdae.files.model_file import load

    loaded = load(name)
    if loaded.card.get("score_of") == "the clean density":
        raise ModelError(
            f"the model '{name}' is a score of the clean density: it knows no noise to remove",
            "fit with --objective dsm, dae, esm-parzen or ism-parzen",
        )
    return loaded


def _one(work: Work, model: Any, manner: Manner, overwrite: bool) -> dict[str, Any]:
    """Denoise one picture and write it; what --json says of it."""
    from smdae.denoising.denoise import denoise, levels_for
    from smdae.denoising.quality import likeness
    from smdae.files.images import encode
    from smdae.files.writing import write

    begun = time.perf_counter()
    picture, clean = work.picture, work.clean
    floats = picture.pixels.dtype.kind == "f"
    white = manner.white or 1.0 if floats else picture.white
    levels = manner.levels or tuple(255 * level for level in levels_for(model, picture.pixels, white))
    if manner.levels is None and model.level is None:
        shown = ", ".join(f"{level:.3g}" for level in levels)
        console.note(f"sigma {shown}, estimated" if any(levels) else "no noise found: left as it is")
    for level in filter(None, levels):
        _warn_of_level(model, level)
    device = next(model.parameters()).device
    with console.progress() as bar:
        tiles = bar.add_task("denoising", total=None)
        pixels = denoise(
            picture.pixels,
            model,
            [level * white / 255 if floats else level for level in levels],
            white=white,
            device=device,
            watch=lambda done, of: bar.update(tiles, completed=done, total=of),
            **manner.rest,
        )
    data = encode(replace(picture, pixels=pixels), work.kind)
    if work.target == STREAM:
        console.stream(data)
    else:
        write(work.target, data, overwrite=overwrite)
    card = getattr(model, "card", {})
    record = {
        "input": str(work.source),
        "output": str(work.target),
        "sigma": levels[0] if len(levels) == 1 else list(levels),
        "model": {name: card.get(name) for name in ("model", "objective", "sigma")},
        "device": str(device),
        "seconds": round(time.perf_counter() - begun, 3),
    }
    if clean is not None:
        truth = clean.pixels, clean.white if clean.pixels.dtype.kind == "u" else manner.white or 1.0
        for name, array in (("", pixels), ("_noisy", picture.pixels)):
            for measure, value in zip(("psnr", "ssim"), likeness((array, white), truth), strict=True):
                record[measure + name] = value
    return record


def _warn_of_level(model: Any, sigma: float) -> None:
    """Say so if the model was fitted for other noise."""
    if model.level is not None:
        own = 255 * model.level
        if abs(sigma / own - 1) > APART:
            console.warn(f"sigma {sigma:g} is more than 20 % from {own:g}, the level that the model was fitted at")
        return
    low, high = (255 * level for level in model.levels)
    if sigma and not low <= round(sigma, 6) <= high:
        console.warn(f"sigma {sigma:.3g} is outside {low:g} to {high:g}, the levels that the model was fitted at")


def _figures(record: dict[str, Any]) -> str:
    """PSNR and SSIM in words."""
    return (
        f"PSNR {record['psnr']:.2f} dB (noisy {record['psnr_noisy']:.2f}), "
        f"SSIM {record['ssim']:.4f} (noisy {record['ssim_noisy']:.4f})"
    )


def _is_number(value: Any) -> bool:
    """False for the infinities and nan, which JSON does not know."""
    return not isinstance(value, float) or math.isfinite(value)
