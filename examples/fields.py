"""A density of two dimensions, and its score as each objective finds it.

    python examples/fields.py [--out fields.png] [--quick]

A thousand points of a ring. The energy of the paper is fitted to them by every objective, and its score, all arrows, is
shown over its density, beside the true ones of the ring smoothed by sigma. `ism` and `ism-reg` fit the points as they
are; but such an energy is a mixture of Gaussians as wide as sigma, so theirs can be no narrower than the others.
"""

import argparse

import numpy as np
import torch
from matplotlib.figure import Figure

import smdae
from smdae.densities import GaussianMixture
from smdae.objectives import OBJECTIVES

SIGMA, REACH = 0.5, 4.0


def ring(rows: int, seed: int = 0) -> np.ndarray:
    """Points around a circle of radius 2.5, with shape (rows, 2), float32."""
    chance = np.random.default_rng(seed)
    angle = chance.uniform(0, 2 * np.pi, rows)
    radius = 2.5 + 0.2 * chance.standard_normal(rows)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32)


def truth(sigma: float, parts: int = 90) -> GaussianMixture:
    """Return the ring smoothed by sigma, as a mixture around the circle."""
    angle = torch.arange(parts, dtype=torch.float64) * 2 * torch.pi / parts
    out = torch.stack([angle.cos(), angle.sin()], 1)
    radial = out[:, :, None] * out[:, None]
    spread = (
        sigma**2 * torch.eye(2, dtype=torch.float64)
        + 0.2**2 * radial
        + (2.5 * torch.pi / parts) ** 2 / 3 * (torch.eye(2, dtype=torch.float64) - radial)
    )
    return GaussianMixture(torch.ones(parts, dtype=torch.float64), 2.5 * out, spread)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Fit, draw, and return the Fisher divergence of each objective as a share of E|grad log q_sigma|^2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="fields.png")
    parser.add_argument("--quick", action="store_true", help="three objectives, and few steps")
    given = parser.parse_args(arguments)
    names = ("dsm", "ism-parzen", "ism") if given.quick else tuple(OBJECTIVES)
    steps = 500 if given.quick else 2000
    settings = {"hidden": 64, "batch": 256, "max_steps": steps, "patience": 100, "parzen_patches": 1000}
    q, rows = truth(SIGMA), ring(1000)
    models = {name: smdae.fit(rows, name, sigma=SIGMA, **settings) for name in names}

    y = q.sample(2000, torch.Generator().manual_seed(1))
    true = q.score(y)
    shares = {
        name: ((model.score(y.float()) - true).square().sum() / true.square().sum()).item()
        for name, model in models.items()
    }
    for name, share in shares.items():
        print(f"{name:11} {100 * share:6.2f} % of E|grad log q_sigma|^2")

    grid = torch.linspace(-REACH, REACH, 81)
    fine = torch.cartesian_prod(grid, grid)
    few = torch.cartesian_prod(*[torch.linspace(-REACH, REACH, 17)] * 2)
    panels = {"q_sigma": (q.log_prob(fine.double()), q.score(few.double()))}
    panels |= {name: (-m.patch.energy(fine), m.score(few)) for name, m in models.items()}
    across = min(4, len(panels))
    down = -(-len(panels) // across)
    drawn = Figure(figsize=(3.2 * across, 3.4 * down), layout="constrained")
    for axes, (name, (log, arrows)) in zip(
        drawn.subplots(down, across, squeeze=False).flat, panels.items(), strict=False
    ):
        density = (log - log.max()).exp().reshape(81, 81).T
        axes.imshow(density, extent=(-REACH, REACH, -REACH, REACH), origin="lower", cmap="Blues")
        axes.quiver(*few.T, *arrows.T.float(), scale=60, width=0.004, color="#444444")
        axes.set_title(
            name if name not in shares else f"{name}, {100 * shares[name]:.1f} % away", loc="left", fontsize=10
        )
    for axes in drawn.axes:
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(bool(axes.images))
    drawn.savefig(given.out, dpi=100)
    return shares


if __name__ == "__main__":
    main()
