"""`smdae denoise` of FITS: images and cubes lose their noise, and nothing else of the file changes."""

import gzip
import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from smdae.cli.app import main
from smdae.files import fits as module
from smdae.files import fits_header, packing
from tests.tiny import complaint

fits = pytest.importorskip("astropy.io.fits")

SIZE = 64


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    monkeypatch.setenv("SMDAE_MODEL", "natural-gray-small")
    return bare


def sky(seed: int, noise: float = 12.0) -> np.ndarray:
    """A gradient and soft sources on a background of 1000, float64."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    clean = (
        1000
        + 2.0 * x
        + 300 * np.exp(-((x - 20) ** 2 + (y - 30) ** 2) / 60)
        + 200 * np.exp(-((x - 45) ** 2 + (y - 12) ** 2) / 90)
    )
    return clean + noise * np.random.default_rng(seed).standard_normal(clean.shape)


def better(result: np.ndarray, noisy: np.ndarray, clean: np.ndarray) -> bool:
    wrong = [np.nanmean((one - clean) ** 2) for one in (result, noisy)]
    return wrong[0] < wrong[1] / 2


def header_of(name: str, unit: int = 0) -> list[str]:
    """The cards of a header, but for those that say what smdae did, and for checksums."""
    with fits.open(name, do_not_scale_image_data=True) as units:
        cards = [str(card) for card in units[unit].header.cards if card.keyword not in module.CHECKSUMS]
    return [card for card in cards if not card.startswith(("HISTORY smdae: ", "HISTORY smdae+ "))]


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_images_of_every_type_keep_their_header(dtype, here):
    values, clean = sky(0), sky(0, 0.0)
    if dtype == "u1":
        values, clean = (values - 900) / 3, (clean - 900) / 3
    values = values.round() if dtype[0] in "ui" else values
    unit = fits.PrimaryHDU(values.astype(dtype))
    unit.header["OBJECT"] = ("NGC 1", "a name")
    unit.header.add_history("calibrated")
    unit.writeto("a.fits")
    assert main(["denoise", "a.fits"]) == 0
    assert header_of("a.fits") == header_of("a_denoised.fits")
    assert os.path.getsize("a.fits") == os.path.getsize("a_denoised.fits")
    with fits.open("a_denoised.fits") as units:
        assert units[0].data.dtype.newbyteorder("=") == np.dtype(dtype)
        assert better(units[0].data, values, clean)


def test_scaled_integers_with_blank_pixels(here):
    values, clean = sky(1), sky(1, 0.0)
    stored = np.rint((values - 500) / 0.05).astype(np.int16)
    stored[10:14, 20:25] = -32768
    unit = fits.PrimaryHDU(stored)
    unit.header["BSCALE"], unit.header["BZERO"], unit.header["BLANK"] = 0.05, 500.0, -32768
    unit.writeto("a.fits")
    with fits.open("a.fits", mode="update", do_not_scale_image_data=True) as units:
        units[0].header["BSCALE"], units[0].header["BZERO"] = 0.05, 500.0
        units[0].header["BLANK"] = -32768
    assert main(["denoise", "a.fits"]) == 0
    assert header_of("a.fits") == header_of("a_denoised.fits")
    with fits.open("a_denoised.fits") as units:
        result = units[0].data
    assert np.isnan(result[10:14, 20:25]).all()
    assert np.isnan(result).sum() == 20
    assert better(result, np.where(np.isnan(result), np.nan, values), clean)


def test_nan_stays_where_it_was(here):
    values = sky(2).astype(np.float32)
    values[5, 6] = np.nan
    values[40:44, 50:] = np.nan
    fits.PrimaryHDU(values).writeto("a.fits")
    assert main(["denoise", "a.fits"]) == 0
    with fits.open("a_denoised.fits") as units:
        assert np.array_equal(np.isnan(units[0].data), np.isnan(values))
        assert better(units[0].data, values, sky(2, 0.0))


def test_cubes_and_other_units(here, capsys):
    cube = np.stack([sky(k) for k in range(3)]).astype(np.float32)
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.arange(5.0))])
    units = [fits.PrimaryHDU(), fits.ImageHDU(cube, name="SCI"), fits.ImageHDU(sky(9), name="ERR"), table]
    fits.HDUList(units).writeto("a.fits", checksum=True)
    assert main(["denoise", "a.fits"]) == 0
    assert "units 2 (ERR)" in capsys.readouterr().err
    with fits.open("a.fits") as before, fits.open("a_denoised.fits", checksum=True) as after:
        for k in range(3):
            assert better(after[1].data[k], cube[k], sky(k, 0.0))
        for k in (2, 3):
            assert before[k].header.tostring() == after[k].header.tostring()
            assert np.array_equal(before[k].data, after[k].data)
        assert header_of("a.fits", 1) == header_of("a_denoised.fits", 1)
        assert after[1].verify_checksum() == after[1].verify_datasum() == 1


@pytest.mark.parametrize("empty", [0, 1])
def test_planes_of_a_cube_without_data_stay_and_the_others_lose_their_noise(empty, here, capsys):
    cube = np.stack([sky(seed) for seed in range(3)]).astype("f4")
    cube[empty] = np.nan
    fits.PrimaryHDU(cube).writeto("a.fits")
    assert main(["denoise", "a.fits", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["planes"], len(record["sigma"])) == (3, 2)
    with fits.open("a_denoised.fits") as units:
        for k, plane in enumerate(units[0].data):
            assert np.isnan(plane).all() if k == empty else better(plane, cube[k], sky(k, 0.0))


def test_stars_are_not_repaired(here):
    """Sources of a pixel or two, far above the noise, as outliers are in other pictures."""
    values = np.random.default_rng(0).normal(100, 3, (SIZE, SIZE))
    places = [(10, 12), (30, 40), (50, 20), (44, 55)]
    for y, x in places:
        values[y, x] += 2000
        values[y, x + 1] += 900
    fits.PrimaryHDU(values.astype(np.float32)).writeto("a.fits")
    assert main(["denoise", "a.fits"]) == 0
    with fits.open("a_denoised.fits") as units:
        for y, x in places:
            assert units[0].data[y, x] == pytest.approx(values[y, x], rel=0.15)


def test_strength_0_changes_no_byte(here):
    fits.HDUList([fits.PrimaryHDU(sky(0)), fits.ImageHDU(sky(1).astype(np.int16))]).writeto("a.fits")
    assert main(["denoise", "a.fits", "--strength", "0"]) == 0
    with open("a.fits", "rb") as one, open("a_denoised.fits", "rb") as two:
        assert one.read() == two.read()


def test_compressed_images_are_refused_and_never_written_over(here, capsys):
    packed = fits.CompImageHDU(sky(0).astype(np.int16), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), packed, fits.BinTableHDU(np.zeros(4000, [("x", "f8")]))]).writeto("c.fits")
    assert main(["denoise", "c.fits", "--noise", "shot"]) == 3
    said = complaint(capsys.readouterr().err)
    assert "its images are compressed" in said
    assert "funpack" in said
    assert os.listdir(here) == ["c.fits"]


def test_what_is_no_image_is_refused(here, capsys, monkeypatch):
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.arange(5.0))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto("t.fits")
    fits.PrimaryHDU(np.arange(30.0)).writeto("line.fits")
    fits.PrimaryHDU(sky(0)).writeto("a.fits")
    with open("a.fits", "rb") as file:
        data = file.read()
    with open("cut.fits", "wb") as file:
        file.write(data[:9000])
    with open("words.fits", "wb") as file:
        file.write(b"SIMPLE  = but no more")
    names = sorted(os.listdir())
    for name, said in (("t", "only tables"), ("line", "no image"), ("cut", "truncated"), ("words", "words.fits")):
        assert main(["denoise", f"{name}.fits"]) == 3
        assert said in complaint(capsys.readouterr().err.splitlines()[-1])
    assert main(["denoise", "a.fits", "-o", "a.png"]) == 4
    assert main(["denoise", "a.fits", "--mask", "b.png"]) == 2
    capsys.readouterr()
    monkeypatch.setattr(module, "is_installed", lambda: False)
    assert main(["denoise", "a.fits"]) == 3
    assert "hint: pip install 'smdae[fits]'" in capsys.readouterr().err
    assert sorted(os.listdir()) == names


def packed(name: str, values: np.ndarray) -> bytes:
    """Write a FITS file packed by gzip, and return what is in it."""
    whole = io.BytesIO()
    fits.PrimaryHDU(values.astype("i2")).writeto(whole)
    Path(name).write_bytes(gzip.compress(whole.getvalue()))
    return whole.getvalue()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("NAXIS1", "T", "has axes of True x 64"), ("NAXIS", "99999999999", "a unit of it has 99,999,999,999 axes")],
)
@pytest.mark.parametrize("unit", [0, 1])
def test_axes_that_cannot_be_are_refused_at_once(unit, name, value, words, here, capsys):
    empty = [] if unit == 0 else [fits.PrimaryHDU()]
    kind = fits.ImageHDU if unit else fits.PrimaryHDU
    fits.HDUList([*empty, kind(np.zeros((64, 64), "u1"))]).writeto("a.fits")
    data = Path("a.fits").read_bytes()
    at = data.rindex(f"{name:8}= ".encode()) + 10
    Path("a.fits").write_bytes(data[:at] + value.rjust(20).encode() + data[at + 20 :])
    assert main(["denoise", "a.fits"]) == 3
    assert words in complaint(capsys.readouterr().err)
    assert not Path("a_denoised.fits").exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--quality", "50"], 2, ["--quality is for", "hint: leave it out\n"]),
        (["--format", "png"], 4, ["a FITS file stays one", "hint: leave --format out\n"]),
        (["-o", "a.png"], 4, ["a FITS file stays one", "hint: name it .fits\n"]),
    ],
)
def test_hints_lead_to_what_can_be_done(options, code, words, here, capsys):
    fits.PrimaryHDU(sky(0).astype("f4")).writeto("a.fits")
    assert main(["denoise", "a.fits", *options]) == code
    told = capsys.readouterr().err
    complaint(told)
    for word in words:
        assert word in told
    assert os.listdir(here) == ["a.fits"]


def test_files_packed_by_gzip_stay_packed(here, capsys):
    values, clean = sky(3).round(), sky(3, 0.0)
    inner = packed("a.fits.gz", values)
    assert main(["denoise", "a.fits.gz", "--strength", "0", "-o", "same.fits.gz"]) == 0
    assert gzip.decompress(Path("same.fits.gz").read_bytes()) == inner
    assert main(["denoise", "a.fits.gz"]) == 0
    result = gzip.decompress(Path("a_denoised.fits.gz").read_bytes())
    assert len(result) == len(inner)
    assert better(fits.open(io.BytesIO(result))[0].data, values, clean)
    assert main(["denoise", "a.fits.gz", "-o", "plain.fits"]) == 0
    assert Path("plain.fits").read_bytes() == result
    assert main(["denoise", "plain.fits", "-o", "again.fit.gz", "--strength", "0"]) == 0
    assert gzip.decompress(Path("again.fit.gz").read_bytes()) == result
    assert main(["denoise", "a.fits.gz", "--in-place"]) == 0
    assert gzip.decompress(Path("a.fits.gz").read_bytes()) == result
    capsys.readouterr()
    assert main(["info", "again.fit.gz"]) == 0
    assert "64 x 64 in gray, 16 bits, FITS" in capsys.readouterr().out


def test_a_small_packed_file_does_not_fill_the_disk(monkeypatch, capsys):
    packed("a.fits.gz", np.zeros((2000, 1000), np.int16))
    monkeypatch.setattr(packing, "FREE", 1 << 20)
    assert main(["denoise", "a.fits.gz"]) == 3
    assert "'a.fits.gz': it unpacks to more than 50 times its size" in complaint(capsys.readouterr().err)


def test_packed_files_are_found_in_folders_and_taken_from_stdin(here, capsys, monkeypatch):
    Path("in").mkdir()
    packed("in/a.fits.gz", sky(4).round())
    Path("in/b.txt.gz").write_bytes(gzip.compress(b"words"))
    assert main(["denoise", "in", "-o", "out/"]) == 0
    assert [path.name for path in Path("out").iterdir()] == ["a.fits.gz"]
    assert "1 skipped: 1 GZ" in capsys.readouterr().err
    assert main(["denoise", "in"]) == 0
    assert main(["denoise", "in", "--dry-run"]) == 0
    assert "1 result of an earlier run" in capsys.readouterr().err
    whole = Path("in/a.fits.gz").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(whole), isatty=lambda: False))
    assert main(["denoise", "-", "-o", "s.fits.gz"]) == 0
    assert Path("s.fits.gz").read_bytes() == Path("out/a.fits.gz").read_bytes()


def test_packed_files_that_are_cut_or_misnamed_are_refused(here, capsys):
    inner = packed("a.fits.gz", sky(5).round())
    whole = Path("a.fits.gz").read_bytes()
    Path("cut.fits.gz").write_bytes(whole[: len(whole) // 2])
    assert main(["denoise", "cut.fits.gz"]) == 3
    assert complaint(capsys.readouterr().err) == "smdae: error: cannot read 'cut.fits.gz': the file is truncated"
    Path("text.fits.gz").write_bytes(gzip.compress(b"words"))
    assert main(["denoise", "text.fits.gz"]) == 3
    assert "is a gzip file" in complaint(capsys.readouterr().err)
    Path("plain.gz").write_bytes(inner)
    assert main(["denoise", "plain.gz"]) == 3
    assert "is a FITS file, and is named .gz" in complaint(capsys.readouterr().err)
    assert main(["denoise", "a.fits.gz", "-o", "a.tif.gz"]) == 4
    assert sorted(path.name for path in Path().iterdir() if "denoised" in path.name or "tif" in path.name) == []


def test_words_longer_than_a_card_go_on_in_the_next_and_a_full_header_grows():
    header = b"".join(b"NOTE%-4d= 1".ljust(80) % k for k in range(35)) + b"END".ljust(80)
    words = b"x" * 100 + b" y" * 50
    grown = fits_header.with_history(header, b"smdae: ", words)
    assert len(grown) == 2 * fits_header.BLOCK
    assert fits_header.with_history(grown, b"smdae: ", words) == grown
    assert fits_header.told(io.BytesIO(b"SIMPLE  =".ljust(80) + grown[80:]), b"smdae: ") == b"smdae: " + words
    assert fits_header.with_history(grown, b"smdae: ", b"z").rstrip() == (
        header[:-80] + b"HISTORY smdae: z".ljust(80) + b"END"
    )


@pytest.mark.parametrize("axes", [-3, 1000, 10**11, 10**30])
def test_words_are_not_looked_for_behind_headers_without_sense(axes):
    cards = [b"SIMPLE  =                    T", b"BITPIX  = 8", b"NAXIS   = %d" % axes, b"NAXIS1  = %d" % axes, b"END"]
    header = b"".join(card.ljust(80) for card in cards).ljust(fits_header.BLOCK)
    assert fits_header.told(io.BytesIO(header), b"smdae: ") is None
