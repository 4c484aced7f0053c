"""The bundled models: recipes that `smdae fit` takes, files that say what they are, figures that hold."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import smdae
from smdae.denoising.metrics import psnr
from smdae.files.config import read_entries
from smdae.files.model_file import BUNDLED, read
from smdae.fitting.settings import RENAMED, check

RECIPES = sorted(BUNDLED.glob("*.yaml"))
MODELS = sorted(BUNDLED.glob("*.safetensors"))
SAMPLES = Path(__file__).parent.parent / "sample_data"


def settings_of(path):
    return check({entry.name: entry.value for entry in read_entries(path)})


def test_every_model_has_its_recipe():
    assert {path.stem for path in MODELS} == {path.stem for path in RECIPES}
    assert {"natural-gray", "natural-color", "natural-gray-small", "natural-color-small"} == {p.stem for p in MODELS}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_settings(path):
    settings = settings_of(path)
    assert settings.model == "unet"
    assert settings.color is ("color" in path.stem)
    assert ("small" if "small" in path.stem else "medium") == settings.size
    assert settings.half
    assert "BSDS500" in settings.about


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_model_says_what_it_is(path):
    card, _ = read(path)
    recipe = settings_of(path.with_suffix(".yaml")).model_dump(mode="json")
    assert card["fit"] == {name: recipe[RENAMED.get(name, name)] for name in card["fit"]}
    assert card["about"] == recipe["about"].strip()
    assert tuple(card["sigma"]) == (1, 60)
    assert card["objective"] == "dsm"
    assert card["images"] + card["held_out_images"] in (432, 1898)  # BSDS alone, or the openly licensed pictures too
    assert card["held_out_psnr_at"].keys() == {"15", "25", "50"}
    assert card["steps"] == recipe["max_steps"]
    assert "/" not in json.dumps({k: v for k, v in card.items() if k != "about"})  # no path of a machine


def test_together_they_are_small():
    assert sum(path.stat().st_size for path in BUNDLED.iterdir()) < 20_000_000


@pytest.mark.parametrize(
    ("name", "picture", "least"), [("natural-gray", "clean.png", 29.5), ("natural-color", "clean_color.png", 30.5)]
)
def test_they_denoise_a_photograph(name, picture, least):
    clean = np.array(Image.open(SAMPLES / picture)).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)
    for noisy in (clean + 25 * noise, np.clip(np.rint(clean + 25 * noise), 0, 255).astype(np.uint8)):
        estimate = smdae.denoise(noisy, name, 25, white=255)
        assert psnr(torch.from_numpy(estimate.astype(np.float32)), torch.from_numpy(clean), 255) > least
