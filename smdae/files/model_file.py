"""A model file: one safetensors file that rebuilds the model by itself and says what it is.

Weights are tensors; the metadata hold `format`, `version` and `card`, a JSON object: the model's name in MODELS and the
numbers that build it, and what it was fitted on, with which objective, for which level and channels, how well. The
file is read whole and checked before anything is built from it. Nothing is ever unpickled.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

from smdae.errors import ModelError

__all__ = ["BUNDLED", "encode", "header", "load", "read"]

FORMAT, VERSION = "smdae-model", "1"
BUNDLED = Path(__file__).parent.parent / "weights"
# The best of the bundled models for each kind of image; all go by their own names too.
BEST = {"natural-gray": "natural-gray-small", "natural-color": "natural-color-small"}
LARGEST_HEADER = 1 << 20  # bytes
MOST_WEIGHTS = 1 << 30
HINT = "smdae reads models written by 'smdae fit', and never loads a pickle"


def encode(model: Any, card: dict[str, Any], half: bool = False) -> bytes:
    """The file of a model.

    Args:
        model: An nn.Module.
        card: What the file says of it; `model` and `settings` must rebuild it through MODELS.
        half: Whether to write the weights in float16.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {name: tensor.half() for name, tensor in tensors.items()}
    return save(tensors, {"format": FORMAT, "version": VERSION, "card": json.dumps(card)})


def header(data: bytes) -> dict[str, str]:
    """The metadata of a safetensors file.

    Raises:
        ValueError: It is not one, or has none.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(LARGEST_HEADER, len(data) - 8):
        raise ValueError("not a safetensors file")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    if not isinstance(metadata, dict):
        raise ValueError("not metadata")
    return metadata


def find(path_or_name: str | Path) -> Path:
    """Where a model lies: a file, or the name of a bundled one.

    Raises:
        ModelError: There is neither.
    """
    path = Path(path_or_name)
    bundled = BUNDLED / f"{BEST.get(str(path_or_name), path_or_name)}.safetensors"
    if os.path.exists(path):
        return path
    if path.name != str(path_or_name) or not os.path.exists(bundled):
        raise ModelError(f"there is no model '{path_or_name}'", "fit one with 'smdae fit', or name another with -m")
    return bundled


def read(path_or_name: str | Path) -> tuple[dict[str, Any], bytes]:
    """The card of a model file, checked, and the file's bytes; loads no torch.

    Raises:
        ModelError: The file is missing, not a model file, damaged, or of another version.
    """
    path = find(path_or_name)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model '{path}': {(error.strerror or 'unreadable').lower()}") from None
    try:
        metadata = header(data)
    except (ValueError, KeyError, TypeError, RecursionError):
        known = data[:2] == b"PK" or data[:1] == b"\x80"
        what = "it is a pickle" if known else "it is not a safetensors file, or was cut off"
        raise ModelError(f"cannot load the model '{path}': {what}", HINT) from None
    if metadata.get("format") != FORMAT:
        raise ModelError(f"cannot load the model '{path}': it was not made by smdae", HINT)
    if metadata.get("version") != VERSION:
        raise ModelError(
            f"cannot load the model '{path}': it has format version {metadata.get('version')}, not {VERSION}",
            "use the smdae that wrote it, or fit again",
        )
    try:
        card = json.loads(metadata["card"])
        missing = {"model", "settings", "sigma", "channels", "patch_size"} - card.keys()
        if missing or not isinstance(card["model"], str):
            raise ValueError(missing)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"cannot load the model '{path}': its description is damaged", HINT) from None
    return card, data


def load(path_or_name: str | Path) -> Any:
    """The score model of a file, or a bundled one by its name, in eval mode.

    Raises:
        ModelError: The file is missing, not a model file, damaged, of another version, or its weights do not fit.
    """
    card, data = read(path_or_name)
    return build(card, data, str(path_or_name))


def build(card: dict[str, Any], data: bytes, name: str) -> Any:
    """The model that a checked card and the bytes of its file describe, in eval mode.

    Raises:
        ModelError: The weights are damaged or do not fit the description.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    from smdae.models import MODELS

    def bad(reason: str) -> ModelError:
        return ModelError(f"cannot load the model '{name}': {reason}", HINT)

    if card["model"] not in MODELS:
        raise bad(f"there is no model called '{card['model']}'")
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError) as error:
        raise bad("its weights are damaged or cut off") from error
    try:
        # On the meta device nothing is allocated: a description of absurd size is found out by its weights.
        with torch.device("meta"):
            model = MODELS[card["model"]].build(**card["settings"])
        shapes = {key: tuple(t.shape) for key, t in model.state_dict().items()}
    except (TypeError, ValueError, OverflowError, RuntimeError, ZeroDivisionError) as error:
        raise bad("its description makes no sense") from error
    if shapes != {key: tuple(t.shape) for key, t in tensors.items()}:
        raise bad("its weights do not fit its description")
    if sum(math.prod(shape) for shape in shapes.values()) > MOST_WEIGHTS:
        raise bad("it is too large")
    if not all(t.is_floating_point() and t.isfinite().all() for t in tensors.values()):
        raise bad("its weights are not all numbers")
    model.load_state_dict({key: t.to(torch.float32) for key, t in tensors.items()}, assign=True)
    model.card = card
    return model.requires_grad_(False).eval()
