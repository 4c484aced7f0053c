"""The clean intensity behind counted photons, from counts alone: Noise2Score (Kim and Ye 2021) in one dimension.

    python examples/counts.py [--out counts.png] [--quick]

A detector counts y ~ Poisson(x) photons of intensities x that are never seen. Tweedie's formula for counts is

    E[x | y] = (y + 1) q(y + 1) / q(y) = (y + 1) exp(log q(y + 1) - log q(y)),  about  (y + 1) exp(s(y + 1/2))

with s the score of the density of the counts. A small network is fitted to them by denoising score matching with a
little noise of its own, level 1, or 2 where counts are few: no clean intensity is needed. Here intensities are a
mixture of two gamma densities, so E[x | y] is known.
"""

import argparse

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor, nn

import smdae

SHAPES, SCALES, WEIGHTS = np.array([12.0, 60.0]), np.array([1.0, 0.8]), np.array([0.6, 0.4])


class Score(nn.Module):
    """The score of counts as a smooth function of one number, and where it has seen nothing that of a wide Gaussian."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.out = nn.Linear(hidden, 1)

    def score(self, y: Tensor, sigma: float) -> Tensor:
        """Return grad log q(y), with the shape of y, (B, 1)."""
        u = (y - 30) / 10
        return (self.out(self.layers(u)) - u) / 5  # a fifth, as counts vary by about five


def exact(y: np.ndarray) -> np.ndarray:
    """E[x | y]: each part's (y + a) s/(1 + s), weighted by its negative binomial density of y."""
    parts = WEIGHTS[:, None] * stats.nbinom.pmf(y, SHAPES[:, None], 1 / (1 + SCALES[:, None]))
    means = (y + SHAPES[:, None]) * (SCALES / (1 + SCALES))[:, None]
    return (parts * means).sum(0) / parts.sum(0)


def main(arguments: list[str] | None = None) -> tuple[float, float]:
    """Fit, draw, and return the mean squared errors of the estimate and of the exact posterior mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="counts.png")
    parser.add_argument("--quick", action="store_true", help="few counts and steps")
    given = parser.parse_args(arguments)
    count, steps, sigma = (2000, 400, 2.0) if given.quick else (50_000, 1500, 1.0)  # few counts want more smoothing
    torch.manual_seed(0)  # of the weights at the start
    chance = np.random.default_rng(0)
    part = chance.choice(2, size=count, p=WEIGHTS)
    x = chance.gamma(SHAPES[part], SCALES[part])
    y = chance.poisson(x)
    rows = y[:, None].astype(np.float32)
    model = smdae.fit(rows, model=Score(), sigma=sigma, batch=512, max_steps=steps, lr=0.01, patience=100)

    def estimate(y: np.ndarray) -> np.ndarray:
        between = torch.from_numpy(y + 0.5).float()[:, None]
        return (y + 1) * np.exp(model.score(between)[:, 0].numpy())

    errors = [float(np.mean((of - x) ** 2)) for of in (y, estimate(y), exact(y))]
    print("squared error: {:.2f} of the counts, {:.2f} of the estimate, {:.2f} of E[x | y]".format(*errors))

    drawn = Figure(figsize=(10, 3.8), layout="constrained")
    density, mean = drawn.subplots(1, 2)
    density.hist(y, bins=np.arange(y.max() + 2) - 0.5, density=True, color="#56B4E9")
    density.set_title("counts", loc="left")
    density.set(xlabel="y", ylabel="share")
    seen = np.arange(int(np.quantile(y, 0.001)), int(np.quantile(y, 0.999)))  # whole counts alone have a probability
    mean.plot(seen, seen, ":", color="#666666", label="y itself")
    mean.plot(seen, exact(seen), color="#000000", linewidth=4, alpha=0.3, label="E[x | y], exact")
    mean.plot(seen, estimate(seen), color="#D55E00", label="from the score of the counts")
    mean.set_title(f"intensities: error {errors[1]:.1f}, least {errors[2]:.1f}, of counts {errors[0]:.1f}", loc="left")
    mean.set(xlabel="y", ylabel="x")
    mean.legend(frameon=False)
    drawn.savefig(given.out, dpi=100)
    return errors[1], errors[2]


if __name__ == "__main__":
    main()
