"""The table of optimisers.

    adamw    Adam with decoupled weight decay                             (Loshchilov and Hutter 2019)
    muon     kernels move by the nearest orthogonal matrix to their averaged gradient     (Jordan et al. 2024)

Muon takes a kernel with shape (out, in, h, w) as the matrix of its rows, (out, in h w), averages its gradient,
m <- 0.95 m + 0.05 g, looks ahead, u = 0.05 g + 0.95 m, and replaces the singular values of u by about one: five steps
of X <- (a + b X X' + c (X X')^2) X from u / |u|. So all directions of a layer learn at the same pace,
while that of Adam is limited by the directions of largest gradient: the small network's held-out PSNR after 1,600 steps
is 0.2 to 0.3 dB higher. The first and the last layer, whose rows are pixels rather than features, are moved by Adam at
a tenth of the learning rate.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.99)  # of Adam in Muon's edges
MOMENTUM = 0.95
EDGE_RATE = 0.1  # Adam's learning rate beside Muon's
STEPS = 5  # of the iteration
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # a, b, c; singular values end between 0.7 and 1.2


def orthogonal(matrices: Tensor) -> Tensor:
    """Return approximately U V' for each matrix U S V', (n, rows, columns), by Newton-Schulz iteration."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    # Each X is Q X_0 with Q a polynomial of X_0 X_0', so only the small matrices X X' are iterated.
    gram = x @ x.mT
    identity = torch.eye(gram.shape[1], dtype=x.dtype, device=x.device)
    total = identity
    for step in range(STEPS):
        q = torch.baddbmm(a * identity + b * gram, gram, gram, alpha=c)
        total = q @ total if step else q
        if step < STEPS - 1:
            gram = q @ gram @ q
    x = total @ x
    found: Tensor = x.mT if tall else x
    return found


class Muon(torch.optim.Optimizer):
    """Muon for the kernels of a network, Adam for its other parameters.

    Args:
        kernels: Parameters of two dimensions or more, taken as matrices of a row for each index of the first.
        edges: The others, such as the first and the last layer: moved by Adam, at a tenth of the learning rate.
        lr: Learning rate: about the change of each kernel's singular values in a step.
    """

    def __init__(self, kernels: Iterable[Tensor], edges: Iterable[Tensor], lr: float) -> None:
        super().__init__([{"params": list(kernels)}, {"params": list(edges)}], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient; `closure` is not called."""
        kernels, edges = self.param_groups
        by_shape: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
        for kernel in kernels["params"]:
            if kernel.grad is not None:
                by_shape[len(kernel), kernel[0].numel()].append(kernel)
        for group in by_shape.values():
            _muon_step(group, [self._slots(k, "average")["average"] for k in group], kernels["lr"])
        for edge in edges["params"]:
            if edge.grad is not None:
                _adam(edge, edge.grad, self._slots(edge, "first", "second", "count"), EDGE_RATE * edges["lr"])

    def _slots(self, parameter: Tensor, *names: str) -> dict[str, Tensor]:
        slots: dict[str, Tensor] = self.state[parameter]
        for name in names:
            if name not in slots:
                slots[name] = torch.zeros_like(parameter) if name != "count" else parameter.new_zeros(())
        return slots


def _muon_step(kernels: list[Tensor], averages: list[Tensor], lr: float | Tensor) -> None:
    """Take Muon's step on kernels of one shape, all in one batched product."""
    rows, columns = len(kernels[0]), kernels[0][0].numel()
    gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
    torch._foreach_lerp_(averages, gradients, 1 - MOMENTUM)
    ahead = torch._foreach_lerp(gradients, averages, MOMENTUM)
    moves = orthogonal(torch.stack([u.reshape(rows, columns) for u in ahead]))
    moves *= lr * max(1, rows / columns) ** 0.5
    torch._foreach_sub_(kernels, [move.reshape(kernels[0].shape) for move in moves])


def _adam(parameter: Tensor, gradient: Tensor, slots: dict[str, Tensor], lr: float | Tensor) -> None:
    """Take a step of Adam on one parameter."""
    first, second, count = slots["first"], slots["second"], slots["count"]
    count += 1
    first.lerp_(gradient, 1 - BETAS[0])
    second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    if isinstance(lr, Tensor):  # in a CUDA graph, where no number may be read from the device
        scale = (second / (1 - BETAS[1] ** count)).sqrt_().add_(1e-8)
        parameter -= first / scale * (lr / (1 - BETAS[0] ** count))
        return
    t = count.item()
    scale = (second / (1 - BETAS[1] ** t)).sqrt_().add_(1e-8)
    parameter.addcdiv_(first, scale, value=-lr / (1 - BETAS[0] ** t))


def adamw(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return AdamW over all parameters of a model."""
    parameters = [*model.parameters()]
    recordable = all(p.is_cuda for p in parameters)
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=True, capturable=recordable)


def muon(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return Muon over the inner kernels of a network, with Adam on all other parameters; no weights decay."""
    parameters = list(model.parameters())
    inner = {id(p) for p in parameters[1:-1] if p.ndim >= 2}
    kernels, edges = ([p for p in parameters if (id(p) in inner) == is_inner] for is_inner in (True, False))
    return Muon(kernels, edges, lr)


OPTIMISERS: dict[str, Callable[[nn.Module, float, float], torch.optim.Optimizer]] = {"adamw": adamw, "muon": muon}
