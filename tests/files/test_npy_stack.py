"""Arrays of many pictures in .npy files: each page is denoised, and all else of the array stays."""

import json
from pathlib import Path

import numpy as np
import pytest

from smdae.cli.app import main
from smdae.errors import InputError
from smdae.files.npy_stack import is_stack, parts_of_npy
from tests.tiny import colour, gray, model_bytes

LEVEL = ("-s", "20", "--noise", "white")


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    monkeypatch.setenv("SMDAE_MODEL", str(bare / "m.safetensors"))
    (bare / "m.safetensors").write_bytes(model_bytes())
    return bare


def npy(values: np.ndarray) -> bytes:
    np.save("tmp.npy", values)
    data = Path("tmp.npy").read_bytes()
    Path("tmp.npy").unlink()
    return data


def test_pages_are_denoised_as_pictures_of_their_own_are(capsys):
    pages = np.stack([gray(seed=seed) for seed in range(3)])
    np.save("s.npy", pages)
    assert main(["denoise", "s.npy", *LEVEL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pages"] == 3
    for number, page in enumerate(pages):
        np.save("one.npy", page)
        assert main(["denoise", "one.npy", *LEVEL, "-y"]) == 0
        assert np.array_equal(np.load("s_denoised.npy")[number], np.load("one_denoised.npy"))


@pytest.mark.parametrize("type", ["u1", ">u2", "<i2", "f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("is_colour", [False, True])
def test_shape_samples_and_orders_stay(type, order, is_colour):
    one = colour() if is_colour else gray()
    np.save("s.npy", np.asarray(np.stack([one, one[::-1]]) // 2, type, order=order))
    assert main(["denoise", "s.npy", *LEVEL, "--white", "255"]) == 0
    before, after = np.load("s.npy"), np.load("s_denoised.npy")
    assert (before.shape, before.dtype, before.flags.f_contiguous) == (
        after.shape,
        after.dtype,
        after.flags.f_contiguous,
    )
    assert not np.array_equal(before, after)


def test_a_stack_in_which_nothing_changes_is_the_very_file():
    data = npy(np.asfortranarray(np.stack([gray(), gray(seed=1)]).astype(">u2")))
    Path("s.npy").write_bytes(data)
    assert main(["denoise", "s.npy", "--strength", "0"]) == 0
    assert Path("s_denoised.npy").read_bytes() == data


def test_a_page_without_a_value_stays(capsys):
    pages = np.stack([gray(seed=seed) / 255.0 for seed in range(3)])
    pages[1] = np.nan
    np.save("s.npy", pages)
    assert main(["denoise", "s.npy", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["pages"], len(record["sigma"])) == (3, 2)
    after = np.load("s_denoised.npy")
    assert np.isnan(after[1]).all()
    assert all(np.isfinite(after[k]).all() and (after[k] != pages[k]).any() for k in (0, 2))


def test_a_stack_without_any_value_is_refused(capsys):
    np.save("s.npy", np.full((2, 24, 32), np.nan))
    assert main(["denoise", "s.npy", "--noise", "auto", "-m", "natural-gray-small"]) == 3
    assert "none of its pixels is valid" in capsys.readouterr().err


def test_which_arrays_are_stacks():
    assert [is_stack(shape) for shape in ((9, 8), (9, 8, 3), (9, 8, 4), (9, 8, 5), (2, 9, 8, 3), (2, 9, 8, 4))] == [
        *(False,) * 3,
        *(True,) * 2,
        False,
    ]
    assert parts_of_npy(npy(gray())) is None


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((0, 9, 8), "its shape is"),
        ((2, 3, 9, 8), "its shape is"),
        ((2, 0, 8), "no pixels"),
        ((9, 8, 2), "its shape is"),
    ],
)
def test_other_arrays_are_refused(shape, words, capsys):
    np.save("s.npy", np.zeros(shape, np.uint8))
    assert main(["denoise", "s.npy", *LEVEL]) == 3
    assert words in capsys.readouterr().err
    assert not Path("s_denoised.npy").exists()


def test_a_cut_stack_is_truncated(capsys):
    Path("s.npy").write_bytes(npy(np.stack([gray(), gray()]))[:-1])
    assert main(["denoise", "s.npy", *LEVEL]) == 3
    assert "cannot read 's.npy': the file is truncated" in capsys.readouterr().err
    with pytest.raises(InputError):
        parts_of_npy(Path("s.npy").read_bytes())


def test_a_stack_does_not_become_a_picture(capsys):
    np.save("s.npy", np.stack([gray(), gray()]))
    assert main(["denoise", "s.npy", "-o", "s.png", *LEVEL]) == 4
    assert main(["info", "s.npy"]) == 0
    assert "2 pages" in capsys.readouterr().out
