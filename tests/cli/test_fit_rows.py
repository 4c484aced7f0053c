"""`smdae fit` on rows of numbers: models of one number and of many, and what they learn."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import smdae
from smdae.cli.app import main
from smdae.errors import UsageError
from tests.tiny import FLAGS, colour, complaint, encoded, gray, photos

FEW = ("--hidden", "32", "--max-steps", "20", "-b", "64")


@pytest.fixture(autouse=True)
def here(bare):
    return bare


def normal(rows, columns, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


OBJECTIVES = ("ism", "dsm", "dae", "esm", "esm-parzen", "ism-parzen", "ssm")


@pytest.mark.parametrize(
    ("objective", "columns"), [*((name, columns) for name in OBJECTIVES for columns in (1, 2)), ("dsm", 64)]
)
def test_rows_of_any_length_are_fitted_by_any_objective(here, objective, columns, capsys):
    np.save(here / "rows.npy", normal(300, columns))
    (here / "c.yaml").write_text("parzen-patches: 100\ncomponents: 2\n")
    assert main(["fit", "rows.npy", *FEW, "--objective", objective, "-s", "60", "-c", "c.yaml", "--json"]) == 0
    out, err = capsys.readouterr()
    card = json.loads(out)
    assert card["rows"] == 285
    assert card["channels"] == columns
    assert f"300 rows of {columns} number" in err
    assert "one example each" in err
    assert smdae.load("model.safetensors").score(torch.zeros(5, columns)).shape == (5, columns)


def test_the_score_of_normal_rows_is_that_of_their_smoothed_density():
    """Of N(0, 1) and noise of sigma 1 the score is -x / 2."""
    model = smdae.fit(normal(4000, 2), sigma=1.0, hidden=64, max_steps=300, batch=512)
    x = torch.from_numpy(normal(500, 2, seed=1)) * 2**0.5
    assert (model.score(x) + x / 2).square().mean() < 0.02


@pytest.mark.parametrize("columns", [1, 3])
def test_a_model_of_rows_denoises_no_picture(here, columns, capsys):
    """One of one number took each pixel of a gray picture for a row, and one of three those of a colour picture."""
    np.save(here / "rows.npy", normal(300, columns))
    assert main(["fit", "rows.npy", *FEW, "-s", "60"]) == 0
    picture = gray() if columns == 1 else colour()
    Path("a.png").write_bytes(encoded(picture))
    capsys.readouterr()
    assert main(["denoise", "a.png", "-m", "model.safetensors"]) == 5
    assert "fitted to rows of numbers, not to pictures" in complaint(capsys.readouterr().err)
    assert not Path("a_denoised.png").exists()
    with pytest.raises(UsageError, match="fitted to rows of numbers"):
        smdae.denoise(picture, smdae.load("model.safetensors"))


def test_held_out_rows_are_judged_wherever_their_values_lie(here, capsys):
    """Rows have no black and no white: clipped to these, those of large or negative values would tell nothing."""
    for centre in (40.0, -3.0):
        np.save(here / "rows.npy", normal(2000, 2) + np.float32(centre))
        few = ["--hidden", "32", "--max-steps", "150", "-b", "256", "-s", "255"]
        assert main(["fit", "rows.npy", *few, "--json", "-y"]) == 0
        figures = json.loads(capsys.readouterr().out)["held_out_psnr"]
        assert abs(figures["noisy"]) < 1  # the noise has sigma 1
        assert figures["model"] > figures["noisy"] + 1.5  # half of it can be told


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_without_a_sigma_it_is_a_third_of_the_spread(here, scale, capsys):
    """A sigma of 25 of 255 is none for rows, which come in any unit; nor is a PSNR, which has a white."""
    np.savetxt(here / "rows.csv", scale * normal(300, 2), delimiter=",")
    assert main(["fit", "rows.csv", *FEW]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"sigma is {scale * 0.33:.2g}"[:10] in said
    assert "a third of their spread (-s sets it)" in said
    assert ("models take the rows divided by 1000000" in said) == (scale > 1)
    assert "dB" not in said
    assert re.search(r"held-out error \d+\.\d % of sigma\^2 \(\d+\.\d % at the start\)", said)
    assert main(["info", "model.safetensors"]) == 0
    assert re.search(r"held-out error \d+\.\d % of sigma\^2", capsys.readouterr().out)


def test_in_python_the_level_is_the_same_and_rows_in_a_large_unit_are_refused():
    rows = normal(300, 2)
    assert smdae.fit(rows, hidden=8, max_steps=2).card["sigma"] == pytest.approx(85, rel=0.1)
    with pytest.raises(UsageError, match=r"the rows vary by about 1e\+06"):
        smdae.fit(1e6 * rows, hidden=8, max_steps=2)


def test_what_comes_next_with_an_own_model_names_its_module(here, capsys):
    np.save(here / "rows.npy", normal(100, 2))
    assert main(["fit", "rows.npy", "--model", "tests.own_modules:Energetic", "--max-steps", "2"]) == 0
    said = "".join(capsys.readouterr().err.split())
    assert "smdae.load('model.safetensors',imports=['tests.own_modules:Energetic'])" in said


def test_as_images_takes_an_array_for_one(here, capsys):
    np.save(here / "a.npy", np.random.default_rng(0).random((24, 32)))
    assert main(["fit", "a.npy", *FEW, "--patch-size", "4", "--as", "images", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["patch_size"], card["channels"], card["images"]) == (4, 1, 1)
    assert "rows" not in card


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["a.csv"], 3, "line 2 holds 'x'"),
        (["a.npy", "--as", "neither"], 2, "--as 'neither' is neither rows nor images"),
        (["a.npy", "--as", "rows", "--model", "unet"], 2, "models of patches"),
        (["one.npy"], 3, "it has 1 row"),
    ],
)
def test_what_will_not_do_is_refused_in_one_line(here, arguments, code, words, capsys):
    (here / "a.csv").write_text("1,2\n3,x\n")
    np.save(here / "a.npy", normal(30, 3))
    np.save(here / "one.npy", normal(1, 3))
    assert main(["fit", *arguments]) == code
    assert words in complaint(capsys.readouterr().err)


def test_a_list_beside_pictures_in_a_folder_is_no_table(here, capsys):
    photos(here / "pictures")
    (here / "pictures" / "about.csv").write_text("file,licence\n0.png,CC0\n")
    assert main(["fit", "pictures", *FLAGS, "-o", "p.safetensors"]) == 0
    assert main(["fit", "pictures", "pictures/about.csv", *FLAGS, "-o", "q.safetensors"]) == 3
    assert "about.csv" in capsys.readouterr().err
