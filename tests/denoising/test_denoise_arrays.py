"""Arrays in, arrays out: shape, dtype and unit stay, channels go one by one, and what makes no sense is refused."""

import math

import numpy as np
import pytest
import torch

from smdae.denoising import denoise
from smdae.denoising.task import Task
from smdae.errors import InputError, ModelError, SmdaeError, UsageError
from smdae.files.model_file import load
from tests.tiny import colour, gray, model_bytes


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("gray") / "m.safetensors"
    path.write_bytes(model_bytes())
    return load(path)


@pytest.fixture(scope="module")
def colour_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("colour") / "m.safetensors"
    path.write_bytes(model_bytes(channels=3))
    return load(path)


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "uint16", "float16", "float32", ">f4", "float64"])
@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 3), (24, 32, 1), (24, 32, 4), (1, 1), (1, 40), (3, 5), (4, 4)])
def test_shape_and_dtype_stay(model, dtype, shape):
    image = np.resize(gray(), shape).astype(dtype)
    clean = denoise(image, model)
    assert clean.shape == shape
    assert clean.dtype == np.dtype(dtype)
    assert np.isfinite(clean).all()


def test_a_view_is_denoised_as_its_copy(model):
    image = colour()
    turned = image[::-1, ::2].transpose(1, 0, 2)
    np.testing.assert_array_equal(denoise(turned, model), denoise(turned.copy(), model))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_result_is_another_array_and_the_input_may_be_read_only(model, dtype):
    image = gray().astype(dtype)[:, :, None]
    before = image.copy()
    image.flags.writeable = False
    clean = denoise(image, model)
    np.testing.assert_array_equal(image, before)
    assert not np.array_equal(clean, image)
    assert clean.flags.writeable


def test_a_gray_model_takes_the_channels_one_by_one(model):
    image = colour()
    planes = [denoise(image[..., c], model) for c in range(3)]
    np.testing.assert_array_equal(denoise(image, model), np.dstack(planes))


@pytest.mark.parametrize(("dtype", "white"), [("float32", 1.0), ("float64", 1.0), ("uint16", 65535)])
def test_sigma_is_in_the_unit_of_its_dtype(model, dtype, white):
    """40 of 255 for integers of any depth, 40/255 of white for floats."""
    image = gray()
    expected = denoise(image, model, sigma=40)
    scaled = (image / 255 * white).round(0 if dtype == "uint16" else 9).astype(dtype)
    found = denoise(scaled, model, sigma=40 if dtype == "uint16" else 40 / 255) / white * 255
    np.testing.assert_allclose(found, expected, atol=0.51)
    assert abs(denoise(scaled, model).astype(float) / white * 255 - expected).max() > 1, "sigma makes no difference"


def test_another_white_scales_sigma_with_the_values(model):
    image = (gray() / 255).astype(np.float32)
    expected = denoise(image, model, sigma=0.1)
    np.testing.assert_allclose(denoise(image * 1000, model, sigma=100, white=1000.0) / 1000, expected, atol=1e-5)


def test_no_sigma_is_the_level_of_the_model(model):
    image = gray()
    np.testing.assert_array_equal(denoise(image, model), denoise(image, model, sigma=25))


class Shift:
    """Adds a number to every pixel, white being 1."""

    level = 0.1

    def __init__(self, by):
        self.by = by

    def score(self, x, sigma=None):
        return torch.full_like(x, self.by / sigma**2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("by", [0.4, -0.4, 0.4 / 255, 0.6 / 255, -0.6 / 255])
def test_integers_are_rounded_and_clipped(dtype, by):
    white = np.iinfo(dtype).max
    image = np.linspace(0, white, 256).astype(dtype).reshape(16, 16)
    wide = np.rint(image + by * white).clip(0, white)
    np.testing.assert_array_equal(denoise(image, Shift(by)), wide)


def test_floats_are_not_clipped(model):
    """The model does not see the mean of a patch, so a picture far beyond white is denoised as well as any."""
    image = (gray() / 255).astype(np.float32)
    np.testing.assert_allclose(denoise(image + 5, model), denoise(image, model) + 5, atol=1e-4)
    assert denoise(image - 5, model).max() < 0


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_stride_up_to_the_patch_size_is_taken(model, stride):
    assert denoise(gray(), model, stride=stride).shape == gray().shape


@pytest.mark.parametrize(
    "wrong",
    [
        {"image": np.zeros(5)},
        {"image": np.zeros((2, 3, 4, 5))},
        {"image": np.zeros((0, 5))},
        {"image": np.zeros((5, 5), np.int64)},
        {"image": np.zeros((5, 5), bool)},
        {"image": np.zeros((5, 5), complex)},
        {"sigma": 0},
        {"sigma": -1},
        {"sigma": math.nan},
        {"sigma": math.inf},
        {"sampler": "nope"},
        {"stride": 0},
        {"stride": 5},
        {"white": 0},
        {"white": -1.0},
        {"white": math.nan},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_a_usage_error(model, wrong):
    with pytest.raises(UsageError):
        denoise(**{"image": gray(), "model": model} | wrong)


def test_a_sampler_may_be_named_as_in_version_0_1(model):
    old, new = (denoise(gray(), model, 20, steps=2, **{name: "ascent"}) for name in ("stepper", "sampler"))
    np.testing.assert_array_equal(old, new)
    assert (new != denoise(gray(), model, 20)).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_stay_where_they_were(model, value):
    image = gray().astype(np.float32) / 255
    image[3:6, 4:9] = value
    result = denoise(image, model)
    assert np.array_equal(np.isfinite(result), np.isfinite(image))
    assert np.array_equal(result[~np.isfinite(image)], image[~np.isfinite(image)], equal_nan=True)
    with pytest.raises(InputError, match="none of its pixels is valid"):
        denoise(np.full((5, 5), value, np.float32), model)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 2), (8, 8, 4)])
def test_a_colour_model_takes_three_channels_only(colour_model, shape):
    with pytest.raises(ModelError, match=r"takes 3 channels, the image has [124]"):
        denoise(np.zeros(shape, np.uint8), colour_model)


def test_a_colour_model_sees_the_colours_together(colour_model):
    image = colour()
    changed = image.copy()
    changed[..., 0] = 255 - changed[..., 0]
    a, b = denoise(image, colour_model), denoise(changed, colour_model)
    assert not np.array_equal(a[..., 1:], b[..., 1:])


def test_stride_is_refused_for_a_model_without_patches():
    class Still:
        level = 0.1

        def score(self, x, sigma=None):
            return torch.zeros_like(x)

    np.testing.assert_array_equal(denoise(gray(), Still()), gray())
    with pytest.raises(UsageError, match="stride"):
        denoise(gray(), Still(), stride=2)


class Broken:
    """Answers with a value that is not a number."""

    level = 0.1

    def score(self, x, sigma=None):
        psi = torch.zeros_like(x)
        psi[..., 0, 0] = math.nan
        return psi


def test_an_answer_that_is_not_a_number_is_never_returned():
    with pytest.raises(SmdaeError, match="not finite") as caught:
        denoise(gray(), Broken())
    assert caught.value.code == 1


@pytest.mark.parametrize("value", [3e38, 1e300])
def test_values_too_large_for_the_arithmetic_are_refused_without_a_warning(model, value, recwarn):
    with pytest.raises(InputError, match="its values reach"):
        denoise(np.full((5, 5), value), model)
    assert not recwarn.list


def test_moving_needs_no_gradient(model):
    task = Task.of(np.zeros((8, 8), np.float32), model, 0.1)
    assert not task.estimate(torch.rand(1, 1, 8, 8, requires_grad=True)).requires_grad


def test_a_model_can_be_a_path(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(model_bytes())
    expected = denoise(gray(), model)
    for named in (path, str(path), "model.safetensors"):
        np.testing.assert_array_equal(denoise(gray(), named), expected)
