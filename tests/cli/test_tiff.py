"""`denoise` of scientific TIFFs: whatever a file says of its pixels is said of the result, and values stay data."""

import json
import math
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from smdae.cli.app import main
from smdae.files import marks
from smdae.files.images import read
from tests.tiny import complaint, everything_below, gray, model_bytes

RNG = np.random.default_rng(3)
LAYOUT = {  # of where the pixels are, which says nothing of them
    "StripOffsets",
    "StripByteCounts",
    "TileOffsets",
    "TileByteCounts",
}
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
SIZE = (16, 32)
GROUP_4 = 4  # the compression of fax, which imagecodecs and tifffile read since 2026
reads_fax = pytest.mark.skipif(
    GROUP_4 not in tifffile.TIFF.DECOMPRESSORS, reason="needs newer imagecodecs and tifffile"
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMDAE_MODEL", raising=False)
    Path("gray.safetensors").write_bytes(model_bytes())
    return tmp_path


def clean(*arguments: str) -> int:
    return main(["denoise", "-m", "gray.safetensors", *arguments])


def values(dtype: str, *shape: int) -> np.ndarray:
    """Waves with noise in a tenth of what a type holds, below zero too where it can."""
    waves = np.sin(np.arange(math.prod(shape)).reshape(shape) / 7) + RNG.normal(0, 0.2, shape)
    if dtype.startswith("float"):
        return waves.astype(dtype)
    ends = np.iinfo(dtype)
    middle = ends.max / 4 if ends.min == 0 else 0
    return (middle + waves * ends.max / 10).clip(ends.min, ends.max).astype(dtype)


def said(path: str | Path) -> dict[str, Any]:
    """Return everything that a file says but for its pixels, and who made it."""
    with tifffile.TiffFile(path) as file:
        return {
            "byteorder": file.byteorder,
            "big": file.is_bigtiff,
            "imagej": repr(file.imagej_metadata),
            "ome": file.ome_metadata,
            "shaped": repr(file.shaped_metadata),
            "series": [
                (one.kind, one.axes, one.shape, str(one.dtype), one.dataoffset is None, one.is_truncated)
                for one in file.series
            ],
            "pages": [
                [
                    (tag.name, int(tag.dtype), tag.count, repr(tag.value))
                    for tag in page.tags
                    if tag.name not in LAYOUT and tag.code != marks.TAG
                ]
                for page in (page.aspage() for page in file.pages)
            ],
        }


def assert_alike(source: str, result: str, *, changed: bool = True) -> None:
    assert said(result) == said(source)
    before, after = tifffile.imread(source), tifffile.imread(result)
    assert before.dtype == after.dtype
    assert before.shape == after.shape
    assert np.array_equal(before, after, equal_nan=before.dtype.kind == "f") != changed


def larger(result: str) -> float:
    """Return the size of a result over that of the same pixels as tifffile writes them."""
    buffer = BytesIO()
    with tifffile.TiffFile(result) as file:
        page = file.pages.first
        given: dict[str, Any] = {"tile": page.tile} if page.is_tiled else {"rowsperstrip": page.rowsperstrip}
        given |= {"compression": page.compression, "predictor": page.predictor, "description": "x" * 400}
        with tifffile.TiffWriter(buffer, bigtiff=file.is_bigtiff, byteorder=file.byteorder) as writer:
            writer.write(file.asarray(), photometric="minisblack", **given)
    marks.mark_tiff(buffer, marks.words_in(Path(result)) or "")
    return Path(result).stat().st_size / len(buffer.getvalue())


LAYOUTS: list[dict[str, Any]] = [
    {},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"bigtiff": True, "byteorder": ">"},
    {"tile": (16, 16)},
    {"rowsperstrip": 5},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True, "byteorder": ">"},
    {"compression": "lzw", "predictor": True, "tile": (16, 16)},
    {"compression": "zstd", "rowsperstrip": 7},
    {"compression": "packbits"},
    {"compression": "lzma"},
]


KINDS = [(dtype, options) for dtype in TYPES for options in LAYOUTS if dtype == "int16" or options in LAYOUTS[:8:7]]


@pytest.mark.parametrize(("dtype", "options"), KINDS, ids=str)
def test_types_and_layouts(dtype, options):
    tifffile.imwrite(
        "a.tif",
        values(dtype, 2, 3, *SIZE),
        photometric="minisblack",
        metadata={"axes": "TCYX", "unit": "um", "name": "of a cell"},
        resolution=(7, 9),
        resolutionunit="CENTIMETER",
        description="words",
        datetime="2026:01:02 03:04:05",
        software="a microscope",
        extratags=[(65000, "I", 2, (7, 8), True), (65001, 2, None, "private", False)],
        **options,
    )
    assert clean("a.tif", "-s", "25") == 0
    assert_alike("a.tif", "a_denoised.tif")
    assert larger("a_denoised.tif") < 1.05
    assert clean("a.tif", "--strength", "0", "-o", "same.tif") == 0
    assert_alike("a.tif", "same.tif", changed=False)


@pytest.mark.parametrize(
    ("codec", "dtype"),
    [
        ("png", "uint8"),
        ("png", "uint16"),
        ("jpegxl", "uint8"),
        ("jpegxl", "uint16"),
        ("jpegxl", "float32"),
        ("jpeg2000", "uint8"),
        ("jpeg2000", "uint16"),
        ("jpeg2000", "int16"),
        ("jpegxr", "uint16"),
        ("lerc", "float32"),
        ("lerc", "int32"),
    ],
)
def test_codecs_of_pictures_stay_where_they_lose_nothing(codec, dtype):
    tifffile.imwrite("a.tif", values(dtype, 2, *SIZE), photometric="minisblack", compression=codec)
    assert clean("a.tif", "-s", "25") == 0
    assert_alike("a.tif", "a_denoised.tif")
    assert clean("a.tif", "--strength", "0", "-o", "same.tif") == 0
    assert_alike("a.tif", "same.tif", changed=False)


def test_lossless_jpeg_and_webp_stay():
    gray = values("uint8", *SIZE)
    tifffile.imwrite("j.tif", gray, compression="jpeg", compressionargs={"lossless": True})
    rgb = np.dstack([gray, gray + 1, gray + 2])
    tifffile.imwrite("w.tif", rgb, photometric="rgb", compression="webp", compressionargs={"lossless": True})
    for name in ("j.tif", "w.tif"):
        assert clean(name, "-s", "25") == 0
        assert_alike(name, name.replace(".", "_denoised."))


@pytest.mark.parametrize("codec", ["jpeg", "webp"])
def test_lossy_compression_becomes_deflate_and_is_told(codec, capsys):
    rgb = np.stack([np.dstack([values("uint8", *SIZE)] * 3) for _ in range(2)])
    how = {} if codec == "jpeg" else {"lossless": False, "level": 50}
    tifffile.imwrite("a.tif", rgb, photometric="rgb", compression=codec, compressionargs=how)
    assert clean("a.tif", "--strength", "0") == 0
    assert f"{codec.upper()}, loses detail: the result has Deflate" in capsys.readouterr().err
    assert np.array_equal(tifffile.imread("a_denoised.tif"), tifffile.imread("a.tif"))
    with tifffile.TiffFile("a_denoised.tif") as file:
        assert file.pages.first.compression == 8
        assert file.pages.first.photometric == 2


TABLE = np.stack([np.arange(256), np.zeros(256), np.arange(256)[::-1]]).astype(np.uint8)
CELLS = {
    "LUTs": [TABLE, TABLE[::-1]],
    "Ranges": (100.0, 900.0, 5.0, 700.0),
    "Labels": [f"plane {k}" for k in range(12)],
    "Info": "of a cell",
    "unit": "um",
    "spacing": 0.5,
    "finterval": 2.0,
    "fps": 0.5,
    "min": 3.0,
    "max": 800.0,
    "mode": "composite",
}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("truncate", [False, True])
def test_imagej_hyperstacks_keep_tables_ranges_labels_and_units(dtype, truncate):
    stack = values(dtype, 2, 3, 2, *SIZE)
    tifffile.imwrite("i.tif", stack, imagej=True, truncate=truncate, resolution=(1 / 0.13, 1 / 0.13), metadata=CELLS)
    assert clean("i.tif", "-s", "25") == 0
    assert_alike("i.tif", "i_denoised.tif")
    with tifffile.TiffFile("i_denoised.tif") as file:
        assert file.series[0].axes == "TZCYX"
        assert np.array_equal(file.imagej_metadata["LUTs"][0], TABLE)


def test_ome_keeps_its_words_and_names(capsys):
    words = {
        "axes": "TCZYX",
        "Channel": {"Name": ["DAPI", "GFP"]},
        "PhysicalSizeX": 0.13,
        "PhysicalSizeXUnit": "µm",
        "Plane": {"DeltaT": [0.1 * k for k in range(12)]},
    }
    tifffile.imwrite("cells.ome.tif", values("uint16", 2, 2, 3, *SIZE), metadata=words, compression="zlib")
    assert clean("cells.ome.tif", "-s", "25", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["output"] == "cells_denoised.ome.tif"
    assert (record["axes"], record["pages"], record["channels"]) == ("TCZYX", 12, 2)
    assert_alike("cells.ome.tif", "cells_denoised.ome.tif")
    assert clean(".", "-s", "25", "-o", "out/") == 0  # of which the result of the first run is no input
    assert [path.name for path in Path("out").iterdir()] == ["cells.ome.tif"]


def test_ome_that_names_its_file_names_the_result():
    tifffile.imwrite("a.ome.tif", values("uint16", 2, *SIZE), metadata={"axes": "ZYX"})
    with tifffile.TiffFile("a.ome.tif") as file:
        text = file.ome_metadata
        uuid = f'<UUID FileName="a.ome.tif">{text.split("UUID=")[1][1:46]}</UUID>'
    text = text.replace("<TiffData", "<TiffData").replace("/></Pixels>", f">{uuid}</TiffData></Pixels>")
    assert uuid in text
    tifffile.tiffcomment("a.ome.tif", text.encode())
    assert clean("a.ome.tif", "-s", "25") == 0
    with tifffile.TiffFile("a_denoised.ome.tif") as file:
        assert 'FileName="a_denoised.ome.tif"' in file.ome_metadata
        assert file.series[0].axes == "ZYX"


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(
    ("photometric", "samples", "extra"),
    [
        ("minisblack", 2, [0]),
        ("minisblack", 2, [2]),
        ("minisblack", 5, [0, 0, 0, 0]),
        ("rgb", 3, None),
        ("rgb", 4, [1]),
        ("rgb", 4, [2]),
        ("rgb", 5, [0, 0]),
        ("separated", 4, None),
    ],
)
def test_samples_of_a_pixel_stay_what_they_are(photometric, samples, extra, planar):
    planes = values("uint16", samples, *SIZE)
    given = planes if planar == "separate" else np.moveaxis(planes, 0, 2).copy()
    tifffile.imwrite("a.tif", given, photometric=photometric, planarconfig=planar, extrasamples=extra)
    assert clean("a.tif", "-s", "25") == 0
    assert_alike("a.tif", "a_denoised.tif")
    after = tifffile.imread("a_denoised.tif")
    after = after if planar == "separate" else np.moveaxis(after, 2, 0)
    changed = [not np.array_equal(*pair) for pair in zip(planes, after, strict=True)]
    colours = {"minisblack": 1, "rgb": 3, "separated": 4}[photometric]
    alpha = extra is not None and extra[0] in (1, 2)
    assert changed == [k < colours or not alpha for k in range(samples)]


def packed(name: str) -> None:
    """Write pages of 12 bits a sample, where the installed imagecodecs can."""
    twelve = values("uint16", 2, *SIZE) >> 4
    try:
        tifffile.imwrite(name, twelve, photometric="minisblack", bitspersample=12)
    except NotImplementedError:
        pytest.skip("needs imagecodecs 2026.3.6, which packs bits")


def test_packed_bits_stay_packed(monkeypatch, capsys):
    packed("t.tif")
    assert clean("t.tif", "-s", "25") == 0
    assert_alike("t.tif", "t_denoised.tif")

    def older(*arguments, **options):
        raise NotImplementedError("packints_encode")

    monkeypatch.setattr(imagecodecs, "packints_encode", older)
    Path("t_denoised.tif").unlink()
    capsys.readouterr()
    assert clean("t.tif", "-s", "25") == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2].startswith("smdae: error: samples of 12 bits cannot be written by imagecodecs ")
    assert lines[-1].startswith("hint: install imagecodecs 2026.3.6 or later")
    assert not Path("t_denoised.tif").exists()


def test_volumes_bits_and_masks():
    tifffile.imwrite("v.tif", values("uint16", 16, *SIZE), photometric="minisblack", tile=(16, 16, 16), volumetric=True)
    tifffile.imwrite("b.tif", RNG.random((40, 24)) > 0.5, compression="zlib")
    tifffile.imwrite("w.tif", values("uint8", 2, *SIZE), photometric="miniswhite")
    for name in ("v.tif", "w.tif"):
        assert clean(name, "-s", "25") == 0
        assert_alike(name, name.replace(".", "_denoised."))
    assert clean("b.tif", "-s", "25") == 0
    assert_alike("b.tif", "b_denoised.tif", changed=False)


def test_of_a_pyramid_the_first_level_is_denoised_and_the_rest_left_out(capsys):
    whole = values("uint16", 64, 64)
    with tifffile.TiffWriter("p.tif") as file:
        file.write(whole, photometric="minisblack", tile=(16, 16), subifds=2, metadata={"axes": "YX"})
        for step in (2, 4):
            file.write(whole[::step, ::step], photometric="minisblack", tile=(16, 16), subfiletype=1, metadata=None)
    assert clean("p.tif", "-s", "25") == 0
    assert "2 pages of a reduced size are left out" in capsys.readouterr().err
    with tifffile.TiffFile("p_denoised.tif") as file:
        assert [one.shape for one in file.series] == [(64, 64)]
        assert len(file.series[0].levels) == 1


def test_not_a_number_stays_where_it_is_and_means_are_kept():
    stack = values("float32", 3, 48, 48) * 40 - 900
    stack[0, :5] = np.nan
    stack[1] = np.nan
    stack[2, 7, 9] = np.inf
    tifffile.imwrite("n.tif", stack, photometric="minisblack")
    assert main(["denoise", "-m", "natural-gray-small", "n.tif"]) == 0
    result = tifffile.imread("n_denoised.tif")
    assert np.array_equal(np.isnan(result), np.isnan(stack))
    assert np.isinf(result[2, 7, 9])
    for before, after in zip(stack[::2], result[::2], strict=True):
        kept = np.isfinite(before)
        assert not np.array_equal(before[kept], after[kept])
        assert abs(after[kept].mean() - before[kept].mean()) < 0.01 * before[kept].std()


@pytest.mark.parametrize("dtype", ["int16", "uint32", "float64"])
def test_values_far_from_zero_keep_their_digits(dtype):
    noise = RNG.normal(0, 6, (64, 64))
    waves = 60 * np.sin(np.add.outer(np.arange(64) / 9, np.arange(64) / 7))
    far = {"int16": -30_000, "uint32": 4_000_000_000, "float64": 1e10}[dtype]
    tifffile.imwrite("f.tif", np.rint(far + waves + noise).astype(dtype))
    assert main(["denoise", "-m", "natural-gray-small", "f.tif"]) == 0
    error = tifffile.imread("f_denoised.tif").astype(np.float64) - far - waves
    assert error.std() < 4
    assert abs(error.mean()) < 0.5


def test_each_channel_has_noise_of_its_own_and_planes_share_it(capsys):
    waves = 128 + 60 * np.sin(np.add.outer(np.arange(96) / 9, np.arange(96) / 7))
    levels = (4, 20)
    stack = np.stack([[waves + RNG.normal(0, level, waves.shape) for level in levels] for _ in range(2)])
    tifffile.imwrite("c.tif", stack.clip(0, 255).astype(np.uint8), imagej=True, metadata={"axes": "TCYX"})
    tifffile.imwrite("q.tif", stack.reshape(4, 96, 96).clip(0, 255).astype(np.uint8), photometric="minisblack")
    for call in (["c.tif"], ["q.tif", "--axes", "TC2YX"]):
        assert main(["denoise", "-m", "natural-gray-small", "-y", "--json", *call]) == 0
        record = json.loads(capsys.readouterr().out)
        assert record["sigma"] == [pytest.approx(level, rel=0.15) for level in (4, 4, 20, 20)]
    assert main(["denoise", "-m", "natural-gray-small", "-y", "c.tif", "-s", "4,20"]) == 0
    capsys.readouterr()
    assert main(["denoise", "-m", "natural-gray-small", "-y", "c.tif", "-s", "4,9,20"]) == 2
    assert "--sigma has 3 values, and 'c.tif' has 2 channels" in capsys.readouterr().err
    assert main(["info", "c.tif"]) == 0
    assert "channel 2 of 2" in capsys.readouterr().out


def test_a_channel_without_data_stays_and_pages_with_data_are_found_anywhere():
    waves = 0.5 + 0.2 * np.sin(np.add.outer(np.arange(48) / 9, np.arange(48) / 7))
    noisy = (waves + RNG.normal(0, 0.06, (2, 2, 48, 48))).astype(np.float32)
    noisy[:, 1] = np.nan
    tifffile.imwrite("c.tif", noisy, imagej=True, metadata={"axes": "TCYX"})
    few = np.full((12, 48, 48), np.nan, np.float32)
    few[1] = noisy[0, 0]
    tifffile.imwrite("f.tif", few, photometric="minisblack")
    for name, data in (("c", noisy), ("f", few)):
        assert main(["denoise", "-m", "natural-gray-small", f"{name}.tif"]) == 0
        result = tifffile.imread(f"{name}_denoised.tif")
        assert np.array_equal(np.isnan(result), np.isnan(data))
        assert np.nanmean((result - waves) ** 2) < np.nanmean((data - waves) ** 2) / 3


def test_what_is_not_selected_is_written_as_it_was():
    stack = values("uint16", 3, 2, *SIZE)
    tifffile.imwrite("s.tif", stack, imagej=True, metadata={"axes": "TCYX"})
    for number, (options, wanted) in enumerate(
        [
            (["--channel", "2"], {(t, 1) for t in range(3)}),
            (["--pages", "2-3,6"], {(0, 1), (1, 0), (2, 1)}),
            (["--channel", "1", "--pages", "1-2"], {(0, 0)}),
            (["--axes", "CTYX", "--channel", "1,3"], {(0, 0), (0, 1), (2, 0), (2, 1)}),
        ]
    ):
        assert clean("s.tif", "-s", "25", *options, "-o", f"{number}.tif") == 0
        assert said(f"{number}.tif") == said("s.tif")
        result = tifffile.imread(f"{number}.tif")
        changed = {(t, c) for t in range(3) for c in range(2) if not np.array_equal(result[t, c], stack[t, c])}
        assert changed == wanted
    colours = np.dstack([values("uint8", *SIZE)] * 3)
    tifffile.imwrite("rgb.tif", colours, photometric="rgb")
    assert clean("rgb.tif", "-s", "25", "--channel", "2") == 0
    result = tifffile.imread("rgb_denoised.tif")
    assert [np.array_equal(result[..., c], colours[..., c]) for c in range(3)] == [True, False, True]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["s.tif", "--axes", "TZCYX"], 2, ["--axes TZCYX contradicts", "6 x 16 x 32"]),
        (["s.tif", "--axes", "TC4YX"], 2, ["--axes TC4YX contradicts"]),
        (["s.tif", "--axes", "YXT"], 2, ["--axes YXT contradicts"]),
        (["s.tif", "--axes", "TT"], 2, ["--axes 'TT' are not axes"]),
        (["s.tif", "--channel", "2"], 2, ["--channel 2", "has 1 channel"]),
        (["s.tif", "--pages", "7"], 2, ["--pages 7", "has 6 pages"]),
        (["s.tif", "--pages", "3-1"], 2, ["--pages '3-1' is not a list"]),
        (["a.png", "--pages", "1"], 3, ["'a.png' is not a TIFF"]),
        (["circle.tif"], 3, ["'circle.tif'", "in a circle"]),
        (["cut.tif"], 3, ["'cut.tif'", "truncated"]),
        (["jbig.tif"], 3, ["'jbig.tif'", "compression", "JBIG"]),
        (["complex.tif"], 3, ["'complex.tif'", "complex64"]),
        (["other.tif", "--strength", "0"], 3, ["'other.tif'", "stored in an unknown way (142)"]),
        (["many.tif", "--strength", "0"], 3, ["'many.tif'", "has 4,097 channels in a page"]),
        (["before.tif", "--strength", "0"], 3, ["'before.tif'", "truncated"]),
        (["table.tif", "--strength", "0"], 3, ["'table.tif'", "a table of colours and more than one channel"]),
        (["s.tif", "-o", "x.png"], 4, ["PNG cannot hold 6 pages"]),
    ],
)
def test_bad_input_is_refused_in_one_line(here, arguments, code, words, capsys):
    tifffile.imwrite("s.tif", values("uint16", 6, *SIZE), photometric="minisblack", compression="zlib", metadata=None)
    data = bytearray(Path("s.tif").read_bytes())
    Path("cut.tif").write_bytes(data[: len(data) // 2])
    with tifffile.TiffFile("s.tif") as file:
        end = file.pages.next_page_offset
        codes = [page.tags[259].valueoffset for page in file.pages]
    Path("circle.tif").write_bytes(data[:end] + data[4:8] + data[end + 4 :])
    for at in codes:
        data[at : at + 2] = (34661).to_bytes(2, "little")
    Path("jbig.tif").write_bytes(data)
    tifffile.imwrite("complex.tif", values("float32", *SIZE).astype(np.complex64))
    with tifffile.TiffFile("s.tif") as file:
        tag = file.pages[0].tags[273]
    data = bytearray(Path("s.tif").read_bytes())
    data[tag.offset + 2 : tag.offset + 4] = (9).to_bytes(2, "little")  # signed
    data[tag.valueoffset : tag.valueoffset + 4] = (-2).to_bytes(4, "little", signed=True)
    Path("before.tif").write_bytes(data)
    samples = np.zeros((4, 4, 4097), np.uint8)
    tifffile.imwrite("many.tif", samples, photometric="minisblack", planarconfig="contig", compression="zlib")
    colours = np.dstack([values("uint8", *SIZE)] * 3)
    how = {"photometric": "rgb", "planarconfig": "contig", "compression": "jpeg", "metadata": None}
    tifffile.imwrite("other.tif", np.stack([colours, colours]), **how)
    with tifffile.TiffFile("other.tif") as file:
        kinds = [page.tags[284].valueoffset for page in file.pages]
    data = bytearray(Path("other.tif").read_bytes())
    for at in kinds:
        data[at] = 142
    Path("other.tif").write_bytes(data)
    planes = np.stack([values("uint8", *SIZE)] * 3)
    tifffile.imwrite("table.tif", [planes, planes], photometric="rgb", planarconfig="separate", metadata=None)
    with tifffile.TiffFile("table.tif") as file:
        kinds = [page.tags[262].valueoffset for page in file.pages]
    data = bytearray(Path("table.tif").read_bytes())
    for at in kinds:
        data[at] = 3
    Path("table.tif").write_bytes(data)
    from PIL import Image

    Image.fromarray(values("uint8", *SIZE)).save("a.png")
    before = everything_below(here)
    assert clean(*arguments) == code
    text = complaint(capsys.readouterr().err)
    for word in words:
        assert word in text
    assert everything_below(here) == before


def test_axes_that_contradict_the_pages_are_told_and_not_believed(capsys):
    stack = values("uint16", 5, *SIZE)
    with tifffile.TiffWriter("a.tif") as file:
        for k, page in enumerate(stack):
            words = "ImageJ=1.53\nimages=12\nslices=4\nframes=3\nhyperstack=true\n" if k == 0 else None
            file.write(page, photometric="minisblack", metadata=None, description=words, contiguous=False)
    assert clean("a.tif", "-s", "25") == 0
    assert "contradicts its pages" in capsys.readouterr().err
    assert tifffile.TiffFile("a_denoised.tif").pages[4].asarray().shape == SIZE


def test_pages_that_differ_have_noise_of_their_own():
    with tifffile.TiffWriter("d.tif") as file:
        for page in (values("uint16", *SIZE), values("uint8", 24, 20), values("uint16", *SIZE)):
            file.write(page, photometric="minisblack", metadata=None)
    assert clean("d.tif", "-s", "25") == 0
    assert said("d_denoised.tif")["pages"] == said("d.tif")["pages"]


def test_another_depth_is_told_in_ome():
    tifffile.imwrite("a.ome.tif", values("uint16", 2, *SIZE), metadata={"axes": "CYX", "SignificantBits": 12})
    assert clean("a.ome.tif", "-s", "25", "--bit-depth", "32f") == 0
    with tifffile.TiffFile("a_denoised.ome.tif") as file:
        assert 'Type="float"' in file.ome_metadata
        assert file.series[0].dtype == np.float32
        assert file.series[0].axes == "CYX"


def test_fit_takes_pages_of_a_stack_as_examples():
    tifffile.imwrite("e.tif", values("uint16", 4, 2, *SIZE), imagej=True, metadata={"axes": "TCYX"})
    tifffile.imwrite("f.tif", values("float32", 4, *SIZE), photometric="minisblack")
    tiny = ["--patch-size", "4", "--hidden", "4", "--max-steps", "2", "-b", "4", "-s", "25"]
    for name in ("e.tif", "f.tif"):
        assert main(["fit", name, "-o", f"{name}.safetensors", *tiny]) == 0


def test_inks_of_one_page_are_not_called_pages(capsys):
    inks = np.stack([gray(96, 96, seed) for seed in range(4)])
    tifffile.imwrite("cmyk.tif", inks, photometric="separated", planarconfig="separate")
    assert main(["denoise", "cmyk.tif", "-s", "20", "-m", "natural-gray-small"]) == 0
    said = capsys.readouterr().err
    assert "on 4 channels, estimated" in said
    assert "page" not in said


def test_the_report_shows_a_page_of_each_channel():
    tifffile.imwrite("c.tif", values("uint16", 3, 2, *SIZE), imagej=True, metadata={"axes": "TCYX"})
    assert clean("c.tif", "-s", "25", "--report", "r.html") == 0
    page = Path("r.html").read_text()
    assert "page 1 of 6, channel 1" in page
    assert "page 2 of 6, channel 2" in page
    assert page.count("<h2>c.tif</h2>") == 2


def test_info_tells_of_each_channel(capsys):
    tifffile.imwrite("c.tif", values("uint16", 3, 2, *SIZE), imagej=True, metadata={"axes": "TCYX"})
    assert main(["info", "c.tif", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["channel"], line["pages"]) for line in lines] == [(1, 3), (2, 3)]
    assert main(["info", "c.tif"]) == 0
    assert "c.tif: channel 2 of 2, 3 pages of 32 x 16" in capsys.readouterr().out


def test_options_of_stacks_are_refused_for_other_files(capsys):
    from PIL import Image

    frames = [Image.fromarray(values("uint8", *SIZE)) for _ in range(2)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    assert clean("a.gif", "--pages", "1") == 3
    assert "is not a TIFF" in complaint(capsys.readouterr().err)
    assert clean("a.gif", "--axes", "TT") == 2
    assert "are not axes" in complaint(capsys.readouterr().err)


def test_what_a_page_of_one_bit_or_of_inks_is_not_is_told_in_words_for_it(capsys):
    def refused(code: int, *arguments: str) -> str:
        assert main(["denoise", *arguments, "-m", "natural-gray-small"]) == code
        return complaint(capsys.readouterr().err.replace("smdae: model 'natural-gray-small'\n", ""))

    tifffile.imwrite("bits.tif", gray() > 128)
    assert "'bits.tif': PNG cannot hold one bit a sample" in refused(4, "bits.tif", "-o", "x.png")
    assert "'bits.tif' has one bit a sample\nhint: --uncertainty" in refused(3, "bits.tif", "--uncertainty", "u.npy")
    assert "no noise was found in 'bits.tif'" in refused(3, "bits.tif", "--save-noise", "n.yaml")
    tifffile.imwrite("inks.tif", np.stack([gray()] * 4), photometric="separated", planarconfig="separate")
    assert "'inks.tif': PNG cannot hold 4 channels" in refused(4, "inks.tif", "-o", "x.png")
    np.save("a.npy", np.stack([gray()] * 3))
    assert "'a.npy' is not a TIFF, and --channel is for TIFFs" in refused(3, "a.npy", "--channel", "1")


def test_pages_of_black_and_white_are_refused_as_arrays():
    import smdae
    from smdae.errors import InputError

    tifffile.imwrite("b.tif", np.tile(np.eye(16, dtype=bool), (2, 1, 1)), photometric="minisblack")
    with pytest.raises(InputError, match="cannot read"):
        smdae.denoise("b.tif")


@pytest.mark.parametrize("name", ["text.tif", pytest.param("fax.tif", marks=reads_fax)])
def test_a_stack_in_which_there_is_no_noise_comes_back_as_it_was(name, capsys):
    page = np.full((90, 120), 255, np.uint8)
    page[20:30, 10:110] = page[50:60, 30:90] = 0
    tifffile.imwrite("text.tif", np.stack([page, page.T[:90, :].repeat(2, 1)[:, :120]]), compression="lzw")
    scans = [Image.fromarray(page > 128), Image.fromarray(page.T > 128)]
    scans[0].save("fax.tif", compression="group4", save_all=True, append_images=scans[1:])
    assert main(["denoise", name, "--fast"]) == 0
    assert Path(name.replace(".", "_denoised.")).read_bytes() == Path(name).read_bytes()
    said = capsys.readouterr().err
    assert ("pages of black and white alone are left as they are" in said) == (name == "fax.tif")


def test_fax_pages_are_refused_where_the_library_does_not_read_them(capsys, monkeypatch):
    Image.fromarray(np.eye(64, dtype=bool)).save("fax.tif", compression="group4")
    readable = {code: tifffile.TIFF.DECOMPRESSORS[code] for code in (1, 5, 8)}
    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", readable, raising=False)
    before = everything_below(Path())
    assert clean("fax.tif") == 3
    assert "is not known" in complaint(capsys.readouterr().err)
    assert everything_below(Path()) == before


@reads_fax
def test_what_changes_beside_fax_pages_makes_them_deflate_and_that_is_told(capsys):
    scan = Image.fromarray(np.eye(64, dtype=bool))
    scan.save("mixed.tif", compression="group4")
    tifffile.imwrite("mixed.tif", values("uint8", 64, 64), append=True, metadata=None)
    assert clean("mixed.tif", "-s", "25") == 0
    assert "its compression, CCITTFAX4, is only read: the result has Deflate" in capsys.readouterr().err
    with tifffile.TiffFile("mixed.tif") as before, tifffile.TiffFile("mixed_denoised.tif") as after:
        assert np.array_equal(before.pages[0].asarray(), after.pages[0].asarray())
        assert not np.array_equal(before.pages[1].asarray(), after.pages[1].asarray())


def test_an_ome_tiff_without_noise_says_its_new_name():
    flat = np.repeat(np.arange(2, dtype=np.uint8)[:, None, None] * 99, 64, 1).repeat(64, 2)
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYZTC" Type="uint8" SizeX="64" SizeY="64" SizeC="1" SizeZ="2" SizeT="1"><TiffData IFD="0" '
        'PlaneCount="2"><UUID FileName="a.ome.tif">urn:uuid:0</UUID></TiffData></Pixels></Image></OME>'
    )
    tifffile.imwrite("a.ome.tif", flat, photometric="minisblack", description=xml, metadata=None)
    assert main(["denoise", "a.ome.tif", "--fast"]) == 0
    with tifffile.TiffFile("a_denoised.ome.tif") as file:
        assert 'FileName="a_denoised.ome.tif"' in file.pages.first.description
    assert np.array_equal(tifffile.imread("a_denoised.ome.tif"), flat)


@pytest.mark.parametrize(
    ("dtype", "white"),
    [("int8", 127), ("uint8", 255), ("int16", 32767), ("uint16", 65535), ("int32", 2**31 - 1), ("uint32", 2**32 - 1)],
)
def test_white_is_the_largest_value_of_the_type(dtype, white):
    """And `-s` is a share of it: of signed types it was twice that."""
    buffer = BytesIO()
    tifffile.imwrite(buffer, gray().astype(dtype), photometric="minisblack")
    assert read(buffer.getvalue(), "a").white == white
