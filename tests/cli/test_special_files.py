"""`smdae info` and `smdae fit` read camera raw, FITS, video and volumes, or say what to do instead."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dng import dng, exposed, mosaic, scene
from smdae.cli.app import main
from smdae.files import fits as fits_module
from tests.tiny import FLAGS, complaint, gray
from tests.volumes import NOISE, volume

SIGMA = 9.0


@pytest.fixture(autouse=True)
def here(bare):
    return bare


def plane(seed: int = 0, height: int = 96, width: int = 128) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    clean = 120 + 50 * np.sin(y / 15) * np.cos(x / 19)
    return clean + SIGMA * np.random.default_rng(seed).standard_normal(clean.shape)


def video(frames: int = 3) -> bytes:
    data = b"YUV4MPEG2 W128 H96 F25:1 Ip C420\n"
    for k in range(frames):
        planes = [plane(k), plane(k + 9, 48, 64), plane(k + 19, 48, 64)]
        data += b"FRAME\n" + b"".join(p.round().clip(0, 255).astype("u1").tobytes() for p in planes)
    return data


def told(capsys, *arguments: str) -> list[dict]:
    assert main(["info", *arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_info_of_fits(capsys):
    fits = pytest.importorskip("astropy.io.fits")
    cube = np.stack([plane(k) for k in range(3)]).astype("f4")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(cube, name="SCI")]).writeto("a.fits")
    (record,) = told(capsys, "a.fits")
    assert (record["size"], record["pages"], record["format"], record["kind"]) == ([128, 96], 3, "FITS", "white")
    level = np.mean([row[1] for row in record["curve"]])
    assert level == pytest.approx(SIGMA, rel=0.15)
    assert main(["info", "a.fits"]) == 0
    assert "3 planes of 128 x 96 in gray, 32-bit floats, FITS" in capsys.readouterr().out


def test_info_of_video_in_a_file_and_in_a_pipe(capsys, monkeypatch):
    Path("a.y4m").write_bytes(video())
    records = told(capsys, "a.y4m")
    assert [record["size"] for record in records] == [[128, 96], [64, 48], [64, 48]]
    assert records[0]["sigma"] == pytest.approx(SIGMA, rel=0.15)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(video())))
    assert main(["info", "-"]) == 0
    out = capsys.readouterr().out
    assert "the first 3 frames, luma of 128 x 96, 8 bits, Y4M" in out
    assert "red chroma of 64 x 48" in out
    Path("cut.y4m").write_bytes(video()[:9000])
    assert main(["info", "cut.y4m"]) == 3
    assert "ends inside frame 1" in complaint(capsys.readouterr().err)


def test_info_of_camera_raw(capsys):
    pytest.importorskip("rawpy")
    Path("a.dng").write_bytes(dng(exposed(mosaic(scene()), 4e-3, 4e-3)))
    (record,) = told(capsys, "a.dng")
    assert (record["size"], record["format"], record["kind"]) == ([128, 96], "RAW", "shot")
    assert main(["denoise", "a.dng", "--json", "-m", "natural-color-small"]) == 0
    assert json.loads(capsys.readouterr().out)["sigma"] == pytest.approx(record["sigma"])
    assert main(["info", "a.dng"]) == 0
    assert "a mosaic of red, green and blue, camera raw" in capsys.readouterr().out
    assert main(["info", "a.dng", "--white", "4000"]) == 2


def test_info_of_volumes(capsys):
    pytest.importorskip("zarr")
    volume("a.zarr")
    records = told(capsys, "a.zarr")
    assert [record["channel"] for record in records] == [1, 2]
    for record, true in zip(records, NOISE, strict=True):
        assert record["sigma"] * 65535 / 255 == pytest.approx(true, rel=0.15)
    assert main(["info", "a.zarr"]) == 0
    assert "channel 2 of 2, 3 planes of 72 x 80 in gray, uint16, OME-Zarr CZYX" in capsys.readouterr().out


def test_a_folder_has_them_too(capsys):
    pytest.importorskip("zarr")
    Path("in").mkdir()
    Path("in/a.y4m").write_bytes(video(1))
    volume("in/b.zarr", "yx", (64, 64), (64, 64), levels=1)
    assert {record["input"] for record in told(capsys, "in")} == {"in/a.y4m", "in/b.zarr"}


def test_a_fit_on_fits_and_on_video(capsys):
    fits = pytest.importorskip("astropy.io.fits")
    Path("in").mkdir()
    fits.PrimaryHDU(gray(40, 48).astype("f4") / 255).writeto("in/a.fits")
    Path("in/b.y4m").write_bytes(video(2))
    assert main(["fit", "in", *FLAGS, "-o", "m.safetensors"]) == 0
    assert "skipped" not in capsys.readouterr().err
    assert main(["fit", "in/b.y4m", *FLAGS, "-o", "n.safetensors"]) == 0


def test_what_a_fit_does_not_read_is_told_what_to_do(capsys, monkeypatch):
    pytest.importorskip("zarr")
    Path("a.dng").write_bytes(dng(exposed(mosaic(scene()), 4e-3, 4e-3)))
    volume("a.zarr", levels=1)
    Path("a.fits").write_bytes(b"SIMPLE  =".ljust(2880))
    monkeypatch.setattr(fits_module, "is_installed", lambda: False)
    for name, said in (("dng", "--strength 0"), ("zarr", "as TIFF first"), ("fits", "pip install 'smdae[fits]'")):
        assert main(["fit", f"a.{name}", *FLAGS]) == 3
        assert said in complaint(capsys.readouterr().err)
