"""The identities of the paper in float64: by quadrature, so that what is equal in expectation is seen to be equal."""

import pytest
import torch
from torch import Generator, Tensor

from smdae import Noise, objectives
from smdae.densities import Gaussian, GaussianMixture, Parzen
from smdae.divergence import probes as draw_probes
from smdae.errors import UsageError
from smdae.noise import Affine
from smdae.objectives import OBJECTIVES
from tests.conftest import random_energy
from tests.quadrature import gaussian_nodes, noisy_nodes

SIGMA = 0.8
CLEAN = torch.tensor([[0.3, -0.5], [1.2, 0.4], [-0.9, 0.8], [0.1, 1.1]], dtype=torch.float64)


def expectation(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum()


def parzen_losses(model, clean: Tensor = CLEAN, sigma: float = SIGMA) -> dict[str, Tensor]:
    """The four objectives on q_sigma, by quadrature, on one scale."""
    x, noisy, w = noisy_nodes(clean, sigma)
    target = Parzen(clean, sigma).score(noisy)
    return {
        "esm-parzen": expectation(objectives.explicit(model, noisy, target), w),
        "ism-parzen": expectation(objectives.implicit(model, noisy), w),
        "dsm": expectation(objectives.denoising(model, noisy, x, sigma), w),
        "dae": expectation(objectives.autoencoding(model, noisy, x), w) / (2 * sigma**4),
    }


def gradient(loss: Tensor, model) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)])


@pytest.mark.parametrize("name", ["ism-parzen", "dsm", "dae"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradient_on_the_parzen_density_is_that_of_explicit_score_matching(name, seed):
    model = random_energy(2, 7, seed, sigma=SIGMA)
    losses = parzen_losses(model)
    torch.testing.assert_close(gradient(losses[name], model), gradient(losses["esm-parzen"], model), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["ism-parzen", "dsm", "dae"])
def test_difference_to_explicit_score_matching_is_free_of_theta(name):
    differences = []
    for seed in range(5):
        losses = parzen_losses(random_energy(2, 7, seed, sigma=SIGMA))
        differences.append((losses[name] - losses["esm-parzen"]).item())
    assert max(differences) - min(differences) < 1e-8
    spread = [parzen_losses(random_energy(2, 7, seed, sigma=SIGMA))["esm-parzen"].item() for seed in range(5)]
    assert max(spread) - min(spread) > 0.1  # the objectives themselves do depend on theta


def test_a_model_in_noise_units_with_free_means_obeys_the_same_theorem():
    model = random_energy(2, 7, sigma=1.0, level=SIGMA, free_means=1)
    losses = parzen_losses(model)
    reference = gradient(losses["esm-parzen"], model)
    assert reference.norm() > 0.1
    for name in ("ism-parzen", "dsm", "dae"):
        torch.testing.assert_close(gradient(losses[name], model), reference, rtol=0, atol=1e-8)


def test_implicit_on_the_clean_data_is_another_objective():
    model = random_energy(2, 7, sigma=SIGMA)
    losses = parzen_losses(model)
    data = objectives.implicit(model, CLEAN).mean()
    assert (gradient(data, model) - gradient(losses["dsm"], model)).norm() > 0.1 * gradient(losses["dsm"], model).norm()


GAUSSIAN = Gaussian(
    torch.tensor([0.2, -0.4], dtype=torch.float64), torch.tensor([[1.0, 0.3], [0.3, 0.6]], dtype=torch.float64)
)
MIXTURE = GaussianMixture(
    torch.tensor([0.3, 0.7], dtype=torch.float64),
    torch.tensor([[0.5, 0.1], [-0.8, 0.4]], dtype=torch.float64),
    torch.tensor([[[0.5, 0.1], [0.1, 0.4]], [[0.7, -0.2], [-0.2, 0.5]]], dtype=torch.float64),
)


def known_nodes(density) -> tuple[Tensor, Tensor]:
    if isinstance(density, Gaussian):
        return gaussian_nodes(density.mean, density.covariance)
    parts = [gaussian_nodes(m, c, 110) for m, c in zip(density.means, density.covariances, strict=True)]
    x = torch.cat([part for part, _ in parts])
    return x, torch.cat([w * weight for (_, w), weight in zip(parts, density.weights, strict=True)])


@pytest.mark.parametrize("density", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_implicit_minus_explicit_is_constant_for_a_known_density(density):
    x, w = known_nodes(density)
    target = density.score(x)
    differences, gradients = [], []
    for seed in range(4):
        model = random_energy(2, 6, seed, sigma=SIGMA)
        esm = expectation(objectives.explicit(model, x, target), w)
        ism = expectation(objectives.implicit(model, x), w)
        differences.append((ism - esm).item())
        gradients.append((gradient(ism, model) - gradient(esm, model)).abs().max().item())
    assert max(differences) - min(differences) < 1e-8
    assert max(gradients) < 1e-8
    # Hyvarinen's constant: -1/2 E |grad log q|^2.
    assert differences[0] == pytest.approx(-0.5 * expectation(target.square().sum(1), w).item(), abs=1e-8)


def test_softmax_averaged_denoising_is_explicit_plus_a_constant_at_every_point():
    density = Parzen(CLEAN, SIGMA)
    x = density.sample(6, Generator().manual_seed(0))
    weights = torch.softmax(x @ CLEAN.T / SIGMA**2 - CLEAN.square().sum(1) / (2 * SIGMA**2), dim=1)  # (B, n)
    differences = []
    for seed in range(3):
        model = random_energy(2, 6, seed, sigma=SIGMA)
        each = torch.stack([objectives.denoising(model, x, c.expand_as(x), SIGMA) for c in CLEAN], dim=1)
        differences.append((weights * each).sum(1) - objectives.explicit(model, x, density.score(x)))
    torch.testing.assert_close(differences[0], differences[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(differences[0], differences[2], rtol=0, atol=1e-12)
    # The constant is the spread of the targets around their mean.
    target = (CLEAN - x[:, None]) / SIGMA**2
    mean = (weights[:, :, None] * target).sum(1, keepdim=True)
    spread = 0.5 * (weights * (target - mean).square().sum(2)).sum(1)
    torch.testing.assert_close(differences[0], spread, rtol=0, atol=1e-12)


def test_autoencoding_is_two_sigma_to_the_fourth_denoising_example_by_example():
    model = random_energy(5, 9, sigma=0.6)
    generator = Generator().manual_seed(0)
    clean, noise = torch.randn(2, 8, 5, generator=generator, dtype=torch.float64)
    noisy = clean + 0.6 * noise
    torch.testing.assert_close(
        objectives.autoencoding(model, noisy, clean), 2 * 0.6**4 * objectives.denoising(model, noisy, clean, 0.6)
    )


def test_sure_is_the_implicit_objective():
    model = random_energy(5, 9, sigma=0.6)
    y = torch.randn(8, 5, generator=Generator().manual_seed(0), dtype=torch.float64)
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda v: model.reconstruct(v[None])[0], p) for p in y])
    divergence = jacobian.diagonal(dim1=1, dim2=2).sum(1)
    sure = (model.reconstruct(y) - y).square().sum(1) + 2 * 0.6**2 * divergence - 5 * 0.6**2
    torch.testing.assert_close(sure, 2 * 0.6**4 * objectives.implicit(model, y) + 5 * 0.6**2, rtol=0, atol=1e-10)


def test_sure_is_unbiased_for_the_squared_error():
    model = random_energy(2, 6, sigma=SIGMA)
    x, noisy, w = noisy_nodes(CLEAN, SIGMA)
    sure = 2 * SIGMA**4 * objectives.implicit(model, noisy) + 2 * SIGMA**2
    error = (model.reconstruct(noisy) - x).square().sum(1)
    assert expectation(sure, w).item() == pytest.approx(expectation(error, w).item(), abs=1e-8)


def test_implicit_never_falls_below_its_floor():
    model = random_energy(4, 20, sigma=0.5)
    x = 3 * torch.randn(500, 4, generator=Generator().manual_seed(0), dtype=torch.float64)
    assert objectives.implicit(model, x).min() >= model.implicit_floor
    assert model.implicit_floor == -4 / 0.25


def test_regularised_adds_the_squared_diagonal():
    model = random_energy(4, 6, sigma=0.5)
    x = torch.randn(3, 4, generator=Generator().manual_seed(0), dtype=torch.float64)
    bends = torch.stack(
        [torch.autograd.functional.jacobian(lambda v: model.score(v[None])[0], p).diagonal() for p in x]
    )
    expected = objectives.implicit(model, x) + 0.3 * bends.square().sum(1)
    torch.testing.assert_close(objectives.regularised(model, x, 0.3), expected, rtol=0, atol=1e-10)


def test_sliced_over_all_probes_is_implicit():
    model = random_energy(3, 6, sigma=0.5)
    x = torch.randn(4, 3, generator=Generator().manual_seed(0), dtype=torch.float64)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)  # all Rademacher probes
    probes = corners[:, None].expand(-1, 4, -1)
    for reduced in (False, True):
        sliced = objectives.sliced(model, x, probes, reduced=reduced)
        torch.testing.assert_close(sliced, objectives.implicit(model, x), rtol=0, atol=1e-10)
    torch.testing.assert_close(objectives.implicit(model, x, probes=probes), objectives.implicit(model, x))


def test_a_kernel_that_is_not_gaussian_gives_the_score_of_its_own_smoothing():
    """`explicit` towards the score of a logistic kernel, in one dimension, against the density of the sum."""
    clean = torch.tensor([-0.7, 0.2, 1.0], dtype=torch.float64)
    grid = torch.linspace(-25, 25, 20_001, dtype=torch.float64)
    kernel_score = -torch.tanh((grid[:, None] - clean) / 2)
    kernel = 1 / (4 * torch.cosh((grid[:, None] - clean) / 2) ** 2)
    q = kernel.mean(1)
    score_of_q = (kernel * kernel_score).mean(1) / q
    step = grid[1] - grid[0]
    gradients = []
    model = random_energy(1, 5, sigma=1.0)
    by_kernel = sum(
        (objectives.explicit(model, grid[:, None], kernel_score[:, i : i + 1]) * kernel[:, i] * step).sum() / 3
        for i in range(3)
    )
    by_density = (objectives.explicit(model, grid[:, None], score_of_q[:, None]) * q * step).sum()
    gradients = [gradient(loss, model) for loss in (by_kernel, by_density)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-8)


def test_a_kernel_says_what_to_fit_and_not_at_which_level():
    """Whatever has a score may stand for the Gaussian; the model is at its own level unless it is told another."""

    class Logistic:
        def score(self, noisy: Tensor, clean: Tensor) -> Tensor:
            return -torch.tanh((noisy - clean) / 2)

    model = random_energy(2, 7, sigma=1.0, level=0.5)
    noisy = CLEAN + torch.randn(CLEAN.shape, generator=Generator().manual_seed(0), dtype=torch.float64)
    for kernel in (Logistic(), Noise.gaussian(0.8), Noise((Affine(0.1, -2.0, 0.3),))):
        target = kernel.score(noisy, CLEAN)
        assert torch.equal(objectives.kernel_score(noisy, CLEAN, kernel), target)
        for level in (None, 0.7):
            found = objectives.denoising(model, noisy, CLEAN, kernel, level)
            assert torch.equal(found, objectives.explicit(model, noisy, target, level))
    by_number, by_kernel = (objectives.denoising(model, noisy, CLEAN, s, 0.8) for s in (0.8, Noise.gaussian(0.8)))
    assert torch.equal(by_number, by_kernel)


@pytest.mark.parametrize("noise", [Noise((Affine(gain=0.1, read=0.3),)), Noise((Affine(read=0.3),), clip=(0, 1))])
def test_autoencoding_through_the_score_needs_gaussian_noise_of_a_fixed_covariance(noise):
    model = random_energy(2, 7, sigma=0.3)
    with pytest.raises(UsageError, match="fixed covariance") as refusal:
        objectives.autoencoding(model, CLEAN, CLEAN, noise)
    assert "transform" in refusal.value.hint
    assert objectives.autoencoding(model, CLEAN, CLEAN).shape == (4,)


def test_levels_may_differ_from_example_to_example():
    model = random_energy(3, 6, sigma=1.0, level=0.5)
    generator = Generator().manual_seed(0)
    clean, noisy = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    levels = torch.tensor([0.2, 0.5, 1.0, 2.0], dtype=torch.float64)
    together = objectives.denoising(model, noisy, clean, levels)
    for i, level in enumerate(levels.tolist()):
        alone = objectives.denoising(model, noisy[i : i + 1], clean[i : i + 1], level)
        torch.testing.assert_close(together[i : i + 1], alone)


def test_images_sum_over_channels_rows_and_columns():
    class Shrink:
        def score(self, x: Tensor, sigma: float | None = None) -> Tensor:
            return -2.0 * x

    x = torch.randn(2, 3, 4, 5, generator=Generator().manual_seed(0), dtype=torch.float64)
    square = x.square().sum((1, 2, 3))
    torch.testing.assert_close(objectives.implicit(Shrink(), x), 2 * square - 2 * 60)
    probes = draw_probes(x, 3, Generator().manual_seed(1))
    torch.testing.assert_close(objectives.implicit(Shrink(), x, probes=probes), 2 * square - 2 * 60)
    torch.testing.assert_close(objectives.sliced(Shrink(), x, probes, reduced=True), 2 * square - 2 * 60)


def test_objectives_are_pure():
    model = random_energy(3, 6, sigma=0.5)
    x = torch.randn(4, 3, generator=Generator().manual_seed(0), dtype=torch.float64)
    copy, state = x.clone(), torch.get_rng_state()
    objectives.implicit(model, x)
    objectives.regularised(model, x, 0.1)
    objectives.explicit(model, x, x)
    objectives.denoising(model, x, x, 0.5)
    objectives.autoencoding(model, x, x)
    assert torch.equal(x, copy)
    assert not x.requires_grad
    assert torch.equal(state, torch.get_rng_state())


def test_the_table_names_the_objectives_of_the_paper():
    paper = ["esm", "ism", "ism-reg", "esm-parzen", "ism-parzen", "dsm", "dae"]
    assert list(OBJECTIVES) == [*paper, "ssm", "ssm-vr", "fd-ssm"]
    with pytest.raises(AttributeError):
        OBJECTIVES["dsm"].loss = None  # type: ignore[misc]


@pytest.mark.parametrize("name", ["dsm", "dae"])
def test_scaled_objectives_are_squared_error_per_dimension_over_sigma_squared(name):
    model = random_energy(4, 6, sigma=0.7)
    generator = Generator().manual_seed(0)
    clean, noise = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    noisy = clean + 0.7 * noise
    needs = {"clean": clean, "sigma": 0.7}
    row = OBJECTIVES[name]
    loss = row.loss(model, noisy, **{k: needs[k] for k in row.needs}) * row.scale(0.7, 4)
    torch.testing.assert_close(loss, (model.reconstruct(noisy) - clean).square().mean(1) / 0.7**2)


CORNERS = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 2)  # all Rademacher probes


def test_differences_are_the_sliced_objective_up_to_the_square_of_the_step():
    model = random_energy(5, 9, sigma=0.6)
    x = torch.randn(6, 5, generator=Generator().manual_seed(0), dtype=torch.float64)
    v = draw_probes(x, 3, Generator().manual_seed(1))

    class ScoreOnly:
        score = staticmethod(model.score)

    exact = objectives.sliced(model, x, v)
    for kind in (model, ScoreOnly):
        errors = [(objectives.differenced(kind, x, v, step) - exact).abs().max() for step in (0.08, 0.04, 1e-3)]
        assert 3.7 < errors[0] / errors[1] < 4.3
        assert errors[2] < 1e-3 * exact.abs().max()
    steps = torch.full((6,), 0.08, dtype=torch.float64)
    torch.testing.assert_close(objectives.differenced(model, x, v, steps), objectives.differenced(model, x, v, 0.08))


@pytest.mark.parametrize("name", ["ssm", "ssm-vr", "fd-ssm"])
def test_sliced_objectives_on_the_parzen_density_have_the_gradient_of_explicit_score_matching(name):
    model = random_energy(2, 7, sigma=SIGMA)
    _, noisy, w = noisy_nodes(CLEAN, SIGMA)
    step = {"step": 1e-3} if name == "fd-ssm" else {}
    probes = CORNERS[:, None].expand(-1, len(noisy), -1)
    mean = expectation(OBJECTIVES[name].loss(model, noisy, probes=probes, sigma=SIGMA, **step), w)
    exact = gradient(parzen_losses(model)["esm-parzen"], model)
    tolerance = 1e-4 if step else 1e-8
    assert (gradient(mean, model) - exact).abs().max() < tolerance * exact.abs().max().clamp(min=1)


class Ramps(torch.nn.Module):
    """psi(x) = sum_j a_j relu(w_j x + b_j) - x, in one dimension."""

    kinked = True

    def __init__(self) -> None:
        super().__init__()
        generator = Generator().manual_seed(4)
        a, w, b = torch.randn(3, 6, generator=generator, dtype=torch.float64)
        self.a, self.w, self.b = (torch.nn.Parameter(p) for p in (a, w, b))

    def score(self, x: Tensor, sigma: float | None = None) -> Tensor:
        return (torch.relu(x * self.w + self.b) * self.a).sum(1, keepdim=True) - x


def test_kinks_bias_derivatives_of_the_divergence_and_not_differences():
    """A ReLU's slope is a step whose derivative is zero but at one point, where all of it lies."""
    model, sigma = Ramps(), 0.7
    centre = torch.tensor([-0.6, 0.9], dtype=torch.float64)
    x = torch.linspace(-8, 8, 160_001, dtype=torch.float64)[:, None]
    weights = torch.exp(-((x - centre) ** 2) / (2 * sigma**2)) / (sigma * (2 * torch.pi) ** 0.5) / 2  # (n, 2)
    target = (weights * (centre - x)).sum(1, keepdim=True) / weights.sum(1, keepdim=True) / sigma**2
    w = weights.sum(1) * (x[1] - x[0])
    v = torch.ones(1, *x.shape, dtype=torch.float64)
    truth = gradient(expectation(objectives.explicit(model, x, target), w), model)
    by_derivatives = gradient(expectation(objectives.implicit(model, x, probes=v), w), model)
    assert (by_derivatives - truth).abs().max() > 0.2
    errors = []
    for share in (0.2, 0.1):
        differences = gradient(expectation(objectives.implicit(model, x, probes=v, step=share * sigma), w), model)
        errors.append((differences - truth).abs().max().item())
    assert errors[1] < 0.01
    assert errors[1] < errors[0] / 3  # O(step^2)
    for loss in (objectives.sliced, objectives.differenced):
        slices = gradient(expectation(loss(model, x, v, step=0.1 * sigma), w), model)
        assert (slices - truth).abs().max() < 0.05


def test_implicit_by_differences_is_denoising_of_more_noise_along_either_sign():
    """For any step: exactly, draw by draw, but for what no model changes, |v|^2 / (2 e^2)."""
    model = random_energy(5, 9, sigma=0.6)
    x = torch.randn(7, 5, generator=Generator().manual_seed(0), dtype=torch.float64)
    v = torch.randn(3, 7, 5, generator=Generator().manual_seed(1), dtype=torch.float64)
    sigma = torch.linspace(0.3, 0.9, 7, dtype=torch.float64)
    step = 0.8 * sigma
    level = (sigma**2 + step**2).sqrt()
    for probes, base, e, at in ((v, sigma, step, level), (v[:1], 0.5, 0.3, 0.34**0.5)):
        expected = torch.zeros(7, dtype=torch.float64)
        for u in probes:
            for noise in (u, -u):
                noisy = x + (e[:, None] if isinstance(e, Tensor) else e) * noise
                expected += objectives.denoising(model, noisy, x, e, level=at) - noise.square().sum(1) / (2 * e**2)
        found = objectives.implicit(model, x, base, probes=probes, step=e)
        torch.testing.assert_close(found, expected / (2 * len(probes)))


def test_denoising_of_noisy_data_has_the_gradient_of_explicit_score_matching_at_the_level_of_both():
    """Quadrature over x~ = x + sqrt(s^2 + e^2) eps, where E[y | x~] = x~ + e^2 times the score of x~'s density."""
    s, e = 0.4, 0.3
    level = (s**2 + e**2) ** 0.5
    model = random_energy(2, 7, sigma=level)
    _, noisy, w = noisy_nodes(CLEAN, level)
    target = Parzen(CLEAN, level).score(noisy)
    noisier = objectives.denoising(model, noisy, noisy + e**2 * target, e, level=level)  # its y is the conditional mean
    explicit = objectives.explicit(model, noisy, target, sigma=level)
    found, wanted = (gradient(expectation(loss, w), model) for loss in (noisier, explicit))
    torch.testing.assert_close(found, wanted)
    # By draws of y itself, with the noise that they have.
    generator = Generator().manual_seed(0)
    y = CLEAN.repeat(40_000, 1) + s * torch.randn(40_000 * len(CLEAN), 2, generator=generator, dtype=torch.float64)
    x = y + e * torch.randn(y.shape, generator=generator, dtype=torch.float64)
    drawn = gradient(objectives.denoising(model, x, y, e, level=level).mean(), model)
    assert (drawn - wanted).norm() < 0.05 * wanted.norm()
