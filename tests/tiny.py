"""A small world for tests of the command line and the files: pictures by formula, and models fitted in a moment."""

import importlib.util
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SETTINGS = {"patch_size": 4, "hidden": 8, "max_steps": 3, "batch": 16}
FLAGS = ("--patch-size", "4", "--hidden", "8", "--max-steps", "3", "-b", "16")


def gray(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """Waves and a little noise, uint8, with shape (height, width)."""
    generator = np.random.default_rng(seed)
    waves = np.sin(np.add.outer(np.arange(height) / 3, np.arange(width) / (2 + seed)))
    return (128 + 60 * waves + 20 * generator.standard_normal((height, width))).clip(0, 255).astype(np.uint8)


def colour(height: int = 24, width: int = 32) -> np.ndarray:
    """Three different gray pictures as channels, with shape (height, width, 3)."""
    return np.dstack([gray(height, width, seed) for seed in range(3)])


def encoded(samples: np.ndarray, format: str = "PNG") -> bytes:
    """The bytes of an image file."""
    buffer = BytesIO()
    Image.fromarray(samples).save(buffer, format)
    return buffer.getvalue()


def photos(folder: Path, count: int = 3) -> Path:
    """A folder of gray pictures."""
    folder.mkdir()
    for seed in range(count):
        (folder / f"{seed}.png").write_bytes(encoded(gray(seed=seed)))
    return folder


def without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what reads camera raw, FITS, OME-Zarr and HEIC be missing."""
    from smdae.files import fits, ome_zarr, raw

    find = importlib.util.find_spec
    for module in (raw, fits, ome_zarr):
        monkeypatch.setattr(module, "is_installed", lambda: False)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *of: None if name == "pillow_heif" else find(name, *of)
    )


@cache
def model_bytes(channels: int = 1) -> bytes:
    """The file of a model fitted to gray or colour pictures."""
    from smdae.files.model_file import encode
    from smdae.fitting import fit

    images = [gray(seed=seed) if channels == 1 else colour() for seed in range(2)]
    model = fit(images, **SETTINGS)
    size = SETTINGS["patch_size"]
    card = {
        "model": "energy",
        "settings": {"channels": channels, "size": size, **model.patch.settings()},
        "objective": "dsm",
        "sigma": 25.0,
        "channels": channels,
        "patch_size": size,
    }
    return encode(model, card)


def with_header(data: bytes, change: Callable[[dict], object]) -> bytes:
    """A safetensors file whose header was changed, without a checksum, as files from before there was any are."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"].pop("checksum", None)
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def rewritten(data: bytes, **changes: object) -> bytes:
    """A model file with other metadata: `format`, `version`, `card` (text), or entries of the card."""
    return with_header(data, lambda header: _rewrite(header["__metadata__"], changes))


def _rewrite(metadata: dict, changes: dict[str, object]) -> None:
    card = json.loads(metadata["card"])
    for name, value in changes.items():
        if name in ("format", "version"):
            metadata[name] = value
        else:
            card[name] = value
    metadata["card"] = changes["card"] if "card" in changes else json.dumps(card)


def everything_below(folder: Path) -> dict[str, bytes | None]:
    """Every name below a folder, with the bytes of files; names as the system holds them."""
    found: dict[str, bytes | None] = {}
    for path, folders, names in os.walk(folder):
        for name in (*folders, *names):
            file = Path(path) / name
            found[str(file.relative_to(folder))] = file.read_bytes() if file.is_file() else None
    return found


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Within, no file can grow beyond `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def complaint(stderr: str) -> str:
    """The one line that says why a command stopped, with its hint; there must be nothing else."""
    lines = stderr.splitlines()
    assert lines, "nothing was said"
    assert lines[0].startswith("smdae: error: "), stderr
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: ")), stderr
    assert "\x1b" not in stderr
    return "\n".join(lines)


def unjudged(stderr: str) -> str:
    """What was said but for how good the results are, as estimated."""
    lines = stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not re.search(r"PSNR .* dB.*, estimated$|PSNR.* not estimated( |$)", line))


# Streams are buffered as they are for most users, whatever the tests run under.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
ENVIRONMENT |= {"PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
ENVIRONMENT |= {"SMDAE_DEVICE": "cpu"}  # what auto takes is told, and depends on the machine


def python(*arguments: str, **options: object) -> subprocess.CompletedProcess:
    """Runs Python with this smdae, wherever it is called from; its output as text unless told otherwise."""
    kept = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 120, "env": ENVIRONMENT}
    return subprocess.run([sys.executable, *arguments], **(kept | options))
