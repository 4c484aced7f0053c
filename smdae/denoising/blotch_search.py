"""Find blotches of colour in a picture, and look for the other noise in what is left without them.

Blotches are told from real colour by `smdae.estimation.blotches`. The other noise is looked for after a small network
has taken them out, or they would be taken for grain of red, green and blue.
"""

import numpy as np
import torch

from smdae.blotches import Blotches
from smdae.denoising.blotched import Blotched
from smdae.denoising.tiles import tiles_for
from smdae.estimation.blotches import blotches_of, evidence, look
from smdae.estimation.scale import Scale

MIN_ODDS = 1.0  # logarithm of the odds that what is found is not real colour
TILE = 1024  # pixels a side


def find_blotches(planes: np.ndarray, scale: Scale, valid: np.ndarray | None) -> Blotches | None:
    """Return the blotches of colour of a picture, white being 1; None for none.

    Args:
        planes: The picture, with shape (H, W, C), finite.
        scale: The scale of its values.
        valid: Which pixels count, with shape (H, W); None for all.
    """
    if planes.shape[2] != 3:
        return None
    seen = look(planes, scale, valid)
    if seen is None or not seen.may_be_blotches or evidence().log_odds(seen.features) < MIN_ODDS:
        return None
    return blotches_of(planes, scale, valid, seen)


def without_blotches(planes: np.ndarray, scale: Scale, blotches: Blotches, network: object) -> np.ndarray:
    """Return a picture, (H, W, 3), without its blotches of colour, with its shape and dtype.

    Args:
        planes: The picture.
        scale: The scale of its values.
        blotches: The blotches, white being 1.
        network: A score model that takes them out.
    """
    model = Blotched(network, blotches, None).with_model(network)
    result = np.empty_like(planes)
    height, width = planes.shape[:2]
    for tile in tiles_for(model, height, width, TILE):
        y = torch.from_numpy(np.ascontiguousarray(scale.to_unit(planes[tile.padded]).transpose(2, 0, 1)))[None]
        with torch.inference_mode():
            rest = model.without(y)[0].permute(1, 2, 0).numpy()[tile.inner]
        values = scale.black + scale.span * rest
        if planes.dtype.kind == "u":
            values = np.rint(values).clip(0, np.iinfo(planes.dtype).max)
        result[tile.kept] = values
    return result
