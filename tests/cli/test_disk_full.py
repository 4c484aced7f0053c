"""A disk that is really full, a small one in memory, at each write of a fit and of a stack: what was there stays.

The room left grows page by page, until all of it fits. Mounting takes leave of the system: without it the tests are
skipped, and those with a simulated disk and with a limit on a file's size (test_fit_files.py, test_fit.py) remain.
"""

import errno
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from safetensors.torch import load as load_tensors

from smdae.cli import fit_run as command
from smdae.cli.app import main
from tests.tiny import FLAGS, complaint, gray, largest_file, model_bytes, photos

SIZE = 1 << 20  # bytes
PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes, of which files in memory take whole ones
MOST = 40  # pages that an output takes
MODEL, STATE = Path("model.safetensors"), Path("model.state")


@pytest.fixture
def disk(bare: Path) -> Iterator[Path]:
    """A disk of a megabyte, which becomes the working folder."""
    place = bare / "disk"
    place.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("no disk may be mounted")
    os.chdir(place)
    try:
        yield place
    finally:
        os.chdir(bare)
        subprocess.run(["umount", place], check=True)


def filled(disk: Path, pages: int) -> Path:
    """Leave so many pages free; return the file that takes the others."""
    ballast, free = disk / "ballast", os.statvfs(disk).f_bavail
    ballast.write_bytes(bytes(PAGE * (free - pages)))
    assert os.statvfs(disk).f_bavail == pages
    return ballast


def until_it_fits(disk: Path, old: Path, arguments: list[str], after: Callable[[int], None]) -> set[int]:
    """Return with how many pages a command found no space; `after` sees the exit code, with all of the space again."""
    failed = set()
    for pages in range(MOST):
        old.write_bytes(b"old")
        ballast = filled(disk, pages)
        code = main(arguments)
        ballast.unlink()
        assert not [path for path in disk.iterdir() if path.suffix == ".part"]
        after(code)
        if code == 0:
            return failed
        failed.add(pages)
    raise AssertionError("it never fits")


def weights(path: Path | str) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in load_tensors(Path(path).read_bytes()).items()}


@pytest.mark.parametrize(("every", "told"), [(-1.0, {"metrics", "state"}), (1e9, {"metrics", "safetensors"})])
def test_a_fit_keeps_the_old_model_and_goes_on_when_there_is_space(disk, every, told, monkeypatch, capsys):
    """With a state at each report, the last of which and a new one take more than the model, and with none."""
    monkeypatch.setattr(command, "SAVE_SECONDS", every)
    pictures = str(photos(disk.parent / "photos"))
    fit = ("fit", pictures, *FLAGS, "--max-steps", "4")
    assert main([*fit, "-o", "whole.safetensors"]) == 0
    whole = weights("whole.safetensors")
    capsys.readouterr()
    missing, resumed = set(), set()

    def after(code: int) -> None:
        if code:
            assert code == 4
            assert MODEL.read_bytes() == b"old"
            line = said(capsys)
            missing.add(next(name for name in ("metrics", "state", "safetensors") if f"model.{name}" in line))
            resumed.add(STATE.exists())
            assert main([*fit, "-y", *(["--resume"] if STATE.exists() else [])]) == 0
        assert weights(MODEL) == whole
        for path in disk.glob("model.*"):
            path.unlink()
        capsys.readouterr()

    assert until_it_fits(disk, MODEL, [*fit, "-y"], after) >= {0, 1}
    assert missing == told
    assert resumed == ({True, False} if "state" in told else {False})


def said(capsys) -> str:
    line = complaint(capsys.readouterr().err)
    assert "no space left" in line
    return line


def test_a_stack_is_written_whole_or_not_at_all(disk, capsys):
    noisy = np.stack([gray(64, 64, seed=seed).astype(np.uint16) * 200 for seed in range(6)])
    tifffile.imwrite("s.tif", noisy, photometric="minisblack")
    Path("m.safetensors").write_bytes(model_bytes())
    clean = ["denoise", "-m", "m.safetensors", "s.tif", "-o", "r.tif", "-y"]
    assert main(clean) == 0
    right = Path("r.tif").read_bytes()
    given = Path("s.tif").read_bytes()
    capsys.readouterr()

    def after(code: int) -> None:
        assert Path("s.tif").read_bytes() == given
        if code:
            assert code == 4
            said(capsys)
            assert Path("r.tif").read_bytes() == b"old"
        else:
            assert Path("r.tif").read_bytes() == right
        capsys.readouterr()

    pages = len(right) // PAGE
    assert until_it_fits(disk, Path("r.tif"), clean, after) == set(range(pages + bool(len(right) % PAGE)))


@pytest.mark.parametrize("name", ["a.fits", "s.tif"])
@pytest.mark.parametrize("room", ["full", "missing"])
def test_what_a_temporary_file_has_no_room_for_is_told_as_such(name, room, bare, monkeypatch, capsys):
    """FITS and stacks on stdout are written to one first."""
    if name == "a.fits":
        pytest.importorskip("astropy.io.fits").PrimaryHDU(gray(96, 96).astype("f4") / 255).writeto(name)
    else:
        tifffile.imwrite(name, np.stack([gray(96, 96), gray(96, 96, 1)]), photometric="minisblack")
    (bare / "m.safetensors").write_bytes(model_bytes())
    monkeypatch.setenv("SMDAE_MODEL", "m.safetensors")
    monkeypatch.setattr("smdae.cli.stdout.stream", lambda data: None)
    target = "-" if name == "s.tif" else "b.fits"
    if room == "missing":

        def refuse():
            raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

        monkeypatch.setattr(tempfile, "gettempdir", refuse)
    with largest_file(4096 if room == "full" else 1 << 30):
        assert main(["denoise", name, "-s", "20", "-o", target]) == 4
    said = complaint("".join(line for line in capsys.readouterr().err.splitlines(True) if "smdae: model" not in line))
    assert "temporary file" in said
    assert "TMPDIR" in said
    assert "b.fits" not in os.listdir()
