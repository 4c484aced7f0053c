"""Densities: scores against autograd, samples against moments, the Parzen score against its definition."""

import math

import numpy as np
import pytest
import torch
from skimage import data
from torch import Generator, Tensor

from smdae.comparing.profiling import peak_bytes
from smdae.densities import Gaussian, GaussianMixture, Parzen


def patches_of_a_photograph(n: int, size: int = 8) -> Tensor:
    """Bright, low-contrast patches, (n, size^2), float64, white being 1."""
    picture = data.camera().astype(np.float64) / 255
    rng = np.random.default_rng(0)
    rows, columns = (rng.integers(0, side - size, n) for side in picture.shape)
    windows = np.lib.stride_tricks.sliding_window_view(picture, (size, size))
    return torch.from_numpy(0.75 + 0.02 * windows[rows, columns].reshape(n, -1))


def mixture(dim: int = 3) -> GaussianMixture:
    generator = Generator().manual_seed(1)
    roots = torch.randn(4, dim, dim, generator=generator, dtype=torch.float64)
    covariances = roots @ roots.mT + 0.3 * torch.eye(dim, dtype=torch.float64)
    means = 2 * torch.randn(4, dim, generator=generator, dtype=torch.float64)
    return GaussianMixture(torch.tensor([1.0, 2.0, 3.0, 2.0], dtype=torch.float64), means, covariances)


def gaussian() -> Gaussian:
    part = mixture()
    return Gaussian(part.means[0], part.covariances[0])


def parzen() -> Parzen:
    generator = Generator().manual_seed(2)
    return Parzen(5 + torch.randn(40, 3, generator=generator, dtype=torch.float64), 0.7)


@pytest.mark.parametrize("make", [gaussian, mixture, parzen])
def test_score_is_the_gradient_of_the_log_density(make):
    density = make()
    x = density.sample(20, Generator().manual_seed(3)).requires_grad_()
    (gradient,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    torch.testing.assert_close(density.score(x), gradient, rtol=0, atol=1e-10)


def test_log_densities_agree_with_scipy():
    from scipy.special import logsumexp
    from scipy.stats import multivariate_normal

    q = mixture()
    x = q.sample(10, Generator().manual_seed(0))
    logs = [
        math.log(w) + multivariate_normal(m, c).logpdf(x)
        for w, m, c in zip(q.weights.tolist(), q.means.numpy(), q.covariances.numpy(), strict=True)
    ]
    torch.testing.assert_close(q.log_prob(x), torch.from_numpy(logsumexp(logs, axis=0)), rtol=1e-12, atol=1e-12)
    p = parzen()
    x = p.sample(10, Generator().manual_seed(0))
    logs = [multivariate_normal(m, 0.7**2).logpdf(x) - math.log(40) for m in p.patches.numpy()]
    torch.testing.assert_close(p.log_prob(x), torch.from_numpy(logsumexp(logs, axis=0)), rtol=1e-12, atol=1e-12)


def test_blocks_of_the_log_density_do_not_change_it():
    density = parzen()
    x = density.sample(5, Generator().manual_seed(0))
    torch.testing.assert_close(density.log_prob(x, block=7), density.log_prob(x), rtol=1e-13, atol=0)


@pytest.mark.parametrize("make", [gaussian, mixture])
def test_samples_have_the_moments_of_the_density(make):
    density = make()
    x = density.sample(200_000, Generator().manual_seed(0))
    part = density if isinstance(density, GaussianMixture) else density._mixture
    mean = part.weights @ part.means
    shift = part.means - mean
    covariance = torch.einsum("k,kij->ij", part.weights, part.covariances + shift[:, :, None] * shift[:, None])
    error = (covariance.diagonal() / len(x)).sqrt()
    assert ((x.mean(0) - mean).abs() < 5 * error).all()
    torch.testing.assert_close(torch.cov(x.T), covariance, rtol=0.05, atol=0.1)


def test_smoothing_adds_the_noise_to_the_covariance():
    q = mixture().smoothed(0.5)
    torch.testing.assert_close(q.covariances, mixture().covariances + 0.25 * torch.eye(3, dtype=torch.float64))
    assert torch.equal(gaussian().smoothed(0.5).covariance, gaussian().covariance + 0.25 * torch.eye(3).double())


def test_em_raises_the_likelihood_and_finds_separate_clusters():
    x = mixture().sample(4000, Generator().manual_seed(5))
    likelihoods = [
        GaussianMixture.fit(x, 4, steps=steps, generator=Generator().manual_seed(0)).log_prob(x).mean().item()
        for steps in (1, 5, 60)
    ]
    assert likelihoods[0] < likelihoods[1] < likelihoods[2]
    assert likelihoods[2] > mixture().log_prob(x).mean().item() - 0.05


def test_one_component_is_the_gaussian_of_the_examples():
    x = mixture().sample(500, Generator().manual_seed(5))
    q = Gaussian.fit(x, floor=0.0)
    torch.testing.assert_close(q.mean, x.mean(0))
    torch.testing.assert_close(q.covariance, torch.cov(x.T, correction=0))


def test_mixture_refuses_fewer_examples_than_components():
    with pytest.raises(ValueError, match="5 components need more than 5 examples"):
        GaussianMixture.fit(torch.randn(5, 2), 5)


def test_parzen_score_keeps_its_digits_in_float32_on_bright_patches():
    patches = patches_of_a_photograph(2000)
    exact = Parzen(patches, 0.02)
    x = exact.sample(100, Generator().manual_seed(0))
    single = Parzen(patches.float(), 0.02).score(x.float()).double()
    # The score is of the order of 1/sigma = 50; without centring the error is above 0.1.
    assert (single - exact.score(x)).abs().max() < 2e-2
    naive = torch.softmax(x.float() @ patches.float().T / 0.02**2 - patches.float().square().sum(1) / (2 * 0.02**2), 1)
    uncentred = (naive @ patches.float() - x.float()).double() / 0.02**2
    assert (uncentred - exact.score(x)).abs().max() > 10 * (single - exact.score(x)).abs().max()


def test_posterior_mean_of_two_points_is_a_tanh():
    point = torch.tensor([[1.5], [-1.5]], dtype=torch.float64)
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
    expected = 1.5 * torch.tanh(1.5 * x / 0.8**2)
    torch.testing.assert_close(Parzen(point, 0.8).posterior_mean(x), expected, rtol=0, atol=1e-12)


def test_pairs_are_a_patch_and_the_patch_with_noise():
    density = parzen()
    clean, noisy = density.pairs(50_000, Generator().manual_seed(0))
    assert (torch.cdist(clean[:100], density.patches).min(1).values < 1e-6).all()
    noise = noisy - clean
    assert abs(noise.std().item() - 0.7) < 0.01
    assert noise.mean().abs() < 0.02


def test_same_generator_same_samples():
    for density in (gaussian(), mixture(), parzen()):
        first, second = (density.sample(3, Generator().manual_seed(9)) for _ in range(2))
        assert torch.equal(first, second)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_parzen_refuses_a_width_that_is_none(sigma):
    with pytest.raises(ValueError, match="positive number"):
        Parzen(torch.zeros(3, 2), sigma)


def test_parzen_score_holds_no_table_of_queries_by_patches():
    import resource

    patches = torch.randn(60_000, 48, generator=Generator().manual_seed(0))
    density = Parzen(patches, 1.0)
    x = torch.randn(4096, 48, generator=Generator().manual_seed(1))
    density.score(x[:8])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    density.score(x)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < len(patches) * len(x) * 4 / 10  # a tenth of the 983 MB that the table would take


def test_samples_of_a_mixture_hold_no_factor_for_each():
    d = 40
    density = GaussianMixture(torch.ones(3), torch.zeros(3, d), torch.eye(d).expand(3, d, d))
    held = peak_bytes(lambda: density.sample(500, Generator().manual_seed(0)))
    assert 500 * d * 4 < held < 500 * d * d * 4 / 10  # a tenth of what a factor for each sample would take


def test_samples_of_a_mixture_are_factors_times_noise():
    density = mixture()
    drawn = density.sample(50, Generator().manual_seed(4))
    again = Generator().manual_seed(4)
    k = torch.multinomial(density.weights, 50, replacement=True, generator=again)
    noise = torch.randn(50, 3, generator=again, dtype=torch.float64)
    factors = torch.linalg.cholesky(density.covariances)
    for i in range(50):
        torch.testing.assert_close(drawn[i], density.means[k[i]] + factors[k[i]] @ noise[i])
