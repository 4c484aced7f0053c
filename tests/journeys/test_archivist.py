"""An archivist's night: a tree of scans, a run that is interrupted and continued, and a log that tells all of it."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smdae.cli.app import main
from smdae.files import writing
from tests.tiny import gray, model_bytes


@pytest.fixture
def scans(bare, monkeypatch) -> Path:
    monkeypatch.setenv("SMDAE_MODEL", str(bare / "m.safetensors"))
    (bare / "m.safetensors").write_bytes(model_bytes())
    folder = bare / "scans"
    for box in ("box 1", "box 2"):
        (folder / box).mkdir(parents=True)
        for page in range(3):
            image = Image.fromarray(gray(40, 32, seed=page))
            image.save(folder / box / f"{page}.tif", dpi=(300, 300), compression="tiff_lzw")
    (folder / "box 2" / "torn.tif").write_bytes(b"II*\0\x08\0\0\0")
    (folder / "deed.pdf").write_bytes(b"%PDF-1.7")
    return folder


@pytest.fixture
def harmless():
    """Should SIGTERM not be handled, the test fails rather than its process."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


NIGHT = ["-r", "-o", "clean", "-s", "15", "--log", "night.log", "-q", "-j", "1"]


@pytest.mark.usefixtures("harmless")
def test_a_night_that_is_interrupted_goes_on_the_next(scans, monkeypatch, capsys):
    assert main(["denoise", str(scans), *NIGHT, "--dry-run"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 7

    synced, written = os.fsync, []

    def stops(descriptor):
        written.append(descriptor)
        if len(written) == 5:  # a picture is synced, and then its folder
            os.kill(os.getpid(), signal.SIGTERM)
        return synced(descriptor)

    monkeypatch.setattr(writing.os, "fsync", stops)
    assert main(["denoise", str(scans), *NIGHT]) == 143
    monkeypatch.setattr(writing.os, "fsync", synced)
    done = sorted(Path("clean").rglob("*.tif"))
    assert 1 <= len(done) < 6
    assert all(Image.open(path).size == (32, 40) for path in done)  # each is whole
    assert not list(Path("clean").rglob(".*"))

    before = {path: path.stat().st_mtime_ns for path in done}
    assert main(["denoise", str(scans), *NIGHT, "--skip-existing"]) == 9
    assert {path: path.stat().st_mtime_ns for path in done} == before
    assert len(list(Path("clean").rglob("*.tif"))) == 6
    err = capsys.readouterr().err
    assert "torn.tif" in err
    assert "smdae: error: 1 of 7 pictures could not be denoised:" in err.splitlines()

    lines = [line.partition(" ")[2] for line in Path("night.log").read_text().splitlines()]
    for box in ("box 1", "box 2"):
        for page in range(3):
            assert any(f"{page}.tif' -> " in line or f"{page}.tif' skipped" in line for line in lines if box in line)
    assert "smdae: terminated" in lines
    assert any("1 skipped: 1 PDF" in line for line in lines)
    assert any(line.endswith("1 failed") and "skipped" in line for line in lines)


def test_all_done_is_no_failure(scans, capsys):
    (scans / "box 2" / "torn.tif").unlink()
    for said in ("smdae: 6 written", "smdae: 6 skipped"):
        assert main(["denoise", str(scans), "-r", "-o", "clean", "-s", "15", "--skip-existing"]) == 0
        assert capsys.readouterr().err.splitlines()[-1] == said
    result = Image.open("clean/box 1/0.tif")
    assert [round(float(one)) for one in result.info["dpi"]] == [300, 300]
    assert np.asarray(result).dtype == np.uint8
