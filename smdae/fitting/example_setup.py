"""Set up the examples of an objective: the arguments of its loss, the data, and the densities whose score it needs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Generator, Tensor

from smdae.densities import Density, Gaussian, GaussianMixture, Parzen
from smdae.fitting.corruption import source_side
from smdae.fitting.draws import among
from smdae.fitting.examples import Examples, Stage
from smdae.fitting.patches import Patches
from smdae.fitting.settings import Settings
from smdae.models import takes_patches
from smdae.noise import Noise
from smdae.objectives import Objective
from smdae.patch_noise import KernelParzen, PatchNoise
from smdae.protocols import HasCentre, HasDivergence, HasKinks, offers

TARGET_EXAMPLES = 50_000  # patches to which the density for `esm` is fitted


def arguments(objective: Objective, model: Any, settings: Settings) -> tuple[str, ...]:
    """Return the names of the further arguments of the loss in a fit of this model."""
    kinked = offers(model, HasKinks) and model.kinked
    by_probes = settings.probes > 0 and not offers(model, HasDivergence)
    lacks = {"probes": by_probes, "step": kinked, "level": settings.noisy}
    needs = (*objective.needs, *(name for name in objective.options if lacks[name]))
    # On clean data the implicit objective is that of the clean density, which has no level.
    return (*needs, "sigma") if settings.noisy and "sigma" not in needs else needs


def known_density(x: Tensor, settings: Settings, sigma: float, generator: Generator) -> Density:
    """Return the density q of `esm`: fitted to patches x, (n, d), then smoothed to the level sigma."""
    # Patches without their mean lie in a subspace: a little variance in all directions makes the fit regular.
    floor = (sigma / 10) ** 2
    if settings.target == "gaussian":
        return Gaussian.fit(x, floor=floor).smoothed(sigma)
    mixture = GaussianMixture.fit(x, min(settings.components, len(x) - 1), floor=floor, generator=generator)
    return mixture.smoothed(sigma)


def examples_for(
    patches: Patches,
    objective: Objective,
    model: Any,
    settings: Settings,
    generator: Generator,
) -> Examples:
    """Return the source of an objective's examples made from patches, and fit the densities whose score it needs.

    It raises UsageError if the noise that is to be added does not suit the patches.
    """
    kernel = None
    if settings.noise is not None:
        kernel = PatchNoise(Noise.from_yaml(settings.noise), patches.channels, patches.size)
    # Noise that is not white mixes the mean with the rest, so the mean cannot be taken out beforehand.
    centre = model.centre if offers(model, HasCentre) and kernel is None else lambda x: x
    wants_target = "target_score" in objective.needs
    density: Density | None = None
    parzen: Parzen | KernelParzen | None = None
    sigma = settings.levels[1]
    if wants_target and objective.samples == "data":
        x = centre(patches.draw(TARGET_EXAMPLES, generator))
        density = known_density(x, settings, sigma, generator)
    if wants_target and objective.samples == "parzen":
        x = centre(patches.draw(settings.parzen_patches, generator))
        parzen = Parzen(x, sigma) if kernel is None else KernelParzen(x, kernel)
    implicit = objective.samples == "data" and density is None and not settings.noisy
    return Examples(
        objective=objective,
        needs=arguments(objective, model, settings),
        settings=settings,
        stages=(Stage(among(parzen.patches)),) if parzen else tuple(_stages(patches, settings, density is None)),
        centre=centre,
        density=density,
        parzen=parzen,
        rounding=1 / patches.white if implicit and patches.images.rounded else 0.0,
        channels=None if takes_patches(model) else patches.channels,
        kernel=kernel,
    )


def _stages(patches: Patches, settings: Settings, from_disk: bool) -> Iterator[Stage]:
    """Yield the stages of a fit to patches, which are read ahead if they are drawn from disk."""
    for side in (patches.size, *settings.growth):
        cut, share = replace(patches, size=side), (patches.size / side) ** 2  # for an equal number of pixels
        real = replace(patches, size=source_side(side)).draw_with_levels if settings.real else None
        yield Stage(cut.draw_with_levels, share, cut.prefetch if from_disk else None, real, side)
