"""How `denoise` steps, and what it writes beside its result: files, names, refusals, and nothing left behind."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import Base

from smdae.cli.app import main
from smdae.denoising import SAMPLERS, denoise
from smdae.errors import OutputError
from smdae.files.images import read
from smdae.files.model_file import load
from smdae.pipeline import placing
from tests.cli.test_denoise_network import network_bytes
from tests.tiny import colour, complaint, encoded, everything_below, gray, model_bytes


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a network of many levels, an energy of one, and pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMDAE_MODEL", raising=False)
    (tmp_path / "m.safetensors").write_bytes(network_bytes())
    (tmp_path / "one.safetensors").write_bytes(model_bytes())
    (tmp_path / "a.png").write_bytes(encoded(gray(40, 50)))
    (tmp_path / "c.png").write_bytes(encoded(colour(40, 50)))
    return tmp_path


def run(*arguments, picture="a.png", model="m.safetensors", sigma=20):
    return main(["denoise", picture, "-m", model, "-s", str(sigma), *map(str, arguments)])


def pixels(name):
    return read(Path(name), name).pixels


@pytest.mark.parametrize("stepper", SAMPLERS)
def test_every_stepper_writes_what_the_library_gives(stepper):
    count = min(3, SAMPLERS[stepper].max_steps)
    assert run("--sampler", stepper, "--steps", count, "--seed", 5, "-o", "d.png") == 0
    expected = denoise(gray(40, 50), load("m.safetensors"), 20, sampler=stepper, steps=count, seed=5)
    assert np.array_equal(pixels("d.png"), expected)


def test_samples_are_files_of_their_own_and_follow_the_seed(here, capsys):
    assert run("--samples", 2, "--seed", 3, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["beside"] == ["a_denoised_sample1.png", "a_denoised_sample2.png"]
    for k, name in enumerate(record["beside"]):
        expected = denoise(gray(40, 50), load("m.safetensors"), 20, sampler="langevin", seed=3 + k)
        assert np.array_equal(pixels(name), expected)
    assert np.array_equal(pixels("a_denoised.png"), denoise(gray(40, 50), load("m.safetensors"), 20))


def test_what_is_to_be_looked_at_is_turned_as_viewers_turn_the_picture(here):
    """A portrait of a phone is stored lying on its side; values for programs stay as its pixels are."""
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    Image.fromarray(gray(40, 60)).save("portrait.png", exif=exif)
    folder = ("--save-steps", "steps", "--sampler", "ascent", "--steps", 2)
    assert run("--components", 1, "--uncertainty", "u.png", picture="portrait.png") == 0
    assert run("--uncertainty", "u.npy", *folder, "-o", "again.png", picture="portrait.png") == 0
    sizes = {name: Image.open(name).size for name in ("portrait_denoised_component1.png", "u.png", "steps/0.png")}
    assert all(height > width for width, height in (sizes["u.png"], sizes["steps/0.png"]))
    assert sizes["steps/0.png"] == (40, 60)
    assert sizes["portrait_denoised_component1.png"][1] == 60
    assert np.load("u.npy").shape == (40, 60)


def test_blend_goes_from_the_mean_to_a_sample():
    model = load("m.safetensors")
    mean, sample = (denoise(gray(40, 50), model, 20, sampler=name).astype(float) for name in ("tweedie", "langevin"))
    for share in (0, 0.25, 1):
        assert run("--blend", share, "-y", "-o", "b.png") == 0
        np.testing.assert_allclose(pixels("b.png"), mean + share * (sample - mean), atol=0.51)


def test_the_path_is_a_film_a_sheet_or_a_folder(here):
    how = ("--sampler", "ode", "--steps", 4, "-y", "-o", "d.png", "--save-steps")
    for name in ("film.gif", "sheet.png", "steps"):
        assert run(*how, name) == 0
    film = Image.open("film.gif")
    assert (film.n_frames, film.size) == (5, (50, 40))
    assert sorted(p.name for p in (here / "steps").iterdir()) == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    assert np.array_equal(pixels("steps/0.png"), pixels("a.png"))
    assert np.array_equal(pixels("steps/4.png"), pixels("d.png"))
    assert Image.open("sheet.png").size[0] > 100


@pytest.mark.parametrize(("picture", "shape"), [("a.png", (40, 50)), ("c.png", (40, 50, 3))])
@pytest.mark.parametrize("model", ["m.safetensors", "one.safetensors"])
def test_uncertainty_is_on_the_scale_of_sigma_and_can_be_looked_at(picture, shape, model):
    for name in ("u.npy", "u.tif", "u.png"):
        assert run("--uncertainty", name, "-y", picture=picture, model=model) == 0
    deviation = np.load("u.npy")
    assert deviation.shape == shape
    assert np.array_equal(pixels("u.tif"), deviation)
    assert 0 < deviation.mean() < 40
    assert Image.open("u.png").size[0] > 300


def test_the_strength_does_not_change_what_is_known():
    for strength in (1, 0.4):
        assert run("--uncertainty", f"u{strength}.npy", "-y", "--strength", strength) == 0
    whole, part = np.load("u1.npy"), np.load("u0.4.npy")
    assert 0.5 < part.mean() / whole.mean() < 2


def test_what_is_beside_a_result_may_lie_in_a_folder_that_is_made(here):
    assert run("-o", "new/", "--samples", 1, "--save-steps", "way.1/", "--sampler", "ode", "--steps", 2) == 0
    assert {p.name for p in (here / "new").iterdir()} == {"a.png", "a_sample1.png"}
    assert len([*(here / "way.1").iterdir()]) == 3


def test_where_the_result_is_a_sample_the_others_differ_from_it():
    assert run("--sampler", "langevin", "--samples", 1) == 0
    assert not np.array_equal(pixels("a_denoised.png"), pixels("a_denoised_sample1.png"))


def test_components_are_pictures_side_by_side():
    assert run("--components", 2) == 0
    for k in (1, 2):
        assert Image.open(f"a_denoised_component{k}.png").size[0] > 4 * 50


def test_selfchecks_stand_in_the_json(capsys):
    clean = 0.5 + 0.1 * np.sin(np.add.outer(np.arange(64) / 5, np.arange(64) / 7))
    np.save("f.npy", (clean + 20 / 255 * np.random.default_rng(0).standard_normal(clean.shape)).astype(np.float32))
    assert run("--json", picture="f.npy") == 0
    found = json.loads(capsys.readouterr().out)["selfchecks"]
    assert set(found) == {"trace", "residual", "asymmetry"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--sampler", "ode", "--steps", 0), 2, "from 1 to 1000 steps, not 0"),
        (("--sampler", "ode", "--steps", 10_000), 2, "from 1 to 1000 steps, not 10000"),
        (("--steps", 5), 2, "'tweedie' takes one step, not 5"),
        (("--sampler", "ascent", "--steps", 200, "--step-size", 90), 6, "'ascent' diverged at step"),
        (("--samples", 2, "-o", "-"), 2, "--samples and --components are written beside"),
        (("--samples", -1), 2, "--samples -1 is not from 0"),
        (("--blend", 2), 2, "--blend 2.0 is not between 0 and 1"),
        (("--seed", -1), 2, "--seed -1 is not from 0"),
        (("--uncertainty", "u.jpg"), 2, "has an unknown extension"),
        (("--save-steps", "film.mp4"), 2, "has an unknown extension"),
        (("--uncertainty", "there.npy"), 4, "there.npy"),
        (("--uncertainty", "nowhere/u.npy"), 4, "nowhere/u.npy"),
        (("--uncertainty", "u.npy", "--strength", 0), 3, "nothing was taken out"),
        (("--sampler", "langevin", "--blend", 0.5), 2, "'langevin' gives samples"),
        (("--uncertainty", "a.png", "-y"), 2, "'a.png' would be written over another picture"),
        (("-o", "o.png", "--uncertainty", "o.png", "-y"), 2, "'o.png' would be written over another picture"),
        (("--uncertainty", "k.png", "--save-steps", "k.png"), 2, "'k.png' would be written over another picture"),
        (("--reference", "r.png", "--uncertainty", "r.png"), 2, "'r.png' would be written over another picture"),
        (("--components", 101), 2, "--components 101 is not from 0 to 100"),
        (("--in-place", "--uncertainty", "there.npy"), 4, "there.npy"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(here, arguments, code, said, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    (here / "there.npy").write_bytes(b"mine")
    before = everything_below(here)
    assert run(*arguments) == code
    assert said in complaint(capsys.readouterr().err.replace("smdae: sigma 20 is outside", ""))
    assert everything_below(here) == before


def test_old_spellings_of_options_still_work():
    assert run("--modes", 1, "--stepper", "ode", "--steps", 2, "-o", "old.png") == 0
    assert run("--components", 1, "--sampler", "ode", "--steps", 2, "-o", "new.png") == 0
    for old, new in (("old.png", "new.png"), ("old_component1.png", "new_component1.png")):
        assert np.array_equal(np.asarray(Image.open(old)), np.asarray(Image.open(new)))


def test_components_need_noise_in_every_channel(here, capsys):
    before = everything_below(here)
    assert run("--components", 2, picture="c.png", sigma="20,0,20") == 3
    assert "a channel has no noise" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


def test_a_model_of_one_level_draws_no_samples(here, capsys):
    before = everything_below(here)
    for how in (("--samples", 2), ("--blend", 0.5), ("--sampler", "langevin")):
        assert run(*how, model="one.safetensors", sigma=25) == 2
        assert "needs a model of many levels" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


def test_extras_go_with_one_picture(here, capsys):
    before = everything_below(here)
    assert main(["denoise", "a.png", "c.png", "-m", "m.safetensors", "--uncertainty", "u.npy"]) == 2
    assert "go with one input" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


def test_if_the_result_cannot_be_written_nothing_else_stays(here, monkeypatch, capsys):
    put = placing.write

    def failing(target, data, **how):
        if target.name == "a_denoised.png":
            raise OutputError(f"cannot write '{target}': the disk is full")
        put(target, data, **how)

    monkeypatch.setattr(placing, "write", failing)
    before = everything_below(here)
    assert run("--samples", 2, "--save-steps", "steps") == 4
    assert everything_below(here) == before
