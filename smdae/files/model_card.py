"""The card of a model: what its file says of it, checked before anything is built or more than the header is read.

A file comes from anywhere, and a card of a few bytes may ask for a thousand million layers, or for a picture to be
padded to a million pixels a side. So every number that builds a model has limits, far beyond what fits make. What a
card has besides is for the model to refuse. Loads no torch.
"""

import json
import math
from typing import Any

from smdae.files.tensor_file import Header
from smdae.named import is_named

FORMAT = "smdae-model"
VERSIONS = ("1", "2")  # since 2 a network may take the noise model
NEEDED = {"model", "settings", "sigma", "channels", "patch_size"}
MAX_WEIGHTS = 1 << 30
MAX_CHANNELS = 4
MAX_SIDE = 1024  # pixels of a patch that a model was fitted on
MAX_SCALES = 8  # of a network: pictures are padded to a multiple of 2 to that power
MAX_BLOCKS = 64  # of a network, on all scales together
MAX_WIDTH = 1 << 12  # channels of a scale
LEVELS = (1e-6, 1e6)  # of noise, white being 1: squares of them stay in the range of float32

# The least and the most of each whole number; of what a family is not listed for, that of all families.
LIMITS = {
    "channels": (1, MAX_CHANNELS),
    "size": (1, 256),
    "dim": (1, MAX_WEIGHTS),
    "hidden": (1, MAX_WEIGHTS),
    "filters": (1, 1 << 16),
    "free_means": (0, MAX_WEIGHTS),
}
OF_EXPERTS = {"size": (2, 64)}
OF_ROWS = {"channels": (1, 65_536)}  # of models of rows of numbers: patches of side 1, as many channels as numbers


def version_of(card: dict[str, Any]) -> str:
    """Return the version of the format that a model needs."""
    return VERSIONS[1] if card["settings"].get("takes_noise") else VERSIONS[0]


def card_of(header: Header) -> dict[str, Any]:
    """Return the card that the metadata of a model file hold.

    Raises:
        ValueError: The file is of another kind or version, or its card is damaged or does not describe a model.
    """
    metadata = header.metadata
    if metadata.get("format") != FORMAT:
        raise ValueError("it was not made by smdae")
    if metadata.get("version") not in VERSIONS:
        version = repr(str(metadata.get("version"))[:20])[1:-1]  # escaped
        raise ValueError(f"it has format version {version}, not {' or '.join(VERSIONS)}")
    try:
        card = json.loads(metadata["card"])
        if NEEDED - card.keys() or not isinstance(card["model"], str) or not isinstance(card["settings"], dict):
            raise ValueError(card)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("its description is damaged") from None
    if wrong := _wrong(card):
        raise ValueError(f"its description makes no sense: {wrong} is out of range")
    if sum(math.prod(tensor.shape) for tensor in header.tensors.values()) > MAX_WEIGHTS:
        raise ValueError(f"it has more than {MAX_WEIGHTS:,} weights")
    found: dict[str, Any] = card
    return found


def _wrong(card: dict[str, Any]) -> str | None:
    """Return the name of the first invalid entry of a card; None if all are valid."""
    settings = card["settings"]
    limits = LIMITS | (OF_EXPERTS if card["model"] == "experts" else {})
    if (card["model"] == "energy" or is_named(card["model"])) and settings.get("size") == 1:
        limits |= OF_ROWS
    for name, (least, most) in limits.items():
        if name in settings and not _is_whole(settings[name], least, most):
            return name
    for name in ("sigma", "level"):
        if settings.get(name) is not None and not _is_level(settings[name]):
            return name
    levels = settings.get("levels", [1, 1])
    if not (_is_list(levels, 2) and len(levels) == 2 and all(map(_is_level, levels))):
        return "levels"
    for name, most in (("widths", MAX_WIDTH), ("down", MAX_BLOCKS), ("up", MAX_BLOCKS)):
        values = settings.get(name, [])
        if not (_is_list(values, MAX_SCALES) and all(_is_whole(value, 0, most) for value in values)):
            return name
    if sum(settings.get("down", [])) + sum(settings.get("up", [])) > MAX_BLOCKS:
        return "down"
    if not _is_whole(card["channels"], *limits["channels"]) or card["channels"] != settings.get("channels"):
        return "channels"
    if not _is_whole(card["patch_size"], 1, MAX_SIDE):
        return "patch_size"
    levels = card["sigma"] if isinstance(card["sigma"], list) else [card["sigma"]]
    return None if len(levels) in (1, 2) and all(_is_level(level, 255) for level in levels) else "sigma"


def _is_whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_list(value: object, most: int) -> bool:
    return isinstance(value, list) and len(value) <= most


def _is_level(value: object, white: float = 1.0) -> bool:
    return type(value) in (int, float) and LEVELS[0] * white <= value <= LEVELS[1] * white  # type: ignore[operator]
