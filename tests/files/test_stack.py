"""TIFF stacks: every page of every kind comes and goes bit for bit, one at a time, whole or not at all."""

import contextlib
import os
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from smdae.errors import InputError, MemoryLimitError, OutputError
from smdae.files import images, stack, tiff_pages
from smdae.files.picture import Metadata, from_samples, samples_of, with_depth

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
            kind = "rgb" if page.shape[-1] in (3, 4) else "minisblack"
            f.write(page, **({"photometric": kind} | options), metadata=None)
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
        return [picture for number in range(len(pages)) for picture in pages.pictures(number)]


def assert_pages(data, wanted):
    assert stack.count(data) == len(wanted)
    with stack.opened(data, "a.tif") as pages:
        assert len(pages) == len(wanted)
        for _twice in range(2):
            for number, page in enumerate(wanted):
                (found,) = pages.pictures(number)
                np.testing.assert_array_equal(samples_of(found), page, strict=True)


def refusal(data):
    with pytest.raises(InputError) as caught:
        pictures_in(data)
    assert "\n" not in caught.value.message
    assert "'a.tif'" in caught.value.message
    return caught.value.message


def again(data, depth=None, strip=False):
    """The file that is written of all pages as they are."""
    with stack.opened(data, "a.tif") as pages:
        style = stack.style_for(pages, "a.tif", "b.tif", depth, strip)
        every = ([with_depth(one, depth) for one in pages.pictures(number)] for number in range(len(pages)))
        return b"".join(stack.encoded(pages, every, style))


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
    data = written(pages, **options)
    assert_pages(data, pages)
    assert_pages(again(data), pages)


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


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_exif_of_each_page_is_kept_whatever_lies_below_it(big, byteorder):
    exif = Image.Exif()
    exif[274], exif[270] = 6, "turned"
    exif.get_ifd(0x8769)[33434] = 0.01
    exif.get_ifd(0x8769)[37510] = b"a comment of some length"
    exif.get_ifd(0x8825)[1] = "N"
    buffer = BytesIO()
    if byteorder == "<" and not big:
        metadata = Metadata(exif=exif.tobytes().removeprefix(b"Exif\0\0"))
        buffer.write(images.encode(replace(from_samples(COLOURS[0], "TIFF"), metadata=metadata), "TIFF"))
    else:
        with tifffile.TiffWriter(buffer, byteorder=byteorder, bigtiff=big) as file:
            for page in COLOURS[:2]:
                at = file.filehandle.tell()
                form = byteorder + ("QHHQQQ" if big else "HHHIII")
                file.filehandle.write(struct.pack(form, 1, 37510, 7, 8 if big else 4, 0, 0))
                taken = ("ExifTag", 16 if big else 4, 1, at)
                file.write(page, photometric="rgb", metadata=None, extratags=[taken])
    data = buffer.getvalue()
    for copy in (again(data), again(again(data))):
        with tifffile.TiffFile(BytesIO(data)) as file, tifffile.TiffFile(BytesIO(copy)) as result:
            assert result.pages.first.tags.valueof(34665)
            for page, found in zip(file.pages, result.pages, strict=True):
                for code in (34665, 34853, 274, 270):
                    assert found.tags.valueof(code) == page.tags.valueof(code)
        assert_pages(copy, COLOURS[: len(pictures_in(data))])


@pytest.mark.parametrize("pages", [DEEP, FLOATS, COLOURS, DEEP.astype(np.uint8)], ids=["16", "float", "colour", "8"])
@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_imagej_stacks_are_read_and_their_copies_are_read_by_others(pages, truncate, byteorder):
    data = by_imagej(pages, truncate=truncate, byteorder=byteorder, resolution=(4, 4), metadata={"unit": "um"})
    with tifffile.TiffFile(BytesIO(data)) as file:
        assert len(file.pages) == (1 if truncate else len(pages))
    assert_pages(data, pages)
    copy = again(data)
    assert_pages(copy, pages)
    np.testing.assert_array_equal(tifffile.imread(BytesIO(copy)), pages)
    with tifffile.TiffFile(BytesIO(copy)) as file:
        assert len(file.pages) == (1 if truncate else len(pages))
        assert file.imagej_metadata["images"] == len(pages)
        assert file.imagej_metadata["unit"] == "um"


def test_look_up_tables_that_are_smooth_leave_indices_as_data():
    table = np.stack([np.arange(256) * 257, np.zeros(256), 65535 - np.arange(256) * 257]).astype(np.uint16)
    data = written(DEEP.astype(np.uint8)[:2], colormap=table, photometric=None)
    assert_pages(data, DEEP.astype(np.uint8)[:2])
    copy = again(data)
    with tifffile.TiffFile(BytesIO(copy)) as file:
        np.testing.assert_array_equal(file.pages.first.colormap, table)
        assert file.pages.first.photometric == 3


def test_colours_of_a_drawing_are_looked_up():
    table = (RNG.integers(0, 256, (3, 256)) * 257).astype(np.uint16)
    plane = DEEP[0].astype(np.uint8)
    data = written([plane, plane], colormap=table, photometric=None)
    wanted = np.moveaxis((table >> 8).astype(np.uint8)[:, plane], 0, 2)
    assert_pages(data, [wanted, wanted])
    assert_pages(again(data), [wanted, wanted])


def test_white_of_colours_of_16_bits_that_are_looked_up_is_theirs():
    table = RNG.integers(0, 65536, (3, 256)).astype(np.uint16)
    data = written(DEEP.astype(np.uint8)[:1], colormap=table, photometric=None)
    picture = images.read(data, "a.tif")
    assert picture.pixels.dtype == np.uint16
    assert picture.white == 65535


def test_pages_may_differ_in_size_depth_and_colour():
    pages = [DEEP[0], COLOURS[0, :5, :7], FLOATS[0, :3], DEEP[1, 2:, 3:]]
    data = written(pages)
    assert_pages(data, pages)
    assert_pages(again(data), pages)
    with stack.opened(data, "a.tif") as opened:
        assert len(opened.groups) == len(pages)  # each kind of page has noise of its own


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
        file.write(DEEP[0].astype(np.complex64), metadata=None)
    with (
        pytest.raises(InputError, match=r"page 2 of 'a\.tif': its samples are complex64"),
        stack.opened(buffer.getvalue(), "a.tif"),
    ):
        pass


@pytest.mark.parametrize("back_to", [0, 1, 110])
def test_directories_in_a_circle_are_refused(back_to):
    data = bytearray(written(repeat(DEEP[0, :2, :2], 120)))
    with tifffile.TiffFile(BytesIO(bytes(data))) as file:
        at = file.pages.next_page_offset
        data[at : at + 4] = file.pages[back_to].offset.to_bytes(4, "little")
    assert "in a circle" in refusal(bytes(data))
    with pytest.raises(InputError, match="in a circle"):
        images.read(bytes(data), "a.tif")


def test_unknown_compression_is_named():
    data = bytearray(written(DEEP[:1], compression="zlib"))
    with tifffile.TiffFile(BytesIO(bytes(data))) as file:
        at = file.pages.first.tags[259].valueoffset
    for code, name in ((34661, "34661 (JBIG)"), (12345, "12345")):
        data[at : at + 2] = code.to_bytes(2, "little")
        assert f"its compression, {name}, is not known" in refusal(bytes(data))


@pytest.mark.parametrize("size", ["40000000", "99999999999", "-1", "x"])
def test_numbers_in_ome_xml_that_cannot_be_are_not_believed(size):
    buffer = BytesIO()
    tifffile.imwrite(buffer, DEEP, ome=True, metadata={"axes": "TYX"})
    data = buffer.getvalue()
    ome = tifffile.TiffFile(BytesIO(data)).ome_metadata
    wrong = ome.replace('SizeT="5"', f'SizeT="{size}"').replace('PlaneCount="5"', f'PlaneCount="{size}"')
    pages = written(DEEP, description=wrong.encode())
    assert_pages(pages, DEEP)


def test_a_result_over_4_gb_is_a_bigtiff_but_for_planes_behind_one_directory(monkeypatch):
    monkeypatch.setattr(stack, "MAX_BYTES", 1000)
    for data, big in ((written(DEEP), True), (by_imagej(DEEP, truncate=True), False)):
        copy = again(data)
        assert_pages(copy, DEEP)
        with tifffile.TiffFile(BytesIO(copy)) as file:
            assert file.is_bigtiff == big


def test_words_are_left_out_and_axes_stay():
    buffer = BytesIO()
    tifffile.imwrite(
        buffer, DEEP, imagej=True, metadata={"axes": "TYX", "Info": "secret"}, resolution=(3, 4), datetime=True
    )
    copy = again(buffer.getvalue(), strip=True)
    assert b"secret" not in copy
    with tifffile.TiffFile(BytesIO(copy)) as file:
        assert file.series[0].axes == "TYX"
        assert file.pages.first.tags.valueof(306) is None
        assert file.pages.first.tags.valueof(282) == (3, 1)
    assert_pages(copy, DEEP)


@pytest.mark.parametrize("error", [RuntimeError, OSError, ValueError, KeyboardInterrupt, InputError])
def test_an_exception_midway_passes_and_leaves_everything_as_it_was(tmp_path, error):
    def failing():
        yield from ([from_samples(page, "TIFF")] for page in DEEP[:3])
        raise error("midway")

    path = tmp_path / "a.tif"
    with stack.opened(written(DEEP), "a.tif") as pages:
        style = stack.style_for(pages, "a.tif", "a.tif", None, False)
        with pytest.raises(error, match="midway"):
            stack.write(path, pages, failing(), style)
        assert os.listdir(tmp_path) == []
        path.write_bytes(b"old")
        with pytest.raises(error, match="midway"):
            stack.write(path, pages, failing(), style, overwrite=True)
        with pytest.raises(OutputError, match="exists already"):
            stack.write(path, pages, failing(), style)
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
import tifffile
def pages():
    for _ in range(3):
        yield [from_samples(np.zeros((100, 100), np.uint16), "TIFF")]
    print("midway", flush=True)
    time.sleep(60)
tifffile.imwrite("source", np.zeros((5, 100, 100), np.uint16), photometric="minisblack")
with stack.opened(Path("source"), "a.tif") as source:
    stack.write(Path("a.tif"), source, pages(), stack.style_for(source, "a", "a", None, False))
"""
    process = run(program, tmp_path)
    assert process.stdout.readline() == "midway\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    left = os.listdir(tmp_path)
    assert "a.tif" not in left
    assert sorted(name.endswith(".part") for name in left) == [False, True]


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
        every = (pages.pictures(number) for number in range(count))
        stack.write(Path(f"copy-{count}.tif"), pages, every, stack.style_for(pages, "a", "b", None, False))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    few, many = (int(line) for line in run(program, tmp_path).communicate(timeout=120)[0].split())
    assert many - few < 6000  # KB; three pages are as much
    with stack.opened(tmp_path / "copy-40.tif", "a") as pages:
        assert all(np.array_equal(pages.pictures(number)[0].pixels, page) for number in range(40))


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
        with contextlib.suppress(InputError, MemoryLimitError, OutputError):
            again(bytes(data))


def test_what_the_directories_say_is_read_once_until_it_takes_too_much_memory(tmp_path, monkeypatch):
    samples = np.random.default_rng(0).integers(0, 256, (6, 8, 8)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="minisblack", metadata=None)
    read = []
    checked = tiff_pages.checked
    monkeypatch.setattr(tiff_pages, "checked", lambda file, place: read.append(place.directory) or checked(file, place))
    for room, again in ((stack.MAX_KEPT, []), (3 * tiff_pages.OF_A_PAGE, [2, 3, 4, 5])):
        monkeypatch.setattr(stack, "MAX_KEPT", room)
        read.clear()
        with stack.opened(tmp_path / "a.tif", "a") as pages:
            assert [np.array_equal(pages.pictures(k)[0].pixels, samples[k]) for k in range(6)] == [True] * 6
        assert read == [0, 1, 2, 3, 4, 5, *again]


def test_many_pages_are_counted_without_their_series(tmp_path, monkeypatch):
    for count in (1, 3, stack.LEVELS + 1):
        pages = np.zeros((count, 8, 8), np.uint8)
        tifffile.imwrite(tmp_path / f"{count}.tif", pages, photometric="minisblack", metadata=None)
        assert stack.count(tmp_path / f"{count}.tif") == count
    monkeypatch.setattr(tiff_pages, "places", None)
    assert stack.count(tmp_path / f"{stack.LEVELS + 1}.tif") == stack.LEVELS + 1
