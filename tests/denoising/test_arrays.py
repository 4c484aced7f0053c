"""What callers pass as pixels, rows and levels, besides arrays: tensors, Pillow images, tables, lists."""

import numpy as np
import pytest
import torch
from PIL import Image

import smdae
from smdae.denoising.arrays import array_of, as_python
from smdae.errors import UsageError
from smdae.objectives import OBJECTIVES, Objective

MODEL = "natural-gray-small"
GRAY = np.random.default_rng(0).integers(60, 190, (24, 32)).astype(np.uint8)
UNIT = (GRAY / 255).astype(np.float32)
COLOUR = np.dstack([GRAY, GRAY[::-1], GRAY[:, ::-1]])
TINY = {"max_steps": 2, "patch_size": 4, "hidden": 8}


@pytest.mark.parametrize(
    "given",
    [
        torch.tensor(UNIT, requires_grad=True),
        torch.tensor(UNIT).T.contiguous().T,
        torch.tensor(UNIT).to_sparse(),
        UNIT.tolist(),
        [*torch.tensor(UNIT, requires_grad=True)],
    ],
    ids=["gradient", "strided", "sparse", "lists", "list of tensors"],
)
def test_an_array_of_what_is_none_has_its_values(given):
    np.testing.assert_array_equal(array_of(given), UNIT)


def test_bfloat16_becomes_float32():
    found = array_of(torch.tensor(UNIT).bfloat16())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, UNIT, atol=2**-8)


def test_masked_values_are_not_taken_for_pixels():
    with pytest.raises(UsageError, match="are masked"):
        smdae.denoise(np.ma.masked_less(GRAY, 100), MODEL, 20)
    np.testing.assert_array_equal(array_of(np.ma.masked_less(GRAY, 0)), GRAY)


@pytest.mark.parametrize("given", [[[1, 2], [3]], [GRAY, GRAY[:-1]]], ids=["rows", "images"])
def test_lists_of_different_lengths_are_refused(given):
    with pytest.raises(UsageError, match="differ in shape"):
        smdae.denoise(given, MODEL, 20)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (torch.tensor(2.0, requires_grad=True), 2.0),
        (np.array(3), 3),
        (np.float32(0.5), 0.5),
        (np.array([1.0, 2.0]), (1.0, 2.0)),
        ([np.float32(0.5), torch.tensor(1)], (0.5, 1)),
        ("auto", "auto"),
        (None, None),
    ],
    ids=str,
)
def test_numbers_become_those_of_python(given, plain):
    found = as_python(given)
    assert (found, type(found)) == (plain, type(plain))


def test_a_tensor_with_a_gradient_is_denoised_as_its_values():
    expected = smdae.denoise(UNIT, MODEL, 0.125)
    np.testing.assert_array_equal(
        smdae.denoise(torch.tensor(UNIT, requires_grad=True), MODEL, torch.tensor(0.125)), expected
    )


def test_the_palette_of_a_pillow_image_is_looked_up():
    picture = Image.fromarray(COLOUR).quantize(64)
    expected = smdae.denoise(np.asarray(picture.convert("RGB")), sigma=20)
    np.testing.assert_array_equal(smdae.denoise(picture, sigma=20), expected)


def test_the_alpha_of_a_pillow_image_stays_as_it_is():
    alpha = np.random.default_rng(1).integers(1, 255, GRAY.shape).astype(np.uint8)
    found = smdae.denoise(Image.fromarray(np.dstack([COLOUR, alpha]), "RGBA"), sigma=20)
    np.testing.assert_array_equal(found[:, :, 3], alpha)
    np.testing.assert_array_equal(found[:, :, :3], smdae.denoise(COLOUR, sigma=20))


@pytest.mark.parametrize("sigma", [np.float32(0.1), torch.tensor(0.1), np.array(0.1)], ids=["float32", "tensor", "0-d"])
def test_a_fit_takes_the_level_of_any_number_in_the_unit_of_the_images(sigma):
    model = smdae.fit([UNIT, UNIT.T], sigma=sigma, **TINY)
    assert model.card["sigma"] == pytest.approx(25.5, rel=1e-4)


@pytest.mark.parametrize(
    "given",
    [torch.tensor(UNIT), UNIT.tolist(), [*UNIT], [tuple(row) for row in UNIT]],
    ids=["tensor", "lists", "list of arrays", "list of tuples"],
)
def test_rows_of_any_kind_are_rows(given):
    expected = smdae.fit(UNIT, sigma=0.1, max_steps=2, hidden=8)
    found = smdae.fit(given, sigma=0.1, max_steps=2, hidden=8)
    assert found.card["rows"] == expected.card["rows"]
    assert torch.equal(found.patch.W, expected.patch.W)


def test_a_table_is_rows_too():
    class Table:
        """As one of pandas: iteration gives the names of its columns."""

        def __array__(self, dtype=None, copy=None):
            return UNIT[:, :2]

        def __len__(self):
            return len(UNIT)

        def __iter__(self):
            return iter(["a", "b"])

    assert smdae.fit(Table(), sigma=0.1, max_steps=2, hidden=8).card["rows"] > 20


def test_rows_of_different_lengths_are_told():
    with pytest.raises(UsageError, match="row 3 has 1, and row 1 has 2"):
        smdae.fit([[1, 2], [3, 4], [5]])


@pytest.mark.parametrize("given", [{"a": [1, 2]}, {1, 2}, b"rows", 3.0], ids=["dict", "set", "bytes", "number"])
def test_what_holds_neither_images_nor_rows_is_told_by_its_type(given):
    with pytest.raises(UsageError, match=f"not of type {type(given).__name__}"):
        smdae.fit(given)


def test_a_fit_takes_pillow_images_and_a_comparison_does():
    picture = Image.fromarray(GRAY)
    assert smdae.fit([picture, picture], sigma=20, **TINY).card["images"] == 1
    assert smdae.fit(picture, sigma=20, **TINY).card["images"] == 1
    small = {"quick": True, "patches": 100, "parts": ["learned"], "objectives": ["dsm"], "max_steps": 2}
    assert smdae.compare([picture, picture], patch_size=4, hidden=8, **small).models.keys() == {"dsm"}


def test_the_noise_of_a_file_is_that_of_its_pixels(bare):
    Image.fromarray(GRAY).save("a.png")
    assert smdae.estimate_noise("a.png") == smdae.estimate_noise(GRAY) == smdae.estimate_noise(Image.fromarray(GRAY))


def test_the_noise_of_integers_is_in_their_unit():
    ramp = np.linspace(60, 190, 64) + np.random.default_rng(0).normal(0, 10, (64, 64))
    noise = smdae.estimate_noise((1000 * ramp).astype(np.int32))
    assert noise.sd_of(np.full((1, 1), 125_000.0)).item() == pytest.approx(10_000, rel=0.15)


def test_the_noise_of_many_pages_is_not_that_of_channels():
    with pytest.raises(UsageError, match="takes one image, not 3"):
        smdae.estimate_noise(np.stack([GRAY] * 3))


@pytest.mark.parametrize(
    "given", [UNIT[:, 0], torch.tensor(UNIT[:, 0]), UNIT[:, 0].tolist()], ids=["array", "tensor", "list"]
)
def test_numbers_are_rows_of_one(given):
    assert smdae.fit(given, sigma=0.1, max_steps=2, hidden=8).card["settings"]["dim"] == 1


def test_a_fit_tells_how_far_it_is():
    told = []
    smdae.fit(UNIT, sigma=0.1, max_steps=3, hidden=8, watch=lambda *news: told.append(news))
    assert told[-1][0] == 1.0
    assert told[-1][1].startswith("step 3, J ")


@pytest.mark.parametrize("shape", ["(), none", "(B, d)"], ids=str)
def test_the_loss_of_an_objective_is_one_number_an_example(shape, monkeypatch):
    def loss(model, noisy, clean, sigma):
        each = (model.score(noisy, sigma) - (clean - noisy) / sigma**2).square()
        return each if shape == "(B, d)" else each.mean()

    monkeypatch.setitem(OBJECTIVES, "mine", Objective(loss, "pairs", ("clean", "sigma"), "none"))
    with pytest.raises(UsageError, match=r"a loss of \d+ examples has shape"):
        smdae.fit(UNIT, objective="mine", sigma=0.1, max_steps=2, hidden=8)
