"""A density of the user's own, module:name: an object with `sample(n)`, or `sample(n, generator)`, and `score(x)`.

The name may also be that of its class, or of a function that makes it.
"""

from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.errors import InputError, UsageError
from smdae.files.table import MAX_NUMBERS
from smdae.named import foreign_errors, imported, reason_of
from smdae.theirs import called


@dataclass(frozen=True, eq=False)
class Target:
    """A density of the user's own, whose samples and scores are checked and converted to float32."""

    name: str  # its name
    density: Any  # an object with `sample(n)` or `sample(n, generator)`, (n, d), and `score(x)`, with the shape of x
    device: torch.device | str = "cpu"  # the device of its samples

    def on(self, device: torch.device | str) -> "Target":
        """Return the same density with its samples on another device."""
        return Target(self.name, self.density, device)

    def sample(self, n: int, generator: Generator | None = None, rows: slice = slice(None)) -> Tensor:
        """Draw n samples, with shape (n, d), and return all or some rows of them.

        Raises:
            InputError: The samples are not a finite tensor of shape (n, d), or too long.
            UsageError: The code of the density failed.
        """
        found = called(self.density.sample, f"'{self.name}.sample'", {"n": n, "generator": generator})
        drawn = self._checked("sample", found, n)
        if drawn.shape[1] > MAX_NUMBERS:
            raise InputError(
                f"'{self.name}': a sample has {drawn.shape[1]:,} numbers, and at most {MAX_NUMBERS:,} are allowed"
            )
        return drawn[rows]

    def score(self, x: Tensor) -> Tensor:
        """Return grad log q(x), with shape (B, d).

        Raises:
            InputError: The score is not a finite tensor with the shape of x.
            UsageError: The code of the density failed.
        """
        found = self._checked("score", called(self.density.score, f"'{self.name}.score'", {"x": x}), len(x))
        if found.shape != x.shape:
            raise InputError(
                f"'{self.name}': score of x with shape {tuple(x.shape)} has shape {tuple(found.shape)}",
                "it is grad log q(x), with the shape of x",
            )
        return found

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q(x), with shape (B,), for a density that has `log_prob`; UsageError if that function failed."""
        found: Tensor = called(self.density.log_prob, f"'{self.name}.log_prob'", {"x": x})
        return found

    def _checked(self, what: str, value: Any, n: int) -> Tensor:
        if not isinstance(value, Tensor) or value.ndim != 2 or len(value) != n:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"'{self.name}': {what} gives {shape}, not a tensor with shape ({n}, d)")
        if not value.isfinite().all():
            raise InputError(f"'{self.name}': {what} gives numbers that are not finite")
        return value.detach().to(self.device, torch.float32)


def load(text: str) -> Target:
    """Return the density that `text` names, module:name; modules of the working folder are found too.

    UsageError if there is no such module or name, if making the density fails, or if it has no `sample` or `score`.
    """
    density = imported(text, "--target")
    if isinstance(density, type | FunctionType):
        with foreign_errors(lambda error: UsageError(f"--target: cannot make '{text}': {reason_of(error)}")):
            density = density()
    lacking = [need for need in ("sample", "score") if not callable(getattr(density, need, None))]
    if lacking:
        raise UsageError(f"--target: '{text}' has no {' and no '.join(lacking)}", "give an object that has both")
    return Target(text, density)
