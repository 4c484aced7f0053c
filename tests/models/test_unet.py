"""The score network for images: sizes, symmetries that it has by construction, any image size."""

import pytest
import torch
from torch import Generator

from smdae.files.model_file import load
from smdae.models.borders import mirrored
from smdae.models.unet import SIZES, UNet
from tests.conftest import TINY_NETWORK, random_network
from tests.counting import multiplications


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=Generator().manual_seed(seed))


@pytest.mark.parametrize(("size", "most"), [("small", 19), ("medium", 100)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("clips", [False, True])
def test_the_sizes_keep_their_limits(size, most, channels, clips):
    model = UNet(channels, **vars(SIZES[size]), levels=(0.01, 0.2), clips=clips)
    side = 64
    y = torch.zeros(1, channels, side, side)
    count = multiplications(model, lambda: model.score(y, sigma=0.1)) / side**2 / 1000  # kMAC a pixel
    assert 0.85 * most < count <= most


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("factor", [0.01, 0.5, 3.0, 1000.0])
def test_image_level_and_white_scale_together(activation, factor):
    model = random_network(activation=activation, clips=True)
    y = image(2, 1, 12, 16)
    told = model.clipped(torch.tensor([1.0, 0.0], dtype=torch.float64))
    scaled = model.clipped(factor * torch.tensor([1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(scaled.reconstruct(factor * y, factor * 0.1), factor * told.reconstruct(y, 0.1))
    torch.testing.assert_close(scaled.score(factor * y, factor * 0.1), told.score(y, 0.1) / factor)


def test_a_shift_of_the_image_shifts_the_result():
    model = random_network()
    large = image(1, 1, 96, 96)
    halo, step = model.halo, model.shift_multiple
    seen = slice(step, step + 64)
    shifted = model.reconstruct(large[:, :, seen, seen], 0.1)
    whole = model.reconstruct(large, 0.1)[:, :, seen, seen]
    inner = slice(halo, 64 - halo)
    torch.testing.assert_close(shifted[:, :, inner, inner], whole[:, :, inner, inner])


def test_nothing_beyond_the_halo_matters_and_something_near_it_does():
    model = random_network(widths=(4, 6, 8), down=(0, 1, 2), up=(1, 1, 0))
    y = image(1, 1, 256, 256).requires_grad_()
    for row in range(128, 128 + model.shift_multiple):
        (gradient,) = torch.autograd.grad(model.reconstruct(y, 0.1)[0, 0, row, 128], y)
        touched = gradient[0, 0].nonzero()
        distance = (touched - torch.tensor([row, 128])).abs().max().item()
        assert model.halo / 2 < distance <= model.halo


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 3), (5, 7), (8, 8), (13, 97), (64, 33)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size(shape, channels):
    model = random_network(channels)
    y = image(2, channels, *shape)
    psi = model.score(y, sigma=0.1)
    assert psi.shape == y.shape
    assert psi.isfinite().all()
    torch.testing.assert_close(model.score(y[1:], sigma=0.1), psi[1:])


def test_an_image_goes_on_as_in_a_mirror():
    row = torch.arange(5.0).reshape(1, 1, 1, 5)
    assert mirrored(row, 8)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert mirrored(row[..., :2], 8)[0, 0, 3].tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    assert torch.equal(mirrored(image(1, 1, 16, 8), 8), image(1, 1, 16, 8))


def test_before_the_first_step_it_is_the_identity():
    model = UNet(1, **TINY_NETWORK)
    model.initialise(Generator().manual_seed(0))
    y = torch.rand(1, 1, 9, 9)
    assert torch.equal(model.reconstruct(y, 0.1), y)
    assert not model.score(y, 0.1).any()


def test_each_image_of_a_batch_has_its_level_and_its_white():
    model = random_network(clips=True)
    y = image(3, 1, 16, 16)
    levels = torch.tensor([0.1, 0.15, 0.2], dtype=torch.float64)
    whites = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    together = model.clipped(whites).score(y, levels)
    for i in range(3):
        alone = model.clipped(whites[i].item()).score(y[i : i + 1], levels[i].item())
        torch.testing.assert_close(together[i : i + 1], alone)
    assert not torch.allclose(model.clipped(1.0).score(y, 0.1), model.score(y, 0.1))


def test_the_score_and_the_reconstruction_are_tweedies():
    model, y = random_network(), image(2, 1, 16, 16)
    torch.testing.assert_close(y + 0.1**2 * model.score(y, 0.1), model.reconstruct(y, 0.1))


def test_one_fitted_without_clipping_is_not_told_of_it():
    model = random_network()
    assert model.clipped(1.0) is model
    assert random_network(clips=True).clipped(1.0) is not model


def test_a_model_of_many_levels_wants_to_know_which():
    with pytest.raises(ValueError, match="needs a level"):
        random_network().score(image(1, 1, 8, 8))
    one = random_network(levels=(0.1, 0.1))
    assert one.level == 0.1
    torch.testing.assert_close(one.score(image(1, 1, 8, 8)), one.score(image(1, 1, 8, 8), 0.1))


def test_settings_build_it_again():
    model = random_network(3, activation="silu", clips=True)
    again = UNet(**model.settings()).double()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.score(image(1, 3, 8, 8), 0.1), model.score(image(1, 3, 8, 8), 0.1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"widths": (4,)},
        {"widths": (), "down": (), "up": ()},
        {"widths": (4, 0)},
        {"activation": "tanh"},
        {"levels": (0, 1)},
        {"levels": (2, 1)},
    ],
)
def test_what_makes_no_network_is_refused(wrong):
    with pytest.raises(ValueError):  # noqa: PT011
        UNet(1, **(TINY_NETWORK | wrong))


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        random_network().score(image(1, 3, 8, 8), 0.1)


def test_relus_have_kinks_and_silus_have_none():
    assert random_network().kinked
    assert not random_network(activation="silu").kinked
    y = image(1, 1, 8, 8)
    v = image(1, 1, 8, 8, seed=1)

    def bend(model: UNet) -> float:
        """The largest entry of the second derivative of psi along v."""

        def slope(z: torch.Tensor) -> torch.Tensor:
            return torch.func.jvp(lambda u: model.score(u, 0.1), (z,), (v,))[1]

        return torch.func.jvp(slope, (y,), (v,))[1].abs().max().item()

    assert bend(random_network(activation="relu", seed=3)) == 0
    assert bend(random_network(activation="silu", seed=3)) > 1e-6


@pytest.mark.parametrize("shape", [(300, 4), (64, 8), (8, 64), (5, 1)], ids=str)
def test_products_of_fewer_digits_hold_for_the_narrowest_pictures(shape):
    network = load("natural-gray-small")
    x = torch.rand(1, 1, *shape, generator=Generator().manual_seed(0))
    exact = network.reconstruct(x, 0.08)
    for _ in range(3):  # what was wrong depended on what the memory held before
        rounded = network.with_products_in(torch.bfloat16).reconstruct(x, 0.08)
        torch.testing.assert_close(rounded, exact, rtol=0, atol=0.004)
