"""The Python interface: `smdae.fit`, `smdae.load` and `smdae.denoise`, and an import that loads no torch."""

import json
import math

import numpy as np
import pytest
import torch

import smdae
from smdae.errors import InputError, ModelError, UsageError
from smdae.models import Patchwise
from tests.tiny import SETTINGS, colour, gray, model_bytes, python

STACK = np.stack([gray(seed=seed) for seed in range(3)])


def weights(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def test_an_import_loads_nothing_slow_and_knows_its_names():
    code = (
        "import json, sys, smdae; names = dir(smdae); version = smdae.__version__;"
        "slow = [m for m in ('torch', 'numpy', 'PIL', 'rich', 'typer', 'pydantic') if m in sys.modules];"
        "print(json.dumps([slow, names, version]))"
    )
    done = python("-c", code)
    slow, names, version = json.loads(done.stdout)
    assert slow == []
    assert {"fit", "load", "denoise", "densities", "divergence", "models", "objectives"} <= set(names)
    assert {"denoise_image", "estimate_noise", "estimate_psnr", "posterior_variance", "adapt", "compare"} <= set(names)
    assert version == smdae.__version__


def test_every_public_name_is_there_and_no_other():
    for name in smdae.__all__:
        assert getattr(smdae, name) is not None
    assert sorted(smdae.__all__) == smdae.__dir__()
    with pytest.raises(AttributeError, match="'nope'"):
        _ = smdae.nope


@pytest.mark.parametrize("objective", smdae.objectives.OBJECTIVES)
def test_every_objective_fits(objective):
    few = {"parzen_patches": 50, "components": 2}
    model = smdae.fit(STACK, objective, **SETTINGS, **few)
    assert isinstance(model, Patchwise)
    assert not model.training
    assert (model.channels, model.size, model.level) == (1, 4, pytest.approx(25 / 255))
    assert all(np.isfinite(w).all() for w in weights(model).values())


@pytest.mark.parametrize(
    ("patches", "channels"),
    [
        (STACK, 1),
        (list(STACK), 1),
        ([gray(9, 30), gray(20, 8)], 1),
        ([colour(), colour()[:10]], 3),
        (np.stack([colour()] * 2), 3),
        ([gray()], 1),
        (STACK[:, :4, :4], 1),
        (STACK.astype(np.uint16) * 257, 1),
        (STACK / np.float32(255), 1),
        (STACK / 255, 1),
        ((STACK / 255).astype(np.float16), 1),
    ],
    ids=["stack", "list", "sizes", "colour", "colours", "one", "patches", "uint16", "float32", "float64", "float16"],
)
def test_images_of_any_size_and_depth_are_taken(patches, channels):
    level = 0.1 if np.asarray(patches[0]).dtype.kind == "f" else 25.5
    model = smdae.fit(patches, sigma=level, **SETTINGS)
    assert model.channels == channels
    assert model.level == pytest.approx(0.1)
    image = np.asarray(patches[0])
    assert smdae.denoise(image, model).shape == image.shape


def test_sigma_is_in_the_unit_of_the_images():
    """The same pictures in three units, each with its sigma, give the same model."""
    whole = weights(smdae.fit(STACK, sigma=40, **SETTINGS))
    deep = weights(smdae.fit(STACK.astype(np.uint16) * 257, sigma=40, **SETTINGS))
    floats = weights(smdae.fit(STACK / 255, sigma=40 / 255, **SETTINGS))
    other = weights(smdae.fit(STACK, sigma=25, **SETTINGS))
    for name, value in whole.items():
        np.testing.assert_allclose(deep[name], value, atol=1e-4)
        np.testing.assert_allclose(floats[name], value, atol=1e-4)
    assert abs(other["patch.W"] - whole["patch.W"]).max() > 0.01


def test_the_seed_decides_all_chance():
    torch.manual_seed(1)
    a = weights(smdae.fit(STACK, **SETTINGS, seed=3))
    torch.manual_seed(2)
    b = weights(smdae.fit(STACK, **SETTINGS, seed=3))
    c = weights(smdae.fit(STACK, **SETTINGS, seed=4))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not np.array_equal(a["patch.W"], c["patch.W"])


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"objective": "nope"}, UsageError),
        ({"model": "nope"}, UsageError),
        ({"sigma": 0}, UsageError),
        ({"sigma": -1}, UsageError),
        ({"sigma": math.nan}, UsageError),
        ({"sigma": math.inf}, UsageError),
        ({"surprise": 1}, UsageError),
        ({"patch_size": 30}, InputError),
        ({"model": "unet", "growth": (30,)}, InputError),
        ({"model": "unet", "real": 0.5}, InputError),
        ({"patches": []}, InputError),
        ({"patches": np.zeros((0, 8, 8))}, InputError),
        ({"patches": np.zeros((5, 0))}, InputError),
        ({"patches": [gray(), gray() / 255]}, InputError),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_fitted_is_refused(wrong, error):
    with pytest.raises(error):
        smdae.fit(**{"patches": STACK} | SETTINGS | wrong)


@pytest.mark.parametrize(
    "patches",
    [
        np.full((2, 8, 8), np.nan),
        np.zeros((2, 8, 8), np.int64),
        np.zeros((2, 8, 8), bool),
        [gray(), colour()],
        [colour()[..., :2]] * 2,
        np.zeros((2, 8, 8, 0)),
    ],
    ids=["nan", "int64", "bool", "mixed", "two channels", "no channels"],
)
def test_arrays_that_are_no_images_are_refused(patches):
    with pytest.raises(InputError):
        smdae.fit(patches, **SETTINGS)


def test_a_model_file_is_loaded_and_denoises(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_bytes())
    image = gray()
    by_model = smdae.denoise(image, smdae.load(path))
    assert by_model.dtype == np.uint8
    assert by_model.shape == image.shape
    np.testing.assert_array_equal(smdae.denoise(image, path), by_model)
    np.testing.assert_array_equal(smdae.denoise(image, str(path), sigma=25), by_model)
    with pytest.raises(ModelError):
        smdae.load(tmp_path / "missing.safetensors")


def test_a_fit_can_be_denoised_with_at_once():
    """Enough steps for the model to take noise away."""
    smooth = [(np.sin(np.add.outer(np.arange(64) / 5, np.arange(64) / (4 + i))) * 60 + 128) for i in range(3)]
    model = smdae.fit([s.round().astype(np.uint8) for s in smooth], sigma=25, patch_size=6, hidden=32, max_steps=60)
    noisy = smooth[0] + 25 * np.random.default_rng(0).standard_normal((64, 64))
    found = smdae.denoise(noisy.clip(0, 255).round().astype(np.uint8), model)
    error = [np.square(image - smooth[0]).mean() for image in (noisy, found)]
    assert error[1] < 0.5 * error[0]


@pytest.mark.parametrize(
    ("model", "side", "size"), [("energy", 80, 12), ("energy", 8, 8), ("unet", 80, 64), ("unet", 40, 40)]
)
def test_patches_are_as_large_as_the_command_makes_them_or_as_small_images_are(model, side, size):
    """A network was fitted to patches of 12 pixels, and by the command to patches of 64."""
    images = [gray(side, side, seed) for seed in range(3)]
    fitted = smdae.fit(images, model=model, max_steps=1, batch=2)
    assert fitted.card["patch_size"] == size


def test_small_images_are_fitted_to_with_real_noise_by_small_patches():
    images = [gray(100, 100, seed) for seed in range(3)]
    fitted = smdae.fit(images, model="unet", real=0.5, patch_size=32, max_steps=1, batch=2)
    assert fitted.card["patch_size"] == 32
    with pytest.raises(InputError, match="160 pixels"):
        smdae.fit(images, model="unet", real=0.5)


def test_without_a_level_a_fit_has_that_of_the_command():
    """In Python it was 25 for all: larger than white for floats, and for noisy images and networks another."""
    few = {"patch_size": 4, "max_steps": 2, "batch": 8}
    floats = STACK / np.float32(255)
    assert smdae.fit(STACK, hidden=4, **few).card["sigma"] == smdae.fit(floats, hidden=4, **few).card["sigma"] == 25
    assert smdae.fit(STACK, noisy=True, hidden=4, **few).card["sigma"] != 25  # as it is estimated of these
