"""Samples by Langevin steps at decreasing sigma (Song and Ermon 2019), from a network of one's own.

    python examples/langevin.py [--out langevin.png] [--quick]

A small perceptron is fitted to points of two moons at all levels from 0.05 to 3 at once. Samples begin as noise and
take, at each of a falling series of levels s, steps

    x <- x + e/2 s^2 psi(x, s) + root(e) s eps,    eps ~ N(0, I)

At large s the density is one broad hill that every start finds; at small s its parts lie apart, and steps no longer
cross between them: what starts there stays in one.
"""

import argparse

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

import smdae

LOW, HIGH = 0.05, 3.0


class Perceptron(nn.Module):
    """psi(x, s) = (N(x / root(1 + s^2), log s) - x s / (1 + s^2)) / s: for N = 0 that of a Gaussian of variance 1."""

    def __init__(self, hidden: int = 128) -> None:
        super().__init__()
        widths = (nn.Linear(3, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.layers = nn.Sequential(*widths, nn.SiLU(), nn.Linear(hidden, 2))

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Return psi(x, s), with the shape of x, (B, 2); sigma is one level, or (B,)."""
        s = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1).expand(len(x), 1)
        scale = (1 + s.square()).sqrt()
        return (self.layers(torch.cat([x / scale, s.log()], 1)) - x * s / scale.square()) / s


def moons(rows: int, generator: np.random.Generator) -> np.ndarray:
    """Points of two half circles, centred, with shape (rows, 2), float32."""
    angle, upper = generator.uniform(0, np.pi, rows), generator.integers(2, size=rows)
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle)) - 0.5
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle)) - 0.25
    return (1.5 * np.stack([x, y], 1) + 0.05 * generator.standard_normal((rows, 2))).astype(np.float32)


@torch.no_grad()
def langevin(model: nn.Module, x: Tensor, levels: Tensor, steps: int, generator: Generator, e: float = 0.3) -> Tensor:
    """Return x after so many steps at each level in turn, and one to the mean at the last."""
    for s in levels.tolist():
        for _ in range(steps):
            x = x + 0.5 * e * s**2 * model.score(x, s) + e**0.5 * s * torch.randn(x.shape, generator=generator)
    return x + levels[-1] ** 2 * model.score(x, levels[-1].item())


def main(arguments: list[str] | None = None) -> float:
    """Fit, draw, and return the mean distance of samples to the nearest of the points."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="langevin.png")
    parser.add_argument("--quick", action="store_true", help="few steps")
    given = parser.parse_args(arguments)
    rows, steps = (1000, 200) if given.quick else (5000, 4000)
    points = moons(rows, np.random.default_rng(0))
    torch.manual_seed(0)
    model = smdae.fit(points, model=Perceptron(), sigma=(LOW, HIGH), max_steps=steps, batch=512, patience=100)

    count = 4 if given.quick else 20
    levels = torch.from_numpy(np.geomspace(HIGH, LOW, 12)).float()
    chance = Generator().manual_seed(0)
    x = HIGH * torch.randn(1000, 2, generator=chance)
    shown = [("start", x)]
    for i in range(0, 12, 4):
        x = langevin(model, x, levels[i : i + 4], count, chance)
        shown.append((f"s from {levels[i]:.2f} to {levels[i + 3]:.2f}", x))
    alone = HIGH * torch.randn(1000, 2, generator=chance)
    shown.append((f"s = {LOW} alone", langevin(model, alone, levels[-1:], 12 * count, chance)))
    away = torch.cdist(x, torch.from_numpy(points)).amin(1).mean().item()
    print(f"samples are {away:.3f} from the nearest point, on average")

    drawn = Figure(figsize=(15, 3.3), layout="constrained")
    for axes, (title, at) in zip(drawn.subplots(1, len(shown)), shown, strict=True):
        axes.plot(*points[:1000].T, ".", markersize=2, color="#bbbbbb")
        axes.plot(*at.T, ".", markersize=2, color="#D55E00")
        axes.set(xlim=(-4, 4), ylim=(-4, 4), xticks=[], yticks=[])
        axes.set_title(title, loc="left", fontsize=10)
    drawn.savefig(given.out, dpi=100)
    return away


if __name__ == "__main__":
    main()
