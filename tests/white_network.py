"""A bundled network as one that knows white noise alone."""

from torch import cat

from smdae import load
from smdae.models.unet import UNet


def of_white_noise(name: str) -> UNet:
    """Return a bundled gray network without its planes for noise that is not white; for white noise it is the same."""
    whole = load(name)
    network = UNet(1, **vars(whole.shape), levels=whole.noise_range, clips=True)
    weights = dict(whole.state_dict())
    stem = weights["stem.weight"]
    weights["stem.weight"] = cat([stem[:, :5], stem[:, -1:]], 1)  # four pixels, sigma, and what was clipped
    network.load_state_dict(weights)
    return network.eval()
