"""Make a network of the user's own, and check it before a fit.

Shapes, finite values, whether it leaves its input unchanged, is deterministic, and whether the score of an example is
independent of the others in its batch. An error in its code is reported in one line that names it.
"""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from smdae.errors import UsageError
from smdae.models.own import OwnModel, has_method, named_errors
from smdae.named import foreign_errors, imported, is_named, reason_of

EXAMPLES = 4  # on which a module is checked
MAX_BATCH_DIFFERENCE = 1e-3  # relative difference of a score in a batch and alone
CHANGING = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


def name_of(module: nn.Module) -> str:
    """Return the name of a module, module:name, by its class."""
    return f"{type(module).__module__}:{type(module).__name__}"


def made_by(maker: Callable[[], Any], seed: int) -> tuple[nn.Module, str]:
    """Return the module that a class or a function of the user's own makes, and the name that it has in a file.

    The name, module:name, is that of the maker, or of the module's class if the maker has none, such as a lambda.
    Random numbers that the maker draws from torch follow from `seed`. It raises UsageError if it fails, or makes no
    module.
    """
    own = inspect.isclass(maker) or inspect.isfunction(maker)
    name = f"{maker.__module__}:{maker.__qualname__}" if own else type(maker).__name__
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _module(maker, name, {})
    return module, name if own and is_named(name) else name_of(module)


def made(
    named: str | nn.Module,
    channels: int,
    size: int,
    levels: tuple[float, float],
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> OwnModel:
    """Return the model of a module of the user's own; UsageError if it cannot be made, or is not a score model.

    The module is given, and copied, or module:name of it, of its class, or of a function that makes it. Shape and
    levels are those of `OwnModel`; its initial weights and the examples on which it is checked follow from the seed.
    """
    name = named if isinstance(named, str) else name_of(named)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _module(imported(named, "--model"), name, {}) if isinstance(named, str) else copy.deepcopy(named)
    _refuse(module, name)
    with named_errors(name):
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
    """Return the model that `OwnModel.settings` describes, with new weights in place of the fitted ones.

    It raises UsageError if the module cannot be imported, or fails.
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
        raise UsageError(f"'{name}' is not a torch module, nor makes one")
    with foreign_errors(lambda error: UsageError(f"cannot make '{name}': {reason_of(error)}")):
        module = found(**arguments)
    if not isinstance(module, nn.Module):
        raise UsageError(f"'{name}' makes an object of type {type(module).__name__}, not a torch module")
    return module


def _refuse(module: nn.Module, name: str) -> None:
    """Raise UsageError for a module that cannot be fitted, before it is called."""
    if not (has_method(module, "score") or has_method(module, "energy")):
        raise UsageError(f"the model '{name}' has no score and no energy", "it takes score(x, sigma) or energy(x)")
    if not any(True for _ in module.parameters()):
        raise UsageError(f"the model '{name}' has no parameters to fit")
    for part in module.modules():
        if isinstance(part, CHANGING) and not (isinstance(part, nn.modules.dropout._DropoutNd) and part.p == 0):
            raise UsageError(
                f"the model '{name}' has {type(part).__name__}: it gives another result at each pass",
                "GroupNorm and LayerNorm normalise each example by itself",
            )
    integers = [key for key, tensor in module.state_dict().items() if not tensor.is_floating_point()]
    if integers:
        raise UsageError(
            f"the model '{name}': '{integers[0]}' does not hold floats", "register it with persistent=False"
        )


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
