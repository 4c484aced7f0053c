"""The principal components of the posterior: the directions along which the clean image varies most, given the noisy.

They are the eigenvectors of the posterior covariance sigma^2 J, J = dD/dy (see `uncertainty`), with the largest
eigenvalues, found by subspace iteration with products J v (Manor and Michaeli 2024).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.denoising.task import Task
from smdae.denoising.tiles import Tiled, side_for
from smdae.denoising.uncertainty import STEP
from smdae.errors import UsageError
from smdae.progress import Watch

ROUNDS = 12  # of subspace iteration
SEED = 0


@dataclass(frozen=True, eq=False)
class PrincipalComponent:
    """A principal component of the posterior covariance.

    Attributes:
        direction: A vector of norm 1, with shape (H, W, C).
        deviation: The posterior standard deviation along it, white being 1.
    """

    direction: np.ndarray
    deviation: float


def principal_components(
    task: Task, count: int, device: torch.device | str = "cpu", watch: Watch = lambda done, of: None
) -> list[PrincipalComponent]:
    """Return the first principal components of the posterior covariance, each with its deviation, the largest first.

    Args:
        task: The task that was carried out; all channels of its image have noise.
        count: Number of components.
        device: The device of the model.
        watch: Called with the number of products done, and with their total.

    Raises:
        UsageError: `count` is less than 1, or more than the numbers in the image.
    """
    if not 1 <= count <= task.pixels.size:
        raise UsageError(
            f"an image of {task.pixels.size} numbers has at most that many principal components, not {count}"
        )
    where = torch.device(device)
    noisy = task.noisy((slice(None), slice(None)), torch.device("cpu"))
    model = Tiled(task.model, side_for(task.model, where), where)
    levels = torch.tensor(task.channel_levels)[None, :, None, None]
    generator = Generator().manual_seed(SEED)
    basis = _orthonormal(torch.randn(count, noisy.numel(), generator=generator))
    done = 0

    def covariance_product(v: Tensor) -> Tensor:
        """Return Cov v, by central differences."""
        direction = v.reshape(noisy.shape)
        e = STEP * levels / direction.abs().amax()
        upper, lower = (task.mean(noisy + sign * e * direction, model) for sign in (1, -1))
        return ((upper - lower) / (2 * e) * levels.square()).flatten()

    with torch.inference_mode():
        for _ in range(ROUNDS):
            products = []
            for v in basis:
                products.append(covariance_product(v))
                done += 1
                watch(done, ROUNDS * count)
            image = torch.stack(products)
            small = basis @ image.T
            basis = _orthonormal(image)
        values, turn = torch.linalg.eigh((small + small.T) / 2)
        # `small` and `image` are both of the basis before the last orthonormalisation, so they belong together.
        order = values.argsort(descending=True)
        directions = _orthonormal((turn.T @ image)[order])
    return [
        PrincipalComponent(v.reshape(noisy.shape)[0].permute(1, 2, 0).numpy(), float(max(value, 0.0)) ** 0.5)
        for v, value in zip(directions, values[order].tolist(), strict=True)
    ]


def _orthonormal(rows: Tensor) -> Tensor:
    """Return an orthonormal basis, (K, n), of the span of rows, (K, n)."""
    found: Tensor = torch.linalg.qr(rows.T)[0].T
    return found


def ends_of(
    task: Task, mean: np.ndarray, component: PrincipalComponent, deviations: float = 2.0
) -> Iterator[np.ndarray]:
    """Yield the mean moved by -deviations, then by +deviations, standard deviations along a component.

    Both have the shape of the mean and the dtype of the task's image; integers are clipped to [0, white].
    """
    planes = np.atleast_3d(mean).astype(np.float32)
    for sign in (-1, 1):
        moved = planes + sign * deviations * component.deviation * task.white * component.direction
        if task.is_integer:
            moved = np.rint(moved.clip(0, task.white))
        yield moved.astype(task.pixels.dtype).reshape(mean.shape)
