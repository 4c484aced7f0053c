"""TIFF stacks: every page of every kind comes and goes bit for bit, one at a time, whole or not at all."""

import contextlib
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from io import BytesIO
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from smdae.errors import InputError, MemoryLimitError, OutputError, SmdaeError
from smdae.files import images, stack, tiff
from smdae.files.images import Metadata
from smdae.files.picture import from_samples, samples_of

ROOT = Path(stack.__file__).parents[2]
RNG = np.random.default_rng(6)
COLOURS = RNG.integers(0, 256, (4, 13, 10, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (5, 13, 10)).astype(np.uint16)
FLOATS = RNG.random((3, 13, 10)).astype(np.float32)
ICC = bytes(range(256)) * 3
KINDS = ["16", "16 dark", "32 float", "64 float", "colour"]


def written(pages, *, to=None, **options):
    """A stack by tifffile, each page a directory of its own."""
    buffer = to or BytesIO()
    with tifffile.TiffWriter(
        buffer, **{key: options.pop(key) for key in ("bigtiff", "byteorder") if key in options}
    ) as f:
        for page in pages:
            f.write(page, metadata=None, photometric="rgb" if page.shape[-1] in (3, 4) else "minisblack", **options)
    return None if to else buffer.getvalue()


def by_pillow(pages, **options):
    buffer = BytesIO()
    first, *others = (Image.fromarray(page) for page in pages)
    first.save(buffer, "TIFF", save_all=True, append_images=others, **options)
    return buffer.getvalue()


def by_imagej(pages, **options):
    buffer = BytesIO()
    tifffile.imwrite(buffer, pages, imagej=True, **options)
    return buffer.getvalue()


def pictures_in(data):
    with stack.opened(data, "a.tif") as pages:
        return list(pages)


def assert_pages(data, wanted):
    assert stack.count(data) == len(wanted)
    with stack.opened(data, "a.tif") as pages:
        assert len(pages) == len(wanted)
        for _twice in range(2):
            for found, page in zip(pages, wanted, strict=True):
                np.testing.assert_array_equal(samples_of(found), page, strict=True)


def refusal(data):
    with pytest.raises(InputError) as caught:
        pictures_in(data)
    assert "\n" not in caught.value.message
    assert "'a.tif'" in caught.value.message
    return caught.value.message


def again(pictures, nbytes=0):
    return b"".join(stack.encoded(pictures, len(pictures), nbytes))


@pytest.mark.parametrize("pages", [DEEP, DEEP >> 8, FLOATS, FLOATS.astype(np.float64), COLOURS], ids=KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"bigtiff": True, "byteorder": ">"},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True, "byteorder": ">"},
        {"tile": (16, 16)},
        {"rowsperstrip": 4},
    ],
    ids=str,
)
def test_pages_are_read_exactly(pages, options):
    if pages.dtype.kind == "f" and "predictor" in options:
        pytest.skip("tifffile writes this with codecs only that are not here")
    assert_pages(written(pages, **options), pages)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("pages", [DEEP, DEEP.astype(np.uint8), COLOURS], ids=["16", "8", "colour"])
@pytest.mark.parametrize("on_disk", [True, False])
def test_pages_that_go_through_pillow_are_read_exactly(tmp_path, pages, compression, on_disk):
    data = by_pillow(pages, compression=compression)
    if on_disk:
        (tmp_path / "a.tif").write_bytes(data)
        data = tmp_path / "a.tif"
    assert_pages(data, pages)


def test_16_bit_colour_in_lzw_keeps_all_bits_on_every_page():
    from test_images import lzw

    deep = RNG.integers(0, 65536, (3, 13, 10, 3)).astype(np.uint16)
    data = bytearray(b"II*\0\x08\0\0\0")
    for number, page in enumerate(deep):
        strip = lzw(page.astype("<u2").tobytes())
        directory = ImageFileDirectory_v2()
        tags = {256: 10, 257: 13, 258: (16,) * 3, 259: 5, 262: 2, 273: 0, 277: 3, 278: 13, 279: len(strip), 284: 1}
        for tag, value in tags.items():
            directory[tag] = value
        block = bytearray(directory.tobytes(len(data)) + strip)
        block += bytes(len(block) % 2)
        if number < len(deep) - 1:
            at = 2 + 12 * len(tags)
            block[at : at + 4] = (len(data) + len(block)).to_bytes(4, "little")
        data += block
    assert_pages(bytes(data), deep)


def test_pages_are_not_rotated_and_keep_what_is_said_of_each():
    exifs = []
    for orientation in (6, 3):
        exif = Image.Exif()
        exif[274], exif[270] = orientation, f"turned by {orientation}"
        exif.get_ifd(0x8769)[33434] = 0.01 * orientation
        exifs.append(exif.tobytes().removeprefix(b"Exif\0\0"))
    before = [
        replace(from_samples(page, "TIFF"), metadata=Metadata(exif=exif, icc=ICC, dpi=(300.0, 200.0)))
        for page, exif in zip(COLOURS, exifs, strict=False)
    ]
    plain = again(before)
    for data in (plain, again(before, 2**33), again(pictures_in(plain))):
        for found, page, orientation in zip(pictures_in(data), COLOURS, (6, 3), strict=False):
            np.testing.assert_array_equal(found.pixels, page)
            assert found.metadata.icc == ICC
            assert found.metadata.dpi == (300, 200)
            exif = Image.Exif()
            exif.load(found.metadata.exif)
            assert (exif[274], exif[270]) == (orientation, f"turned by {orientation}")
            assert float(exif.get_ifd(0x8769)[33434]) == pytest.approx(0.01 * orientation)
    turned = by_pillow(COLOURS, compression="tiff_lzw", tiffinfo={274: 6})
    assert_pages(turned, COLOURS)


@pytest.mark.parametrize("pages", [DEEP, FLOATS, COLOURS, DEEP.astype(np.uint8)], ids=["16", "float", "colour", "8"])
@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_imagej_stacks_are_read_and_their_copies_are_read_by_others(pages, truncate, byteorder):
    data = by_imagej(pages, truncate=truncate, byteorder=byteorder, resolution=(4, 4), metadata={"unit": "um"})
    with tifffile.TiffFile(BytesIO(data)) as file:
        assert len(file.pages) == (1 if truncate else len(pages))
    assert_pages(data, pages)
    copy = again(pictures_in(data))
    assert_pages(copy, pages)
    np.testing.assert_array_equal(tifffile.imread(BytesIO(copy)), pages)
    # The number of images would let ImageJ look for them behind the first.
    assert b"images=" not in copy
    assert b"unit=um" in copy


def test_imagej_planes_with_colour_tables_are_looked_up():
    data = bytearray(by_imagej(DEEP.astype(np.uint8), truncate=True, colormap=None, byteorder="<"))
    assert_pages(bytes(data), DEEP.astype(np.uint8))
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint8)
    position = len(data)
    data += (table.astype("<u2") << 8).tobytes()
    with tifffile.TiffFile(BytesIO(bytes(data))) as file:
        tags = file.pages.first.tags
        photometric, spare = tags[262], next(tags[tag] for tag in (305, 282) if tag in tags)
        data[photometric.valueoffset] = 3
        data[spare.offset : spare.offset + 12] = (
            (320).to_bytes(2, "little") + b"\3\0" + (768).to_bytes(4, "little") + position.to_bytes(4, "little")
        )
    assert_pages(bytes(data), np.moveaxis(table, 0, 1)[DEEP.astype(np.uint8)])


def test_pages_may_differ_in_size_depth_and_colour():
    pages = [DEEP[0], COLOURS[0, :5, :7], FLOATS[0, :3], DEEP[1, 2:, 3:]]
    data = written(pages)
    assert_pages(data, pages)
    assert_pages(again(pictures_in(data)), pages)


def test_thumbnails_are_no_pages():
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for page in COLOURS[:2]:
            file.write(page, photometric="rgb", metadata=None)
            file.write(page[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    assert_pages(buffer.getvalue(), COLOURS[:2])
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(DEEP[0], metadata=None)
        file.write(DEEP[0, ::2, ::2], subfiletype=1, metadata=None)
        file.write(DEEP[0, ::4, ::4], subfiletype=1, metadata=None)
    assert_pages(buffer.getvalue(), DEEP[:1])
    np.testing.assert_array_equal(images.read(buffer.getvalue(), "a.tif").pixels, DEEP[0])


def test_one_picture_is_still_wanted_where_one_is_read():
    for data in (written(DEEP), by_imagej(DEEP), by_imagej(DEEP, truncate=True)):
        with pytest.raises(InputError, match="it has 5 pages") as caught:
            images.read(data, "a.tif")
        assert "save the page" in caught.value.hint


def test_what_is_no_stack_counts_as_one(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(written(DEEP))
    assert stack.count(path) == 5
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    buffer = BytesIO()
    Image.fromarray(COLOURS[0]).save(buffer, "PNG")
    for other in (written(DEEP[:1]), buffer.getvalue(), b"", b"II*\0", tmp_path, tmp_path / "none", pipe):
        assert stack.count(other) == 1
    with pytest.raises(InputError, match="not a TIFF"), stack.opened(buffer.getvalue(), "a.png"):
        pass
    with pytest.raises(InputError, match="no such file"), stack.opened(tmp_path / "none", "none"):
        pass
    with pytest.raises(InputError, match="a folder"), stack.opened(tmp_path, "none"):
        pass


@pytest.mark.parametrize("kept", [0.99, 0.9, 0.7, 0.5, 0.3])
@pytest.mark.parametrize(
    "data",
    [
        written(DEEP),
        written(DEEP, compression="zlib"),
        by_pillow(DEEP, compression="tiff_lzw"),
        by_imagej(DEEP),
        by_imagej(DEEP, truncate=True),
    ],
    ids=["tifffile", "deflate", "lzw", "imagej", "imagej-planes"],
)
def test_a_cut_stack_is_refused_with_its_page(data, kept):
    cut = data[: int(kept * len(data))]
    message = refusal(cut)
    assert "page " in message
    assert "the file is truncated" in message or "the file is damaged" in message
    with pytest.raises(InputError):
        images.read(cut, "a.tif")


@pytest.mark.parametrize("data", [written(DEEP), by_pillow(COLOURS, compression="tiff_lzw")], ids=["plain", "lzw"])
def test_no_cut_loses_a_page_without_a_word(data):
    whole = pictures_in(data)
    for length in range(len(data)):
        try:
            found = pictures_in(data[:length])
        except InputError:
            continue
        # Bytes may follow the last page that nothing points to.
        assert len(found) == len(whole)


def test_a_page_that_is_not_supported_is_named_before_any_is_decoded():
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(DEEP[0], metadata=None)
        file.write(np.stack([DEEP[0]] * 7, 2), planarconfig="contig", photometric="minisblack", metadata=None)
    with (
        pytest.raises(InputError, match=r"page 2 of 'a\.tif': its 7 channels"),
        stack.opened(buffer.getvalue(), "a.tif"),
    ):
        pass


def test_directories_in_a_circle_end():
    data = bytearray(written(repeat(DEEP[0, :2, :2], 120)))
    with tifffile.TiffFile(BytesIO(bytes(data))) as file:
        assert len(file.pages) == 120
        at = file.pages.next_page_offset
        data[at : at + 4] = file.pages[110].offset.to_bytes(4, "little")
    assert_pages(bytes(data), [DEEP[0, :2, :2]] * 120)


@pytest.mark.parametrize("channels", [None, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("nbytes", [0, 2**32])
def test_what_is_written_is_read_bit_for_bit_and_by_others(tmp_path, dtype, channels, nbytes):
    shape = (4, 7, 5) if channels is None else (4, 7, 5, channels)
    values = (RNG.random(shape) * images.WHITES[dtype]).astype(dtype)
    path = tmp_path / "a.tif"
    stack.write(path, (from_samples(page, "TIFF") for page in values), 4, nbytes)
    assert_pages(path, values)
    assert again(pictures_in(path), nbytes) == path.read_bytes()
    with warnings.catch_warnings(), tifffile.TiffFile(path) as file:
        warnings.simplefilter("error")
        assert file.is_bigtiff == (nbytes > 0)
        for page, wanted in zip(file.pages, values, strict=True):
            np.testing.assert_array_equal(page.asarray(), wanted)
    if dtype == "uint8":
        with Image.open(path) as image:
            for index, wanted in enumerate(values):
                image.seek(index)
                np.testing.assert_array_equal(np.asarray(image), wanted)


def test_one_page_is_written_as_the_picture_is():
    picture = from_samples(DEEP[0], "TIFF")
    assert again([picture]) == images.encode(picture, "TIFF")


@pytest.mark.parametrize(
    "data",
    [written(DEEP), by_imagej(DEEP), by_pillow(COLOURS, compression="tiff_lzw"), written(FLOATS, compression="zlib")],
    ids=["plain", "imagej", "lzw", "deflate"],
)
def test_the_bound_holds(data):
    with stack.opened(data, "a.tif") as pages:
        assert len(again(list(pages))) <= pages.nbytes


def test_pages_behind_4_gb_leave_out_what_pillow_cannot_point_to(monkeypatch):
    exif = Image.Exif()
    exif[271] = "Maker"
    exif.get_ifd(0x8769)[33434] = 0.01
    metadata = Metadata(exif=exif.tobytes().removeprefix(b"Exif\0\0"))
    before = [replace(from_samples(page, "TIFF"), metadata=metadata) for page in DEEP]
    monkeypatch.setattr(tiff, "MAX_BYTES", 1000)
    data = again(before, 2000)
    kept = []
    for found, page in zip(pictures_in(data), DEEP, strict=True):
        np.testing.assert_array_equal(found.pixels, page)
        exif = Image.Exif()
        exif.load(found.metadata.exif)
        assert exif[271] == "Maker"
        kept.append(bool(exif.get_ifd(0x8769)))
    assert kept == [True, True, False, False, False] or kept == [True, True, True, False, False]


def test_a_wrong_bound_or_number_of_pages_is_an_error(tmp_path):
    giant = np.broadcast_to(np.zeros((), np.uint8), (2**16, 2**16))
    picture = replace(from_samples(COLOURS[0, ..., 0], "TIFF"), pixels=giant)
    with pytest.raises(OutputError, match="page 1 passes the 4 GB"):
        for _ in stack.encoded([picture], 1, 0):
            pass
    for count in (4, 6):
        with pytest.raises(ValueError, match="5 pictures for"):
            stack.write(tmp_path / "a.tif", (from_samples(page, "TIFF") for page in DEEP), count, 0)
    with pytest.raises(SmdaeError, match="NaN"):
        stack.write(tmp_path / "a.tif", [replace(from_samples(FLOATS[0], "TIFF"), pixels=FLOATS[0] * np.nan)], 1, 0)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, OSError, ValueError, KeyboardInterrupt, InputError])
def test_an_exception_midway_passes_and_leaves_everything_as_it_was(tmp_path, error):
    def failing():
        yield from (from_samples(page, "TIFF") for page in DEEP[:3])
        raise error("midway")

    path = tmp_path / "a.tif"
    with pytest.raises(error, match="midway"):
        stack.write(path, failing(), 5, 0)
    assert os.listdir(tmp_path) == []
    path.write_bytes(b"old")
    with pytest.raises(error, match="midway"):
        stack.write(path, failing(), 5, 0, overwrite=True)
    with pytest.raises(OutputError, match="exists already"):
        stack.write(path, failing(), 5, 0)
    assert os.listdir(tmp_path) == ["a.tif"]
    assert path.read_bytes() == b"old"


def run(program, folder, **options):
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_process_that_is_killed_leaves_no_file_of_that_name(tmp_path):
    program = """
import time
from pathlib import Path
import numpy as np
from smdae.files import stack
from smdae.files.picture import from_samples
def pages():
    for _ in range(3):
        yield from_samples(np.zeros((100, 100), np.uint16), "TIFF")
    print("midway", flush=True)
    time.sleep(60)
stack.write(Path("a.tif"), pages(), 5, 0)
"""
    process = run(program, tmp_path)
    assert process.stdout.readline() == "midway\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    left = os.listdir(tmp_path)
    assert "a.tif" not in left
    assert [name.endswith(".part") for name in left] == [True]


@pytest.mark.parametrize("kind", ["plain", "deflate", "lzw", "imagej"])
def test_memory_does_not_grow_with_the_number_of_pages(tmp_path, kind):
    pytest.importorskip("resource")
    page = RNG.integers(0, 4, (1000, 1000)).astype(np.uint16)
    for count in (5, 40):
        path = tmp_path / f"{count}.tif"
        if kind == "lzw":
            path.write_bytes(by_pillow([page] * count, compression="tiff_lzw"))
        elif kind == "imagej":
            tifffile.imwrite(path, np.stack([page] * count), imagej=True, truncate=True)
        else:
            written([page] * count, to=path, compression="zlib" if kind == "deflate" else None)
    program = """
import resource
from pathlib import Path
from smdae.files import stack
for count in (5, 40):
    path = Path(f"{count}.tif")
    assert stack.count(path) == count
    with stack.opened(path, "a.tif") as pages:
        stack.write(Path(f"copy-{count}.tif"), iter(pages), count, pages.nbytes)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    few, many = (int(line) for line in run(program, tmp_path).communicate(timeout=120)[0].split())
    assert many - few < 6000  # KB; three pages are as much
    with stack.opened(tmp_path / "copy-40.tif", "a") as pages:
        assert all(np.array_equal(found.pixels, page) for found in pages)


def test_a_pipe_is_written_straight(tmp_path):
    before = [from_samples(page, "TIFF") for page in DEEP]
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for piece in stack.encoded(before, 5, 0):
        process.stdin.write(piece)
    assert_pages(process.communicate()[0], DEEP)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_bytes_only_our_errors_leave(seed):
    randomness = np.random.default_rng(seed)
    small = DEEP[:3, :6, :5]
    whole = [
        written(small),
        written(small, bigtiff=True, byteorder=">", compression="zlib"),
        by_pillow(COLOURS[:2], compression="tiff_lzw"),
        by_imagej(small, truncate=True),
    ][seed]
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(randomness.integers(1, 5)):
            data[randomness.integers(len(data))] = randomness.choice([0, 1, 2, 127, 255, randomness.integers(256)])
        assert stack.count(bytes(data)) >= 1
        with contextlib.suppress(InputError, MemoryLimitError):
            pictures_in(bytes(data))
