"""The examples work, in a short form, and make a picture each."""

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path, *arguments: str):
    """What the main function of an example returns, once it has made its picture."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    picture = folder / f"{name}.png"
    found = module.main([*arguments, "--out", str(picture)])
    with Image.open(picture) as image:
        image.load()
        assert min(image.size) > 300
        assert len(image.convert("L").getcolors(256) or range(257)) > 20
    return found


def test_every_example_has_a_test():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"counts", "fields", "gabor", "ica", "langevin"}


def test_ica_finds_the_sources(tmp_path):
    assert run("ica", tmp_path, "--quick") < 0.12


def test_fields_are_those_of_the_smoothed_ring(tmp_path):
    shares = run("fields", tmp_path, "--quick")
    assert shares["dsm"] < 0.1
    assert shares["ism-parzen"] < 0.1


def test_filters_are_drawn(tmp_path):
    assert run("gabor", tmp_path, "--quick").shape == (196, 144)


def test_counts_tell_their_intensities(tmp_path):
    estimated, least = run("counts", tmp_path, "--quick")
    assert least < estimated < 1.15 * least


@pytest.mark.slow
def test_samples_reach_the_moons(tmp_path):
    assert run("langevin", tmp_path) < 0.08


def test_langevin_runs(tmp_path):
    assert run("langevin", tmp_path, "--quick") < 1
