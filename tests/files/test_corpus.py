"""Gathering images: what is found, in which order and unit, what is left out, and when that is an error."""

import io
import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from smdae.errors import InputError
from smdae.files.corpus import gather
from tests.tiny import colour, encoded, gray, photos

P = 4


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*paths, **options):
    with pytest.raises(InputError) as caught:
        gather(paths, options.pop("size", P), **options)
    assert caught.value.code == 3
    assert "\n" not in caught.value.message
    return caught.value


def put(path, array, **more):
    if path.suffix == ".npz":
        np.savez(path, array, **more)
    elif path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, array)
    else:
        path.write_bytes(encoded(array))
    return path


# What is found


def test_a_folder_is_searched_however_deep_and_in_a_fixed_order(here):
    for i, name in enumerate(["b.png", "a/z.png", "a.PNG", "c/deep/er/x.npy", "a/b.tif", "B.png"]):
        path = here / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path.with_suffix(path.suffix.lower()), np.full((P, P), i, np.uint8)).rename(path)
    for name in ("notes.txt", ".hidden.png", "a/model.safetensors", "png"):
        (here / "in" / name).write_text("not an image")
    corpus = gather([here / "in"], P)
    assert [int(image[0, 0]) for image in corpus.images] == [5, 2, 0, 4, 1, 3]
    assert corpus.skipped == ()
    assert not corpus.small


def test_files_and_folders_are_taken_in_the_order_given(here):
    photos(here / "in", 2)
    last = put(here / "a.png", np.full((P, P), 7, np.uint8))
    corpus = gather([last, here / "in", last], P)
    assert [int(image[0, 0]) for image in corpus.images] == [7, int(gray()[0, 0]), int(gray(seed=1)[0, 0]), 7]


def test_links_are_followed_and_no_file_is_read_twice(here):
    photos(here / "in", 1)
    (here / "in" / "loop").symlink_to(here / "in")
    (here / "elsewhere").mkdir()
    put(here / "elsewhere" / "x.png", gray())
    (here / "in" / "out").symlink_to(here / "elsewhere")
    (here / "in" / "linked.png").symlink_to(here / "elsewhere" / "x.png")
    assert len(gather([here / "in"], P).images) == 2
    put(here / "elsewhere" / "y.png", gray())
    assert len(gather([here / "in"], P).images) == 3
    assert len(gather([here / "in" / "out"], P).images) == 2
    (here / "links").mkdir()
    (here / "links" / "one").symlink_to("../in")
    (here / "links" / "two").symlink_to("../elsewhere")
    assert len(gather([here / "links"], P).images) == 3
    (here / "in" / "out").rename(here / "in" / ".out")
    assert len(gather([here / "in"], P).images) == 2


@pytest.mark.parametrize("name", ["[red].png", "a b.png", "ü🎈.png", "new\nline.png", b"caf\xe9.png"])
def test_any_name_will_do(here, name):
    (here / "in").mkdir()
    path = here / "in" / (os.fsdecode(name) if isinstance(name, bytes) else name)
    put(path, gray())
    np.testing.assert_array_equal(gather([here / "in"], P).images[0], gray())


def test_progress_is_told(here):
    told = []
    gather([photos(here / "in", 3)], P, watch=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


# Arrays


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("shape", "count", "channels"),
    [((8, 9), 1, 1), ((8, 9, 3), 1, 3), ((5, 8, 9), 5, 1), ((5, 8, 9, 3), 5, 3)],
)
@pytest.mark.parametrize("color", [False, True])
def test_an_array_is_an_image_or_a_stack_of_them(here, suffix, shape, count, channels, color):
    array = np.resize(colour(), shape)
    corpus = gather([put(here / f"a{suffix}", array)], P, color=color)
    assert len(corpus.images) == count
    assert {image.shape for image in corpus.images} == {(8, 9, 3) if color else (8, 9)}
    if color or channels == 1:
        back = np.stack(corpus.images).reshape(*shape[: len(shape) - (channels == 3)], -1)
        np.testing.assert_array_equal(
            back, np.repeat(array.reshape(*back.shape[:-1], channels), 3 // channels, -1)[..., : back.shape[-1]]
        )


def test_all_arrays_of_an_npz_are_taken(here):
    corpus = gather([put(here / "a.npz", gray(), more=np.stack([gray(), gray(seed=1)]))], P)
    assert len(corpus.images) == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.tif"])
def test_values_that_are_not_numbers_are_refused(here, name, value, recwarn):
    array = np.zeros((8, 9))
    array[3, 3] = value
    assert "'a." in refused(put(here / name, array).relative_to(here)).message
    assert not recwarn.list


def test_an_npz_with_one_bad_array_is_left_out_whole(here):
    put(here / "a.npz", gray() / 255, bad=np.full((8, 9), np.nan))
    put(here / "b.png", gray())
    corpus = gather([here], P)
    assert len(corpus.images) == 1
    assert len(corpus.skipped) == 1


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(5),
        np.zeros(()),
        np.zeros((2, 8, 9, 4)),
        np.zeros((2, 2, 8, 9, 3)),
        np.zeros((0, 8, 9)),
        np.zeros((8, 9), np.int64),
        np.zeros((8, 9), bool),
        np.zeros((8, 9), complex),
        np.array([["a", "b"]]),
        np.array([{"a": 1}, None]),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_arrays_that_are_no_images_are_refused(here, array):
    refused(put(here / "a.npy", array))


def damaged_arrays():
    buffer = io.BytesIO()
    np.savez(buffer, gray())
    plain = io.BytesIO()
    np.save(plain, gray())
    header = plain.getvalue().replace(b"(24, 32)", b"(9999999999, 9)"[:8])
    return {
        "empty.npy": b"",
        "text.npy": b"hello",
        "pickle.npy": b"\x80\x04N.",
        "cut.npy": plain.getvalue()[:-1],
        "huge.npy": header,
        "cut.npz": buffer.getvalue()[:-30],
        "text.npz": b"PK\x03\x04 hello",
    }


@pytest.mark.parametrize("name", damaged_arrays())
def test_damaged_arrays_are_refused(here, name):
    (here / name).write_bytes(damaged_arrays()[name])
    assert name in refused(here / name).message


# One unit


def test_8_bit_images_stay_as_they_are(here):
    corpus = gather([photos(here / "in")], P)
    assert corpus.white == 255
    for seed, image in enumerate(corpus.images):
        np.testing.assert_array_equal(image, gray(seed=seed))
        assert image.dtype == np.uint8


def test_mixed_depths_become_one_scale(here):
    image = gray()
    put(here / "8.png", image)
    put(here / "16.tif", image.astype(np.uint16) * 257)
    put(here / "32.tif", (image / 255).astype(np.float32))
    put(here / "64.npy", image / 255)
    put(here / "half.npy", (image / 255).astype(np.float16))
    corpus = gather([here], P)
    assert corpus.white == 1
    assert len(corpus.images) == 5
    for found in corpus.images:
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, image / 255, atol=3e-4)


def test_the_white_given_is_that_of_floats_only(here):
    image = gray()
    put(here / "8.png", image)
    put(here / "32.tif", (image / 255 * 4000).astype(np.float32))
    put(here / "64.npy", image / 255 * 4000)
    mixed = gather([here], P, white=4000.0)
    for found in mixed.images:
        np.testing.assert_allclose(found / mixed.white, image / 255, rtol=1e-5, atol=1e-6)
    assert gather([here / "8.png"], P, white=4000.0).white == 255
    floats = gather([here / "32.tif"], P, white=4000.0)
    np.testing.assert_allclose(floats.images[0] / floats.white, image / 255, rtol=1e-5)


def test_colours_become_luma_unless_they_are_asked_for(here):
    put(here / "a.png", colour())
    put(here / "b.png", gray())
    grays = gather([here], P).images
    np.testing.assert_array_equal(grays[0], np.asarray(Image.fromarray(colour()).convert("L")))
    np.testing.assert_array_equal(grays[1], gray())
    colours = gather([here], P, color=True).images
    np.testing.assert_array_equal(colours[0], colour())
    np.testing.assert_array_equal(colours[1], np.dstack([gray()] * 3))


def test_alpha_is_left_out(here):
    put(here / "a.png", np.dstack([colour(), gray()]))
    np.testing.assert_array_equal(gather([here / "a.png"], P, color=True).images[0], colour())


# What is left out, and when that is an error


def test_a_missing_path_is_refused_before_anything_is_read(here):
    (here / "bad.png").write_text("x")
    assert "'missing'" in refused(here / "bad.png", here.relative_to(here) / "missing").message
    refused(here / ("x" * 300))


def test_a_folder_without_images_is_refused(here):
    (here / "empty").mkdir()
    (here / "empty" / "notes.txt").write_text("x")
    assert "no images found in 'empty'" in refused((here / "empty").relative_to(here)).message


@pytest.mark.parametrize("data", [b"", b"just text", encoded(gray())[:200]], ids=["empty", "text", "truncated"])
def test_a_bad_image_alone_is_refused_by_its_own_reason(here, data):
    (here / "a.png").write_bytes(data)
    assert "'a.png'" in refused((here / "a.png").relative_to(here)).message
    assert "a.png" in refused(here).message


def test_a_bad_image_among_good_ones_is_left_out_and_counted(here):
    photos(here / "in", 2)
    (here / "in" / "bad.png").write_bytes(encoded(gray())[:200])
    (here / "in" / "gone.png").symlink_to(here / "nowhere")
    corpus = gather([here / "in"], P)
    assert len(corpus.images) == 2
    assert len(corpus.skipped) == 2
    assert "bad.png" in corpus.skipped[0]


@pytest.mark.parametrize("shape", [(P - 1, 50), (50, P - 1)])
def test_images_smaller_than_a_patch_are_left_out_and_counted(here, shape):
    put(here / "small.png", gray(*shape))
    put(here / "exact.png", gray(P, P))
    corpus = gather([here], P)
    assert [image.shape for image in corpus.images] == [(P, P)]
    assert corpus.small == {"PNG": 1}
    put(here / "exact.png", gray(*shape))
    error = refused(here)
    assert f"smaller than the patch size {P}" in error.message
    assert f"--patch-size {P - 1}" in error.hint


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((5, 3, 8, 8), "moveaxis"),
        ((5, 8, 8, 2), "of each of the 2"),
        ((5, 8, 8, 5), "of each of the 5"),
        ((9,), "are (H"),
    ],
)
def test_arrays_of_other_shapes_are_refused_with_what_makes_images_of_them(here, shape, words):
    np.save(here / "a.npy", np.zeros(shape, np.float32))
    error = refused(here / "a.npy")
    assert f"its shape is {shape}" in error.message
    assert words in error.hint
