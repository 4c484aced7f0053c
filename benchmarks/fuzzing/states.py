"""Damaged and crafted states of a fit: gone on from, or refused in one line."""

import json
from functools import cache
from random import Random

import numpy as np
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from benchmarks.fuzzing.damage import damaged, json_damaged, refused
from benchmarks.fuzzing.models import rewritten
from smdae.errors import DivergedError, ModelError
from smdae.files import tensor_file
from smdae.fitting import Prepared, prepare
from smdae.fitting.settings import check

KINDS = {
    "energy": {"patch_size": 4, "hidden": 8, "max_steps": 4, "batch": 16},
    "unet": {"model": "unet", "patch_size": 8, "max_steps": 4, "batch": 2},
}


def _fit(kind: str) -> Prepared:
    waves = np.sin(np.add.outer(np.arange(24) / 3, np.arange(32) / 2))
    images = [(128 + 100 * waves).astype(np.uint8)[:, first:] for first in range(3)]
    return prepare(images, 255.0, check(dict(KINDS[kind])))


@cache
def seeds() -> dict[str, tuple[str, bytes]]:
    """Return a whole state of every kind, after its name, by that."""
    found = {}
    for kind in KINDS:
        fit = _fit(kind)
        for report in fit.run():
            if report.step == 2:
                break
        fit.state.record["seconds"] = 1.0  # whatever a clock says
        found[kind] = kind, fit.state.to_bytes()
    return found


def _reshaped(data: bytes, chance: Random) -> bytes:
    """Return a state with other tensors, and the checksum that belongs to them."""
    tensors = load_tensors(data)
    for _ in range(chance.choice([1, 1, 3])):
        name = chance.choice(sorted(tensors))
        tensor = tensors[name]
        other = tensors[chance.choice(sorted(tensors))]
        tensors[name] = chance.choice(
            [tensor[None], tensor.flatten()[:3], tensor.double(), tensor * 0 + 1, other, tensor.flatten()]
        ).clone()
        if chance.random() < 0.3:
            tensors[chance.choice([f"{name}x", "optimiser.999.exp_avg", "optimiser.x"])] = tensors.pop(name)
    return tensor_file.with_checksum(save_tensors(tensors, tensor_file.header(data).metadata))


def _recorded(data: bytes, chance: Random) -> bytes:
    """Return a state with another record."""
    metadata = tensor_file.header(data).metadata
    state = json.loads(metadata["state"])
    state["record"] = json.loads(json_damaged(json.dumps(state["record"]), chance))
    return tensor_file.with_checksum(save_tensors(load_tensors(data), metadata | {"state": json.dumps(state)}))


def example(number: int) -> tuple[str, tuple[str, bytes]]:
    """Return crafted state number so and so, with its kind, after the name of that."""
    chance, names = Random(number), [*seeds()]
    kind = names[number % len(names)]
    data = seeds()[kind][1]
    crafts = {
        "bytes": damaged,
        "tensors": _reshaped,
        "record": _recorded,
        "header": lambda file, chance: rewritten(file, chance, "state"),
    }
    return kind, (kind, crafts[chance.choice([*crafts])](data, chance))


def outcome(crafted: tuple[str, bytes]) -> str:
    """Return what going on from the state comes to, in a word; raise an AssertionError if a promise is broken."""
    kind, data = crafted
    fit = _fit(kind)
    try:
        fit.state.restore(data, "a")
    except ModelError as error:
        return refused(error, "'a'")
    try:
        next(iter(fit.run()), None)
    except DivergedError:
        return "diverged"
    return "read"
