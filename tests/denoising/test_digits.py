"""Products in fewer digits: how far off, of what, and what stays exact."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from smdae import denoise, load
from smdae.denoising import judgement
from smdae.denoising.precision import PRECISIONS, check_precision, chosen_precision, exact, with_precision
from smdae.denoising.self_ensemble import SelfEnsemble
from smdae.denoising.task import Task
from smdae.errors import UsageError
from smdae.models import EnergyModel, Experts, GradientUNet, Patchwise
from tests.conftest import TINY_NETWORK

CLEAN = np.asarray(Image.open(Path(__file__).parents[2] / "sample_data" / "clean.png").convert("L"))[:256, :256]


def stored(sigma):
    noisy = CLEAN + sigma * np.random.default_rng(0).standard_normal(CLEAN.shape, np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def in_gray_levels(model, noisy, sigma):
    """D(y, sigma) before it is rounded, white being 255."""
    y = torch.from_numpy(noisy.astype(np.float32) / 255)[None, None]
    with torch.inference_mode():
        return 255 * model.clipped(1.0).reconstruct(y, sigma / 255)[0, 0].numpy()


def psnr(estimate):
    return -10 * np.log10(np.mean((np.clip(estimate, 0, 255) - CLEAN) ** 2) / 255**2)


@pytest.fixture(scope="module")
def model():
    return load("natural-gray-small")


@pytest.mark.parametrize(("sigma", "loss"), [(5, 0.005), (15, 0.005), (25, 0.005), (50, 0.015)])
def test_bfloat16_is_off_by_less_than_rounding_and_costs_next_to_no_quality(model, sigma, loss):
    noisy = stored(sigma)
    before = in_gray_levels(model, noisy, sigma)
    after = in_gray_levels(model.with_products_in(torch.bfloat16), noisy, sigma)
    apart = after - before
    assert 0 < np.sqrt(np.mean(apart**2)) < 0.02 + 0.0075 * sigma
    assert np.abs(apart).max() < 1 + 0.03 * sigma
    assert abs(psnr(after) - psnr(before)) < loss


def test_float16_is_off_by_an_eighth_of_that(model):
    noisy = stored(25)[:128, :128]
    before = in_gray_levels(model, noisy, 25)
    off = {
        name: np.sqrt(np.mean((in_gray_levels(model.with_products_in(PRECISIONS[name]), noisy, 25) - before) ** 2))
        for name in ("bfloat16", "float16")
    }
    assert 0 < off["float16"] < off["bfloat16"] / 5


def test_the_first_and_the_last_layer_stay_exact(model):
    seen = {}
    hooks = [
        layer.register_forward_hook(lambda _, x, y, name=name: seen.update({name: (x[0].dtype, y.dtype)}))
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Conv2d)
    ]
    in_gray_levels(model.with_products_in(torch.bfloat16), stored(25)[:64, :64], 25)
    for hook in hooks:
        hook.remove()
    assert seen.pop("stem") == seen.pop("head") == (torch.float32, torch.float32)
    assert set(seen.values()) == {(torch.bfloat16, torch.bfloat16)}


def test_auto_is_float32_to_the_bit_on_a_cpu_that_multiplies_nothing_else_faster(model, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    noisy = stored(25)[:100, :90]
    results = {name: denoise(noisy, model, 25, precision=name) for name in ("auto", "float32", "bfloat16")}
    assert np.array_equal(results["auto"], results["float32"])
    assert not np.array_equal(results["bfloat16"], results["float32"])
    assert np.abs(results["bfloat16"].astype(int) - results["float32"]).max() <= 2


@pytest.mark.parametrize(
    ("device", "whole", "sigma", "fast", "side", "expected"),
    [
        ("cuda", True, 25, False, 64, "float16"),
        ("cuda", False, 25, False, 64, "float32"),
        ("cpu", True, 25, False, 64, "float32"),
        ("cpu", True, 25, True, 64, "bfloat16"),
        ("cpu", True, 55, True, 64, "float32"),
        ("cpu", False, 25, True, 64, "float32"),
        ("cpu", True, 25, True, 63, "float32"),
        ("cuda", True, 25, False, 8, "float16"),
    ],
)
def test_auto_is_what_costs_less_than_rounding(model, monkeypatch, device, whole, sigma, fast, side, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    assert chosen_precision("auto", model, torch.device(device), whole, sigma / 255, side * side) == expected
    assert chosen_precision("float32", model, torch.device(device), whole, sigma / 255, side * side) == "float32"
    assert with_precision(model, "float32") is model


def test_what_stands_on_differences_is_exact_whatever_the_precision(model):
    noisy = stored(25)[:96, :96]
    result = denoise(noisy, model, 25)
    judged = [judgement.judge(Task.of(noisy, model, 25, precision=name), result) for name in ("float32", "bfloat16")]
    assert judged[0] == judged[1]


def test_turned_images_and_steps_take_it_too(model):
    noisy = stored(25)[:64, :64]
    for options in ({"ensemble": True}, {"sampler": "ode", "steps": 3}):
        plain, low = (denoise(noisy, model, 25, precision=name, **options) for name in ("float32", "bfloat16"))
        assert 0 < np.abs(plain.astype(int) - low).max() <= 4
    assert SelfEnsemble(model).with_products_in(torch.bfloat16).model.products == torch.bfloat16


def test_a_network_that_is_a_gradient_takes_it(generator):
    model = GradientUNet(1, **TINY_NETWORK)
    model.initialise(generator)
    model.requires_grad_(False)
    x = torch.rand(1, 1, 32, 32, generator=generator)
    with torch.inference_mode():
        plain, low = model.reconstruct(x, 0.1), model.with_products_in(torch.bfloat16).reconstruct(x, 0.1)
    assert low.dtype == torch.float32
    assert 0 < (plain - low).abs().max() < 0.02
    assert model.inner.products is None


@pytest.mark.parametrize("model", [Patchwise(EnergyModel(9, 4, 1.0, 0.1), 1, 3), Experts(1, 8, 3, (0.1, 0.2))])
def test_other_models_say_so(model):
    noisy = stored(25)[:20, :20]
    with pytest.raises(UsageError, match="precision bfloat16 is for networks"):
        denoise(noisy, model, 25, precision="bfloat16")
    assert np.array_equal(denoise(noisy, model, 25, precision="float32"), denoise(noisy, model, 25))
    with pytest.raises(UsageError, match="unknown precision 'half'; there are auto, float32"):
        check_precision("half")


def test_exact_puts_back_what_it_found():
    before = torch.backends.cudnn.allow_tf32
    with exact():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before
