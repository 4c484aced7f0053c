"""Score models psi(x; theta), and the table of their families.

What a score model must have and may have is in `smdae.protocols`: `score(x, sigma=None)`, `channels` and `noise_range`,
and in closed form, where it can, `energy`, `divergence`, `posterior_variance` and others. The models here also have
`level`, the one level that they were made for, or None if `noise_range` holds many, and `settings()`, the arguments
that build them again.

Besides the families of the table there are modules of the user's own, named as module:name (see `own`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.models.energy import EnergyModel
from smdae.models.experts import Experts
from smdae.models.gradient_unet import GradientUNet
from smdae.models.linear_start import linear_starts
from smdae.models.own import OwnModel
from smdae.models.own_checked import made, rebuilt
from smdae.models.patchwise import Patchwise
from smdae.models.unet import SIZES, UNet
from smdae.named import is_named
from smdae.noise import Noise
from smdae.patch_noise import PatchNoise

__all__ = ["MODELS", "EnergyModel", "Experts", "Family", "GradientUNet", "OwnModel", "Patchwise", "UNet",
           "family", "takes_patches"]  # fmt: skip


@dataclass(frozen=True)
class Family:
    """A row of the table of families.

    Attributes:
        fits: The class of the model that is fitted.
        build: Makes the image model from the settings in its file.
        start: Makes the initial model, as start(examples, channels, settings, generator); the examples are flat patches
            with white 1 and shape (n, d), clean or noisy as the settings say.
        of_patches: Whether it is a model of flat patches, which `Patchwise` lifts to images.
        defaults: Settings with another default than in `Settings`.
        others: Yields other initial models, to be tried in turn until one is no better than the one before.
        pace: Returns the factor of the learning rate for a model.
        takes_rows: Whether it can be fitted to rows of numbers.
    """

    fits: type
    build: Callable[..., Any]
    start: Callable[[Tensor, int, Any, Generator], Any]
    of_patches: bool
    defaults: Mapping[str, Any] = field(default_factory=dict)
    others: Callable[[Tensor, int, Any, Generator], Iterator[Any]] = lambda *_: iter(())
    pace: Callable[[Any], float] = lambda model: 1.0
    takes_rows: bool = False


def _energy(channels: int, size: int, noise: str | None = None, **settings: Any) -> Patchwise:
    model = EnergyModel(**settings)
    if model.dim != channels * size**2:
        raise ValueError(f"an energy over {model.dim} numbers does not fit {channels} x {size} x {size} patches")
    return Patchwise(model, channels, size, noise=_noise(noise, channels, size))


def _noise(text: str | None, channels: int, size: int) -> PatchNoise | None:
    return None if text is None else PatchNoise(Noise.from_yaml(text), channels, size)


def _start_energy(examples: Tensor, channels: int, settings: Any, generator: Generator) -> EnergyModel:
    sigma = settings.levels[1]
    model = EnergyModel(examples.shape[1], settings.hidden, sigma=1.0, level=sigma, free_means=channels).to(
        examples.device
    )
    if not settings.noisy:
        examples = examples + sigma * torch.randn(examples.shape, generator=generator, device=examples.device)
    model.initialise(examples, generator)
    return model


def _linear_energies(examples: Tensor, channels: int, settings: Any, generator: Generator) -> Iterator[EnergyModel]:
    level, noisy = settings.levels[1], settings.noisy
    return linear_starts(examples, settings.hidden, level, channels, noisy, generator)


def _start_unet(examples: Tensor, channels: int, settings: Any, generator: Generator) -> UNet:
    shape = vars(SIZES[settings.size])
    kind = {"levels": settings.levels, "activation": settings.activation, "clips": settings.clipped > 0}
    kind["takes_noise"] = settings.real > 0
    model = UNet(channels, **shape, **kind).to(examples.device)
    model.initialise(generator)
    return model


def _start_gradient(examples: Tensor, channels: int, settings: Any, generator: Generator) -> GradientUNet:
    model = GradientUNet(channels, **vars(SIZES[settings.size]), levels=settings.levels, activation=settings.activation)
    model.to(examples.device).initialise(generator)
    return model


def _start_experts(examples: Tensor, channels: int, settings: Any, generator: Generator) -> Experts:
    model = Experts(channels, settings.filters, settings.window, settings.levels, settings.potential).to(
        examples.device
    )
    model.initialise(generator)
    return model


def _start_own(examples: Tensor, channels: int, settings: Any, generator: Generator) -> OwnModel:
    seed = int(torch.randint(1 << 31, (), generator=generator, device=generator.device))
    return made(settings.model, channels, settings.patch_size, settings.levels, examples.device, seed)


def _own(model: str, noise: str | None = None, **settings: Any) -> Any:
    own = rebuilt(model, **settings)
    if not own.flat:
        return own
    return Patchwise(own, own.channels, own.size, noise=_noise(noise, own.channels, own.size))


# Defaults for networks: the learning rate is that of Muon, and the batch is of images.
_NETWORK = {
    "sigma": (1.0, 60.0),
    "patch_size": 64,
    "batch": 16,
    "lr": 0.006,
    "ema": 0.999,
    "optimiser": "muon",
    "precision": "auto",
}

_EXPERTS = {
    "patch_size": 64,
    "batch": 8,
    "lr": 0.03,
    "ema": 0.999,
    "precision": "auto",
}

MODELS: dict[str, Family] = {
    "energy": Family(
        EnergyModel,
        _energy,
        _start_energy,
        of_patches=True,
        others=_linear_energies,
        pace=lambda model: min(1.0, model.sigma),
        takes_rows=True,
    ),
    "experts": Family(Experts, Experts, _start_experts, of_patches=False, defaults=_EXPERTS),
    "gradient-unet": Family(GradientUNet, GradientUNet, _start_gradient, False, _NETWORK | {"activation": "silu"}),
    "unet": Family(UNet, UNet, _start_unet, of_patches=False, defaults=_NETWORK),
}

# The usual learning rate of Adam, as nothing is known about the user's module.
_OWN = Family(OwnModel, _own, _start_own, of_patches=False, defaults={"lr": 0.002, "batch": 128}, takes_rows=True)


def family(name: str) -> Family:
    """Return the row of a model by its name in MODELS, or of module:name; KeyError for any other name."""
    return _OWN if is_named(name) else MODELS[name]


def takes_patches(model: Any) -> bool:
    """Return whether a model takes flat patches, (B, d), so that `Patchwise` must lift it to images."""
    return model.flat if isinstance(model, OwnModel) else isinstance(model, EnergyModel)
