"""Clipped normals: their moments by quadrature, derivatives by differences, and the way back."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from smdae.estimation.clipped_normal import MAX_OFFSET, MAX_RATIO, clipped_std, moments, unclipped_std

SIGMAS = (0.004, 0.02, 0.1, 0.3, 1.0)


def clipped(mu: float, sigma: float) -> tuple[float, float]:
    """Mean and variance by quadrature, whose nodes crowd where the normal is."""

    def mean_of(power: int, centre: float) -> float:
        low, high = (min(max(edge, mu - 9 * sigma), mu + 9 * sigma) for edge in (0.0, 1.0))
        inner = quad(lambda y: (y - centre) ** power * norm.pdf(y, mu, sigma), low, high, epsabs=1e-15, limit=200)[0]
        below, above = norm.cdf(0, mu, sigma), norm.sf(1, mu, sigma)
        return inner + (0 - centre) ** power * below + (1 - centre) ** power * above

    mean = mean_of(1, 0.0)
    return mean, mean_of(2, mean)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("at", [-1.5, 0.0, 0.7, 3.0])
@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_moments_are_those_of_the_quadrature(sigma, at, edge):
    mu = edge + at * sigma * (1 - 2 * edge)
    found = moments(np.array([mu]), sigma)
    mean, variance = clipped(mu, sigma)
    assert found.mean[0] == pytest.approx(mean, rel=1e-9, abs=1e-12)
    assert found.variance[0] == pytest.approx(max(variance, 1e-12), rel=1e-7)


@pytest.mark.parametrize("sigma", SIGMAS[1:])
def test_derivatives_are_those_of_differences(sigma):
    mu, h = np.linspace(-1.5 * sigma, 1 + 1.5 * sigma, 31), 1e-5 * sigma
    found = moments(mu, sigma)
    by_mu = [(more - less) / (2 * h) for more, less in zip(moments(mu + h, sigma), moments(mu - h, sigma), strict=True)]
    by_sigma = [
        (more - less) / (2 * h) for more, less in zip(moments(mu, sigma + h), moments(mu, sigma - h), strict=True)
    ]
    np.testing.assert_allclose(found.mean_by_mu, by_mu[0], atol=1e-8)
    np.testing.assert_allclose(found.mean_by_sigma, by_sigma[0], atol=1e-8)
    np.testing.assert_allclose(found.variance_by_mu, by_mu[1], atol=1e-8)
    np.testing.assert_allclose(found.variance_by_sigma, by_sigma[1], atol=1e-8)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_what_was_before_is_found(sigma):
    mu = np.linspace(-1.5 * sigma, 1 + 1.5 * sigma, 101)
    seen = moments(mu, sigma)
    found, sensitivity = unclipped_std(seen.mean, np.sqrt(seen.variance))
    np.testing.assert_allclose(found, sigma, rtol=1e-7)
    more = 1e-4
    for k in range(0, 101, 10):  # the sensitivity is the change of log s over that of log sigma, at one mean
        there, _ = unclipped_std(seen.mean[k : k + 1], np.sqrt(seen.variance[k : k + 1]) * (1 + more))
        assert more / np.log(there[0] / sigma) == pytest.approx(sensitivity[k], rel=1e-2)
    inside = np.abs(mu - 0.5) < 0.5 - 5 * sigma
    np.testing.assert_allclose(sensitivity[inside], 1, atol=1e-3)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_what_is_left_at_a_mean(sigma):
    mu = np.linspace(-1.5 * sigma, 1 + 1.5 * sigma, 57)
    seen = moments(mu, sigma)
    np.testing.assert_allclose(clipped_std(seen.mean, sigma), np.sqrt(seen.variance), rtol=2e-3)


def test_more_than_any_noise_leaves_has_a_bound():
    mean, deviation = np.array([0.01, 0.1, 0.5, 0.97, 0.5]), np.array([0.3, 0.49, 0.6, 0.6, 0.1])
    found, sensitivity = unclipped_std(mean, deviation)
    np.testing.assert_allclose(found[:4], MAX_RATIO * deviation[:4] + MAX_OFFSET)
    assert found[4] == pytest.approx(0.1, rel=1e-4)
    assert (sensitivity[:4] < 0.1).all()
    assert sensitivity[4] > 0.99
