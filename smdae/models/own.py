"""A network of the user's own: any torch module with `score(x, sigma)` or `energy(x)`.

It may take images, (B, C, H, W), or flat patches and rows, (B, d); both are tried, and it is fitted with what works.
White is 1, and sigma is a float or, in a fit with many levels, (B,). The score of an energy is

    psi(x) = -grad E(x),    and, if `energy` takes no sigma, at another level t than that of its fit, s,
    psi(x, t) = psi(x s/t) s/t

The rest follows from the score: r(x) = x + sigma^2 psi(x), and the diagonal of its Jacobian by d derivatives, in the
mode that `own_derivatives` finds out. So every objective can be fitted.

The module is checked before a fit: shapes, finite values, whether it leaves its input unchanged, is deterministic, and
whether the score of an example is independent of the others in its batch. An error in its code is reported in one line
that names it.
"""

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from smdae import divergence
from smdae.errors import SmdaeError, UsageError
from smdae.memory import is_out_of_memory
from smdae.models.own_derivatives import gradient, reverse_alone
from smdae.models.shown import as_html
from smdae.named import imported, reason_of
from smdae.protocols import per_example

__all__ = ["OwnModel", "made", "name_of"]

EXAMPLES = 4  # on which a module is checked
MAX_BATCH_DIFFERENCE = 1e-3  # relative difference of a score in a batch and alone
KINKED = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Hardtanh, nn.Hardswish, nn.Threshold)
CHANGING = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


class OwnModel(nn.Module):
    """A module of the user's own as a score model.

    Args:
        module: The module, with `score(x, sigma)` or `energy(x)`.
        name: Its name, module:name.
        channels: C of an image; for rows of numbers, d.
        size: Side of the patches that it is fitted to, P; 1 for rows.
        flat: Whether it takes (B, C P^2) rather than (B, C, H, W).
        levels: The lowest and the highest level of its fit, white being 1.
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
        self.by_energy = not _has(module, "score")
        self.takes_sigma = _takes_two(self.module.energy if self.by_energy else self.module.score)
        if low < high and not self.takes_sigma:
            raise UsageError(f"the model '{name}' takes no sigma, so it is fitted at one level", "give one --sigma")

    def _repr_html_(self) -> str:
        return as_html(type(self).__name__, vars(self).get("card"))

    def settings(self) -> dict[str, Any]:
        """Return the numbers that build this model again; `arguments` are those of the module's own maker."""
        arguments = self.module.settings() if _has(self.module, "settings") else {}
        shape = {"channels": self.channels, "size": self.size, "flat": self.flat, "levels": list(self.noise_range)}
        return shape | {"arguments": dict(arguments)}

    @property
    def level(self) -> float | None:
        """Return the one level that it was fitted at, or None if there are many."""
        low, high = self.noise_range
        return high if low == high else None

    @property
    def kinked(self) -> bool:
        """Return whether derivatives of its divergence miss kinks: if it says so, or has layers with kinks."""
        declared = inspect.getattr_static(self.module, "kinked", False)
        return bool(declared) or any(isinstance(part, KINKED) for part in self.module.modules())

    @cached_property
    def reverse(self) -> bool:
        """Return whether its score can be differentiated in reverse mode alone; that is tried out at the first call."""
        weights = next(self.module.parameters())
        x = torch.rand(2, self.channels, self.size, self.size, generator=Generator().manual_seed(0))
        x = x.to(weights.device, weights.dtype).flatten(1 if self.flat else 3)
        forwards, backwards = (partial(self._score, level=self.noise_range[1], reverse=way) for way in (False, True))
        with _named(self.name):
            return reverse_alone(forwards, backwards, x, self.name)

    def score(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return psi(x), with the shape of x: images, (B, C, H, W), or flat patches, (B, d).

        Raises:
            UsageError: The module fails, or its answer has another shape.
        """
        if torch.is_inference_mode_enabled():  # which forbids the derivatives that the module may take
            with torch.inference_mode(False), torch.no_grad():
                return self.score(x.clone(), sigma)
        level = self.level if sigma is None else sigma
        if isinstance(level, Tensor) and level.is_inference():
            level = level.clone()
        if level is None:
            raise ValueError("a model of many levels needs a level")
        shaped = x.flatten(1) if self.flat else x
        with _named(self.name):
            psi = self._score(shaped, level, self.by_energy and self.reverse)
        if not isinstance(psi, Tensor) or psi.shape != shaped.shape:
            got = tuple(psi.shape) if isinstance(psi, Tensor) else type(psi).__name__
            raise UsageError(f"the model '{self.name}': the score of x with shape {tuple(shaped.shape)} is {got}")
        if psi.requires_grad and not torch.is_grad_enabled():  # the module enabled it
            psi = psi.detach()
        return psi.reshape(x.shape)

    def _score(self, x: Tensor, level: float | Tensor, reverse: bool) -> Tensor:
        if self.takes_sigma:
            return self._gradient(x, reverse, level) if self.by_energy else self.module.score(x, level)
        # Without sigma the module gets x scaled so that its noise has the level of the fit.
        gain: Any = self.noise_range[1] / per_example(level, x)
        psi = self._gradient(x * gain, reverse) if self.by_energy else self.module.score(x * gain)
        return psi * gain if isinstance(psi, Tensor) else psi

    def _gradient(self, x: Tensor, reverse: bool, *level: float | Tensor) -> Tensor:
        """Return -grad E, with the shape of x, by torch.func or, in reverse mode alone, by torch.autograd."""

        def total(u: Tensor) -> Tensor:
            energy = self.module.energy(u, *level)
            if not isinstance(energy, Tensor) or energy.shape != u.shape[:1]:
                got = tuple(energy.shape) if isinstance(energy, Tensor) else type(energy).__name__
                raise UsageError(f"the model '{self.name}': the energy of {len(u)} examples is {got}, not ({len(u)},)")
            return energy.sum()

        return -gradient(total, x) if reverse else -torch.func.grad(total)(x)

    def reconstruct(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return r(x) = x + sigma^2 psi(x), with the shape of x."""
        level: Any = self.level if sigma is None else sigma
        return x + per_example(level, x) ** 2 * self.score(x, sigma)

    def score_and_diagonal(self, x: Tensor, sigma: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return psi(x) and the diagonal of its Jacobian, both with the shape of x: d derivatives."""
        return divergence.diagonal(lambda y: self.score(y, sigma), x, reverse=self.reverse)


def name_of(module: nn.Module) -> str:
    """Return the name of a module, module:name, by its class."""
    return f"{type(module).__module__}:{type(module).__name__}"


def made(
    named: str | nn.Module,
    channels: int,
    size: int,
    levels: tuple[float, float],
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> OwnModel:
    """Return the model of a module of the user's own, after checking it.

    Args:
        named: The module, which is copied, or module:name of it, of its class, or of a function that makes it.
        channels: C of an image; for rows of numbers, d.
        size: Side of a patch; 1 for rows.
        levels: The lowest and the highest level of the noise, white being 1.
        device: Where to put it.
        seed: Seed of its initial weights and of the examples on which it is checked.

    Raises:
        UsageError: It cannot be made, or is not a score model.
    """
    name = named if isinstance(named, str) else name_of(named)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _module(imported(named, "--model"), name, {}) if isinstance(named, str) else copy.deepcopy(named)
    _refuse(module, name)
    with _named(name):
        module = module.to(device)
    generator = Generator().manual_seed(seed)
    images = torch.rand(EXAMPLES, channels, size, size, generator=generator).to(device)
    reasons = []
    for flat in (False, True) if size > 1 else (True,):
        model = OwnModel(module, name, channels, size, flat, levels)
        with torch.random.fork_rng(devices=[]):  # lazy layers draw their weights when they are first called
            torch.manual_seed(seed)
            reason = _fault(model, images)
        if reason is None:
            return model
        shape = tuple(images.flatten(1).shape if flat else images.shape)
        reasons.append(f"of x with shape {shape}: {reason}")
    raise UsageError(f"the model '{name}' gives no score {'; nor '.join(reasons)}", "docs/own-models.md has an example")


def rebuilt(named: str, channels: int, size: int, flat: bool, levels: Any, arguments: Any) -> OwnModel:
    """Return the model that `OwnModel.settings` describes, with other weights.

    Raises:
        UsageError: The module cannot be imported, or fails.
    """
    module = _module(imported(named, "--import"), named, arguments)
    low, high = levels
    model = OwnModel(module, named, channels, size, flat, (low, high))
    if any(nn.parameter.is_lazy(weights) for weights in module.parameters()):
        _fault(model, torch.zeros(EXAMPLES, channels, size, size))  # the first call gives them their shapes
    return model


def _module(found: Any, name: str, arguments: dict[str, Any]) -> nn.Module:
    """Return a module from what a name stands for: it, its class, or a function that makes it."""
    if isinstance(found, nn.Module):
        return copy.deepcopy(found)
    if not callable(found):
        raise UsageError(f"--model: '{name}' is not a torch module, nor makes one")
    try:
        module = found(**arguments)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UsageError(f"--model: cannot make '{name}': {reason_of(error)}") from None
    if not isinstance(module, nn.Module):
        raise UsageError(f"--model: '{name}' makes a {type(module).__name__}, not a torch module")
    return module


def _refuse(module: nn.Module, name: str) -> None:
    """Raise UsageError for a module that cannot be fitted, before it is called."""
    if not (_has(module, "score") or _has(module, "energy")):
        raise UsageError(f"the model '{name}' has no score and no energy", "it takes score(x, sigma) or energy(x)")
    if not any(True for _ in module.parameters()):
        raise UsageError(f"the model '{name}' has no parameters to fit")
    for part in module.modules():
        if isinstance(part, CHANGING) and not (isinstance(part, nn.modules.dropout._DropoutNd) and part.p == 0):
            raise UsageError(
                f"the model '{name}' has {type(part).__name__}: it is another function at each pass",
                "GroupNorm and LayerNorm normalise each example by itself",
            )
    integers = [key for key, tensor in module.state_dict().items() if not tensor.is_floating_point()]
    if integers:
        raise UsageError(f"the model '{name}': '{integers[0]}' is not of floats", "register it with persistent=False")


def _fault(model: OwnModel, x: Tensor) -> str | None:
    """Return in words what is wrong with the scores of a model at x; None if nothing is."""
    level: Any = model.level if model.level is not None else torch.full((len(x),), model.noise_range[1]).to(x)
    before = x.clone()
    try:
        psi = model.score(x, level)
        again = model.score(x, level)
        few = model.score(x[:1], level[:1] if isinstance(level, Tensor) else level)
        learns = psi.requires_grad
    except UsageError as error:
        return error.message.removeprefix(f"the model '{model.name}': ")
    if not torch.equal(x, before):
        return "it changes its input"
    if not psi.isfinite().all():
        return "its score has NaN or infinity"
    if not learns:
        return "its score does not depend on its parameters"
    tolerance = MAX_BATCH_DIFFERENCE * (psi.abs().max().item() or 1.0)
    if (again - psi).abs().max() > tolerance:
        return "it gives two scores for the same input"
    if (few - psi[:1]).abs().max() > tolerance:
        return "the score of an example depends on the others in its batch"
    return None


def _has(module: nn.Module, name: str) -> bool:
    return callable(inspect.getattr_static(type(module), name, None))


def _takes_two(method: Callable[..., Any]) -> bool:
    """Return whether a method takes x and sigma."""
    kinds = [p.kind for p in inspect.signature(method).parameters.values()]
    positional = kinds.count(inspect.Parameter.POSITIONAL_ONLY) + kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return positional > 1 or inspect.Parameter.VAR_POSITIONAL in kinds


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Raise UsageError with the name of the module for errors within the context, except those of memory."""
    try:
        yield
    except SmdaeError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UsageError(f"the model '{name}': {type(error).__name__}: {reason_of(error)}") from error
