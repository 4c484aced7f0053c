"""`smdae info`: what is told of the noise is what is there and what `denoise` finds; nothing is written."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import typer
from PIL import Image

from smdae.blotches import Blotches
from smdae.cli.app import app, main
from smdae.denoising.second_look import NETWORK
from smdae.errors import UsageError
from smdae.files import model_file
from smdae.noise import Affine, Noise
from smdae.pipeline.peers import Peers
from smdae.processes import Place
from tests.tiny import ENVIRONMENT, complaint, encoded, everything_below, gray, python

SIDE = 192
BUNDLED = model_file.BUNDLED


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    """An empty folder, and no models but the small network of the second look: no other may be loaded."""
    (bare / "weights").mkdir()
    shutil.copy(BUNDLED / f"{NETWORK}.safetensors", bare / "weights")
    monkeypatch.setattr(model_file, "BUNDLED", bare / "weights")
    return bare


def test_a_channel_without_values_is_told_as_such(capsys):
    """Microscopes leave one that was not recorded; `denoise` leaves it as it is."""
    pages = np.random.default_rng(0).normal(100, 10, (3, 64, 64)).astype(np.float32)
    pages[1] = np.nan
    tifffile.imwrite("a.tif", pages, photometric="minisblack", metadata={"axes": "CYX"})
    assert main(["info", "a.tif", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["kind"] for record in records] == ["white", "none", "white"]
    assert records[1]["reason"] == "it has no values"
    tifffile.imwrite("b.tif", pages[1])
    assert main(["info", "b.tif"]) == 3


def hill(side: int = SIDE) -> np.ndarray:
    """A smooth picture from 0.15 to 0.75, with shape (side, side)."""
    x = np.linspace(0, np.pi, side)
    return 0.15 + 0.6 * np.outer(np.sin(x), np.sin(x))


def draws(shape: tuple[int, ...] = (SIDE, SIDE), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def eight_bits(x: np.ndarray) -> np.ndarray:
    return np.rint(255 * x).clip(0, 255).astype(np.uint8)


def save(name: str, pixels: np.ndarray) -> None:
    if name.endswith(".tif"):
        tifffile.imwrite(name, pixels, photometric="minisblack")
    elif name.endswith(".npy"):
        np.save(name, pixels)
    else:
        Image.fromarray(pixels).save(name)


@pytest.fixture
def white():
    """A gray picture with white noise of sigma 12."""
    save("white.png", eight_bits(hill() + 12 / 255 * draws()))
    return "white.png"


@pytest.fixture
def shot():
    """A gray picture in 16 bits, of photons: 400 for white, sd^2 = x/400."""
    save("shot.tif", np.rint(65535 * (hill() + np.sqrt(hill() / 400) * draws())).clip(0, 65535).astype(np.uint16))
    return "shot.tif"


@pytest.fixture
def grain():
    """A picture whose noise of sigma 15 has the correlation 1/2 with each neighbour, and none beyond."""
    e = draws((SIDE + 1, SIDE + 1))
    e = (e[1:, 1:] + e[:-1, 1:] + e[1:, :-1] + e[:-1, :-1]) / 2
    save("grain.png", eight_bits(hill() + 15 / 255 * e))
    return "grain.png"


def told(capsys, *arguments) -> list[str]:
    """The lines of a call that succeeds and says nothing else."""
    assert main(["info", *map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def record(capsys, *arguments) -> dict:
    (line,) = told(capsys, *arguments, "--json")
    return json.loads(line)


def rows_of(lines: list[str]) -> list[str]:
    """What is drawn in the rows of the chart."""
    return [line.split("|", 1)[1] for line in lines if re.match(r" +[0-9.]* \|", line)]


# The noise


def test_white_noise_is_one_level_and_a_flat_line(white, capsys):
    found = record(capsys, white)
    assert found["kind"] == "white"
    assert found["sigma"] == pytest.approx(12, rel=0.05)
    assert [sd for _, sd in found["curve"]] == pytest.approx([found["sigma"]] * 2)
    lines = told(capsys, white)
    assert lines[:2] == [f"{white}: 192 x 192 in gray, 8 bits, PNG", f"  noise: {found['described']}"]
    assert sum(set(row) == {"*"} for row in rows_of(lines)) == 1
    assert "".join(rows_of(lines)).count("*") == 48


def test_levels_of_photons_rise_as_the_root_of_brightness_in_the_unit_of_the_picture(shot, capsys):
    found = record(capsys, shot)
    assert found["kind"] == "shot"
    x, sd = np.array(found["curve"]).T
    some = (x > 0.2 * 65535) & (x < 0.7 * 65535)
    assert some.sum() > 20
    np.testing.assert_allclose(sd[some], np.sqrt(x[some] * 65535 / 400), rtol=0.15)
    rows = rows_of(told(capsys, shot))
    first, last = (next(i for i, row in enumerate(rows) if row.ljust(48)[column] == "*") for column in (0, -1))
    assert last < first  # the bright end is drawn higher


def test_grain_is_told_with_the_correlation_of_neighbours(grain, capsys):
    found = record(capsys, grain)
    assert found["kind"] == "grain"
    assert found["sigma"] == pytest.approx(15, rel=0.1)
    rho = np.array(found["grain"])
    np.testing.assert_allclose([rho[0, 1], rho[1, 0], rho[0, 2], rho[2, 0]], [0.5, 0.5, 0, 0], atol=0.08)
    (line,) = [line for line in told(capsys, grain) if "correlation" in line]
    across = f"{rho[0, 1]:.2f} {rho[0, 2]:.2f} {rho[0, 3]:.2f} across"
    assert line == f"  correlation of pixels 1, 2, 3 apart: {across}, {' '.join(f'{r:.2f}' for r in rho[1:4, 0])} down"


def test_blotches_of_colour_are_told_of_a_picture_and_of_a_profile(capsys):
    noise = Noise((Affine(read=3.0),), 255.0, blotches=Blotches((6.0, 8.0), 5.0))
    Path("p.yaml").write_text(noise.to_yaml())
    pixels = 255 * np.repeat(hill()[:, :, None], 3, 2) + 3 * draws((SIDE, SIDE, 3))
    Image.fromarray(pixels.round().astype(np.uint8)).save("c.png")
    for arguments in (("c.png", "--noise", "p.yaml"), ("p.yaml",)):
        found = record(capsys, *arguments)
        assert (found["kind"], found["grain"]) == ("grain", None)
        assert found["blotches"] == {"levels": pytest.approx([6, 8]), "size": 5}
        assert found["curve"][0][1] == pytest.approx(noise.sigma)
        assert main(["info", *arguments]) == 0
        shown = capsys.readouterr().out
        assert "blotches of colour" in shown
        assert "correlation of pixels" not in shown


def test_where_there_is_no_noise_it_is_said_why_and_nothing_is_drawn(capsys):
    save("flat.png", eight_bits(np.full((SIDE, SIDE), 0.5)))
    found = record(capsys, "flat.png")
    assert (found["kind"], found["sigma"], found["curve"]) == ("none", 0, [])
    lines = told(capsys, "flat.png")
    assert lines[1] == f"  no noise found ({found['reason']})"
    assert rows_of(lines) == []


def test_the_kind_can_be_told(white, shot, capsys):
    assert record(capsys, white, "--noise", "shot")["kind"] == "shot"
    assert record(capsys, shot, "--noise", "white")["kind"] == "white"
    Path("p.yaml").write_text(Noise.gaussian(7, white=255).to_yaml())
    assert record(capsys, white, "--noise", "p.yaml")["sigma"] == pytest.approx(7)


def test_it_is_what_denoise_finds(white, shot, grain, monkeypatch, capsys):
    monkeypatch.setattr(model_file, "BUNDLED", BUNDLED)
    for name in (white, shot, grain):
        found = record(capsys, name)
        assert main(["denoise", name, "--json"]) == 0
        out, err = capsys.readouterr()
        theirs = json.loads(out)
        assert f"noise: {found['described']}, estimated" in err
        assert f"model '{found['model']}'" in err
        assert (found["kind"], found["sigma"]) == (theirs["noise"]["kind"], theirs["sigma"])


# What else is told


def test_black_and_white_of_counts_are_those_of_their_values(capsys):
    counts = np.rint(100 + 3000 * hill() + 40 * draws()).astype(np.uint16)
    save("counts.tif", counts)
    found = record(capsys, "counts.tif")
    low, high = np.quantile(counts, (0.001, 0.999))
    assert (found["black"], found["white"]) == (pytest.approx(low), pytest.approx(high))
    assert found["curve"][0][1] == pytest.approx(40, rel=0.1)
    assert "  sigma by brightness, in the unit of the picture" in told(capsys, "counts.tif")


def test_black_and_white_can_be_told(capsys):
    save("counts.tif", np.rint(100 + 3000 * hill() + 40 * draws()).astype(np.uint16))
    found = record(capsys, "counts.tif", "--white", 4095, "--black", 100)
    assert (found["black"], found["white"]) == (100, 4095)
    assert found["curve"][0][1] == pytest.approx(40, rel=0.1)
    lines = told(capsys, "counts.tif", "--white", 4095, "--black", 100)
    assert lines[2].startswith("  white 4095, black 100, ")
    assert "  sigma by brightness, white being 255" in lines


def test_hidden_pixels_are_counted_and_do_not_count(capsys):
    pixels = eight_bits(hill() + 12 / 255 * draws())
    alpha = np.full_like(pixels, 255)
    alpha[: SIDE // 4] = 0
    pixels[: SIDE // 4] = 0
    save("alpha.png", np.dstack([pixels, alpha]))
    found = record(capsys, "alpha.png")
    assert found["hidden"] == 0.25
    assert found["sigma"] == pytest.approx(12, rel=0.05)
    assert told(capsys, "alpha.png")[2] == "  white 255, black 0, clipped; 25 % of its pixels hidden"


def test_outliers_are_counted_and_do_not_count(capsys):
    pixels = eight_bits(hill() + 12 / 255 * draws())
    rng = np.random.default_rng(1)
    places = rng.choice(pixels.size, 300, replace=False)
    pixels.flat[places] = rng.choice([0, 255], 300)
    save("hot.png", pixels)
    found = record(capsys, "hot.png")
    assert found["outliers"] == pytest.approx(300, rel=0.05)
    assert found["sigma"] == pytest.approx(12, rel=0.05)
    assert told(capsys, "hot.png")[2].endswith(f"; {found['outliers']} outliers")


def test_the_quality_of_a_jpeg_is_told_once(capsys):
    Image.fromarray(eight_bits(hill() + 12 / 255 * draws())).save("a.jpg", quality=90)
    assert record(capsys, "a.jpg")["jpeg"] == 90
    lines = told(capsys, "a.jpg")
    assert lines[0] == "a.jpg: 192 x 192 in gray, 8 bits, JPEG quality 90"
    assert sum("JPEG" in line for line in lines) == 1


def test_gray_that_is_stored_as_colour_is_told(white, capsys):
    save("rgb.png", np.repeat(np.asarray(Image.open(white))[:, :, None], 3, 2))
    lines = told(capsys, "rgb.png")
    assert lines[0] == "rgb.png: 192 x 192 in gray, stored as colour, 8 bits, PNG"
    assert lines[1:] == told(capsys, white)[1:]


def test_the_model_is_the_one_that_denoise_would_take(white, monkeypatch, capsys):
    save("c.png", eight_bits(hill()[..., None] + 12 / 255 * draws((SIDE, SIDE, 3))))
    assert record(capsys, white)["model"] == "natural-gray"
    assert record(capsys, "c.png")["model"] == "natural-color"
    assert told(capsys, "c.png")[-1] == "  model: natural-color"
    monkeypatch.setenv("SMDAE_MODEL", "mine.safetensors")
    assert record(capsys, white)["model"] == "mine.safetensors"


def test_of_a_stack_it_is_the_page_with_the_median_level(capsys):
    levels = (5, 40, 12)
    pages = [eight_bits(hill() + sigma / 255 * draws(seed=sigma)) for sigma in levels]
    save("s.tif", np.stack(pages))
    found = record(capsys, "s.tif")
    assert found["pages"] == 3
    assert found["sigma"] == pytest.approx(12, rel=0.05)
    assert told(capsys, "s.tif")[0] == "s.tif: 3 pages of 192 x 192 in gray, 8 bits, TIFF"


@pytest.mark.parametrize("compression", ["group4", "raw"])
def test_pages_of_one_bit_are_described(compression, capsys):
    if compression == "group4" and 4 not in tifffile.TIFF.DECOMPRESSORS:
        pytest.skip("needs newer imagecodecs and tifffile")
    bits = np.indices((40, 48)).sum(0) // 9 % 2 > 0
    Image.fromarray(bits).save("bits.tif", compression=compression)
    assert told(capsys, "bits.tif")[:2] == [
        "bits.tif: 48 x 40 in black and white, 1 bit, TIFF",
        "  no noise found (it has only two values)",
    ]
    Image.fromarray(bits).save("many.tif", save_all=True, append_images=[Image.fromarray(~bits)])
    assert told(capsys, "many.tif")[0] == "many.tif: 2 pages of 48 x 40 in black and white, 1 bit, TIFF"
    assert record(capsys, "many.tif")["kind"] == "none"


def test_series_are_told_apart(capsys):
    one, other = (Image.fromarray(eight_bits(hill()[:rows] + 0.05 * draws()[:rows])) for rows in (96, 64))
    one.save("two.tif", save_all=True, append_images=[other])
    first = [line for line in told(capsys, "two.tif") if line.startswith("two.tif: ")]
    assert first == [
        "two.tif: series 1, channel 1, 192 x 96 in gray, 8 bits, TIFF",
        "two.tif: series 2, channel 1, 192 x 64 in gray, 8 bits, TIFF",
    ]
    assert main(["info", "two.tif", "--json"]) == 0
    told_apart = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["series"], row["channel"], row["size"][1]) for row in told_apart] == [(1, 1, 96), (2, 1, 64)]


def test_frames_and_inks_are_called_so(capsys):
    frames = [Image.fromarray(eight_bits(hill() + 0.05 * draws(seed=seed))) for seed in range(3)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    frames[0].convert("CMYK").save("c.jpg")
    assert told(capsys, "a.gif")[0].startswith("a.gif: 3 frames of 192 x 192 in ")
    assert told(capsys, "c.jpg")[0].startswith("c.jpg: 4 inks of 192 x 192 in gray")


# Files


def test_nothing_is_written(here, white, shot, capsys):
    before = everything_below(here)
    told(capsys, white, shot)
    told(capsys, white, shot, "--json")
    assert everything_below(here) == before


def test_a_folder_is_all_pictures_in_it_but_results(white, capsys):
    Path("in/deep").mkdir(parents=True)
    for name in ("in/b.png", "in/a.png", "in/a_denoised.png", "in/deep/c.png"):
        Path(name).write_bytes(Path(white).read_bytes())
    assert [json.loads(line)["input"] for line in told(capsys, "in", "--json")] == ["in/a.png", "in/b.png"]
    names = [json.loads(line)["input"] for line in told(capsys, "in", "in/b.png", "-r", "--json")]
    assert names == ["in/a.png", "in/b.png", "in/deep/c.png", "in/b.png"]


def test_from_a_pipe_in_plain_text(white, capsys):
    done = subprocess.run(
        [sys.executable, "-m", "smdae", "info", "-"],
        input=Path(white).read_bytes(),
        capture_output=True,
        env=ENVIRONMENT,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    first, *rest = told(capsys, white)
    assert done.stdout.decode().splitlines() == [first.replace(white, "stdin"), *rest]


def test_a_name_cannot_move_the_terminal(white, capsys):
    name = "a\x1b[31m.png"
    Path(white).rename(name)
    assert told(capsys, name)[0].startswith("a\\x1b[31m.png: ")


def test_on_a_terminal_it_says_the_same_in_colour(white, monkeypatch, capsys):
    plain = told(capsys, white)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = told(capsys, white)
    assert shown != plain
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown] == plain


# Refusals


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.png"], 3, ["cannot read 'missing.png'"]),
        (["text.png"], 3, ["'text.png'", "PNG"]),
        (["hidden.png"], 3, ["'hidden.png'", "hidden"]),
        (["empty"], 3, ["no images", "'empty'"]),
        (["no*.png"], 3, ["no file matches"]),
        ([], 2, ["FILE"]),
        (["g.png", "--noise", "frob"], 2, ["--noise 'frob'", "shot"]),
        (["g.png", "--white", "-1"], 2, ["--white"]),
        (["g.png", "--black", "nan"], 2, ["--black"]),
        (["g.png", "--white", "100", "--black", "100"], 2, ["--white", "--black"]),
        (["g.png", "--black", "255"], 2, ["--black 255", "'g.png'"]),
        (["-", "-"], 2, ["stdin", "once"]),
        (["g.png", "--noise", "rgb.yaml"], 2, ["has 3 channels", "has 1"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_in_one_line(here, arguments, code, words, capsys):
    save("g.png", gray())
    save("hidden.png", np.dstack([gray(), np.zeros_like(gray())]))
    Path("text.png").write_text("not a picture")
    Path("empty").mkdir()
    Path("rgb.yaml").write_text(Noise(tuple(Affine(read=level) for level in (7, 8, 9)), white=255).to_yaml())
    before = everything_below(here)
    assert main(["info", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    text = complaint(err)
    for word in words:
        assert word in text
    assert everything_below(here) == before


def test_a_bad_file_stops_nothing_and_is_counted(white, capsys):
    Path("bad.png").write_bytes(encoded(gray())[:60])
    assert main(["info", "bad.png", white, "missing.png"]) == 9
    out, err = capsys.readouterr()
    assert out.startswith(f"{white}: ")
    errors = [line for line in err.splitlines() if line.startswith("smdae: error: ")]
    assert [word in line for word, line in zip(("'bad.png'", "'missing.png'", "2 of 3"), errors, strict=True)] == [
        True
    ] * 3
    assert main(["info", "bad.png", white, "missing.png", "--json"]) == 9
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["input"] for one in records] == ["bad.png", white, "missing.png"]
    assert [one.get("code") for one in records] == [3, None, 3]


def test_help_and_refusals_load_no_torch():
    code = (
        "import sys; from smdae.cli.app import main\n"
        "assert main(['info', '--help']) == 0\n"
        "assert main(['info', 'a.png', '--white', 'nan']) == 2\n"
        "assert main(['info', 'a*.png']) == 3\n"
        "assert 'torch' not in sys.modules"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: smdae info")


def test_it_is_for_one_process(white):
    command = typer.main.get_command(app)
    with (
        command.make_context("smdae", ["info", white], obj=Peers(Place(0, 2))) as context,
        pytest.raises(UsageError, match="info is for one process"),
    ):
        command.invoke(context)
