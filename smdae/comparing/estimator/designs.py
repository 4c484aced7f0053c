"""Ways to draw the noise of a batch, and control variates of `dsm`: equal gradients on average, other variance.

Every design shows m examples (x, x + sigma eps) with eps ~ N(0, I) for each; they differ in what examples share.

    independent   m patches, m noises
    paired        m patches, m/2 noises with both signs, on different patches: what a fit draws
    antithetic    m/2 patches, one noise each, with both signs on the same patch
    frames        m/2r patches, r noises each in orthogonal directions, with both signs

Lengths in a frame are drawn apart from the directions, |eps_i|^2 ~ chi^2_d, so that each eps_i by itself is normal.

A control is a number an example whose expectation is 0 at every theta, with eps as in x~ = x + sigma eps:

    control   <eps, psi(x)> / sigma                          given x, psi(x) is fixed and E eps = 0
    stein     <eps, psi(x~)> / sigma - tr(d psi/dx)(x~)      given x, by parts: E <eps, f(eps)> = E tr(df/deps)

So J_DSM - w C has the gradient of J_DSM on average for any weight w. Its variance is least at
w = tr Cov(grad J_DSM, grad C) / tr Var(grad C). With C = stein, w = 1 is `ism-parzen` at the same draws, but for what
is free of theta, w = 0 is `dsm`, and the best w is at least as good as both. With C = control, w = 1 takes out of J_DSM
what is linear in eps (Wang et al. 2020), for one more evaluation, psi(x). `antithetic` takes out all that is odd in eps
for as many: any odd control adds up to 0 over eps and -eps, and can do nothing that these two do not do by themselves.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.divergence import score_and_divergence
from smdae.fitting.draws import antithetic_noise

FRAME = 4  # directions of a frame, r

# Of m clean patches, (m, d): as many examples, clean patches and noise, each with shape (m, d).
Design = Callable[[Tensor, Generator], tuple[Tensor, Tensor]]
# Of a model, the level that it takes, clean patches, noise and its level: a number for each example, with shape (m,).
Control = Callable[[Any, float, Tensor, Tensor, float], Tensor]


def _normal(like: Tensor, generator: Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def independent(clean: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return m patches and independent standard normal noise for each, both with shape (m, d)."""
    return clean, _normal(clean, generator)


def paired(clean: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return m patches and noise, both (m, d): normal for the first half, the opposite of that for the second half."""
    return clean, antithetic_noise(clean, generator)


def antithetic(clean: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return the first half of m patches twice, and normal noise for the first time, its opposite for the second."""
    first = clean[: -(-len(clean) // 2)]
    return first.repeat(2, 1)[: len(clean)], antithetic_noise(clean, generator)


def frames(clean: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return patches, one repeated for each frame, and r orthogonal noises of the frame and their opposites, (m, d)."""
    m, d = clean.shape
    r = min(FRAME, d)
    first = clean[: -(-m // (2 * r))]
    directions, upper = torch.linalg.qr(_normal(first[:, :, None].expand(-1, -1, r), generator))  # (groups, d, r)
    signs = upper.diagonal(dim1=1, dim2=2).sign()  # without them a first column would be one half of the sphere
    lengths = _normal(first[:, :, None].expand(-1, -1, r), generator).norm(dim=1)  # (groups, r)
    noise = (directions * (signs * lengths)[:, None]).mT  # (groups, r, d)
    noise = torch.cat([noise, -noise], 1).flatten(0, 1)
    return first.repeat_interleave(2 * r, 0)[:m], noise[:m]


def control(model: Any, level: float, clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Return <eps, psi(x)> / sigma, with shape (m,)."""
    found: Tensor = (noise * model.score(clean, sigma=level)).sum(1) / sigma
    return found


def stein(model: Any, level: float, clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Return <eps, psi(x~)> / sigma - tr(d psi/dx)(x~), with shape (m,)."""
    psi, divergence = score_and_divergence(model, clean + sigma * noise, level)
    return (noise * psi).sum(1) / sigma - divergence


DESIGNS: dict[str, Design] = {
    "independent": independent,
    "paired": paired,
    "antithetic": antithetic,
    "frames": frames,
}
CONTROLS: dict[str, Control] = {"control": control, "stein": stein}
