"""`smdae.compare`: the tables of `smdae compare` as plain values, of arrays, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import smdae
from smdae.cli.app import main
from smdae.errors import InputError, ModelError, UsageError
from tests.tiny import colour, gray, model_bytes

TINY = {"quick": True, "patches": 100, "max_steps": 3, "patch_size": 4, "hidden": 8, "batch": 16}
IMAGES = [gray(48, 48, seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def found():
    return smdae.compare(IMAGES, objectives=["dsm", "dae"], parts=["learning"], **TINY)


def test_tables_are_plain_values_by_part_and_name(found):
    assert list(found.tables) == ["learning"]
    ends = found.tables["learning"]["ends"]
    assert [row["objective"] for row in ends] == ["dsm", "dae"]
    assert all(row["outcome"] == "done" and row["psnr"] > 10 for row in ends)
    assert json.loads(json.dumps(found.tables)) == found.tables
    assert found.settings["objectives"] == ["dsm", "dae"]
    assert found.left_out == []
    assert found.pictures["learning"]["curves"].startswith(b"\x89PNG")
    assert "LEARNING" in found.text
    assert max(map(len, found.text.splitlines())) <= 80


def test_a_notebook_shows_page_and_pictures_and_no_bytes(found):
    """What a cell that ends with the call would print had all PNG files in it, byte by byte."""
    assert len(repr(found)) < 2000
    assert "objectives" in repr(found)
    shown = replace(found, text=f"a < b\n{found.text}")._repr_html_()
    assert "a &lt; b" in shown
    assert "LEARNING" in shown
    figures = sum(map(len, found.pictures.values()))
    assert shown.count("src='data:image/png;base64,") == figures > 0
    assert shown.count("<figcaption>") == figures


def test_they_are_those_of_the_command(found, bare, capsys):
    (bare / "images").mkdir()
    for k, image in enumerate(IMAGES):
        Image.fromarray(image).save(bare / "images" / f"{k}.png")
    flags = ["--quick", "--patches", "100", "--max-steps", "3", "--patch-size", "4", "--hidden", "8", "-b", "16"]
    chosen = ["--objective", "dsm", "--objective", "dae", "--only", "learning", "--json"]
    assert main(["compare", "images", *flags, *chosen]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["settings"] == found.settings
    by_command = record["parts"]["learning"]["tables"]
    untimed = [
        [{name: value for name, value in row.items() if name != "seconds"} for row in tables["values"]]
        for tables in (found.tables["learning"], by_command)
    ]
    assert untimed[0] == untimed[1]


def test_models_are_what_denoise_takes(found):
    assert smdae.denoise(IMAGES[0], found.models["dsm"]).shape == (48, 48)
    assert smdae.denoise_image(IMAGES[0], found.models["dae"]).noise.sigma == pytest.approx(25)


def test_sigma_is_in_the_unit_of_the_images(found):
    floats = smdae.compare(
        [image / 255 for image in IMAGES], objectives=["dsm"], parts=["learning"], sigma=25 / 255, **TINY
    )
    assert floats.settings["sigma"] == pytest.approx(25)
    assert floats.tables["learning"]["ends"][0]["psnr"] == pytest.approx(
        found.tables["learning"]["ends"][0]["psnr"], abs=0.01
    )


def test_rows_have_objectives_and_no_psnr():
    rows = np.random.default_rng(0).normal(size=(500, 3))
    told = []
    found = smdae.compare(
        rows, objectives=["dsm"], parts=["learning"], sigma=0.3, watch=lambda *now: told.append(now), **TINY
    )
    assert found.settings["dim"] == 3
    assert found.settings["sigma"] == pytest.approx(76.5)
    assert found.tables["learning"]["ends"][0]["psnr"] is None
    assert found.models["dsm"].channels == 3
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_models_of_files_and_loaded_ones_are_compared_and_those_of_colours_left_out(tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(model_bytes())
    models = {"mine": path, "loaded": smdae.load(path), "colours": "natural-color-small"}
    found = smdae.compare(IMAGES, objectives=["dsm"], parts=["cost"], models=models, **TINY)
    assert found.settings["models"] == ["mine", "loaded"]
    assert [row["what"] for row in found.left_out] == ["model colours"]


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"objectives": ["nope"]}, UsageError, "unknown objective 'nope'; there are"),
        ({"parts": ["nope"]}, UsageError, "unknown part 'nope'; there are"),
        ({"baselines": ["nope"]}, UsageError, "nlm"),
        ({"patches": 9}, UsageError, "patches 9 is less than 100"),
        ({"seeds": 0}, UsageError, "seeds 0 is not from 1 to 100"),
        ({"lr": 0}, UsageError, "lr"),
        ({"images": [image / 255 for image in IMAGES], "sigma": 25}, UsageError, "did you mean 0.098"),
        ({"images": []}, InputError, "no images"),
        ({"images": [colour()]}, InputError, "in gray, and these have 3 channels"),
        ({"patch_size": 60}, InputError, "3 images are smaller than the patch size 60"),
        ({"models": "natural-gray"}, UsageError, r"write \['natural-gray'\]"),
        ({"models": {"mine": object()}}, UsageError, "the model 'mine' was neither loaded nor fitted by smdae"),
        ({"models": ["natural-color-small"]}, ModelError, "it takes 3 channels"),
        ({"models": ["gone"]}, ModelError, "gone"),
        (
            {"images": np.random.default_rng(0).normal(size=(200, 3)), "sigma": 0.3, "models": ["natural-gray-small"]},
            UsageError,
            "compared on images, and these are rows of 3 numbers",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(wrong, error, words):
    with pytest.raises(error, match=words) as raised:
        smdae.compare(**{"images": IMAGES, "parts": ["learning"]} | TINY | wrong)
    assert "\n" not in raised.value.message
