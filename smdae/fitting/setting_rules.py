"""Rules on settings of a fit that exclude or require each other."""

from typing import TYPE_CHECKING

from smdae.models import family
from smdae.noise import Noise
from smdae.objectives import OBJECTIVES
from smdae.protocols import CanClip, offers

if TYPE_CHECKING:
    from smdae.fitting.settings import Settings

MOST_NUMBERS = 4096  # in a flat patch: the start of a fit and the Wiener filter take the covariance apart


def refuse_clashes(settings: "Settings") -> None:
    """Raise ValueError, with a message for the user, for the first rule that the settings break.

    Raises:
        ValueError: Settings exclude each other, or one lacks another.
        UsageError: The noise is not a noise profile.
    """
    row = OBJECTIVES[settings.objective]
    if isinstance(settings.sigma, tuple):
        low, high = settings.sigma
        if low > high:
            raise ValueError(f"sigma: the lowest level comes first, not {settings.sigma}")
        if settings.noisy:
            raise ValueError("noisy images have one level of noise each: sigma is that level, or auto")
        if low < high and family(settings.model).of_patches:
            raise ValueError(f"the model '{settings.model}' is fitted at one sigma, not from {low:g} to {high:g}")
        if low < high and (row.samples == "data" or "target_score" in row.needs):
            raise ValueError(f"the objective '{settings.objective}' is for one sigma, not for a range")
    if settings.sigma == "auto" and not settings.noisy:
        raise ValueError("sigma auto is for noisy images; add noisy, or give a level")
    if settings.noise is not None:
        _refuse_with_noise(settings, Noise.from_yaml(settings.noise))
    if settings.noisy and not row.on_noisy:
        able = ", ".join(name for name, other in OBJECTIVES.items() if other.on_noisy)
        raise ValueError(f"the objective '{settings.objective}' needs clean images; noisy ones are enough for {able}")
    if settings.noisy and (settings.clipped or settings.recoloured or settings.real):
        raise ValueError("clipped, recoloured and real change clean images, and do not go with noisy")
    if settings.real and (settings.model != "unet" or row.samples != "pairs"):
        raise ValueError("real is for the model 'unet' and for objectives of pairs, dsm and dae")
    if settings.extra_noise and not (settings.noisy and row.samples == "pairs"):
        raise ValueError("extra-noise is what the objective dsm adds to noisy images; add noisy, with dsm")
    if settings.recoloured and not settings.color:
        raise ValueError("recoloured is for colour images; add color")
    lacking = row.lacking(family(settings.model).fits)
    if lacking:
        raise ValueError(
            f"the objective '{settings.objective}' is not for '{settings.model}', which has no {lacking[0]}"
        )
    if settings.clipped and row.samples != "pairs":
        raise ValueError(f"clipped is for objectives with a clean image as target, not for '{settings.objective}'")
    if settings.clipped and not offers(family(settings.model).fits, CanClip):
        raise ValueError(f"clipped is for networks that take it as input, not for the model '{settings.model}'")
    if settings.model == "gradient-unet" and settings.activation == "relu":
        raise ValueError("a gradient-unet needs a smooth activation: silu")
    if settings.probes == 0 and "probes" in row.needs:
        raise ValueError(f"the objective '{settings.objective}' needs probes; give 1 or more")
    if family(settings.model).of_patches and (settings.growth or settings.optimiser == "muon"):
        raise ValueError(f"growth and muon are for networks, not for the model '{settings.model}'")
    numbers = settings.patch_size**2 * (3 if settings.color else 1)
    if family(settings.model).of_patches and numbers > MOST_NUMBERS:
        raise ValueError(
            f"patch-size {settings.patch_size} makes patches of {numbers:,} numbers, and at most {MOST_NUMBERS:,} are "
            f"allowed for the model '{settings.model}'"
        )


def _refuse_with_noise(settings: "Settings", noise: Noise) -> None:
    """Raise ValueError for settings that do not go with noise that is not white."""
    if not family(settings.model).takes_rows:
        raise ValueError(f"noise is for models of patches, not for '{settings.model}'")
    if settings.noisy or settings.clipped or settings.recoloured or settings.real:
        raise ValueError("noise is added to clean images; noisy, clipped, recoloured and real do not go with it")
    if OBJECTIVES[settings.objective].samples == "data":
        raise ValueError(f"the objective '{settings.objective}' adds no noise to the images: noise does not go with it")
    if settings.objective == "dae" and noise.is_signal_dependent:
        raise ValueError("dae needs noise of a fixed covariance; for noise that depends on brightness, fit with dsm")
    if settings.sigma != level_of(noise):
        raise ValueError(f"the noise has a sigma of its own, {level_of(noise):.4g}; leave sigma out")


def level_of(noise: Noise) -> float:
    """Return the level of noise with white 1, on the 0 to 255 scale."""
    return round(255 * noise.sigma, 6)
