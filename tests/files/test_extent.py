"""How much memory a picture takes is known before it is decoded: from a few bytes no gigabytes are made."""

import io
import resource
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from smdae.cli.app import main
from smdae.errors import MemoryLimitError
from smdae.files import extent, room
from smdae.files.images import encode, read
from smdae.files.picture import from_samples
from smdae.files.png_chunks import SIGNATURE, chunk
from smdae.memory import left
from tests.tiny import python

MB = 1 << 20


def png_bomb(side: int, depth: int, colour: int) -> bytes:
    """A PNG of zeros."""
    row = bytes(1 + side * {0: 1, 2: 3}[colour] * depth // 8)
    compressor = zlib.compressobj(9)
    data = b"".join([*(compressor.compress(row) for _ in range(side)), compressor.flush()])
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def peak() -> int:
    """The most memory that this process has held, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("command", ["denoise", "info"])
def test_what_its_file_does_not_warrant_is_refused_before_it_is_decoded(bare, command, capsys):
    """12,800 x 12,800 pixels of 16 bits in colour would take 4 GB, of a file of 1 MB, as much as deflate can shrink."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 12_800, 12_800, 16, 2, 0, 0, 0))
    (bare / "a.png").write_bytes(SIGNATURE + header + chunk(b"IDAT", bytes(MB)) + chunk(b"IEND", b""))
    before = peak()
    assert main([command, "a.png"]) == 7
    assert "'a.png'" in capsys.readouterr().err
    assert peak() - before < 300 * MB


def test_damaged_exif_is_no_matter_here(tmp_path):
    words = Image.Exif()
    words[282] = 72.0  # the resolution, which Pillow reads as it opens a file
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, "JPEG", exif=words.tobytes()[:-4])
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Image.open(tmp_path / "a.jpg").getexif()
        assert caught
        caught.clear()
        assert extent.needed_for(tmp_path / "a.jpg").pixels == 600
        assert not caught


def empty_png(width: int, height: int, stored: int) -> bytes:
    """A gray PNG whose header is all that is right: of zeros that inflate to nothing there are `stored` bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", bytes(stored)) + chunk(b"IEND", b"")


def test_a_huge_picture_is_refused_in_two_seconds_of_cpu_by_its_header_alone(bare):
    """12 MB of 22,000 x 22,000 pixels, and not even torch is loaded for them."""
    (bare / "a.png").write_bytes(empty_png(22_000, 22_000, 12 * MB))
    code = (
        "import sys, time; from smdae.cli.app import main\n"
        "assert main(['denoise', 'a.png', '--max-memory', '3G']) == 7\n"
        "assert 'torch' not in sys.modules\n"
        "assert time.process_time() < 2\n"
    )
    done = python("-c", code, cwd=bare)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == (
        "smdae: error: cannot read 'a.png': its 484,000,000 pixels would take 5.0 GB of memory"
    )


@pytest.mark.parametrize("limited", ["--max-memory", "memory.max"])
def test_what_the_user_or_a_control_group_allows_is_not_overstepped(bare, monkeypatch, capsys, limited):
    """9 megapixels take 104 MB, of which 80 may be had; 4 megapixels fit in, and are then found to be damaged."""
    options = ["--max-memory", "80M"] if limited == "--max-memory" else []
    if limited == "memory.max":
        for name, text in {
            "proc/meminfo": "MemAvailable: 9000000 kB\n",
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{100 * MB}\n",
            "sys/fs/cgroup/memory.current": f"{20 * MB}\n",
            "sys/fs/cgroup/memory.stat": "inactive_file 0\n",
        }.items():
            (bare / "root" / name).parent.mkdir(parents=True, exist_ok=True)
            (bare / "root" / name).write_text(text)
        monkeypatch.setattr(room, "left", lambda: left(bare / "root"))
    (bare / "a.png").write_bytes(empty_png(3000, 3000, 5 * MB))
    (bare / "b.png").write_bytes(empty_png(2000, 2000, 5 * MB))
    assert main(["denoise", "a.png", *options]) == 7
    assert "cannot read 'a.png': its 9,000,000 pixels would take 0.1 GB" in capsys.readouterr().err
    assert main(["denoise", "b.png", *options]) == 3
    assert sorted(path.name for path in bare.glob("*.png")) == ["a.png", "b.png"]


@pytest.mark.parametrize(("depth", "colour", "side"), [(16, 2, 500), (8, 2, 700), (8, 0, 800)])
def test_the_limit_is_for_the_pixels_and_grows_with_the_file(monkeypatch, depth, colour, side):
    bomb = png_bomb(side, depth, colour)
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3) if colour else (side, side), np.uint8)
    assert read(bomb, "bomb").pixels.shape[:2] == (side, side)
    monkeypatch.setattr(room, "ALWAYS", 0)
    monkeypatch.setattr(room, "FREE", MB)
    with pytest.raises(MemoryLimitError, match=r"'bomb'.* pixels would take"):
        read(bomb, "bomb")
    assert read(encode(from_samples(noise, "PNG"), "PNG"), "noise").pixels.shape == noise.shape


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_what_memory_does_not_hold_is_refused(monkeypatch, format):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(buffer, format)
    assert read(buffer.getvalue(), "x").pixels.shape == (300, 400, 3)
    monkeypatch.setattr(room, "ALWAYS", 0)
    monkeypatch.setattr(room, "left", lambda: MB)
    with pytest.raises(MemoryLimitError, match=r"'x'.* 120,000 pixels"):
        read(buffer.getvalue(), "x")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "NPY"])
def test_the_header_tells_how_much_a_file_needs(tmp_path, format):
    file = tmp_path / "x"
    file.write_bytes(encode(from_samples(np.zeros((300, 400, 3), np.uint8), format), format))
    assert 3 * 360_000 <= extent.needed_for(file).nbytes <= 20 * 360_000
    file.write_bytes(file.read_bytes()[:20])
    assert extent.needed_for(file).nbytes <= 20 * 20
    assert extent.needed_for(tmp_path / "missing") == (0, None)
