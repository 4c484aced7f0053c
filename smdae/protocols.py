"""The methods that a score model must have and may have, and the one place where they are looked up.

`ScoreModel` is enough for objectives, samplers and rows of numbers. `ImageScoreModel` adds what denoising images of
any size takes: how far a pixel reaches, by which shifts the model commutes, and its memory. All of it is required. What
a model may know beside its score, such as its energy, is a protocol of its own, and `offers(model, HasEnergy)` tells
whether it does. An object of which only the score is known is completed by `completed`.

The unit is that of white = 1; x has shape (B, d) or (B, C, H, W), sigma is a float or (B,), and (B,) or a tensor of the
shape of x comes back.
"""

from typing import Any, Protocol, TypeGuard, TypeVar

import torch
from torch import Tensor

from smdae.errors import UsageError

C = TypeVar("C")
ANY_LEVEL = (0.0, float("inf"))
UNKNOWN_BYTES = 256  # a pixel, for a model that does not say
IMAGE_MEMBERS = ("halo", "shift_multiple", "bytes_per_pixel")


class ScoreModel(Protocol):
    """psi(x; theta)."""

    @property
    def channels(self) -> int | None:
        """Return how many channels the model takes together; None if it takes any number."""

    @property
    def noise_range(self) -> tuple[float, float]:
        """Return the lowest and the highest level of noise that the model was made for, in the unit of x."""

    def score(self, x: Tensor, /, sigma: Any) -> Tensor:
        """Return psi(x, sigma), with the shape of x; sigma None is the one level of a model that has one."""


class ImageScoreModel(ScoreModel, Protocol):
    """A score model of images of any size."""

    @property
    def halo(self) -> int | None:
        """Return how many pixels away a pixel can have influence; None if that may be the whole image."""

    @property
    def shift_multiple(self) -> int:
        """Return m: shifting an image by a multiple of m pixels shifts its score alike; 1 if any shift does."""

    @property
    def bytes_per_pixel(self) -> int:
        """Return how many bytes of memory the score takes for each pixel of an image."""


class HasEnergy(Protocol):
    """A model with an energy, whose negative gradient is the score."""

    def energy(self, x: Tensor, sigma: Any = None) -> Tensor:
        """Return E(x, sigma) = -log p(x) + const, with shape (B,)."""


class HasDivergence(Protocol):
    """A model that knows its divergence in closed form."""

    def divergence(self, x: Tensor, sigma: Any = None) -> Tensor:
        """Return tr(d psi/dx), exact, with shape (B,); sigma None is the one level of a model that has one."""


class HasJointDivergence(Protocol):
    """A model that computes score and divergence at once."""

    def score_and_divergence(self, x: Tensor, sigma: Any = None) -> tuple[Tensor, Tensor]:
        """Return psi(x), with the shape of x, and tr(d psi/dx), with shape (B,)."""


class HasDiagonal(Protocol):
    """A model that knows the diagonal of its Jacobian in closed form."""

    def score_and_diagonal(self, x: Tensor, sigma: Any = None) -> tuple[Tensor, Tensor]:
        """Return psi(x) and d psi_i/dx_i, both with the shape of x."""


class HasPosteriorVariance(Protocol):
    """A model that knows the posterior variance in closed form."""

    def posterior_variance(self, x: Tensor, sigma: Any = None) -> Tensor:
        """Return the diagonal of Cov[clean | noisy = x], with the shape of x; sigma None is the model's one level."""


class HasKinks(Protocol):
    """A network that says whether its score has kinks, which exact derivatives of its divergence miss."""

    @property
    def kinked(self) -> bool:
        """Return whether psi has kinks."""


class HasReverse(Protocol):
    """A model that knows whether its score can be differentiated in reverse mode alone."""

    @property
    def reverse(self) -> bool:
        """Return whether psi can be differentiated in reverse mode alone: forward mode and vmap fail on it."""


class HasCentre(Protocol):
    """A model whose score does not depend on the means of x, such as those of patches; `centre` subtracts them."""

    def centre(self, x: Tensor) -> Tensor:
        """Return x without the means on which the score does not depend, with the shape of x."""


class HasImplicitFloor(Protocol):
    """A model whose implicit objective is bounded below."""

    @property
    def implicit_floor(self) -> float:
        """Return the least that 1/2 |psi|^2 + tr(d psi/dx) can be."""


class CanClip(Protocol):
    """A network with an input for the white that noisy pictures were clipped to; `clipped` returns a copy set to it."""

    def clipped(self, white: Any) -> Any:
        """Return the same network for pictures clipped to [0, white], a number or (B,); 0 if they were not clipped."""


class TakesNoise(Protocol):
    """A network that may have been fitted to noise that is not white."""

    takes_noise: bool

    def conditioned(self, conditioning: Any) -> Any:
        """Return the same network with its inputs for the noise set by a `Conditioning`."""


class HasStride(Protocol):
    """A model of patches that can be had with another stride, with which it leaves some of them out."""

    def with_stride(self, stride: int) -> Any:
        """Return the same model with `stride` pixels between neighbouring patches."""


class HasPrecision(Protocol):
    """A network that can multiply in a dtype of lower precision."""

    def with_products_in(self, dtype: torch.dtype) -> Any:
        """Return the same network with products of that dtype."""


class HasGraphs(Protocol):
    """A network whose passes on CUDA can be recorded; `graphs` are the recordings, None for none."""

    graphs: Any


def offers(model: object, capability: type[C]) -> TypeGuard[C]:
    """Return whether a model, or the class of one, has all members of a protocol."""
    names = {name for name in vars(capability) if not name.startswith("_")} | {*capability.__annotations__}
    return all(hasattr(model, name) for name in names)


def has(model: object, name: str) -> bool:
    """Return whether a model, or the class of one, has a method or another attribute of that name."""
    return hasattr(model, name)


def single_level(model: ScoreModel) -> float | None:
    """Return the one level that a model was made for, or None if there are many."""
    low, high = model.noise_range
    return high if low == high else None


def known_level(model: ScoreModel, sigma: float | Tensor | None) -> Any:
    """Return sigma, a float or (B,), or the model's one level if it is None; ValueError if the model has many."""
    level = single_level(model) if sigma is None else sigma
    if level is None:
        raise ValueError("a model of many levels needs a level")
    return level


def per_example(value: float | Tensor, x: Tensor) -> float | Tensor:
    """Return a number as it is, or one for each example, (B,), shaped to multiply x, (B, ...)."""
    if isinstance(value, Tensor) and value.ndim:
        return value.reshape(-1, *(1,) * (x.ndim - 1))
    return value


def refuse_no_floats(values: object, name: str) -> None:
    """Raise UsageError, which calls the values `name`, if they are not a tensor of floats."""
    if not (isinstance(values, Tensor) and values.is_floating_point()):
        kind = str(values.dtype).removeprefix("torch.") if isinstance(values, Tensor) else type(values).__name__
        raise UsageError(f"{name} must be a tensor of floats, not of {kind}", "torch.as_tensor(x).float() makes one")


def refuse_other_shape(value: Tensor, x: Tensor, name: str, of: str = "x", leading: int = 0) -> None:
    """Raise UsageError if a value, without its leading axes, is not a tensor of the shape of x: it would be broadcast.

    Args:
        value: What is to be combined with x number by number.
        x: What it belongs to.
        name: What the message calls the value.
        of: What the message calls x.
        leading: Number of axes that the value has before those of x.
    """
    if not isinstance(value, Tensor) or value.shape[leading:] != x.shape or value.ndim != x.ndim + leading:
        shape = tuple(value.shape) if isinstance(value, Tensor) else f"of type {type(value).__name__}"
        wanted = f"({'k, ' * leading}{', '.join(map(str, x.shape))})"
        raise UsageError(f"{name} must have shape {wanted}, as {of} has, and is {shape}")


def posterior_mean(model: ScoreModel, x: Tensor, sigma: float | Tensor) -> Tensor:
    """Return E[clean | x] = x + sigma^2 psi(x, sigma), with the shape of x (Robbins 1956; Miyasawa 1961).

    Args:
        model: A score model.
        x: Noisy examples.
        sigma: Level of their noise, a float or (B,).
    """
    return x + per_example(sigma**2, x) * model.score(x, sigma=sigma)


def widened(halo: int | None, factor: int = 1, more: int = 0, multiple: int = 1) -> int | None:
    """Return factor * halo + more, rounded up to a multiple; None for a halo that is the whole image."""
    return None if halo is None else -(-(factor * halo + more) // multiple) * multiple


class _Completed:
    """A score model wrapped so that it has all of `ImageScoreModel`: defaults stand in for what it lacks."""

    def __init__(self, model: Any, missing: dict[str, Any]) -> None:
        self.model = model
        vars(self).update(missing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


def completed(model: Any) -> Any:
    """Return a model as an `ImageScoreModel`: itself if it is one, else it with what is safe to assume.

    Without `halo` a pixel may have influence on the whole image; without `channels` any number is taken; without
    `noise_range` the model was made for its `level` or, if it has none, for any.

    Raises:
        UsageError: It has no score, or a halo without a shift_multiple: the result would be wrong at seams of tiles.
    """
    if not hasattr(model, "score"):
        raise UsageError(f"a score model has score(x, sigma), and this {type(model).__name__} has none")
    missing = [name for name in IMAGE_MEMBERS if not hasattr(model, name)]
    if "shift_multiple" in missing and "halo" not in missing:
        raise UsageError(
            f"the model {type(model).__name__} has a halo and no shift_multiple",
            "shift_multiple is 1 for a model that commutes with every shift",
        )
    safe = {"halo": None, "shift_multiple": 1, "bytes_per_pixel": UNKNOWN_BYTES}
    lacking: dict[str, Any] = {name: safe[name] for name in missing}
    if not hasattr(model, "channels"):
        lacking["channels"] = None
    if not hasattr(model, "noise_range"):
        level = getattr(model, "level", None)
        lacking["noise_range"] = ANY_LEVEL if level is None else (level, level)
    return _Completed(model, lacking) if lacking else model
