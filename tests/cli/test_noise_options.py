"""`denoise` on noise of every kind: its options, its messages, and inputs that once went wrong."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import smdae
from smdae import Noise
from smdae.cli.app import main
from smdae.curves import Affine
from tests.estimation.pictures import GRAIN, in_colour, page, sampled, scene, screenshot
from tests.tiny import complaint, everything_below, unjudged

HEIGHT, WIDTH = 200, 240


@pytest.fixture(autouse=True)
def _here(bare):
    """All tests begin in an empty folder."""


def save(name, pixels, **options):
    Image.fromarray(pixels).save(name, **options)
    return name


def load(name):
    return np.asarray(Image.open(name))


def psnr(result, clean):
    return 10 * np.log10(255**2 / np.mean((result.astype(float) - clean) ** 2))


def noisy(sigma=20.0, clean=None, **options):
    return sampled(Noise((Affine(read=sigma),), 255.0, **options), scene(HEIGHT, WIDTH) if clean is None else clean)


def gray():
    return scene(HEIGHT, WIDTH)


def colour():
    return in_colour(HEIGHT, WIDTH)


# ---- inputs of the classes that version 0.1 went wrong on -----------------------------------------------------------


def test_gray_as_rgb_stays_gray_and_is_denoised_as_gray(capsys):
    save("rgb.png", np.dstack([noisy(25)] * 3))
    assert main(["denoise", "rgb.png"]) == 0
    result = load("rgb_denoised.png")
    assert (result == result[:, :, :1]).all()
    assert psnr(result[:, :, 0], gray()) > 31
    assert "natural-gray" in capsys.readouterr().err


def test_dim_counts_in_16_bits_are_denoised_in_their_own_range():
    clean = 100 + 2 * gray()
    counts = np.rint(clean + 8 * np.random.default_rng(0).standard_normal(clean.shape)).astype(np.uint16)
    tifffile.imwrite("dim.tif", counts)
    assert main(["denoise", "dim.tif"]) == 0
    assert np.sqrt(np.mean((tifffile.imread("dim_denoised.tif") - clean) ** 2)) < 2.5


def test_noise_then_jpeg_is_taken_out_at_the_level_that_is_left():
    save("q75.jpg", noisy(20, colour()), quality=75)
    assert main(["denoise", "q75.jpg", "-o", "clean.png"]) == 0
    assert psnr(load("clean.png"), colour()) > psnr(load("q75.jpg"), colour()) + 2


def test_flat_bars_do_not_hide_the_level():
    image, clean = noisy(25), gray()
    image[:50] = image[-50:] = 128
    clean[:50] = clean[-50:] = 128
    save("bars.png", image)
    assert main(["denoise", "bars.png"]) == 0
    assert psnr(load("bars_denoised.png"), clean) > 31


@pytest.mark.parametrize(
    "drawn", [page(), page(25), page(14, 40, 230), screenshot()], ids=["14", "25", "gray", "screen"]
)
def test_what_was_drawn_comes_back_bit_for_bit(drawn, capsys):
    data = Path(save("drawn.png", drawn)).read_bytes()
    assert main(["denoise", "drawn.png"]) == 0
    assert Path("drawn_denoised.png").read_bytes() == data
    assert "no noise found: left as it is (its neighbouring pixels are exactly alike)" in capsys.readouterr().err


def test_what_alpha_hides_is_ignored_and_kept():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    inside = (rows - 100) ** 2 + (columns - 120) ** 2 < 80**2
    hidden = np.where(inside[..., None], noisy(25, colour()), 128).astype(np.uint8)
    save("cut.png", np.dstack([hidden, (inside * 255).astype(np.uint8)]))
    assert main(["denoise", "cut.png"]) == 0
    result = load("cut_denoised.png")
    assert psnr(result[inside][:, :3], colour()[inside]) > 29
    assert (result[~inside] == [128, 128, 128, 0]).all()


def test_salt_and_pepper_is_repaired_and_counted_and_nothing_else_changes(capsys):
    clean = np.rint(gray()).astype(np.uint8)
    spoilt = clean.copy()
    places = np.random.default_rng(0).random(clean.shape)
    spoilt[places < 0.01], spoilt[places > 0.99] = 0, 255
    save("spoilt.png", spoilt)
    assert main(["denoise", "spoilt.png"]) == 0
    result = load("spoilt_denoised.png")
    assert psnr(result, clean) > 40
    assert (result != spoilt).sum() < 1.1 * (clean != spoilt).sum()
    assert "pixels were outliers, and repaired" in capsys.readouterr().err


def test_shot_noise_is_found_and_taken_out(capsys):
    counts = np.random.default_rng(0).poisson(gray() / 255 * 20)
    save("shot.png", np.clip(np.rint(counts / 20 * 255), 0, 255).astype(np.uint8))
    assert main(["denoise", "shot.png"]) == 0
    assert psnr(load("shot_denoised.png"), gray()) > psnr(load("shot.png"), gray()) + 11
    assert "noise: shot, sigma" in capsys.readouterr().err


def test_grain_is_found_and_taken_out(capsys):
    save("grain.png", noisy(15, grain=GRAIN))
    assert main(["denoise", "grain.png", "-v"]) == 0
    assert psnr(load("grain_denoised.png"), gray()) > psnr(load("grain.png"), gray()) + 5
    said = capsys.readouterr().err
    assert "noise: grain, sigma" in said
    assert "grain size 2." in said
    assert "why it is not: the correlation of the noise or its level is not known well enough" in said


def test_floats_of_255_are_denoised_without_a_level_and_refused_with_one(capsys):
    y = (gray() + 25 * np.random.default_rng(0).standard_normal(gray().shape)).astype(np.float32)
    np.save("floats.npy", y)
    assert main(["denoise", "floats.npy"]) == 0
    assert psnr(np.load("floats_denoised.npy"), gray()) > 31
    capsys.readouterr()
    before = everything_below(Path())
    assert main(["denoise", "floats.npy", "-s", "25", "-y"]) == 2
    assert "--white 255" in complaint(capsys.readouterr().err)
    assert everything_below(Path()) == before
    assert main(["denoise", "floats.npy", "-s", "25", "--white", "255", "-y"]) == 0


# ---- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["white", "shot", "grain"])
def test_a_kind_may_be_told(kind, capsys):
    save("a.png", noisy(15))
    assert main(["denoise", "a.png", "--noise", kind, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["noise"]["kind"] == kind
    assert record["sigma"] == pytest.approx(15, rel=0.15)


def test_a_profile_is_saved_and_taken_again(capsys):
    save("a.png", noisy(15, grain=GRAIN))
    assert main(["denoise", "a.png", "--save-noise", "camera.yaml"]) == 0
    assert Noise.from_yaml(Path("camera.yaml").read_text()).kind == "grain"
    assert main(["denoise", "a.png", "--noise", "camera.yaml", "-o", "again.png"]) == 0
    assert np.abs(load("again.png").astype(int) - load("a_denoised.png")).max() <= 1
    capsys.readouterr()
    assert main(["denoise", "a.png", "--save-noise", "camera.yaml", "-o", "third.png"]) == 4
    assert "camera.yaml" in complaint(capsys.readouterr().err)
    assert not Path("third.png").exists()


def test_a_profile_that_was_estimated_stays_an_estimate(capsys):
    """Taken for known, the level of grain gives an estimated PSNR that is decibels off, with a tenth as its error."""
    save("a.png", noisy(15, grain=GRAIN))
    assert main(["denoise", "a.png", "--fast", "--save-noise", "grain.yaml"]) == 0
    assert main(["denoise", "a.png", "--fast", "--noise", "grain.yaml", "-o", "again.png", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["psnr_estimated"] is None
    assert "not known well enough" in record["doubts"][0]
    assert main(["info", "grain.yaml"]) == 0
    assert "estimated from a picture, with an error of about 15 %" in capsys.readouterr().out
    Path("known.yaml").write_text(Noise.gaussian(15.0, 255.0).to_yaml())
    assert main(["info", "known.yaml"]) == 0
    assert "level:" not in capsys.readouterr().out


def test_the_noise_that_pages_share_is_an_estimate_too(capsys):
    tifffile.imwrite("stack.tif", np.stack([noisy(15, grain=GRAIN)] * 2), photometric="minisblack")
    assert main(["denoise", "stack.tif", "--fast", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [page["kind"] for page in record["noise"]] == ["grain", "grain"]
    assert record["psnr_estimated"] == [None, None]


def test_the_profile_of_a_stack_is_that_of_the_channel_that_is_denoised(capsys):
    pages = np.stack([noisy(15), noisy(15)])
    tifffile.imwrite("stack.tif", pages, photometric="minisblack")
    tifffile.imwrite("two.tif", np.stack([pages, pages // 2], 1), imagej=True, metadata={"axes": "TCYX"})
    assert main(["denoise", "stack.tif", "--fast", "--save-noise", "camera.yaml"]) == 0
    assert Noise.from_yaml(Path("camera.yaml").read_text()).sigma == pytest.approx(15, rel=0.1)
    before = everything_below(Path())
    capsys.readouterr()
    assert main(["denoise", "stack.tif", "--fast", "--save-noise", "camera.yaml", "-o", "again.tif"]) == 4
    assert "camera.yaml" in complaint(capsys.readouterr().err)
    assert main(["denoise", "two.tif", "--fast", "--save-noise", "second.yaml"]) == 3
    assert "--channel 1" in complaint(capsys.readouterr().err.replace("smdae: model 'natural-gray-small'\n", ""))
    assert everything_below(Path()) == before
    assert main(["denoise", "two.tif", "--fast", "--save-noise", "second.yaml", "--channel", "2"]) == 0
    assert Noise.from_yaml(Path("second.yaml").read_text()).sigma == pytest.approx(7.5, rel=0.1)


def test_a_profile_in_the_unit_of_other_pictures_is_refused_by_name(capsys):
    save("a.png", noisy(15))
    np.save("a.npy", (noisy(15) / 255).astype(np.float32))
    assert main(["denoise", "a.png", "--fast", "--save-noise", "camera.yaml"]) == 0
    capsys.readouterr()
    assert main(["denoise", "a.npy", "--fast", "--noise", "camera.yaml"]) == 2
    said = complaint(capsys.readouterr().err.replace("smdae: model 'natural-gray-small'\n", ""))
    assert "'a.npy'" in said
    assert "larger than the range" in said
    assert not Path("a_denoised.npy").exists()


@pytest.mark.parametrize("deep", [True, False], ids=["8 bits on 16", "floats on 8 bits"])
def test_a_profile_that_is_next_to_nothing_in_the_unit_of_a_picture_is_refused(deep, capsys):
    save("a.png", noisy(15))
    np.save("a.npy", noisy(15).astype(np.uint16) * 257 if deep else (noisy(15) / 255).astype(np.float32))
    first, other = ("a.png", "a.npy") if deep else ("a.npy", "a.png")
    assert main(["denoise", first, "--fast", "--save-noise", "camera.yaml", "-o", f"first{Path(first).suffix}"]) == 0
    capsys.readouterr()
    assert main(["denoise", other, "--fast", "--noise", "camera.yaml"]) == 2
    said = complaint(capsys.readouterr().err.replace("smdae: model 'natural-gray-small'\n", ""))
    assert f"'{other}'" in said
    assert "far too small" in said


def test_faint_noise_in_the_unit_of_a_picture_is_none_of_others():
    deep = (noisy(15).astype(np.uint16) * 257)[:32, :32]
    told = smdae.denoise_image(deep, "natural-gray-small", noise=Noise.gaussian(5.0, 65535.0))
    assert told.noise.sigma == pytest.approx(5)
    smdae.denoise(deep, "natural-gray-small", noise=Noise.gaussian(5.0))  # white was not given


def test_the_level_that_is_given_is_the_total_one_and_the_kind_is_found():
    save("a.png", noisy(15, grain=GRAIN))
    assert main(["denoise", "a.png", "-s", "15"]) == 0
    assert psnr(load("a_denoised.png"), gray()) > psnr(load("a.png"), gray()) + 5


def test_colour_alone_leaves_the_luma():
    save("c.png", noisy(15, colour()))
    assert main(["denoise", "c.png", "--luma", "0", "--chroma", "1"]) == 0
    before, after = (np.asarray(Image.open(name).convert("L")).astype(int) for name in ("c.png", "c_denoised.png"))
    assert np.abs(before - after).max() <= 1
    assert (load("c.png") != load("c_denoised.png")).any()


def test_none_of_the_luma_and_of_the_colour_is_as_strength_0(capsys):
    save("c.png", noisy(15, colour()))
    for number, shares in enumerate((["--strength", "0"], ["--luma", "0", "--chroma", "0"])):
        assert main(["denoise", "c.png", *shares, "-o", f"{number}.png"]) == 0
        assert "noise" not in capsys.readouterr().err  # that none was found would be wrong: it was not looked for
        assert Path(f"{number}.png").read_bytes() == Path("c.png").read_bytes()


def test_without_colours_none_of_the_brightness_is_nothing(capsys):
    save("a.jpg", noisy(20), quality=90)
    assert main(["denoise", "a.jpg", "--fast", "--luma", "0"]) == 0
    assert Path("a_denoised.jpg").read_bytes() == Path("a.jpg").read_bytes()
    save("a.png", noisy(20))
    assert main(["denoise", "a.png", "--fast", "--luma", "0", "-o", "b.jpg"]) == 0
    assert b"denoised by" not in Path("b.jpg").read_bytes()


def test_no_quality_is_promised_where_a_mask_keeps_noise(capsys):
    save("a.png", noisy(20, colour()))
    for level, said in ((255, True), (0, False)):
        save("mask.png", np.full((HEIGHT, WIDTH), level, np.uint8))
        assert main(["denoise", "a.png", "--fast", "-s", "20", "--mask", "mask.png", "-o", f"{level}.png", "-v"]) == 0
        text = capsys.readouterr().err
        assert (" dB, estimated" in text) is said
        assert ("the mask keeps noise in a part of the picture" in text) is not said


def test_a_mask_limits_what_changes():
    save("a.png", noisy(20))
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, :100], mask[:, 100:140] = 255, 128
    save("mask.png", mask)
    assert main(["denoise", "a.png", "-o", "all.png"]) == 0
    assert main(["denoise", "a.png", "--mask", "mask.png", "-o", "part.png"]) == 0
    given, whole, part = load("a.png"), load("all.png"), load("part.png")
    assert np.array_equal(part[:, :100], whole[:, :100])
    assert np.array_equal(part[:, 140:], given[:, 140:])
    assert psnr(part[:, 100:140], (given[:, 100:140] + whole[:, 100:140].astype(float)) / 2) > 45


def test_white_and_black_are_for_integers_too(capsys):
    counts = np.rint(1000 + 12 * gray() + 200 * np.random.default_rng(0).standard_normal(gray().shape)).astype(
        np.uint16
    )
    tifffile.imwrite("a.tif", counts)
    assert main(["denoise", "a.tif", "--black", "1000", "--white", "4060", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sigma"] == pytest.approx(200 / 4060 * 255, rel=0.1)
    assert np.sqrt(np.mean((tifffile.imread("a_denoised.tif") - 1000 - 12 * gray()) ** 2)) < 60


def test_the_pages_of_a_stack_share_one_estimate(capsys):
    pages = np.stack([noisy(15), noisy(15) // 4, np.full((HEIGHT, WIDTH), 7, np.uint8)])
    tifffile.imwrite("stack.tif", pages, photometric="minisblack")
    assert main(["denoise", "stack.tif", "--json"]) == 0
    levels = json.loads(capsys.readouterr().out)["sigma"]
    assert len(set(levels)) == 1


# ---- what is refused ------------------------------------------------------------------------------------------------


def profile(**changes):
    text = Noise((Affine(read=10.0),), 255.0, grain=GRAIN).to_yaml()
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: unet\n", "camera.yaml"),
        ("\x00\x01", "camera.yaml"),
        (Noise((Affine(read=1.0), Affine(read=2.0)), 255.0).to_yaml(), "2 channels, and the picture has"),
        (profile(**{"read: 10.0": "read: -10.0"}), "negative"),
        (profile(**{"0.6": "0.99"}), "impossible"),
    ],
    ids=["kind", "bytes", "channels", "gain", "correlation"],
)
def test_a_profile_that_is_none_is_refused_in_one_line(text, said, capsys):
    save("a.png", noisy(15))
    Path("camera.yaml").write_text(text)
    before = everything_below(Path())
    assert main(["denoise", "a.png", "--noise", "camera.yaml"]) == 2
    assert said in complaint(unjudged(capsys.readouterr().err.replace("smdae: model 'natural-gray'\n", "")))
    assert everything_below(Path()) == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--noise", "nope"], 2, "neither a kind of noise nor a file"),
        (["--white", "100", "--black", "200"], 2, "--black 200"),
        (["--black", "300"], 2, "--black 300"),
        (["--luma", "2"], 2, "--luma"),
        (["--mask", "missing.png"], 3, "missing.png"),
        (["--mask", "small.png"], 3, "--mask 'small.png' is 9 x 9"),
        (["--noise", "grain", "--samples", "2"], 2, "--samples is for white noise"),
        (["--noise", "grain", "--uncertainty", "u.png"], 2, "--uncertainty is for white noise"),
        (["--noise", "grain", "--adapt"], 2, "--adapt is for white and shot noise"),
        (["--noise", "grain", "--sampler", "ode"], 2, "the sampler 'ode' is for white noise"),
        (["-s", "5", "--save-noise", "x.yaml"], 2, "--save-noise"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_in_one_line(arguments, code, said, capsys):
    save("a.png", noisy(15))
    save("small.png", np.zeros((9, 9), np.uint8))
    before = everything_below(Path())
    assert main(["denoise", "a.png", *arguments]) == code
    assert said in complaint(capsys.readouterr().err.replace("smdae: model 'natural-gray'\n", ""))
    assert everything_below(Path()) == before


def test_a_profile_of_no_noise_is_not_saved(capsys):
    save("page.png", page())
    assert main(["denoise", "page.png", "--save-noise", "x.yaml"]) == 3
    assert "no noise was found in 'page.png'" in capsys.readouterr().err
    assert not Path("x.yaml").exists()
    assert not Path("page_denoised.png").exists()


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((50, 60), 9, np.uint8), "it is constant"),
        (np.random.default_rng(0).integers(0, 2, (90, 90)).astype(np.uint8), "it has only two values"),
        (np.full((3, 4), 9, np.uint8), "none is to be seen"),
    ],
    ids=["constant", "two values", "smaller than a patch"],
)
def test_pictures_that_tell_nothing_are_left_alone(pixels, reason, capsys):
    data = Path(save("a.png", pixels)).read_bytes()
    assert main(["denoise", "a.png"]) == 0
    assert f"no noise found: left as it is ({reason})" in capsys.readouterr().err
    assert Path("a_denoised.png").read_bytes() == data


def test_a_picture_of_which_nothing_is_visible_is_refused(capsys):
    save("a.png", np.dstack([noisy(15, colour()), np.zeros((HEIGHT, WIDTH), np.uint8)]))
    assert main(["denoise", "a.png"]) == 3
    assert "none of its pixels is valid" in capsys.readouterr().err
    assert not Path("a_denoised.png").exists()


def test_a_picture_that_is_mostly_outliers_is_refused(capsys):
    spoilt = np.rint(gray()).astype(np.uint8)
    places = np.random.default_rng(0).random(spoilt.shape)
    spoilt[places < 0.2], spoilt[places > 0.8] = 0, 255
    save("a.png", spoilt)
    assert main(["denoise", "a.png"]) == 3
    assert "outliers" in capsys.readouterr().err
    assert not Path("a_denoised.png").exists()


def test_numbers_that_are_none_stay_where_they_were():
    y = ((gray() + 20 * np.random.default_rng(0).standard_normal(gray().shape)) / 255).astype(np.float32)
    y[20:40, 30:60], y[100, 100] = np.nan, np.inf
    buffer = BytesIO()
    np.save(buffer, y)
    Path("holes.npy").write_bytes(buffer.getvalue())
    code = main(["denoise", "holes.npy"])
    assert code == 0
    result = np.load("holes_denoised.npy")
    assert np.array_equal(np.isfinite(result), np.isfinite(y))
    known = np.isfinite(y)
    assert psnr(255 * result[known], gray()[known]) > 30


@pytest.mark.parametrize(
    "curve",
    [
        "{gain: 0.0, black: 0.0, read: 1.0e-25}",
        "{gain: 0.0, black: 0.0, read: 1.0e-300}",
        "{gain: 1.0e-40, black: 0.0, read: 0.0}",
        "{gain: 1.0e-300, black: 0.0, read: 0.0}",
        "{at: [0.0, 255.0], levels: [1.0e-40, 1.0e-40]}",
    ],
)
def test_a_profile_of_a_level_that_no_float_holds_is_refused(curve, capsys):
    save("a.png", noisy(15))
    Path("n.yaml").write_text(f"smdae: noise profile\nversion: 1\nwhite: 255.0\ncurves:\n- {curve}\n")
    assert main(["denoise", "a.png", "--fast", "--noise", "n.yaml"]) == 2
    said = complaint(capsys.readouterr().err.replace("smdae: model 'natural-gray-small'\n", ""))
    assert "is next to nothing from 0 to 255" in said


def test_a_profile_of_almost_no_noise_at_black_is_taken(capsys):
    save("a.png", noisy(15))
    text = "smdae: noise profile\nversion: 1\nwhite: 255.0\ncurves:\n- {at: [0.0, 255.0], levels: [1.0e-300, 10.0]}\n"
    Path("n.yaml").write_text(text)
    assert main(["denoise", "a.png", "--fast", "--noise", "n.yaml"]) == 0
    assert "Warning" not in capsys.readouterr().err
