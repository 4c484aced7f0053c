"""How the score of a network of the user's own can be differentiated: found out by trying, on two examples.

Forward mode under vmap is fast and takes little memory, but torch.func must be able to transform the network's code. It
cannot if that takes derivatives by torch.autograd, calls functions that have a backward pass alone, or draws numbers.
Reverse mode takes all of these. Neither can see through a `detach` of x: a derivative of 0 where the values change is
refused, as implicit objectives would go wrong without a word.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.func import jvp, vmap

from smdae import divergence
from smdae.errors import UsageError
from smdae.named import foreign_errors, reason_of

__all__ = ["gradient", "reverse_alone"]

STEP = 0.1  # by which x is moved
HINT = "does it detach x? If it has energy(x) instead, the score is taken for you"


def reverse_alone(forwards: divergence.Score, backwards: divergence.Score, x: Tensor, name: str) -> bool:
    """Return whether forward mode fails on a score, which can be differentiated in reverse mode alone.

    Both fields are psi, (B, ...) to (B, ...): the first as torch.func can transform it, the second as torch.autograd
    can differentiate it. They are tried at x, (B, ...).

    Raises:
        UsageError: It cannot be differentiated in either mode, or the derivative is 0 where differences are not.
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
            raise UsageError(f"the model '{name}': the derivative of its score in x is 0", HINT)
    return reverse


def gradient(total: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
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
        return UsageError(f"the model '{name}': its score has no derivative in x: {reason_of(error)}", HINT)

    with foreign_errors(without_derivative), torch.no_grad():
        return divergence.hutchinson(score, x, v[None], reverse=True)[1]
