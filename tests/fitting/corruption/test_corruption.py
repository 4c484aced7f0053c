"""Pictures with the noise of real ones, as a fit is shown them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor

from smdae.fitting.corruption import corrupted, jpeg, parts, source_side
from smdae.fitting.corruption.filters import blurred, crops, gaussian
from smdae.fitting.corruption.grain import counted
from smdae.fitting.corruption.measuring import measured


def scene(n: int, channels: int, side: int) -> Tensor:
    """Smooth pictures with shape (n, channels, side, side), between 0.1 and 0.9."""
    coarse = torch.rand(n, channels, 8, 8, generator=Generator().manual_seed(0))
    return 0.1 + 0.8 * torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=True)


@pytest.mark.parametrize("quality", [40, 75, 95])
@pytest.mark.parametrize("channels", [1, 3])
def test_compression_is_that_of_jpeg_files(quality: int, channels: int) -> None:
    x = scene(1, channels, 64) + 0.05 * torch.randn(1, channels, 64, 64, generator=Generator().manual_seed(1))
    x = (255 * x).round().clamp(0, 255) / 255
    pixels = (255 * x[0]).permute(1, 2, 0).numpy().round().astype(np.uint8).squeeze()
    file = io.BytesIO()
    options = {} if channels == 1 else {"subsampling": 0}
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, **options)
    truth = np.asarray(Image.open(file), np.float64)
    ours = jpeg.compressed(x, torch.tensor([float(quality)]), torch.tensor([False]))
    found = 255 * ours[0].permute(1, 2, 0).numpy().squeeze()
    # Other roundings on the way turn a few coefficients to the next multiple.
    off = np.abs(found - truth)
    assert np.median(off) == 0
    assert np.sqrt((off**2).mean()) < 0.1 * np.sqrt(np.square(truth - pixels).mean()) + 1.0


def test_halved_colours_lose_fine_colour_and_keep_brightness() -> None:
    x = torch.full((1, 3, 32, 32), 0.5)
    x[:, 0, :, ::2] += 0.2
    x[:, 2, :, ::2] -= 0.2
    fine, halved = (jpeg.compressed(x, torch.tensor([95.0]), torch.tensor([flag])) for flag in (False, True))
    colour = [(y[:, 0] - y[:, 2]).std().item() for y in (x, fine, halved)]
    assert colour[1] > 0.9 * colour[0]
    assert colour[2] < 0.2 * colour[0]


def test_blurs_have_widths_of_their_own() -> None:
    x = torch.zeros(2, 1, 31, 31, dtype=torch.float64)
    x[:, :, 15, 15] = 1.0
    width = torch.tensor([0.0, 1.5], dtype=torch.float64)
    y = blurred(x, width, 6)
    torch.testing.assert_close(y[0], x[0])
    torch.testing.assert_close(y[1, 0, 15, 9:22], gaussian(width, 6)[1] * gaussian(width, 6)[1, 6])
    torch.testing.assert_close(blurred(torch.ones_like(x), width, 6), torch.ones_like(x))


def test_crops_are_cut_where_asked() -> None:
    x = torch.arange(2 * 3 * 7 * 9).view(2, 3, 7, 9)
    found = crops(x, torch.tensor([0, 3]), torch.tensor([2, 5]), 4)
    assert torch.equal(found[0], x[0, :, 0:4, 2:6])
    assert torch.equal(found[1], x[1, :, 3:7, 5:9])


def test_photons_are_counted_without_bias() -> None:
    clean, noisy = counted(scene(40, 1, 64), Generator().manual_seed(2))
    e = noisy - clean
    spread = e.std((1, 2, 3))
    assert (e.mean((1, 2, 3)).abs() < 0.25 * spread).all()  # half of them are blurred, and have few grains
    assert spread.min() > 0


def test_levels_are_measured_by_brightness() -> None:
    n = 64
    x = scene(n, 1, 64).double()
    generator = Generator().manual_seed(4)
    sd = 0.02 + 0.1 * x
    y = x + sd * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    sigma, told = measured(x, y, torch.zeros(n, dtype=x.dtype), generator)
    assert told.sd is not None
    ratio = (sigma[:, None, None, None] * told.sd / sd).log()
    # Errors of a tenth are added to the level, and of a tenth from dark to bright; some are told one level for all.
    assert ratio.mean().abs() < 0.06
    assert 0.05 < ratio.std() < 0.35
    true = sd.square().mean((1, 2, 3)).sqrt()
    assert (sigma / true).log().mean().abs() < 0.05
    assert (told.grain.abs() < 0.2).all()


def test_grain_and_what_channels_share_are_measured() -> None:
    generator = Generator().manual_seed(5)
    x = torch.full((16, 3, 96, 96), 0.5, dtype=torch.float64)
    e = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    e = (e + e.mean(1, keepdim=True) * 2) / 2
    width = torch.full((16,), 1.0, dtype=x.dtype)
    soft = blurred(e, width, 5)
    _, told = measured(x, x + 0.05 * soft, torch.full((16,), 0.2, dtype=x.dtype), generator)
    assert abs(told.grain[:, 0].mean() - 0.779) < 0.05  # exp(-1/4)
    assert abs(told.grain[:, 1].mean() - 0.368) < 0.05  # exp(-1)
    gram = torch.corrcoef(e.transpose(0, 1).flatten(1))
    assert abs(told.channels.mean() - (gram.sum() - 3) / 6) < 0.05
    assert (told.jpeg == 0.2).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_of_all_kinds(channels: int) -> None:
    side, n = 32, 20
    source = scene(n, channels, source_side(side))
    made, again = (corrupted(source, side, Generator().manual_seed(7)) for _ in range(2))
    assert sum(parts(n, channels)) == n
    assert made.clean.shape == made.noisy.shape == (n, channels, side, side)
    assert torch.equal(made.noisy, again.noisy)
    assert made.noisy.isfinite().all()
    stored = made.noisy[made.white > 0]
    assert 0 < len(stored) < n
    assert stored.min() >= 0
    assert stored.max() <= 1
    torch.testing.assert_close(255 * stored, (255 * stored).round(), rtol=0, atol=1e-3)
    true = (made.noisy - made.clean).square().mean((1, 2, 3)).sqrt()
    assert 0.7 < (made.sigma / true).median() < 1.4
    assert made.conditioning.sd is not None
    torch.testing.assert_close(made.conditioning.sd.square().mean((1, 2, 3)), torch.ones(n), rtol=1e-4, atol=0)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_batches_have_all_their_pictures(n: int, channels: int) -> None:
    made = corrupted(scene(n, channels, source_side(16)), 16, Generator().manual_seed(n))
    assert len(made.noisy) == len(made.clean) == len(made.sigma) == len(made.white) == n
