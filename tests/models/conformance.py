"""What every score model of images owes, whatever its family: functions that fail where it is not so."""

import torch
from torch import Generator, Tensor

from smdae import divergence
from smdae.denoising.tiles import SMALLEST, Tiled
from smdae.files.model_file import build, encode
from smdae.fitting.settings import check
from smdae.models import MODELS, Patchwise
from smdae.protocols import (
    HasDiagonal,
    HasDivergence,
    HasEnergy,
    HasPosteriorVariance,
    completed,
    offers,
    posterior_mean,
)

SIDE, SIGMA = 6, 25 / 255
SMALL = {"patch_size": SIDE, "hidden": 7, "filters": 5, "window": 3, "sigma": 25.0}


def fitted(name: str):
    """Return what is fitted of a family, in float64, with parameters drawn so that nothing in it is zero."""
    family, generator = MODELS[name], Generator().manual_seed(0)
    settings = check({"model": name, **SMALL})
    model = family.start(torch.rand(40, SIDE**2, generator=generator), 1, settings, generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model.requires_grad_(False).eval()


def of_images(name: str):
    """Return the same as an image model."""
    model = fitted(name)
    return Patchwise(model, 1, SIDE) if MODELS[name].of_patches else model


def pictures(*shape: int) -> Tensor:
    return torch.rand(shape, generator=Generator().manual_seed(1), dtype=torch.float64)


def has_what_tiles_need(name: str) -> None:
    """It is an ImageScoreModel as it stands."""
    model = of_images(name)
    assert completed(model) is model
    assert model.channels == 1
    assert model.noise_range == (SIGMA, SIGMA)
    assert model.halo is None or model.halo >= 0
    assert model.shift_multiple >= 1
    assert model.bytes_per_pixel >= 4


def is_the_same_by_tiles(name: str) -> None:
    """Tiles with the halo that it tells, at the shifts that it tells, give the score of the whole."""
    model = of_images(name)
    x = pictures(1, 1, 4 * SMALLEST + 3, 19)
    by_tiles = Tiled(model, SMALLEST, torch.device("cpu")).score(x, SIGMA)
    whole = model.score(x, sigma=SIGMA)
    torch.testing.assert_close(by_tiles, whole, rtol=0, atol=1e-9 * whole.abs().max().item())


def is_homogeneous(name: str) -> None:
    """psi(a x, a sigma) = psi(x, sigma) / a: a level that was not fitted scales to one that was."""
    model, x = of_images(name), pictures(2, 1, 24, 17)
    torch.testing.assert_close(model.score(3 * x, sigma=3 * SIGMA), model.score(x, sigma=SIGMA) / 3)


def agrees_with_derivatives(name: str) -> None:
    """What it knows in closed form is what derivatives of its score or its energy are."""
    model = fitted(name)
    x = pictures(2, SIDE**2) if MODELS[name].of_patches else pictures(2, 1, SIDE, SIDE)

    def score(y: Tensor) -> Tensor:
        return model.score(y, sigma=SIGMA)

    if offers(model, HasEnergy):
        y = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model.energy(y, SIGMA).sum(), y)
        torch.testing.assert_close(-gradient, score(x))
    if offers(model, HasDivergence):
        torch.testing.assert_close(model.divergence(x, SIGMA), divergence.exact(score, x)[1])
    if offers(model, HasDiagonal):
        torch.testing.assert_close(model.score_and_diagonal(x, SIGMA)[1], divergence.diagonal(score, x)[1])
    if offers(model, HasPosteriorVariance):
        entries = divergence.diagonal(score, x)[1]
        torch.testing.assert_close(model.posterior_variance(x, SIGMA), SIGMA**2 * (1 + SIGMA**2 * entries))


def comes_back_from_a_file(name: str) -> None:
    """A model that was written and read gives the same answers, and knows its card."""
    model = of_images(name).float()
    card = {
        "model": name,
        "settings": model.settings(),
        "sigma": 25.0,
        "channels": 1,
        "patch_size": SIDE,
    }
    again = build(card, encode(model, card), "the model")
    x = pictures(1, 1, 16, 20).float()
    assert torch.equal(posterior_mean(again, x, SIGMA), posterior_mean(model, x, SIGMA))
    assert again.card["model"] == name


def is_the_same_on_cuda(name: str) -> None:
    """Scores on an accelerator are those of the CPU to rounding."""
    model, x = of_images(name), pictures(1, 1, 40, 33)
    there = model.to("cuda").score(x.cuda(), sigma=SIGMA).cpu()
    torch.testing.assert_close(there, model.to("cpu").score(x, sigma=SIGMA), rtol=1e-9, atol=1e-9)


CHECKS = (has_what_tiles_need, is_the_same_by_tiles, agrees_with_derivatives, comes_back_from_a_file)
