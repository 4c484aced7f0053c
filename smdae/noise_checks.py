"""Checks of the parameters of a `Noise`, which also convert them to floats, integers and tuples of these."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from smdae import checked, correlation
from smdae.blotches import Blotches
from smdae.curves import Affine, Curve, Table
from smdae.errors import UsageError
from smdae.protocols import refuse_no_floats

if TYPE_CHECKING:
    from smdae.noise import Noise

COARSENESSES = (1, 2, 4)


def checked_fields(noise: "Noise") -> dict[str, Any]:
    """Return the parameters of a noise that are not None, by name, as floats, integers and tuples of these.

    Raises:
        UsageError: A value makes no sense.
    """
    found: dict[str, Any] = {name: checked.number(getattr(noise, name), name) for name in ("white", "zero")}
    if found["white"] <= found["zero"]:
        raise UsageError(f"white must be above zero, and {found['white']:g} is not above {found['zero']:g}")
    found["curves"] = _checked_curves(noise.curves)
    found["grain"] = correlation.checked_grain(noise.grain)
    if noise.channels is not None:
        found["channels"] = correlation.checked_channels(noise.channels)
        levels, correlations = len(found["curves"]), len(found["channels"])
        if levels not in (1, correlations):
            raise UsageError(f"the noise has levels of {levels} channels and correlations of {correlations}")
    if noise.clip is not None:
        found["clip"] = clip = checked.row(noise.clip, "the two ends of clipping")
        if len(clip) != 2 or clip[0] >= clip[1]:
            raise UsageError("the ends of clipping must be two numbers, the lower one first")
    if noise.rounding is not None:
        found["rounding"] = step = checked.number(noise.rounding, "the step of rounding")
        if step <= 0:
            raise UsageError(f"the step of rounding must be positive, not {step:g}")
    if noise.jpeg is not None:
        found["jpeg"] = checked.whole(noise.jpeg, "the JPEG quality", 1, 100)
    found["impulses"] = share = checked.number(noise.impulses, "the share of impulses")
    if not 0 <= share < 1:
        raise UsageError(f"the share of impulses must be at least 0 and less than 1, not {share:g}")
    found["level_error"] = error = checked.number(noise.level_error, "the error of the level")
    if error < 0:
        raise UsageError(f"the error of the level must be at least 0, not {error:g}")
    found["coarseness"] = side = checked.whole(noise.coarseness, "the coarseness", 1, 4)
    if side not in COARSENESSES:
        raise UsageError(f"the coarseness must be one of {', '.join(map(str, COARSENESSES))}, not {side}")
    if side > 1 and correlation.is_point(found["grain"]):
        raise UsageError("noise whose pixels are independent has a coarseness of 1", "give the grain of the pixels")
    if noise.blotches is not None:
        found["blotches"] = Blotches.parse(noise.blotches)
        if len(found["curves"]) not in (1, 3) or (noise.channels is not None and len(found["channels"]) != 3):
            raise UsageError("noise with blotches of colour has three channels")
    return found


def _checked_curves(curves: object) -> tuple[Curve, ...]:
    """Return curves as a tuple; refuse anything but a list of one or more curves."""
    if not isinstance(curves, list | tuple) or not curves:
        raise UsageError("the noise needs a list of curves, one for all channels or one for each")
    for curve in curves:
        if not isinstance(curve, Affine | Table):
            raise UsageError(f"a curve of the noise must be an Affine or a Table, not {checked.shown(curve)}")
    return tuple(curves)


def refuse_no_pictures(x: Tensor) -> None:
    """Raise UsageError if x is not a tensor of floats with the shape of pictures, (B, C, H, W), or rows, (B, d)."""
    refuse_no_floats(x, "pictures")
    if x.ndim not in (2, 4):
        raise UsageError(f"pictures have shape (B, C, H, W) or (B, d), not {tuple(x.shape)}")
