"""Arrays in any order of axes, and files, as pictures: what is given comes back in its own order."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import smdae
from smdae.denoising.pages import tasks_of
from smdae.denoising.pictures import pictures_of
from smdae.errors import InputError, UsageError
from smdae.files.model_file import load
from tests.tiny import colour, encoded, gray, model_bytes

STACK = np.stack([gray(seed=seed) for seed in range(6)])  # (6, 24, 32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("gray") / "m.safetensors"
    path.write_bytes(model_bytes())
    return load(path)


@pytest.mark.parametrize(
    ("shape", "axes", "pictures", "one"),
    [
        ((8, 9), None, 1, (8, 9)),
        ((8, 9, 1), None, 1, (8, 9, 1)),
        ((8, 9, 4), None, 1, (8, 9, 4)),
        ((8, 9, 5), None, 8, (9, 5)),
        ((64, 70, 5), "HWC", 1, (64, 70, 5)),
        ((64, 70, 5), "NHW", 64, (70, 5)),
        ((64, 70, 17), None, 64, (70, 17)),
        ((8, 9, 3), "NHW", 8, (9, 3)),
        ((3, 8, 9), "CHW", 1, (8, 9, 3)),
        ((3, 8, 9), "czx".replace("c", "Y").replace("z", "X").replace("x", "C"), 1, (3, 8, 9)),
        ((2, 8, 9, 3), None, 2, (8, 9, 3)),
        ((2, 5, 3, 8, 9), "TZCYX", 10, (8, 9, 3)),
        ((8, 9, 7), "yxt", 7, (8, 9)),
    ],
)
def test_axes_are_told_by_their_number_or_by_letters(shape, axes, pictures, one):
    image = np.arange(np.prod(shape)).reshape(shape).astype(np.uint16)
    found = pictures_of(image, axes)
    assert len(found.arrays) == pictures
    assert found.arrays[0].shape == one
    np.testing.assert_array_equal(found.joined(found.arrays), image)


@pytest.mark.parametrize(
    ("shape", "axes", "word"),
    [
        ((8, 9), "HWC", "name 3 axes"),
        ((8, 9, 3), "HHC", "one of columns"),
        ((8, 9, 3), "HWQ", "'Q'"),
        ((2, 8, 9, 7), None, "four axes"),
        ((9,), None, "shape"),
        ((0, 9), "HW", "shape"),
        ((64, 70, 5), None, "is 64 pages of 5 x 70 or has 5 channels"),
        ((1, 1, 1, 8, 9), None, "shape"),
    ],
)
def test_axes_that_do_not_fit_are_refused(shape, axes, word):
    with pytest.raises(UsageError, match=word):
        pictures_of(np.zeros(shape, np.uint8), axes)


def test_a_stack_is_denoised_page_by_page(model):
    clean = smdae.denoise(STACK, model)
    assert clean.shape == STACK.shape
    for page, result in zip(STACK, clean, strict=True):
        np.testing.assert_array_equal(result, smdae.denoise(page, model))
    turned = smdae.denoise(STACK.transpose(1, 2, 0), model, axes="HWN")
    np.testing.assert_array_equal(turned, clean.transpose(1, 2, 0))


def test_the_pages_of_a_stack_share_their_noise_and_their_scale():
    """A page that is brighter than the others is no noisier for it, though each alone would have a scale of its own."""
    generator = np.random.default_rng(0)
    flat = np.stack([np.full((64, 64), 1000 + 300 * k) for k in range(6)])
    counts = (flat + generator.normal(0, 40, flat.shape)).astype(np.uint16)
    clean = smdae.denoise(counts, "natural-gray-small")
    assert abs(clean.mean((1, 2)) - counts.mean((1, 2))).max() < 3
    assert clean.std((1, 2)).max() < 15
    watched = []
    smdae.denoise(counts[:2], "natural-gray-small", 40 / 257, watch=lambda done, of: watched.append((done, of)))
    assert watched[0][0] == 0
    assert {of for _, of in watched} == {2 * watched[0][1] // 2}
    assert [done for done, _ in watched] == sorted(done for done, _ in watched)


def test_files_are_images_too(model, tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(gray()))
    expected = smdae.denoise(gray(), model)
    np.testing.assert_array_equal(smdae.denoise(tmp_path / "a.png", model), expected)
    np.testing.assert_array_equal(smdae.denoise(str(tmp_path / "a.png"), model), expected)
    tifffile.imwrite(tmp_path / "s.tif", STACK)
    np.testing.assert_array_equal(smdae.denoise(tmp_path / "s.tif", model), smdae.denoise(STACK, model))
    with pytest.raises(InputError, match=r"no such file"):
        smdae.denoise(tmp_path / "missing.png", model)
    with pytest.raises(UsageError, match="axes"):
        smdae.denoise(tmp_path / "a.png", model, axes="HW")


def test_what_alpha_hides_stays_and_alpha_comes_back(model, tmp_path):
    alpha = np.full((24, 32), 255, np.uint8)
    alpha[:12] = 0
    image = np.dstack([colour(), alpha])
    Image.fromarray(image).save(tmp_path / "a.png")
    found = smdae.denoise(tmp_path / "a.png", model)
    assert found.shape == (24, 32, 4)
    np.testing.assert_array_equal(found[..., 3], alpha)
    np.testing.assert_array_equal(found[:12], image[:12])
    assert (found[12:, :, :3] != image[12:, :, :3]).any()


@pytest.mark.parametrize(
    ("image", "sigma", "words"),
    [
        (gray() / 255, 25, r"larger than white, 1: did you mean 0\.09804"),
        (gray(), 300, "larger than white, 255"),
        (gray().astype(np.uint16) * 257, 3000, r"larger than white, 255: did you mean 11\.67"),
        (gray() / 255, [0.1, 0.1], "sigma has 2 values"),
    ],
)
def test_a_sigma_larger_than_white_is_in_another_unit(model, image, sigma, words):
    with pytest.raises(UsageError, match=words):
        smdae.denoise(image, model, sigma)


def test_floats_of_another_range_have_their_own_unit(model):
    image = gray().astype(float)
    found = smdae.denoise(image, model, 25)
    np.testing.assert_allclose(found, smdae.denoise(image / 255, model, 25 / 255) * 255, atol=1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(3):
        (folder / f"{seed}.png").write_bytes(encoded(gray(seed=seed)))
    return folder


def test_a_fit_takes_paths_as_it_takes_arrays(folder):
    few = {"patch_size": 4, "hidden": 8, "max_steps": 3, "batch": 16}
    by_arrays = smdae.fit(STACK[:3], **few).state_dict()
    for paths in (folder, str(folder), sorted(folder.iterdir())):
        found = smdae.fit(paths, **few).state_dict()
        assert all((found[name] == by_arrays[name]).all() for name in by_arrays)
    turned = smdae.fit(STACK[:3].transpose(1, 2, 0), axes="HWN", **few).state_dict()
    assert all((turned[name] == by_arrays[name]).all() for name in by_arrays)


def test_a_fit_takes_one_picture_in_colour_and_many_small_ones(folder):
    few = {"patch_size": 4, "hidden": 8, "max_steps": 3, "batch": 16}
    assert smdae.fit(colour(), **few).channels == 3
    assert smdae.fit(STACK[:, :4, :4], **few).channels == 1
    assert smdae.fit(folder, color=True, **few).channels == 3
    with pytest.raises(UsageError, match="did you mean"):
        smdae.fit(STACK / 255, sigma=25.0, **few)
    with pytest.raises(UsageError, match="larger than white"):
        smdae.fit(folder, sigma=300, **few)
    with pytest.raises(UsageError, match="axes"):
        smdae.fit(list(STACK), axes="HW", **few)


def test_each_channel_of_a_file_has_a_noise_of_its_own(tmp_path):
    noise = np.random.default_rng(5).normal(0, 1, (2, 2, 64, 64))
    pixels = 120 + noise * np.array([3.0, 40.0])[None, :, None, None]
    tifffile.imwrite(tmp_path / "c.tif", pixels.clip(0, 255).astype(np.uint8), imagej=True, metadata={"axes": "TCYX"})
    told = pictures_of(tmp_path / "c.tif")
    assert told.channels == (0, 1, 0, 1)
    tasks = [*tasks_of(told, "natural-gray-small", None, None, "cpu", {})]
    low, high, *again = [task.noise.levels[0] for task in tasks]
    assert high > 5 * low
    assert again == pytest.approx([low, high])


def test_a_file_that_holds_a_stack_as_an_array_is_read_as_that_array(model, tmp_path):
    for name, array in (("gray", STACK), ("colour", np.stack([colour(), colour()[::-1]]))):
        np.save(tmp_path / f"{name}.npy", array)
        result = smdae.denoise(tmp_path / f"{name}.npy", model, sigma=25.0)
        assert np.array_equal(result, smdae.denoise(array, model, sigma=25.0))
        assert result.shape == array.shape


@pytest.mark.parametrize("empty", [0, 2])
def test_pages_without_data_stay_and_the_others_lose_their_noise(empty):
    generator = np.random.default_rng(0)
    clean = np.broadcast_to(np.linspace(0.2, 0.8, 48, dtype=np.float32), (3, 48, 48))
    noisy = (clean + 0.08 * generator.standard_normal(clean.shape)).astype(np.float32)
    noisy[empty] = np.nan
    for sigma in (None, 0.08):
        result = smdae.denoise(noisy, "natural-gray-small", sigma=sigma)
        assert np.isnan(result[empty]).all()
        rest = [k for k in range(3) if k != empty]
        assert np.square(result[rest] - clean[rest]).mean() < np.square(noisy[rest] - clean[rest]).mean() / 4
