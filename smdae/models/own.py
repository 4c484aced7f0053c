"""A network of the user's own: any torch module with `score(x, sigma)` or `energy(x)`.

It may take images, (B, C, H, W), or flat patches and rows, (B, d); both are tried, and it is fitted with what works.
White is 1, and sigma is a float or, in a fit with many levels, (B,). The score of an energy is

    psi(x) = -grad E(x),    and, if `energy` takes no sigma, at another level t than that of its fit, s,
    psi(x, t) = psi(x s/t) s/t

The rest follows from the score: r(x) = x + sigma^2 psi(x), and the diagonal of its Jacobian by d derivatives. So every
objective can be fitted. Which derivatives its score has is found out by trying, on two examples. Forward mode under
vmap is fast and takes little memory, but torch.func must be able to transform the network's code. It cannot if that
takes derivatives by torch.autograd, calls functions that have a backward pass alone, or draws numbers. Reverse mode
takes all of these. Neither can see through a `detach` of x: a derivative of 0 where the values change is refused, as
implicit objectives would go wrong without a word.

`own_checked` makes the module and checks it before a fit.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.func import jvp, vmap

from smdae import divergence
from smdae.errors import UsageError
from smdae.models.shown import ImageModel
from smdae.named import foreign_errors, reason_of
from smdae.protocols import known_level, per_example

STEP = 0.1  # by which x is moved
DETACHED = "does it detach x? If it has energy(x) instead, the score is taken for you"
KINKED = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Hardtanh, nn.Hardswish, nn.Threshold)


class OwnModel(ImageModel):
    """A module of the user's own as a score model.

    Args:
        module: The module, with `score(x, sigma)` or `energy(x)`.
        name: Its name, module:name.
        channels: C of an image; for rows of numbers, d.
        size: Side of the patches that it is fitted to, P; 1 for rows.
        flat: Whether it takes (B, C P^2) rather than (B, C, H, W).
        levels: The lowest and the highest level of its fit, white being 1.

    Raises:
        UsageError: The levels differ, and the module takes no sigma.
    """

    module: Any
    halo: int | None = None  # a pixel may be influenced from anywhere
    shift_multiple = 1
    bytes_per_pixel = 1024

    def __init__(
        self, module: nn.Module, name: str, channels: int, size: int, flat: bool, levels: tuple[float, float]
    ) -> None:
        super().__init__()
        self.module, self.name, self.channels, self.size, self.flat = module, name, channels, size, flat
        low, high = levels
        self.noise_range = (low, high)
        self.by_energy = not has_method(module, "score")
        self.sigma_is = _place_of_sigma(self.module.energy if self.by_energy else self.module.score)
        if low < high and self.sigma_is is None:
            raise UsageError(f"the model '{name}' takes no sigma, so it is fitted at one level", "give one --sigma")

    def settings(self) -> dict[str, Any]:
        """Return the numbers that build this model again; `arguments` are those of the module's own maker."""
        arguments = self.module.settings() if has_method(self.module, "settings") else {}
        shape = {"channels": self.channels, "size": self.size, "flat": self.flat, "levels": list(self.noise_range)}
        return shape | {"arguments": dict(arguments)}

    @property
    def kinked(self) -> bool:
        """Return whether derivatives of its divergence miss kinks: if it says so, or has layers with kinks."""
        declared = inspect.getattr_static(self.module, "kinked", False)
        return bool(declared) or any(isinstance(part, KINKED) for part in self.module.modules())

    @cached_property
    def reverse(self) -> bool:
        """Return whether its score can be differentiated in reverse mode alone; the first call tries it.

        It raises UsageError if the module fails, or its score has no derivative in x.
        """
        weights = next(self.module.parameters())
        x = torch.rand(2, self.channels, self.size, self.size, generator=Generator().manual_seed(0))
        x = x.to(weights.device, weights.dtype).flatten(1 if self.flat else 3)
        forwards, backwards = (partial(self._score, level=self.noise_range[1], reverse=way) for way in (False, True))
        with named_errors(self.name):
            return _reverse_alone(forwards, backwards, x, self.name)

    def score(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return psi(x), with the shape of x: images, (B, C, H, W), or flat patches, (B, d).

        Raises:
            UsageError: The module fails, or its answer has another shape.
            ValueError: sigma is None, and the model has many levels.
        """
        if torch.is_inference_mode_enabled():  # which forbids the derivatives that the module may take
            with torch.inference_mode(False), torch.no_grad():
                return self.score(x.clone(), sigma)
        level = known_level(self, sigma)
        if isinstance(level, Tensor) and level.is_inference():
            level = level.clone()
        shaped = x.flatten(1) if self.flat else x
        with named_errors(self.name):
            psi = self._score(shaped, level, self.by_energy and self.reverse)
        if not isinstance(psi, Tensor) or psi.shape != shaped.shape:
            got = tuple(psi.shape) if isinstance(psi, Tensor) else type(psi).__name__
            raise UsageError(f"the model '{self.name}': the score of x with shape {tuple(shaped.shape)} is {got}")
        if psi.requires_grad and not torch.is_grad_enabled():  # the module enabled it
            psi = psi.detach()
        return psi.reshape(x.shape)

    def _score(self, x: Tensor, level: float | Tensor, reverse: bool) -> Tensor:
        if self.sigma_is is not None:
            given, named = ((level,), {}) if self.sigma_is == "second" else ((), {"sigma": level})
            return (
                self._gradient(x, reverse, *given, **named) if self.by_energy else self.module.score(x, *given, **named)
            )
        # Without sigma the module gets x scaled so that its noise has the level of the fit.
        gain: Any = self.noise_range[1] / per_example(level, x)
        psi = self._gradient(x * gain, reverse) if self.by_energy else self.module.score(x * gain)
        found: Tensor = psi * gain if isinstance(psi, Tensor) else psi
        return found

    def _gradient(self, x: Tensor, reverse: bool, *given: float | Tensor, **named: float | Tensor) -> Tensor:
        """Return -grad E, with the shape of x, by torch.func or, in reverse mode alone, by torch.autograd."""

        def total(u: Tensor) -> Tensor:
            energy = self.module.energy(u, *given, **named)
            if not isinstance(energy, Tensor) or energy.shape != u.shape[:1]:
                got = tuple(energy.shape) if isinstance(energy, Tensor) else type(energy).__name__
                raise UsageError(f"the model '{self.name}': the energy of {len(u)} examples is {got}, not ({len(u)},)")
            return energy.sum()

        return -_gradient(total, x) if reverse else -torch.func.grad(total)(x)

    def reconstruct(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return r(x) = x + sigma^2 psi(x), with the shape of x; arguments and errors are those of `score`."""
        return x + per_example(known_level(self, sigma), x) ** 2 * self.score(x, sigma)

    def score_and_diagonal(self, x: Tensor, sigma: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return psi(x) and d psi_i/dx_i, both with the shape of x, by d derivatives; errors are those of `score`."""
        return divergence.diagonal(lambda y: self.score(y, sigma), x, reverse=self.reverse)


def has_method(module: nn.Module, name: str) -> bool:
    """Return whether the class of a module has a method of that name."""
    return callable(inspect.getattr_static(type(module), name, None))


def _place_of_sigma(method: Callable[..., Any]) -> Literal["second", "named"] | None:
    """Return how a method takes sigma beside x: as the second argument, or by its name; None if it takes x alone."""
    parameters = inspect.signature(method).parameters
    kinds = [parameter.kind for parameter in parameters.values()]
    positional = kinds.count(inspect.Parameter.POSITIONAL_ONLY) + kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if positional > 1 or inspect.Parameter.VAR_POSITIONAL in kinds:
        return "second"
    return "named" if "sigma" in parameters or inspect.Parameter.VAR_KEYWORD in kinds else None


@contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Raise UsageError, which names the model, for an error of its code within the context, as `foreign_errors`."""
    with foreign_errors(lambda error: UsageError(f"the model '{name}': {type(error).__name__}: {reason_of(error)}")):
        yield


def _reverse_alone(forwards: divergence.Score, backwards: divergence.Score, x: Tensor, name: str) -> bool:
    """Return whether forward mode fails on a score, which can be differentiated in reverse mode alone.

    Both fields are psi, (B, ...) to (B, ...): the first as torch.func can transform it, the second as torch.autograd
    can differentiate it. They are tried at x, (B, ...). It raises UsageError if neither mode works, or the derivative
    is 0 where differences are not.
    """
    v = torch.randn(x.shape, generator=Generator().manual_seed(0)).to(x)  # means may have no influence
    try:
        both = vmap(lambda w: jvp(forwards, (x,), (w,))[1])(torch.stack([v, -v]))
        found, reverse, score = both[0].detach(), False, forwards
    except Exception:  # whatever the code of others raises
        found, reverse, score = _backwards(backwards, x, v, name), True, backwards
    if not found.any():
        with torch.no_grad():
            moves = (score(x + STEP * v) - score(x - STEP * v)).any()
        if moves:
            raise UsageError(f"the model '{name}': the derivative of its score in x is 0", DETACHED)
    return reverse


def _gradient(total: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the gradient in x of a number, a tensor without axes, with the shape of x, by torch.autograd.

    It can be differentiated again where gradients are switched on.
    """
    learning = torch.is_grad_enabled()
    with torch.enable_grad():
        y = x if x.requires_grad else x.detach().requires_grad_()
        return torch.autograd.grad(total(y), y, create_graph=learning)[0]


def _backwards(score: divergence.Score, x: Tensor, v: Tensor, name: str) -> Tensor:
    """Return v' J v of each example, (B,), in reverse mode."""

    def without_derivative(error: Exception) -> UsageError:
        return UsageError(f"the model '{name}': its score has no derivative in x: {reason_of(error)}", DETACHED)

    with foreign_errors(without_derivative), torch.no_grad():
        return divergence.hutchinson(score, x, v[None], reverse=True)[1]
