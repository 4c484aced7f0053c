"""Noise of patches, and the identities of the paper under it: by quadrature in float64, and against closed forms."""

import pytest
import torch
from torch import Generator, Tensor

from smdae import Noise, objectives
from smdae.densities import GaussianMixture
from smdae.errors import UsageError
from smdae.noise import Affine
from smdae.patch_noise import KernelParzen, PatchNoise
from tests.conftest import random_energy
from tests.quadrature import normal_nodes

CLEAN = torch.tensor([[0.3, -0.5], [1.2, 0.4], [-0.9, 0.8], [0.1, 1.1]], dtype=torch.float64)
COLOURED = PatchNoise(
    Noise((Affine(read=0.8), Affine(read=0.6)), channels=((1.0, 0.5), (0.5, 1.0))), channels=2, size=1
)
SHOT = PatchNoise(Noise((Affine(gain=0.2, black=-2.0, read=0.4),)), channels=2, size=1)
KERNELS = pytest.mark.parametrize("kernel", [COLOURED, SHOT], ids=["coloured", "shot"])
ORDER = 120


def nodes(kernel: PatchNoise) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs (x, x~) and weights, x uniform over CLEAN."""
    z, w = normal_nodes(ORDER, 2)
    x = CLEAN.repeat_interleave(len(z), 0)
    return x, kernel.added(x, z.repeat(len(CLEAN), 1)), w.repeat(len(CLEAN)) / len(CLEAN)


def gradient(loss: Tensor, model) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)])


def losses(model, kernel: PatchNoise) -> dict[str, Tensor]:
    x, noisy, w = nodes(kernel)
    frame = 2**0.5 * torch.eye(2, dtype=torch.float64)[:, None].expand(2, len(x), 2)
    found = {
        "esm-parzen": objectives.explicit(model, noisy, KernelParzen(CLEAN, kernel).score(noisy)),
        "ism-parzen": objectives.implicit(model, noisy),
        "dsm": objectives.denoising(model, noisy, x, kernel),
        "ssm": objectives.sliced(model, noisy, frame),
        "ssm-vr": objectives.sliced(model, noisy, frame, reduced=True),
    }
    return {name: value @ w for name, value in found.items()}


@KERNELS
@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_under_any_kernel_are_those_of_explicit_score_matching(kernel, seed):
    model = random_energy(2, 7, seed, sigma=0.8)
    found = losses(model, kernel)
    wanted = gradient(found["esm-parzen"], model)
    assert wanted.norm() > 0.1
    for name, loss in found.items():
        torch.testing.assert_close(gradient(loss, model), wanted, rtol=0, atol=1e-8, msg=name)


@KERNELS
def test_differences_of_the_values_are_free_of_theta(kernel):
    of = [losses(random_energy(2, 7, seed, sigma=0.8), kernel) for seed in range(4)]
    for name in of[0]:
        apart = torch.stack([found[name] - found["esm-parzen"] for found in of])
        assert apart.max() - apart.min() < 1e-8, name
    values = torch.stack([found["esm-parzen"] for found in of])
    assert values.max() - values.min() > 0.1


@KERNELS
def test_the_wrong_kernel_has_other_gradients(kernel):
    model = random_energy(2, 7, sigma=0.8)
    x, noisy, w = nodes(kernel)
    right = gradient(objectives.denoising(model, noisy, x, kernel) @ w, model)
    wrong = gradient(objectives.denoising(model, noisy, x, kernel.sigma) @ w, model)
    assert (wrong - right).norm() > 0.01 * right.norm()


def test_the_autoencoder_is_equivalent_in_the_metric_of_the_inverse_covariance():
    model = random_energy(2, 7, sigma=0.8)
    x, noisy, w = nodes(COLOURED)
    residual = noisy + COLOURED.covariance(model.score(noisy), noisy) - x
    torch.testing.assert_close(objectives.autoencoding(model, noisy, x, COLOURED), residual.square().sum(1))
    metric = COLOURED.score(residual, torch.zeros_like(residual)).square().sum(1)  # |C^-1 (r - x)|^2
    wanted = losses(model, COLOURED)["esm-parzen"]
    torch.testing.assert_close(gradient(metric @ w / 2, model), gradient(wanted, model), rtol=0, atol=1e-8)
    plain = gradient(objectives.autoencoding(model, noisy, x, COLOURED) @ w, model)
    cosine = torch.nn.functional.cosine_similarity(plain, gradient(wanted, model), dim=0)
    assert cosine < 0.999  # another weighting


def test_where_the_covariance_depends_on_x_the_autoencoder_is_another_objective():
    model = random_energy(2, 7, sigma=0.8)
    x, noisy, w = nodes(SHOT)
    with pytest.raises(UsageError, match="fixed covariance"):
        objectives.autoencoding(model, noisy, x, SHOT)
    own = gradient(objectives.autoencoding(model, noisy, x) @ w / (2 * 0.8**4), model)
    wanted = gradient(losses(model, SHOT)["esm-parzen"], model)
    assert (own - wanted).norm() > 0.01 * wanted.norm()


def test_steins_estimate_is_unbiased_in_the_metric_of_the_squared_covariance():
    model = random_energy(2, 7, sigma=0.8)
    x, noisy, w = nodes(COLOURED)
    estimated = objectives.stein(model, noisy, COLOURED) @ w
    true = objectives.autoencoding(model, noisy, x, COLOURED) @ w
    torch.testing.assert_close(estimated, true, rtol=0, atol=1e-8)
    signs = torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=torch.float64)] * 2)
    probes = signs[:, None].expand(-1, len(noisy), -1)
    torch.testing.assert_close(objectives.stein(model, noisy, COLOURED, probes=probes) @ w, true, rtol=0, atol=1e-8)
    white = PatchNoise(Noise.gaussian(0.8), 2, 1)
    some = noisy[:50]
    implicit = objectives.implicit(model, some)
    torch.testing.assert_close(objectives.stein(model, some, white), 2 * 0.8**4 * implicit + 2 * 0.64)
    with pytest.raises(UsageError, match="fixed covariance"):
        objectives.stein(model, some, SHOT)


@KERNELS
def test_the_parzen_density_is_the_mixture_of_its_kernels(kernel):
    covariances = []
    for x in CLEAN.split(1):
        rows = [kernel.covariance(e[None], x)[0] for e in torch.eye(2, dtype=torch.float64)]
        covariances.append(torch.stack(rows))
    mixture = GaussianMixture(torch.full((4,), 0.25, dtype=torch.float64), CLEAN, torch.stack(covariances))
    density = KernelParzen(CLEAN, kernel)
    y = 2 * torch.randn(9, 2, generator=Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(density.log_prob(y), mixture.log_prob(y))
    torch.testing.assert_close(density.score(y), mixture.score(y))
    y.requires_grad_()
    (slope,) = torch.autograd.grad(kernel.log_prob(y, CLEAN[:1].expand_as(y)).sum(), y)
    torch.testing.assert_close(slope, kernel.score(y, CLEAN[:1].expand_as(y)))


def test_the_correlation_of_a_patch_is_that_of_the_picture_that_goes_on():
    noise = Noise((Affine(read=2.0),), grain=((1.0, 0.5), (0.4, 0.2)))
    patch = PatchNoise(noise, 1, 3)
    R = patch.correlation
    assert R[0, 1] == pytest.approx(0.5)
    assert R[0, 3] == pytest.approx(0.4)
    assert R[0, 4] == R[1, 3] == pytest.approx(0.2)
    assert R[0, 2].abs() < 1e-6  # on a torus of three pixels it would be 0.5
    large = noise.sample(torch.zeros(400, 1, 24, 24), Generator().manual_seed(0))[:, :, 6:9, 9:12].flatten(1)
    drawn = patch.sample(torch.zeros(4000, 9), Generator().manual_seed(0))
    for x in (large, drawn):
        assert (x.T.cov() - 4 * R).abs().max() < 1.2 if len(x) < 1000 else (x.T.cov() - 4 * R).abs().max() < 0.4


def test_noise_that_patches_cannot_have_is_refused():
    grain = ((1.0, 0.5), (0.5, 0.25))
    with pytest.raises(UsageError, match="no neighbouring pixels"):
        PatchNoise(Noise((Affine(read=1.0),), grain=grain), 3, 1)
    with pytest.raises(UsageError, match="4,096 numbers"):
        PatchNoise(Noise((Affine(read=1.0),), grain=grain), 1, 65)
    with pytest.raises(UsageError, match="without a score"):
        PatchNoise(Noise((Affine(read=1.0),), clip=(0.0, 1.0)), 1, 4)
    both = PatchNoise(Noise((Affine(gain=0.1, read=0.1),), grain=grain), 1, 4)
    with pytest.raises(UsageError, match="correlated and depends"):
        KernelParzen(torch.rand(5, 16), both)
