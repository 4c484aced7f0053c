"""Calls into classes that users wrote: with the arguments that they declare, and with errors that name their code.

A target may be `sample(n)` or `sample(n, generator)`, a score model `score(x)`, `score(x, sigma)` or
`score(x, *, sigma)`: what is offered and not declared is left out. Whatever their code raises is a `UsageError` that
names the class, the function, the line and the reason; memory that runs out, and our own errors, stay what they are.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smdae.errors import UsageError
from smdae.files.bundle import Identity
from smdae.named import foreign_errors

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def called(function: Callable[..., Any], name: str, offered: Mapping[str, Any], needed: int = 1) -> Any:
    """Call a function that someone else wrote, and return its result.

    Args:
        function: What to call.
        name: What messages call it.
        offered: Arguments in order, by the names that they usually have.
        needed: How many of them go to its first parameters, whatever these are called.

    Raises:
        UsageError: It takes fewer than are needed, or it fails.
    """

    def failed(error: Exception) -> UsageError:
        return UsageError(f"{name} failed: {_reason(error)}", "this is in your own code; --debug shows all of it")

    values = list(offered.values())
    try:
        positional, named = _declared(function, list(offered), needed)
    except ValueError:  # a function in C has no signature
        positional, named = len(values), []
    if positional < needed:
        raise UsageError(f"{name} takes {positional} arguments, and is called with {needed}")
    with foreign_errors(failed):
        return function(*values[:positional], **{one: offered[one] for one in named})


def _declared(function: Callable[..., Any], names: list[str], needed: int) -> tuple[int, list[str]]:
    """Return how many of the arguments a function takes by position, and the names of others that it takes by name."""
    parameters = list(signature(function).parameters.values())
    kinds = {parameter.kind for parameter in parameters}
    if Parameter.VAR_POSITIONAL in kinds:
        return len(names), []
    places = [parameter for parameter in parameters if parameter.kind in POSITIONAL]
    taken = min(len(places), len(names))
    # Beyond the needed ones a parameter of another name, such as `steps=10`, is not for what is offered there.
    while taken > needed and places[taken - 1].name != names[taken - 1] and _is_optional_of_another(places[taken - 1]):
        taken -= 1
    known = {parameter.name for parameter in parameters if parameter.kind is not Parameter.POSITIONAL_ONLY}
    known -= {place.name for place in places[:taken]}
    return taken, [name for name in names[taken:] if Parameter.VAR_KEYWORD in kinds or name in known]


def _is_optional_of_another(parameter: Parameter) -> bool:
    """Return whether a parameter has a value of its own that cannot stand for a level or a generator."""
    return parameter.default not in (Parameter.empty, None)


def _reason(error: Exception) -> str:
    """Return the kind of an error, its first line, and where it arose."""
    text = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}{f': {text:.200}' if text else ''}{place}"


def is_theirs(model: Any) -> bool:
    """Return whether neither the class of a model nor one that it is derived from is smdae's."""
    return all(kind.__module__.partition(".")[0] != "smdae" for kind in type(model).__mro__)


class TheirModel:
    """A score model of someone else's, whose `score` is called with what it declares; all else is the model's own.

    Args:
        model: An object with `score(x)` or `score(x, sigma)`.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def parameters(self) -> Iterator[Tensor]:
        """Return an iterator over the parameters and buffers of a torch module; over one 0 on the CPU if it has none.

        So the first tells the device. Any other object has none.
        """
        is_module = isinstance(self.model, torch.nn.Module)
        own = (*self.model.parameters(), *self.model.buffers()) if is_module else ()
        return iter(own or (torch.zeros(()),))

    def score(self, x: Tensor, sigma: Any = None) -> Tensor:
        """Return grad log p(x), with the shape of x.

        Raises:
            UsageError: Their code failed, or its answer has another shape.
        """
        name = f"'{type(self.model).__name__}.score'"
        found = called(self.model.score, name, {"x": x.clone(), "sigma": sigma})  # they may change it
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        if shape != tuple(x.shape):
            raise UsageError(f"{name} of x with shape {tuple(x.shape)} gives {shape}, and must have the shape of x")
        result: Tensor = found
        return result

    @property
    def identity(self) -> Identity:
        """Return which model it is: that of its class."""
        return Identity(type(self.model).__name__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)
