"""Noise: the identities of its kernel by quadrature in float64, its draws by their moments, its profiles read again."""

import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor

from smdae import Noise, objectives
from smdae.densities import GaussianMixture
from smdae.errors import UsageError
from smdae.noise import Affine, Table
from tests.conftest import random_energy
from tests.quadrature import gaussian_nodes

CLEAN = torch.tensor([[0.3, -0.5], [1.2, 0.4], [-0.9, 0.8], [0.1, 1.1]], dtype=torch.float64)

# Kernels in two dimensions: rows of two pixels, (B, 2), and pixels of two channels, (B, 2, 1, 1).
ROW = Noise((Affine(read=0.8),), grain=((1.0, 0.6, 0.2), (0.0,) * 3, (0.0,) * 3))
PIXEL = Noise((Affine(read=0.8), Affine(read=0.5)), channels=((1.0, -0.4), (-0.4, 1.0)))
SHOT = Noise((Affine(gain=0.2, black=-1.5, read=0.4),))
SHOT_ROW = dataclasses.replace(SHOT, grain=ROW.grain)
TABLED = Noise((Table((-1.0, 0.2, 1.5), (0.55, 0.8, 0.6)),))
FIXED = {"row": ROW, "pixel": PIXEL}
DEPENDENT = {"shot": SHOT, "shot row": SHOT_ROW, "table": TABLED}
KERNELS = FIXED | DEPENDENT


def shaped(x: Tensor, noise: Noise) -> Tensor:
    """Points, (B, 2), as the kernel takes them."""
    return x[:, :, None, None] if noise is PIXEL else x


def covariance_at(noise: Noise, x: Tensor) -> Tensor:
    """C(x) of each point, (B, 2, 2), from what the fields of the kernel say."""
    rho = -0.4 if noise is PIXEL else noise.grain[0][1] if len(noise.grain) > 1 else 0.0
    if noise is PIXEL:
        sd = torch.tensor([0.8, 0.5], dtype=torch.float64).expand_as(x)
    elif noise is ROW:
        sd = torch.full_like(x, 0.8)
    elif noise is TABLED:
        sd = torch.from_numpy(np.interp(x.numpy(), [-1.0, 0.2, 1.5], [0.55, 0.8, 0.6]))
    else:
        sd = (0.2 * (x + 1.5) + 0.16).sqrt()
    return sd[:, :, None] * sd[:, None] * torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64)


def smoothed(noise: Noise) -> GaussianMixture:
    """The density of y, x being uniform over the rows of CLEAN."""
    return GaussianMixture(torch.ones(4, dtype=torch.float64), CLEAN, covariance_at(noise, CLEAN))


def pairs(noise: Noise, order: int = 80) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs (x, y) and weights, x uniform over the rows of CLEAN and y ~ q(y|x)."""
    parts = [gaussian_nodes(x, c, order) for x, c in zip(CLEAN, covariance_at(noise, CLEAN), strict=True)]
    x = CLEAN.repeat_interleave(len(parts[0][0]), 0)
    return x, torch.cat([y for y, _ in parts]), torch.cat([w for _, w in parts]) / 4


def posterior_mean(noise: Noise, y: Tensor) -> Tensor:
    """E[x | y], by Bayes' rule."""
    kernels = [
        torch.distributions.MultivariateNormal(x, c) for x, c in zip(CLEAN, covariance_at(noise, CLEAN), strict=True)
    ]
    return torch.stack([kernel.log_prob(y) for kernel in kernels], 1).softmax(1) @ CLEAN


class Shaped:
    """A model of points as a model of what the kernel takes."""

    def __init__(self, model, noise: Noise) -> None:
        self.model, self.noise = model, noise

    def score(self, x: Tensor) -> Tensor:
        return shaped(self.model.score(x.flatten(1)), self.noise)


def expectation(values: Tensor, weights: Tensor) -> Tensor:
    return torch.tensordot(weights, values, 1)


def gradient(loss: Tensor, model) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)])


# ---- The kernel's score


@pytest.mark.parametrize("noise", KERNELS.values(), ids=KERNELS)
def test_score_is_the_gradient_of_the_log_density(noise):
    x, y, _ = pairs(noise, 5)
    y.requires_grad_()
    log_q = torch.distributions.MultivariateNormal(x, covariance_at(noise, x)).log_prob(y)
    (expected,) = torch.autograd.grad(log_q.sum(), y)
    found = noise.score(shaped(y.detach(), noise), shaped(x, noise)).flatten(1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("noise", KERNELS.values(), ids=KERNELS)
def test_score_has_mean_zero_and_stein_identity(noise):
    x, y, w = pairs(noise)
    score = noise.score(shaped(y, noise), shaped(x, noise)).flatten(1)
    for i in range(4):
        of = (x == CLEAN[i]).all(1)
        assert expectation(score[of], 4 * w[of]).abs().max() < 1e-8
        moment = expectation(score[of, :, None] * (y - x)[of, None], 4 * w[of])
        torch.testing.assert_close(moment, -torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-8)


@pytest.mark.parametrize("noise", KERNELS.values(), ids=KERNELS)
def test_denoising_has_the_gradient_of_explicit_score_matching_on_the_noisy_density(noise):
    x, y, w = pairs(noise)
    target = smoothed(noise).score(y)
    differences = []
    for seed in range(2):
        model = random_energy(2, 5, seed, sigma=0.9)
        dsm = objectives.denoising(Shaped(model, noise), shaped(y, noise), shaped(x, noise), noise)
        losses = [expectation(each, w) for each in (dsm, objectives.explicit(model, y, target))]
        by_kernel, by_density = (gradient(loss, model) for loss in losses)
        assert by_density.norm() > 0.1
        torch.testing.assert_close(by_kernel, by_density, rtol=0, atol=1e-8)
        differences.append((losses[0] - losses[1]).item())
    assert differences[0] == pytest.approx(differences[1], abs=1e-8)


# ---- What a score tells of the clean picture


@pytest.mark.parametrize("noise", FIXED.values(), ids=FIXED)
def test_tweedie_holds_for_a_fixed_covariance(noise):
    _, y, _ = pairs(noise, 9)
    psi = smoothed(noise).score(y)
    step = noise.covariance(shaped(psi, noise), shaped(y, noise)).flatten(1)
    torch.testing.assert_close(y + step, posterior_mean(noise, y), rtol=0, atol=1e-8)


@pytest.mark.parametrize("noise", DEPENDENT.values(), ids=DEPENDENT)
def test_tweedie_does_not_hold_for_noise_that_depends_on_the_signal(noise):
    _, y, w = pairs(noise, 40)
    psi, mean = smoothed(noise).score(y), posterior_mean(noise, y)
    for at in (y, mean):
        off = (y + noise.covariance(psi, at) - mean).square().sum(1)
        assert expectation(off, w).sqrt() > 0.01


@pytest.mark.parametrize("noise", FIXED.values(), ids=FIXED)
def test_autoencoding_weights_the_errors_of_denoising_by_the_covariance(noise):
    model = Shaped(random_energy(2, 5, sigma=0.9), noise)
    x, y, _ = pairs(noise, 5)
    c = covariance_at(noise, x)
    x, y = shaped(x, noise), shaped(y, noise)
    psi, target = model.score(y).flatten(1), noise.score(y, x).flatten(1)
    dae, dsm = objectives.autoencoding(model, y, x, noise), objectives.denoising(model, y, x, noise)
    torch.testing.assert_close(dae, (c @ (psi - target)[:, :, None]).square().sum((1, 2)), rtol=0, atol=1e-10)
    ratio = dae / dsm
    assert ratio.max() > 2 * ratio.min()  # another objective, not a multiple
    off = (y + noise.covariance(model.score(y), y) - x).flatten(1)
    torch.testing.assert_close(torch.linalg.solve(c, off).square().sum(1), 2 * dsm, rtol=0, atol=1e-10)


def test_autoencoding_of_white_noise_is_two_sigma_to_the_fourth_denoising():
    model, noise = random_energy(2, 5, sigma=0.8), Noise.gaussian(0.8)
    x, y, _ = pairs(ROW, 5)
    dae, dsm = objectives.autoencoding(model, y, x, noise), objectives.denoising(model, y, x, noise)
    torch.testing.assert_close(dae, 2 * 0.8**4 * dsm)
    torch.testing.assert_close(dae, objectives.autoencoding(model, y, x))  # its own reconstruction


@pytest.mark.parametrize("noise", FIXED.values(), ids=FIXED)
def test_sure_is_unbiased_for_the_squared_error(noise):
    model = Shaped(random_energy(2, 5, sigma=0.9), noise)
    x, y, w = pairs(noise)
    x, y = shaped(x, noise), shaped(y, noise)

    def denoised(y: Tensor) -> Tensor:
        return y + noise.covariance(model.score(y), y)

    trace_of_slope, trace = 0.0, 0.0
    for axis in shaped(torch.eye(2, dtype=torch.float64), noise):
        column = noise.covariance(axis.expand_as(y), y)
        slope = torch.func.jvp(denoised, (y,), (column,))[1]
        trace_of_slope = trace_of_slope + (axis * slope).flatten(1).sum(1)
        trace = trace + (axis * column).flatten(1).sum(1)
    sure = (denoised(y) - y).flatten(1).square().sum(1) + 2 * trace_of_slope - trace
    error = (denoised(y) - x).flatten(1).square().sum(1)
    assert (expectation(sure, w) - expectation(error, w)).abs() < 1e-8


# ---- White noise, and draws


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(7, 5), (2, 3, 8, 9)])
def test_white_noise_is_bit_for_bit_what_it_always_was(dtype, shape):
    sigma, noise = 25 / 255, Noise.gaussian(25 / 255)
    x = torch.rand(shape, generator=Generator().manual_seed(1), dtype=dtype)
    y = noise.sample(x, Generator().manual_seed(2))
    assert torch.equal(y, x + sigma * torch.randn(shape, generator=Generator().manual_seed(2), dtype=dtype))
    assert torch.equal(noise.score(y, x), (x - y) / sigma**2)
    assert torch.equal(noise.score(y, x), objectives.kernel_score(y, x, sigma))
    assert torch.equal(noise.correlate(x), x)
    assert torch.equal(noise.covariance(y, x), sigma**2 * y)
    assert noise.sigma == sigma
    assert noise.is_white
    assert noise.is_gaussian


GRAIN = ((1.0, 0.6, 0.2), (0.5, 0.3, 0.1), (0.1, 0.06, 0.02))  # separable, rows and columns differ


def test_draws_have_the_levels_and_correlations_that_they_should():
    curves = (Affine(gain=0.04, read=0.05), Table((0.0, 1.0), (0.3, 0.1)))
    noise = Noise(curves, grain=GRAIN, channels=((1.0, 0.7), (0.7, 1.0)))
    x = torch.linspace(0, 1, 128, dtype=torch.float64).repeat(24, 2, 128, 1)  # a ramp along columns
    y = noise.sample(x, Generator().manual_seed(0))
    unit = (y - x) / noise.sd(x)
    level = (y - x).square().mean((0, 2)).sqrt()  # (C, W)
    expected = torch.stack([(0.04 * x[0, 0, 0] + 0.05**2).sqrt(), 0.3 - 0.2 * x[0, 0, 0]])
    assert ((level / expected - 1).abs() < 0.1).all()
    assert abs((level / expected).mean() - 1) < 0.01
    for dy, dx, rho in ((0, 1, 0.6), (0, 2, 0.2), (1, 0, 0.5), (1, 1, 0.3), (2, 2, 0.02), (0, 5, 0.0), (4, 0, 0.0)):
        for sign in (1, -1):
            found = (unit * unit.roll((dy, sign * dx), (2, 3))).mean()
            assert found == pytest.approx(rho, abs=0.01)
    assert (unit[:, 0] * unit[:, 1]).mean() == pytest.approx(0.7, abs=0.01)
    assert (unit[:, 0] * unit[:, 1].roll(1, 1)).mean() == pytest.approx(0.7 * 0.5, abs=0.01)


@pytest.mark.parametrize("size", [(6, 7), (5, 3), (1, 9), (2, 2)])
def test_root_covariance_and_score_are_powers_of_one_matrix(size):
    """Also on images smaller than the grain is wide."""
    noise = Noise((Affine(read=0.7), Affine(gain=0.3, read=0.2)), grain=GRAIN, channels=((1.0, 0.5), (0.5, 1.0)))
    generator = Generator().manual_seed(0)
    x, e = torch.rand(2, 3, 2, *size, generator=generator, dtype=torch.float64)
    sd = noise.sd(x)
    twice = sd * noise.correlate(noise.correlate(sd * e))
    torch.testing.assert_close(noise.covariance(e, x), twice)
    torch.testing.assert_close(noise.covariance(noise.score(x + e, x), x), -e)
    eye = torch.eye(2 * math.prod(size), dtype=torch.float64).reshape(-1, 2, *size)
    matrix = noise.covariance(eye, x[:1].expand_as(eye)).flatten(1)
    torch.testing.assert_close(matrix, matrix.T)
    torch.testing.assert_close(matrix.diagonal(), sd[0].flatten().square())


def test_two_pixels_are_as_far_apart_as_the_shorter_way_round():
    e = torch.eye(5, dtype=torch.float64)
    row = Noise((Affine(read=1.0),), grain=((1.0, 0.4, 0.1), (0.5, 0.2, 0.05), (0.0, 0.0, 0.0)))
    torch.testing.assert_close(row.covariance(e, e)[0], torch.tensor([1, 0.4, 0.1, 0.1, 0.4], dtype=torch.float64))


def test_curves_are_differentiable_and_constant_beyond_their_ends():
    x = torch.tensor([[-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 9.0]], dtype=torch.float64, requires_grad=True)
    table = Noise((Table((0.0, 0.5, 1.0), (0.1, 0.3, 0.2)),)).sd(x)
    torch.testing.assert_close(table[0].tolist(), [0.1, 0.1, 0.2, 0.3, 0.25, 0.2, 0.2])
    assert torch.autograd.grad(table[0, 2], x)[0][0, 2].item() == pytest.approx(0.4)
    shot = Noise.poisson_gaussian(gain=0.04, read=0.0, black=0.5).sd(x)
    torch.testing.assert_close(shot[0].tolist(), [0.0, 0.0, 0.0, 0.0, 0.1, 0.02**0.5, (0.04 * 8.5) ** 0.5])
    slope = torch.autograd.grad(shot.sum(), x)[0]
    assert slope.isfinite().all()
    assert slope[0, 4].item() == pytest.approx(0.04 / (2 * 0.1))


def test_levels_of_an_array_are_those_of_the_tensor():
    noise = Noise((Affine(gain=2.0, read=1.0), Affine(read=3.0)), white=255.0)
    image = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    found = noise.sd_of(image)
    np.testing.assert_allclose(found[:, :, 0], np.sqrt(2.0 * image[:, :, 0] + 1))
    np.testing.assert_array_equal(found[:, :, 1], np.full((2, 3), 3.0))
    assert Noise.gaussian(2.0).sd_of(image[:, :, 0]).shape == (2, 3)


def test_what_follows_the_noise_comes_in_the_order_of_a_camera():
    x = torch.full((1, 3, 100, 100), 100.0, dtype=torch.float64)
    noise = Noise((Affine(read=60.0),), 255.0, clip=(10.0, 200.0), rounding=8.0, impulses=0.1)
    y = noise.sample(x, Generator().manual_seed(0))
    assert (y % 8 == 0).all()  # rounded after it was clipped, at 10, which is no multiple
    assert (y.min(), y.max()) == (8, 200)
    # What the Gaussian puts at the low end is seen in each channel by itself, an impulse in all at once.
    together = (y == 8).all(1).double().mean().item()
    assert together == pytest.approx(0.05 + 0.9 * 0.066807**3, abs=0.008)
    assert (y == 200).all(1).double().mean().item() == pytest.approx(0.05 + 0.9 * 0.0548**3, abs=0.008)


def test_impulses_without_clipping_are_zero_or_white():
    noise = Noise((Affine(read=0.01),), 2.0, 1.0, impulses=0.2)
    y = noise.sample(torch.full((40, 500), 1.5), Generator().manual_seed(0))
    assert (y == 1).double().mean().item() == pytest.approx(0.1, abs=0.01)
    assert (y == 2).double().mean().item() == pytest.approx(0.1, abs=0.01)
    assert ((y - 1.5).abs() < 0.1).double().mean().item() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_what_a_file_makes_of_the_noisy_picture(channels):
    x = torch.rand(2, channels, 24, 16, generator=Generator().manual_seed(0), dtype=torch.float64)
    plain = Noise((Affine(read=0.1),), clip=(0.0, 1.0), rounding=1 / 255)
    noisy = plain.sample(x, Generator().manual_seed(1))
    found = dataclasses.replace(plain, jpeg=40).sample(x, Generator().manual_seed(1))
    assert found.dtype == x.dtype
    for before, after in zip(noisy, found, strict=True):
        pixels = (before * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=40, subsampling=0)
        expected = np.asarray(Image.open(file)).reshape(24, 16, channels) / 255
        np.testing.assert_allclose(after.permute(1, 2, 0).numpy(), expected, atol=1e-12)
    with pytest.raises(UsageError, match="1 or 3 channels, and the picture has 2"):
        dataclasses.replace(plain, jpeg=40).sample(x[:, :1].repeat(1, 2, 1, 1), Generator())


# ---- Units and channels

ALL = Noise(
    (Affine(0.1, 2.0, 1.5), Table((0.0, 100.0, 255.0), (1.0, 1 / 3, 7e-7)), Affine(read=0.1)),
    255.0,
    grain=GRAIN,
    channels=((1.0, 0.5, 0.1), (0.5, 1.0, 0.2), (0.1, 0.2, 1.0)),
    clip=(0.0, 250.0),
    rounding=1.0,
    jpeg=85,
    impulses=0.005,
)


def test_noise_in_other_units_is_the_same_noise():
    x = 255 * torch.rand(2, 3, 16, 16, generator=Generator().manual_seed(0), dtype=torch.float64)
    y = ALL.sample(x, Generator().manual_seed(1))
    for noise, there in (
        (ALL.scaled(1 / 255), lambda v: v / 255),
        (ALL.shifted(-30.0), lambda v: v - 30),
        (ALL.shifted(-30.0).scaled(4.0), lambda v: 4 * (v - 30)),
    ):
        torch.testing.assert_close(noise.sample(there(x), Generator().manual_seed(1)), there(y))
        assert noise.describe() == ALL.describe()
    torch.testing.assert_close(ALL.scaled(3.0).sd(3 * x), 3 * ALL.sd(x))
    torch.testing.assert_close(ALL.shifted(9.0).sd(x + 9), ALL.sd(x))


def test_one_channel_of_the_noise():
    x = torch.rand(2, 3, 8, 8, generator=Generator().manual_seed(0))
    for c in range(3):
        one = ALL.channel(c)
        assert (one.channels, one.grain, one.jpeg, one.count) == (None, ALL.grain, 85, None)
        assert torch.equal(one.sd(x[:, c : c + 1]), ALL.sd(x)[:, c : c + 1])
    with pytest.raises(UsageError, match="3 channels, and no channel 3"):
        ALL.channel(3)


def test_noise_of_any_number_of_channels_becomes_that_of_some():
    x = torch.rand(2, 3, 8, 8)
    three = SHOT.for_channels(3)
    assert (SHOT.count, three.count) == (None, 3)
    assert torch.equal(three.sd(x), SHOT.sd(x))
    assert ALL.for_channels(3) == ALL
    assert Noise.gaussian(0.1).for_channels(3).is_white
    for use in (lambda: ALL.for_channels(4), lambda: ALL.sd(torch.rand(2, 4, 8, 8)), lambda: ALL.sd(torch.rand(2, 8))):
        with pytest.raises(UsageError, match=r"the noise has 3 channels, and the picture has \d"):
            use()


@pytest.mark.parametrize(
    ("noise", "kind", "is_white"),
    [
        (Noise.gaussian(0.1), "white", True),
        (Noise((Table((0.0, 1.0), (0.1, 0.1)),), grain=((1.0, 0.0), (0.0, 0.0)), channels=((1.0,),)), "white", True),
        (Noise((Affine(read=0.1), Affine(read=0.2))), "white", False),
        (Noise((Affine(read=0.1),), channels=((1.0, 0.5), (0.5, 1.0))), "white", False),
        (SHOT, "shot", False),
        (TABLED, "shot", False),
        (ROW, "grain", False),
        (ALL, "grain", False),
    ],
)
def test_kinds(noise, kind, is_white):
    assert (noise.kind, noise.is_white) == (kind, is_white)


@pytest.mark.parametrize(
    ("noise", "line"),
    [
        (Noise.gaussian(25.0, 255.0), "white, sigma 25"),
        (Noise.gaussian(25 / 255), "white, sigma 25"),
        (Noise.poisson_gaussian(1.0, 3.0, white=255.0), "shot, sigma 11.7 (5.9 in shadows, 15.4 in highlights)"),
        (
            Noise((Table((0, 255), (2, 8)),), 255.0, grain=((1, 0.5), (0.5, 0.25)), jpeg=85),
            "grain, sigma 5.3 (2.6 in shadows, 7.4 in highlights), grain size 2.0 px, JPEG quality 85",
        ),
        (Noise((Affine(read=5), Affine(read=5.4)), 255.0, impulses=0.005), "white, sigma 5.2, 0.5 % impulses"),
        (
            Noise((Affine(read=3), Affine(read=4)), 255.0, channels=((1, 0.9), (0.9, 1))),
            "white, sigma 3.5, 3 / 4 by channel, channels correlated by 0.90",
        ),
    ],
)
def test_a_line_says_what_the_noise_is(noise, line):
    assert noise.describe() == line


def test_grain_size_tells_how_far_noise_averages():
    """Of a mean over n x n pixels the noise is sigma grain_size / n, for n much larger than the grain."""
    noise = Noise((Affine(read=1.0),), grain=GRAIN)
    y = noise.sample(torch.zeros(200, 1, 64, 64, dtype=torch.float64), Generator().manual_seed(0))
    assert y.mean((1, 2, 3)).std().item() == pytest.approx(noise.grain_size / 64, rel=0.15)
    assert Noise.gaussian(1.0).grain_size == 1
    assert Noise((Affine(read=1.0),), grain=((1.0, -0.4), (0.0, 0.0))).grain_size == 1


# ---- What makes no sense

ONE = (Affine(read=1.0),)
NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Affine(gain=-1.0), "the gain of the noise must not be negative, and -1 is"),
        (lambda: Affine(read=-0.5), "the read noise must not be negative, and -0.5 is"),
        (lambda: Affine(black=NAN), "the black of the noise must be finite and no larger than 1e[+]100, not nan"),
        (lambda: Affine(gain=True), "the gain of the noise must be a number, not True"),
        (lambda: Table((0, 1, 1), (1, 2, 3)), "must increase"),
        (lambda: Table((0, 1), (1, -2)), "must not be negative, and -2 is"),
        (lambda: Table((0, 1), (1,)), "2 values and 1 levels"),
        (lambda: Table((), ()), "must not be empty"),
        (lambda: Table((0, 1), (1, math.inf)), "must be finite"),
        (lambda: Noise(()), "needs a list of curves"),
        (lambda: Noise((1.0,)), "must be an Affine or a Table, not 1"),
        (lambda: Noise.gaussian(-1.0), "must not be negative"),
        (lambda: Noise(ONE, white=0.0), "white must be above zero, and 0 is not above 0"),
        (lambda: Noise(ONE, white=10**400), "white must be finite"),
        (lambda: Noise(ONE, grain=((1.0, 0.5),)), "pixels must have as many rows as columns"),
        (lambda: Noise(ONE, grain=np.eye(70)), "pixels must have as many rows as columns, 65 at most"),
        (lambda: Noise(ONE, grain=((0.9,),)), "must begin with 1, that of a pixel with itself, not 0.9"),
        (lambda: Noise(ONE, grain=((1.0, 1.1), (0.0, 0.0))), "must be from -1 to 1, and one is 1.1"),
        (lambda: Noise(ONE, grain=((1.0, 0.8), (0.0, 0.0))), "pixels is impossible"),
        (lambda: Noise(ONE, grain=5), "pixels must be a list, not 5"),
        (lambda: Noise(ONE, channels=((1.0, 0.5), (0.4, 1.0))), "symmetric"),
        (lambda: Noise(ONE, channels=((1.0, 0.5), (0.5, 2.0))), "ones on its diagonal"),
        (lambda: Noise(ONE, channels=((1.0, 1.5), (1.5, 1.0))), "channels is impossible"),
        (lambda: Noise(ONE * 3, channels=((1.0, 0.5), (0.5, 1.0))), "levels of 3 channels and correlations of 2"),
        (lambda: Noise(ONE, clip=(1.0, 1.0)), "the lower one first"),
        (lambda: Noise(ONE, clip=(1.0,)), "must be two numbers"),
        (lambda: Noise(ONE, rounding=0.0), "must be positive, not 0"),
        (lambda: Noise(ONE, jpeg=0), "a whole number from 1 to 100, not 0"),
        (lambda: Noise(ONE, jpeg=50.5), "a whole number from 1 to 100, not 50.5"),
        (lambda: Noise(ONE, impulses=1.0), "at least 0 and less than 1, not 1"),
        (lambda: Noise(ONE, impulses=-0.1), "at least 0 and less than 1"),
        (lambda: Noise(ONE).scaled(0.0), "must be positive, not 0"),
    ],
)
def test_noise_that_makes_no_sense_is_refused_in_one_line(make, message):
    with pytest.raises(UsageError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"clip": (0, 1)}, "clipping"),
        ({"rounding": 1}, "rounding"),
        ({"jpeg": 90}, "JPEG"),
        ({"impulses": 0.1}, "impulses"),
    ],
)
def test_noise_that_is_not_gaussian_has_no_score(fields, word):
    noise, x = Noise(ONE, **fields), torch.zeros(1, 4)
    assert not noise.is_gaussian
    with pytest.raises(UsageError, match=f"noise with {word}.* has no score"):
        noise.score(x, x)


@pytest.mark.parametrize(
    "noise",
    [
        Noise(ONE, channels=((1.0, 1.0), (1.0, 1.0))),
        Noise(ONE, grain=((1.0, 0.5), (0.5, 0.25))),  # means of 2 x 2 pixels: no power at the highest frequency
        Noise.poisson_gaussian(1.0, 0.0),
    ],
    ids=["shared", "smooth", "dark"],
)
def test_noise_with_a_singular_covariance_has_no_score_but_draws(noise):
    x = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    with pytest.raises(UsageError, match="singular") as refusal:
        noise.score(x, x)
    assert ("pixels" if noise.is_signal_dependent else "mean") in refusal.value.hint
    assert noise.sample(x + 1, Generator().manual_seed(0)).isfinite().all()


def test_noise_that_all_channels_share_is_the_same_in_each():
    noise = Noise(ONE, channels=((1.0, 1.0, 1.0),) * 3)
    y = noise.sample(torch.zeros(1, 3, 8, 8, dtype=torch.float64), Generator().manual_seed(0))
    torch.testing.assert_close(y[:, 0], y[:, 1])
    torch.testing.assert_close(y[:, 0], y[:, 2])
    assert y.std() > 0.5


# ---- Profiles


@pytest.mark.parametrize("noise", [*KERNELS.values(), ALL, Noise.gaussian(1e-7), ALL.shifted(0.1).scaled(1 / 3)])
def test_a_profile_is_read_as_the_noise_that_was_written(noise):
    text = noise.to_yaml()
    assert Noise.from_yaml(text) == noise
    assert "&" not in text  # no aliases
    assert text.splitlines()[:3] == [f"# {noise.describe()}", "smdae: noise profile", "version: 1"]


def test_a_profile_may_come_from_arrays_and_whole_numbers():
    noise = Noise([Table(np.array([0, 1]), np.float32([0.5, 0.25]))], np.int64(2), grain=np.array([[1, 0], [0, 0]]))
    assert Noise.from_yaml(noise.to_yaml()) == noise
    assert hash(noise) == hash(Noise.from_yaml(noise.to_yaml()))
    by_hand = "{smdae: noise profile, version: 1, white: 255, curves: [{read: 5}], clip: [0, 255], jpeg: null}"
    assert Noise.from_yaml(by_hand) == Noise((Affine(read=5.0),), 255.0, clip=(0.0, 255.0))


HEAD = "smdae: noise profile\nversion: 1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("\0", "is not YAML"),
        ("2020-13-45", "is not YAML"),
        ("[" * 2000, "is not YAML"),
        ("!!python/object/apply:os.getcwd []", "is not YAML"),
        ("", "is not a noise profile"),
        ("just text", "is not a noise profile"),
        ("objective: dsm\nsigma: 25", "is not a noise profile"),
        ("smdae: [1]", "is not a noise profile"),
        ("smdae: noise profile", "the version must be a whole number from 1 on, not None"),
        ("smdae: noise profile\nversion: 1.5", "the version must be a whole number from 1 on, not 1.5"),
        ("smdae: noise profile\nversion: 2\nspectrum: 1", "is version 2, later than 1"),
        (HEAD, "the curves must be a list, not None"),
        (HEAD + "curves: []", "needs a list of curves"),
        (HEAD + "curves: [5]", "each of the curves must be a mapping, not 5"),
        (HEAD + "curves: [{gian: 5}]", "unknown key 'gian'"),
        (HEAD + "curves: [{at: [0, 1], gain: 2}]", "unknown key 'gain'"),
        (HEAD + "curves: [{at: [0, 1]}]", "needs both at and levels"),
        (HEAD + "curves: [{at: 0, levels: [1]}]", "must be a list, not 0"),
        (HEAD + "curves: [{gain: -5}]", "must not be negative, and -5 is"),
        (HEAD + "curves: [{gain: 1e-5}]", "must be a number, not '1e-5'"),
        (HEAD + "curves: [{read: .nan}]", "must be finite and no larger than .*, not nan"),
        (HEAD + "curves: [{read: 1}]\ngrian: 1", "unknown key 'grian'"),
        (HEAD + "curves: [{read: 1}]\n[1, 2]: 1", "not YAML|unknown key a list"),
        (HEAD + "curves: [{read: 1}]\nwhite: bright", "white must be a number, not 'bright'"),
        (HEAD + "curves: [{read: 1}]\nwhite: null", "white must be a number, not None"),
        (HEAD + "curves: [{read: 1}]\ngrain: [[1, .5], [.5]]", "pixels must have as many rows as columns"),
        (HEAD + "curves: [{read: 1}]\ngrain: {a: 1}", "pixels must be a list, not a mapping"),
        (HEAD + "curves: [{read: 1}]\njpeg: yes", "from 1 to 100, not True"),
        (HEAD + "curves: [{read: 1}]\njpeg: 0x" + "f" * 9000, "from 1 to 100, not a number of very many digits"),
    ],
)
def test_a_text_that_is_no_profile_is_refused_in_one_line(text, message):
    with pytest.raises(UsageError, match=message) as refusal:
        Noise.from_yaml(text, "iso.yaml")
    assert refusal.value.message.startswith("iso.yaml")
    assert "\n" not in refusal.value.message
    assert len(refusal.value.message) < 150


def test_no_noise_is_a_noise_of_level_zero_without_a_score():
    nothing = Noise.gaussian(0.0, 255.0)
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    assert nothing.is_none
    assert nothing.describe() == "none"
    assert torch.equal(nothing.sample(x, Generator().manual_seed(0)), x)
    assert Noise.from_yaml(nothing.to_yaml()) == nothing
    with pytest.raises(UsageError, match="singular"):
        nothing.score(x, x)
    assert not Noise.gaussian(1.0).is_none


@pytest.mark.parametrize("curve", [Affine(gain=1.0), Affine(read=1.0), Table((0.0, 1.0), (1.0, 2.0))])
def test_noise_is_amplified_by_no_negative_factor(curve):
    with pytest.raises(UsageError, match="must not be negative, and -2 is"):
        Noise((curve,)).amplified(-2.0)
