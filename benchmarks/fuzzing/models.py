"""Damaged and crafted model files: read and used, or refused in one line.

A third of the files are damaged anywhere, a third in the values of their card, and a third in those of their header. Of
the latter two the checksum is made right again, or left out, as whoever crafts a file would do.
"""

import json
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.fuzzing.damage import damaged, json_damaged, refused
from smdae.errors import ModelError
from smdae.files import tensor_file
from smdae.files.model_file import encode, load
from smdae.models import EnergyModel, Experts, GradientUNet, Patchwise, UNet

SHAPE: dict[str, Any] = {"widths": (4, 6), "down": (1, 1), "up": (1, 0), "levels": (0.1, 0.2)}


@cache
def seeds() -> dict[str, bytes]:
    """Return a whole file of every kind of model, by name."""
    torch.manual_seed(0)
    models = {
        "energy": Patchwise(EnergyModel(16, 8, sigma=1.0, level=0.1, free_means=1), 1, 4),
        "experts": Experts(1, 5, 3, (0.1, 0.2)),
        "unet": UNet(1, **SHAPE, clips=True),
        "gradient-unet": GradientUNet(1, **SHAPE),
    }
    facts = {"objective": "dsm", "sigma": 25.0, "channels": 1, "patch_size": 4}
    return {
        name: encode(model, {"model": name, "settings": model.settings()} | facts) for name, model in models.items()
    }


def rewritten(data: bytes, chance: Random, entry: str) -> bytes:
    """Return a file with other values in its header, or in the JSON text of that name in its metadata."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"].pop("checksum")
    if chance.random() < 0.5:
        header["__metadata__"][entry] = json_damaged(header["__metadata__"][entry], chance)
    else:
        header = json.loads(json_damaged(json.dumps(header), chance))
    text = json.dumps(header).encode()
    made = len(text).to_bytes(8, "little") + text + data[8 + length :]
    try:
        return tensor_file.with_checksum(made) if chance.random() < 0.5 else made
    except ValueError:
        return made


def example(number: int) -> tuple[str, bytes]:
    """Return crafted file number so and so, after the name of what it was."""
    chance, names = Random(number), [*seeds()]
    name = names[number % len(names)]
    file = seeds()[name]
    return name, damaged(file, chance) if chance.random() < 1 / 3 else rewritten(file, chance, "card")


def outcome(file: bytes) -> str:
    """Return what loading the file comes to, in a word; raise an AssertionError if a promise is broken."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        path.write_bytes(file)
        try:
            model = load(path)
        except ModelError as error:
            return refused(error, f"'{path}'")
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    picture = torch.linspace(0, 1, 9 * 11 * model.channels).reshape(1, model.channels, 9, 11)
    with torch.inference_mode():
        score = model.score(picture, 0.15)
    assert score.shape == picture.shape
    return "read" if score.isfinite().all() else "overflows"
