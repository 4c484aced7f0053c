"""The work on one picture: read it, refuse what cannot be, find model and level, denoise, write."""

import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from smdae.cli import console
from smdae.cli.places import STREAM, Job, check_target
from smdae.errors import InputError, ModelError

if TYPE_CHECKING:
    from smdae.files.picture import Picture

__all__ = ["Manner", "figures", "forget", "is_number", "worker"]

APART = 0.2  # how far sigma may be from the model's level without a word


@dataclass(frozen=True)
class Manner:
    """How to denoise and write.

    Attributes:
        model: A file or name, None for what there is.
        device: A name for `device.find`.
        levels: On the 0 to 255 scale, one for all channels or one for each; None to find them.
        white: The value of white in floats, None for 1.
        strength: How much of the way to the estimate, 0 to 1.
        rest: What `denoise` takes as it is: stepper, stride, tile, ensemble.
        depth: Of the result's samples, a dtype; None for the input's.
        ending: That was asked for, None for the input's.
        overwrite: Whether files may be replaced.
        made: A folder to be made for the results.
        reference: The clean picture, to measure by.
    """

    model: str | None = None
    device: str = "auto"
    levels: tuple[float, ...] | None = None
    white: float | None = None
    strength: float = 1.0
    rest: dict[str, Any] = field(default_factory=dict)
    depth: str | None = None
    ending: str | None = None
    overwrite: bool = False
    made: Path | None = None
    reference: Path | None = None


def worker(manner: Manner, watch: Callable[[int, int], object] | None = None) -> Callable[[Job], dict[str, Any]]:
    """A function that does one job and returns what --json says of it; it may be called from many threads."""
    loaded: dict[str, Any] = {}
    lock = Lock()

    def model_for(picture: "Picture") -> Any:
        from smdae.device import find

        where = find(manner.device)
        name = _choose(manner.model, picture)
        with lock:
            if name not in loaded:
                loaded[name] = _load(name).to(where)
                if not manner.model:
                    console.note(f"model '{name}'")
            return loaded[name]

    def work(job: Job) -> dict[str, Any]:
        from smdae.files.picture import with_depth

        data = sys.stdin.buffer.read() if job.source == STREAM else None
        picture = _read(job.source, data)
        clean = _like(_read(manner.reference), picture, manner.reference) if manner.reference is not None else None
        result = with_depth(picture, manner.depth, manner.white or 1.0, pixels=False)
        kind = check_target(job, result, manner.ending, manner.overwrite, manner.made)
        return _one(job, kind, picture, clean, model_for(picture), manner, watch, data)

    return work


def _read(source: Path, data: bytes | None = None) -> "Picture":
    from smdae.files.images import read

    return read(source, str(source)) if data is None else read(data, "stdin")


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


def _one(
    job: Job,
    kind: str,
    picture: "Picture",
    clean: "Picture | None",
    model: Any,
    manner: Manner,
    watch: Callable[[int, int], object] | None,
    data: bytes | None,
) -> dict[str, Any]:
    """Denoise one picture and write it; what --json says of it."""
    from smdae.denoising.denoise import denoise, levels_for
    from smdae.denoising.quality import likeness
    from smdae.files.images import encode
    from smdae.files.picture import deeper, with_depth
    from smdae.files.writing import write

    begun = time.perf_counter()
    noisy = with_depth(picture, manner.depth, manner.white or 1.0) if deeper(picture, manner.depth) else picture
    floats = noisy.pixels.dtype.kind == "f"
    white = (manner.white or 1.0 if picture.pixels.dtype.kind == "f" else 1.0) if floats else noisy.white
    found = manner.levels is None and model.level is None and manner.strength > 0
    levels = manner.levels or tuple(
        255 * level for level in (levels_for(model, noisy.pixels, white) if manner.strength else (0.0,))
    )
    if found:
        shown = ", ".join(f"{level:.3g}" for level in levels)
        console.note(f"sigma {shown}, estimated" if any(levels) else "no noise found: left as it is")
    for level in filter(None, levels):
        _warn_of_level(model, level)
    device = next(model.parameters()).device
    pixels = denoise(
        noisy.pixels,
        model,
        [level * white / 255 if floats else level for level in levels],
        strength=manner.strength,
        white=white,
        device=device,
        or_cpu=manner.device == "auto",
        watch=watch,
        **manner.rest,
    )
    if not any(levels) or manner.strength == 0:
        pixels = noisy.pixels
    result = with_depth(replace(noisy, pixels=pixels), manner.depth, manner.white or 1.0)
    if result.pixels is picture.pixels and kind == picture.format:
        encoded = data if data is not None else job.source.read_bytes()  # not a bit of it changes
    else:
        encoded = encode(result, kind)
    if job.target == STREAM:
        console.stream(encoded)
    else:
        new = next((place for place in reversed(job.target.parents) if not place.exists()), None)
        if new:
            job.target.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(job.target, encoded, overwrite=manner.overwrite)
        except BaseException:
            if new:
                forget(new)
            raise
    card = getattr(model, "card", {})
    record = {
        "input": str(job.source),
        "output": str(job.target),
        "sigma": levels[0] if len(levels) == 1 else list(levels),
        "model": {name: card.get(name) for name in ("model", "objective", "sigma")},
        "device": str(device),
        "seconds": round(time.perf_counter() - begun, 3),
    }
    if clean is not None:
        truth = clean.pixels, clean.white if clean.pixels.dtype.kind == "u" else manner.white or 1.0
        for name, array in (("", pixels), ("_noisy", noisy.pixels)):
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
    if not low <= round(sigma, 6) <= high:
        console.warn(f"sigma {sigma:.3g} is outside {low:g} to {high:g}, the levels that the model was fitted at")


def figures(record: dict[str, Any]) -> str:
    """PSNR and SSIM in words."""
    return (
        f"PSNR {record['psnr']:.2f} dB (noisy {record['psnr_noisy']:.2f}), "
        f"SSIM {record['ssim']:.4f} (noisy {record['ssim_noisy']:.4f})"
    )


def is_number(value: Any) -> bool:
    """False for the infinities and nan, which JSON does not know."""
    return not isinstance(value, float) or math.isfinite(value)


def forget(folder: Path) -> None:
    """Take away a folder that was made, and those in it, if no result came to be there."""
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            os.rmdir(place)
