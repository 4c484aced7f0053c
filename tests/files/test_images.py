"""Reading and writing pictures: what goes in comes out, and what cannot be read is refused in one line."""

import contextlib
import random
import struct
import subprocess
import sys
import time
import warnings
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from smdae.errors import InputError, OutputError, SmdaeError
from smdae.files import images, picture, png, png_chunks
from smdae.files.exif import stripped
from smdae.files.images import encode, read
from smdae.files.picture import Metadata, from_samples, luma, samples_of

LOSSLESS = ["PNG", "TIFF", "WEBP", "BMP", "PPM", "PAM", "NPY"]
RNG = np.random.default_rng(5)
COLOUR = RNG.integers(0, 256, (13, 10, 3)).astype(np.uint8)
GRAY = COLOUR[..., 0].copy()
DEEP = RNG.integers(0, 65536, (13, 10, 3)).astype(np.uint16)
ICC = bytes(range(256)) * 3
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">\xc3\xa9</x:xmpmeta>'


def pillow(samples, format, **options):
    image = samples if isinstance(samples, Image.Image) else Image.fromarray(samples)
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def tiff(samples, **options):
    buffer = BytesIO()
    tifffile.imwrite(buffer, samples, **options)
    return buffer.getvalue()


def exif_bytes():
    exif = Image.Exif()
    exif[271], exif[274], exif[270] = "Maker", 6, "a caption"
    exif.get_ifd(0x8769).update({36867: "2020:01:02 03:04:05", 33434: 0.01, 37500: b"\0private"})
    exif.get_ifd(0x8825)[1] = "N"
    return exif.tobytes().removeprefix(b"Exif\0\0")


def exif_values(data):
    exif = Image.Exif()
    exif.load(data)
    ifd0 = {tag: value for tag, value in exif.items() if tag in (270, 271, 274)}
    return ifd0, exif.get_ifd(0x8769), exif.get_ifd(0x8825)


def assert_same(found, wanted):
    assert found.pixels.dtype == wanted.pixels.dtype
    np.testing.assert_array_equal(found.pixels, wanted.pixels)
    assert (found.alpha is None) == (wanted.alpha is None)
    if wanted.alpha is not None:
        assert found.alpha.dtype == wanted.alpha.dtype
        np.testing.assert_array_equal(found.alpha, wanted.alpha)
    assert found.white == wanted.white


def assert_unreadable(data, *words, name="a.png"):
    with pytest.raises(InputError) as caught:
        read(data, name)
    for text in (caught.value.message, caught.value.hint or ""):
        assert "\n" not in text
    for word in (*words, repr(name)):
        assert word in caught.value.message
    return caught.value


samples = st.tuples(
    st.sampled_from(["uint8", "uint16", "float32", "float64"]), st.sampled_from([None, 2, 3, 4])
).flatmap(
    lambda kind: arrays(
        np.dtype(kind[0]),
        st.tuples(st.integers(1, 9), st.integers(1, 9), *([] if kind[1] is None else [st.just(kind[1])])),
        elements=st.floats(-2, 2, width=32) if kind[0].startswith("f") else None,
    )
)


def held(before, format):
    deepest = {"WEBP": ["uint8"], "BMP": ["uint8"]} | {key: ["uint8", "uint16"] for key in ("PNG", "PPM", "PAM")}
    if before.alpha is not None and format in ("PPM", "NPY"):
        return False
    return before.pixels.dtype.name in deepest.get(format, picture.WHITES)


@settings(max_examples=150, deadline=None)
@given(samples, st.sampled_from(LOSSLESS))
def test_a_lossless_format_returns_every_bit_or_refuses(values, format):
    before = from_samples(values, format)
    if not held(before, format):
        with pytest.raises(OutputError, match=f"{format} cannot hold"):
            encode(before, format)
        return
    after = read(encode(before, format), "a")
    assert after.format == format
    if before.pixels.ndim == 2 and after.pixels.ndim == 3:
        assert format == "WEBP" or (format == "BMP" and before.alpha is not None)
        before = replace(before, pixels=np.repeat(before.pixels[..., None], 3, axis=2))
    if format == "WEBP" and before.alpha is not None and (before.alpha == 255).all():
        before = replace(before, alpha=None)  # a WebP keeps no alpha that hides nothing
    assert_same(after, before)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("channels", [None, 2, 3, 4])
def test_tiff_is_written_as_other_readers_read_it(dtype, channels):
    values = RNG.random((7, 5) if channels is None else (7, 5, channels))
    values = (values * picture.WHITES[dtype]).astype(dtype)
    file = encode(from_samples(values, "TIFF"), "TIFF")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(tifffile.imread(BytesIO(file)), values)
    if dtype == "uint8":
        np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(file))), values)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"rowsperstrip": 4},
        {"tile": (16, 16)},
        {"planarconfig": "separate"},
    ],
)
@pytest.mark.parametrize("values", [COLOUR, DEEP, DEEP / np.float32(65535)], ids=["8", "16", "float"])
def test_tiff_layouts_are_read_exactly(values, options):
    planes = np.moveaxis(values, 2, 0) if "planarconfig" in options else values
    found = read(tiff(planes, photometric="rgb", **options), "a.tif")
    assert_same(found, from_samples(values, "TIFF"))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits"])
@pytest.mark.parametrize("values", [GRAY, DEEP[..., 0], COLOUR], ids=["gray", "gray16", "colour"])
def test_compressed_tiff_is_read_exactly(values, compression):
    found = read(pillow(values, "TIFF", compression=compression), "a.tif")
    assert_same(found, from_samples(values, "TIFF"))


def lzw(data):
    """LZW as TIFF has it, by the simplest encoder: a clear code every 250 bytes keeps all codes at 9 bits."""
    codes = []
    for at in range(0, len(data), 250):
        codes += [256, *data[at : at + 250]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("alpha", [None, 1, 2])
def test_16_bit_colour_in_lzw_keeps_all_bits(order, alpha):
    values = DEEP if alpha is None else np.dstack([DEEP, DEEP[..., 0] // 2])
    strip = lzw(values.astype(f"{order}u2").tobytes())
    height, width, channels = values.shape
    entries = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, None), (259, 3, 1, 5), (262, 3, 1, 2)),
        *(
            (273, 4, 1, 8),
            (274, 3, 1, 6),
            (277, 3, 1, channels),
            (278, 3, 1, height),
            (279, 4, 1, len(strip)),
        ),
        *(() if alpha is None else ((338, 3, 1, alpha),)),
    ]
    strip += b"\0" * (len(strip) % 2)
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        value = 8 + len(strip) if value is None else value
        field = struct.pack(f"{order}I", value) if kind == 4 or count > 1 else struct.pack(f"{order}Hxx", value)
        directory += struct.pack(f"{order}HHI", tag, kind, count) + field
    start = struct.pack(f"{order}HI", 42, 8 + len(strip) + len(bits))
    mark = b"II" if order == "<" else b"MM"
    found = read(mark + start + strip + bits + directory + bytes(4), "a.tif")
    assert_same(found, from_samples(values, "TIFF"))
    assert exif_values(found.metadata.exif)[0][274] == 6
    assert found.premultiplied == (alpha == 1)


def test_premultiplied_colours_are_neither_divided_nor_relabelled():
    values = np.dstack([COLOUR // 2, GRAY])
    found = read(tiff(values, photometric="rgb", extrasamples=["assocalpha"]), "a.tif")
    assert found.premultiplied
    again = read(encode(found, "TIFF"), "a.tif")
    assert again.premultiplied
    assert_same(again, from_samples(values, "TIFF"))
    with pytest.raises(OutputError, match="multiplied by alpha"):
        encode(found, "PNG")


@pytest.mark.parametrize("values", [GRAY, DEEP[..., 0]], ids=["8", "16"])
def test_gray_that_counts_down_from_white_is_turned_round(values):
    found = read(tiff(values, photometric="miniswhite"), "a.tif")
    np.testing.assert_array_equal(found.pixels, np.iinfo(values.dtype).max - values)


def test_lzw_gray_that_counts_down_from_white_is_turned_round():
    # Pillow inverts 8-bit gray when it writes it so, and leaves 16-bit gray alone.
    for values, wanted in ((GRAY, GRAY), (DEEP[..., 0], 65535 - DEEP[..., 0])):
        file = pillow(values, "TIFF", compression="tiff_lzw", tiffinfo={262: 0})
        assert tifffile.TiffFile(BytesIO(file)).pages.first.photometric == 0
        np.testing.assert_array_equal(read(file, "a.tif").pixels, wanted)


def test_what_a_tiff_says_of_the_layout_of_its_file_is_not_carried_over():
    planes = np.moveaxis(DEEP, 2, 0).copy()
    buffer = BytesIO()
    tifffile.imwrite(buffer, planes, photometric="rgb", planarconfig="separate")
    assert b'"shape": [3' in buffer.getvalue()
    written = encode(read(buffer.getvalue(), "a"), "TIFF")
    assert b"shape" not in written
    np.testing.assert_array_equal(tifffile.imread(BytesIO(written)), DEEP)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_tiff_pixels_are_not_rotated(orientation, compression):
    exif = Image.Exif()
    exif[274] = orientation
    found = read(pillow(COLOUR, "TIFF", exif=exif, compression=compression), "a.tif")
    np.testing.assert_array_equal(found.pixels, COLOUR)
    assert exif_values(found.metadata.exif)[0][274] == orientation


@pytest.mark.parametrize("source", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("target", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_metadata_is_carried_over(source, target):
    metadata = Metadata(exif=exif_bytes(), icc=ICC, xmp=XMP, dpi=(300.0, 150.0))
    first = read(encode(replace(from_samples(COLOUR, "PNG"), metadata=metadata), source), "a")
    found = read(encode(first, target), "b").metadata
    assert found.icc == ICC
    assert found.xmp == XMP
    assert exif_values(found.exif) == exif_values(metadata.exif)
    if "TIFF" not in (source, target):
        assert found.exif == metadata.exif
    if "WEBP" not in (source, target):
        assert found.dpi == pytest.approx((300, 150), rel=1e-4)


def test_other_programs_find_the_metadata():
    metadata = Metadata(exif=exif_bytes(), icc=ICC, xmp=XMP, dpi=(300.0, 300.0))
    for format in ("PNG", "JPEG", "TIFF", "WEBP"):
        image = Image.open(BytesIO(encode(replace(from_samples(COLOUR, "PNG"), metadata=metadata), format)))
        assert image.info["icc_profile"] == ICC
        assert image.getexif()[271] == "Maker"
        assert image.info["xmp"].rstrip(b"\0") == XMP
        if format != "WEBP":
            assert image.info["dpi"] == pytest.approx((300, 300), rel=1e-4)


def test_png_chunks_on_colour_and_text_stay():
    carried = (
        (b"gAMA", b"\0\1\x86\xa0"),
        (b"cHRM", bytes(32)),
        (b"tEXt", b"Title\0x"),
        (b"iTXt", b"k\0\0\0\0\0v"),
        (b"cLLI", bytes(8)),
        (b"pHYs", b"\0\0\0\2\0\0\0\1\0"),
        (b"cpYx", b"of another program, which says that it may be copied"),
    )
    for values in (COLOUR, DEEP, GRAY):
        before = replace(from_samples(values, "PNG"), metadata=Metadata(png=carried))
        file = encode(before, "PNG")
        assert read(file, "a.png").metadata.png == carried
        assert Image.open(BytesIO(file)).info["gamma"] == 1
        assert [kind for kind, _ in stripped(read(file, "a.png").metadata).png] == [b"gAMA", b"cHRM", b"cLLI", b"pHYs"]
        pixels_only = png_chunks.chunk(b"xPXD", b"of these pixels")
        assert read(file[:33] + pixels_only + file[33:], "a.png").metadata.png == carried


def test_metadata_that_is_broken_or_too_large_costs_no_picture():
    hostile = [
        Metadata(exif=b"not a directory"),
        Metadata(exif=b"II*\0\xff\xff\xff\xff"),
        Metadata(exif=bytes(70_000), icc=bytes(20_000_000), xmp=bytes(70_000)),
        Metadata(dpi=(99999.0, 99999.0)),
        Metadata(dpi=(1e-9, 72.0)),
    ]
    for metadata in hostile:
        for format in ("PNG", "JPEG", "TIFF", "WEBP", "BMP"):
            file = encode(replace(from_samples(GRAY, "PNG"), metadata=metadata), format)
            assert read(file, "a").pixels.shape[:2] == GRAY.shape
    plain = pillow(GRAY, "PNG")
    for bomb in (b"iCCP", b"zTXt"):
        payload = b"name\0\0" + zlib.compress(bytes(50_000_000))
        found = read(plain[:33] + png_chunks.chunk(bomb, payload) + plain[33:], "a.png")
        np.testing.assert_array_equal(found.pixels, GRAY)
        assert found.metadata.icc is None


def test_jpeg_is_written_in_full_colour_resolution():
    smooth = np.add.outer(np.arange(40), np.arange(50))[..., None] + np.array([0, 60, 120])
    before = from_samples(smooth.astype(np.uint8), "JPEG")
    file = encode(before, "JPEG")
    after = read(file, "a.jpg")
    assert np.abs(after.pixels.astype(int) - before.pixels).max() <= 4
    assert not after.lossless
    image = Image.open(BytesIO(file))
    assert all(component[1:3] == (1, 1) for component in image.layer)
    gray = read(encode(from_samples(GRAY, "JPEG"), "JPEG"), "a.jpg")
    assert gray.pixels.shape == GRAY.shape


def test_webp_stays_as_lossless_as_it_was():
    hidden = np.dstack([COLOUR, np.where(GRAY > 128, GRAY, 0)]).astype(np.uint8)
    lossless = read(pillow(hidden, "WEBP", lossless=True, exact=True), "a.webp")
    assert lossless.lossless
    assert_same(read(encode(lossless, "WEBP"), "a"), from_samples(hidden, "WEBP"))
    lossy = read(pillow(hidden, "WEBP", quality=60), "a.webp")
    assert not lossy.lossless
    again = read(encode(lossy, "WEBP"), "a")
    assert not again.lossless
    np.testing.assert_array_equal(again.alpha, lossy.alpha)


PHOTOGRAPH = np.asarray(Image.open(Path(__file__).parents[2] / "sample_data" / "clean.png").convert("L"))
PAGE = np.tile(np.random.default_rng(0).integers(0, 2, (8, 64), np.uint8) * np.uint8(255), (40, 5))


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(("samples", "runs"), [(PHOTOGRAPH, True), (PAGE, False), (PAGE[:1, :1], None)])
def test_what_repeats_is_looked_for_only_where_something_does(samples, runs, deep, monkeypatch):
    stored = samples.astype(np.uint16) * np.uint16(257) if deep else samples
    if deep and runs:
        stored = stored - np.random.default_rng(0).integers(0, 200, stored.shape, np.uint16)
    file = encode(from_samples(stored, "PNG"), "PNG")
    assert np.array_equal(read(file, "x").pixels, stored)
    monkeypatch.setattr(png, "_strategy", lambda samples, made: png.USUAL)
    usual = encode(from_samples(stored, "PNG"), "PNG")
    assert len(file) <= 1.02 * len(usual)
    monkeypatch.setattr(png, "_strategy", lambda samples, made: zlib.Z_RLE)
    quick = encode(from_samples(stored, "PNG"), "PNG")
    if runs is not None:
        assert file == (quick if runs else usual)
        assert len(quick) < 1.02 * len(usual) if runs else len(quick) > 2 * len(usual)


@pytest.mark.parametrize("with_alpha", [False, True])
def test_palettes_become_colours(with_alpha):
    image = Image.fromarray(COLOUR).quantize(12)
    options = {"transparency": bytes([0, 100]) + bytes([255] * 10)} if with_alpha else {}
    file = pillow(image, "PNG", **options)
    wanted = np.asarray(Image.open(BytesIO(file)).convert("RGBA" if with_alpha else "RGB"))
    assert_same(read(file, "a.png"), from_samples(wanted, "PNG"))
    if not with_alpha:
        assert_same(read(pillow(image, "TIFF"), "a.tif"), from_samples(wanted, "TIFF"))
        assert_same(read(pillow(image, "BMP"), "a.bmp"), from_samples(wanted, "BMP"))


@pytest.mark.parametrize("depth", [2, 4, 8])
def test_a_gray_colour_key_becomes_alpha(depth):
    levels = np.arange(2**depth, dtype=np.uint8)[None, :]
    packed = np.packbits(np.unpackbits(levels.T, axis=1)[:, -depth:])
    header = struct.pack(">IIBBBBB", levels.size, 1, depth, 0, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"tRNS", b"\0\2"),
        (b"IDAT", zlib.compress(b"\0" + packed.tobytes())),
        (b"IEND", b""),
    ]
    found = read(png_chunks.SIGNATURE + b"".join(png_chunks.chunk(*part) for part in chunks), "a.png")
    np.testing.assert_array_equal(found.pixels, levels * (255 // (2**depth - 1)))
    np.testing.assert_array_equal(found.alpha, np.where(levels == 2, 0, 255))


@pytest.mark.parametrize("largest", [1, 15, 100, 255, 256, 1023, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_pnm_values_are_stretched_to_the_full_range(largest, plain):
    values = RNG.integers(0, largest + 1, (4, 5, 3))
    header = f"P{3 if plain else 6} # a comment\n#another\n5 4\n{largest}\n".encode()
    if plain:
        body = b" # nothing\n".join(b"%d " % value for value in values.ravel())
    else:
        body = values.astype("u1" if largest < 256 else ">u2").tobytes()
    found = read(header + body, "a.ppm")
    full = 255 if largest < 256 else 65535
    assert found.white == full
    np.testing.assert_array_equal(found.pixels, np.floor(values * full / largest + 0.5))
    np.testing.assert_array_equal(np.round(found.pixels.astype(float) * largest / full), values)


def test_npy_keeps_order_and_byte_order():
    for values in (np.asfortranarray(DEEP), DEEP.astype(">u2"), DEEP[..., 0].astype("<f4") / 65535):
        buffer = BytesIO()
        np.save(buffer, values)
        found = read(buffer.getvalue(), "a.npy").pixels
        np.testing.assert_array_equal(found, values)
        assert found.dtype.isnative
        assert found.flags.writeable


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))))
def test_luma_is_that_of_pillow(colour):
    np.testing.assert_array_equal(luma(colour), np.asarray(Image.fromarray(colour).convert("L")))


def test_luma_keeps_the_dtype_and_the_grays():
    for dtype, white in picture.WHITES.items():
        gray = (RNG.random((6, 7)) * white).astype(dtype)
        found = luma(np.dstack([gray] * 3))
        assert found.dtype == gray.dtype
        np.testing.assert_allclose(found.astype(float), gray.astype(float), rtol=2e-3 if dtype == "float16" else 1e-6)
        assert luma(gray) is gray
    whites = np.full((1, 1, 3), 65535, np.uint16)
    assert luma(whites) == 65535


def test_a_file_is_read_as_its_bytes_say(tmp_path):
    path = tmp_path / "really-a-tiff.png"
    path.write_bytes(tiff(DEEP, photometric="rgb"))
    assert read(path, str(path)).format == "TIFF"
    np.testing.assert_array_equal(read(path, "a").pixels, DEEP)


def test_paths_that_are_not_files(tmp_path):
    for path, reason in ((tmp_path / "missing.png", "no such file"), (tmp_path, "it is a folder")):
        with pytest.raises(InputError, match=reason):
            read(path, path.name)
    with pytest.raises(InputError, match="null"):
        read(tmp_path / "a\0b", "a")
    long = tmp_path / ("x" * 300)
    with pytest.raises(InputError, match="name too long"):
        read(long, "x")


def test_an_endless_device_is_refused_at_once():
    device = Path("/dev/zero")
    if not device.exists():
        pytest.skip("no /dev/zero here")
    with pytest.raises(InputError, match="a device"):
        read(device, "zero")


def test_what_is_not_an_image_is_named_as_such():
    assert_unreadable(b"", "the file is empty")
    texts = (b"hello, world\n", b"<svg/>", b"<!DOCTYPE html>", b"BMW is a car maker", b"P", b"P5x", b"P1zza")
    for data in (*texts, bytes(100)):
        refusal = assert_unreadable(data, "is not an image that smdae can read", name="notes.png")
        assert "PNG, JPEG, TIFF" in refusal.hint


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"Pf\n1 1\n-1.0\n\0\0\0\0", "PFM"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\x1f\x8b\x08\0" + bytes(30), "gzip"),
        (b"PK\3\4" + bytes(30), "archive"),
    ],
)
def test_known_formats_that_are_not_read_are_named(data, what):
    assert assert_unreadable(data, what).hint


@pytest.mark.parametrize(
    ("name", "what"),
    [("a.dcm", "DICOM"), ("a.NPZ", "archive of arrays"), ("a.mrc", "MRC"), ("a.nii", "NIfTI"), ("a.vsi", "Olympus")],
)
def test_so_are_those_known_by_their_names_alone(name, what):
    content = b"PK\3\4" + bytes(200) if name.endswith("NPZ") else bytes(200)
    hint = assert_unreadable(content, what, name=name).hint
    assert ".npy" in hint or "numpy.save" in hint or "OME-TIFF" in hint


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pillow(Image.fromarray(GRAY > 100), "TIFF"), "1-bit"),
        (pillow(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"), "CMYK"),
        (pillow(Image.fromarray(COLOUR).convert("CMYK"), "TIFF"), "4 channels"),
        (pillow(Image.fromarray(COLOUR).convert("LAB"), "TIFF"), "L*a*b*"),
        (tiff(np.stack([GRAY] * 5)), "5 pages"),
        (tiff(np.stack([GRAY] * 3), imagej=True), "3 pages"),
        (tiff(GRAY.astype(np.complex64)), "complex64"),
        (tiff(GRAY.astype(np.int64)), "int64"),
        (
            tiff(np.stack([DEEP[..., 0]] * 7, 2), planarconfig="contig", photometric="minisblack"),
            "7 channels",
        ),
    ],
)
def test_kinds_that_are_not_supported_are_named(data, reason):
    assert assert_unreadable(data, reason).hint


@pytest.mark.parametrize("format", ["PNG", "BMP"])
def test_pixels_of_one_bit_are_black_and_white(format):
    found = read(pillow(Image.fromarray(GRAY > 100), format), "a")
    assert_same(found, from_samples(np.where(GRAY > 100, 255, 0).astype(np.uint8), format))


def test_animations_are_refused_with_their_length():
    frames = [Image.fromarray(np.roll(COLOUR, shift, 0)) for shift in range(3)]
    for format in ("PNG", "WEBP"):
        file = pillow(frames[0], format, save_all=True, append_images=frames[1:], duration=50, lossless=True)
        assert_unreadable(file, "animation of 3 frames")


def test_a_thumbnail_behind_a_tiff_is_no_second_page():
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(COLOUR, photometric="rgb", metadata=None)
        writer.write(COLOUR[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    np.testing.assert_array_equal(read(buffer.getvalue(), "a.tif").pixels, COLOUR)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1, "x"]], object),
        np.zeros((2, 3), np.int64),
        np.zeros((2, 3), bool),
        np.zeros(5, np.uint8),
        np.zeros((2, 3, 4), np.uint8),
        np.zeros((2, 3, 1), np.uint8),
        np.zeros((0, 3), np.uint8),
        np.zeros((2, 2), "u1,u1"),
    ],
    ids=str,
)
def test_arrays_that_are_no_pictures_are_refused(values):
    buffer = BytesIO()
    np.save(buffer, values)
    assert_unreadable(buffer.getvalue(), "cannot read", name="a.npy")


def test_every_cut_of_a_png_is_refused():
    file = pillow(COLOUR, "PNG")
    for length in {len(file) // 4, len(file) // 2, len(file) * 9 // 10, *range(len(file) - 64, len(file))}:
        assert_unreadable(file[:length], "the file is truncated")


@pytest.mark.parametrize("format", ["JPEG", "TIFF", "WEBP", "BMP", "PPM", "PAM", "NPY"])
def test_cuts_of_other_formats_are_refused(format):
    big = from_samples(RNG.integers(0, 256, (50, 60, 3)).astype(np.uint8), format)
    file = encode(big, format)
    for share in (0.25, 0.5, 0.9):
        assert_unreadable(file[: int(len(file) * share)], "the file is truncated")
    assert_unreadable(pillow(samples_of(big), "TIFF", compression="tiff_lzw")[:4000], "the file is truncated")


def test_a_flipped_byte_in_the_pixels_of_a_png_is_found():
    file = bytearray(pillow(COLOUR, "PNG"))
    file[file.index(b"IDAT") + 30] ^= 1
    assert_unreadable(bytes(file), "the file is damaged")


def sized(width, height):
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    bmp = bytearray(pillow(COLOUR, "BMP"))
    bmp[18:26] = struct.pack("<ii", width, height)
    tif = bytearray(tiff(COLOUR, photometric="rgb", metadata=None))
    page = tifffile.TiffFile(BytesIO(bytes(tif))).pages.first
    for tag, value in ((256, width), (257, height)):
        struct.pack_into("<HI", tif, page.tags[tag].offset + 2, 4, 1)
        struct.pack_into("<I", tif, page.tags[tag].offset + 8, value)
    chunks = ((b"IHDR", ihdr), (b"IDAT", b"x"), (b"IEND", b""))
    yield png_chunks.SIGNATURE + b"".join(png_chunks.chunk(*part) for part in chunks)
    yield bytes(bmp)
    yield bytes(tif)
    yield b"P6\n%d %d\n255\n" % (width, height)
    buffer = BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (height, width)})
    yield buffer.getvalue()


def test_a_size_over_the_limit_is_refused_from_the_header():
    start = time.monotonic()
    for file in sized(2_000_000_000, 2_000_000_000):
        assert_unreadable(file, "over the limit of 500,000,000")
    for file in sized(20_000, 20_000):
        assert_unreadable(file, "too short for 20000 x 20000 pixels" if file[:2] in (b"BM", b"II") else "truncated")
    assert time.monotonic() - start < 5


def test_a_picture_for_which_the_file_is_too_short_is_refused_before_decoders_fill_it():
    rle = bytearray(pillow(GRAY, "BMP"))
    struct.pack_into("<ii", rle, 18, 33_554_442, 13)
    rle[30] = 1  # run lengths
    jpeg = bytearray(pillow(GRAY, "JPEG", progressive=True))
    struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc2") + 5, 20_000, 20_000)
    tiles = bytearray(tiff(GRAY, tile=(16, 16), compression="zlib", metadata=None))
    struct.pack_into("<HII", tiles, tifffile.TiffFile(BytesIO(tiles)).pages.first.tags[323].offset + 2, 4, 1, 2**24)
    for file in map(bytes, (rle, jpeg, tiles)):
        start = time.process_time()
        assert_unreadable(file, "the file is too short for ")
        assert time.process_time() - start < 0.5


def test_a_blank_page_is_read_however_well_it_is_compressed():
    blank = np.zeros((3000, 4000), np.uint8)
    for compression in ("zstd", "lzw", "zlib"):
        np.testing.assert_array_equal(read(tiff(blank, compression=compression), "a").pixels, blank)
    assert not read(pillow(blank + 7, "JPEG", progressive=True, optimize=True), "a").pixels.std()


def test_what_libraries_log_of_a_damaged_file_is_not_heard(tmp_path):
    file = bytearray(tiff(GRAY, compression="zlib", metadata=None))
    tags = tifffile.TiffFile(BytesIO(file)).pages.first.tags
    struct.pack_into("<H", file, tags[259].offset + 8, 5)  # LZW
    struct.pack_into("<II", file, tags[277].offset + 4, 33, 3)  # 33 numbers of channels from byte 3 on
    path, other = tmp_path / "a.tif", tmp_path / "a.png"
    path.write_bytes(file)
    header = struct.pack(">IIBBBBB", 1, 1, 16, 0, 0, 0, 1)  # interlaced, of which libpng warns
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(3))), (b"IEND", b""))
    other.write_bytes(png_chunks.SIGNATURE + b"".join(png_chunks.chunk(*part) for part in chunks))
    # In a process of its own: under pytest nothing that is logged is printed.
    program = (
        "import sys, pathlib; from smdae.files.images import read; [read(pathlib.Path(p), p) for p in sys.argv[1:]]"
    )
    done = subprocess.run([sys.executable, "-c", program, other, path], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"InputError: cannot read {str(path)!r}: " in done.stderr.splitlines()[-1]
    assert "tifffile" not in done.stderr.split("Traceback")[0]
    assert "Interlace" not in done.stderr


def test_zero_sizes_are_refused():
    for file in sized(0, 5):
        assert_unreadable(file, "damaged" if file.startswith(b"BM") else "no pixels")


def test_large_pictures_raise_no_warning():
    wide = np.zeros((9500, 10000), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(pillow(wide, "PNG", compress_level=1), "wide.png").pixels.shape == wide.shape


def test_names_cannot_break_the_line():
    assert_unreadable(b"text", name="a\nb\x1b[31m.png")


def test_nothing_but_finite_values_is_written():
    bad = replace(from_samples(np.zeros((2, 2), np.float32), "TIFF"), pixels=np.array([[np.nan, 1]], np.float32))
    for format in ("TIFF", "NPY"):
        with pytest.raises(SmdaeError, match="NaN or infinity") as caught:
            encode(bad, format)
        assert caught.value.code == 1


def test_refusals_to_encode_name_what_would_hold_the_picture():
    with pytest.raises(OutputError, match="JPEG cannot hold uint16 samples") as caught:
        images.refuse_format(from_samples(DEEP, "PNG"), "JPEG")
    assert "PNG or TIFF" in caught.value.hint
    with pytest.raises(OutputError, match="16,383 pixels a side"):
        encode(from_samples(np.zeros((1, 17_000), np.uint8), "PNG"), "WEBP")


def with_checksums(file):
    """Make the chunks of a mutated PNG valid again, so that the mutation reaches the decoder."""
    file, position = bytearray(file), 8
    while position + 12 <= len(file):
        end = position + 8 + int.from_bytes(file[position : position + 4])
        if end + 4 > len(file):
            break
        struct.pack_into(">I", file, end, zlib.crc32(bytes(file[position + 4 : end])))
        position = end + 4
    return bytes(file)


SEEDS = {
    "png": encode(replace(from_samples(COLOUR, "PNG"), metadata=Metadata(exif=exif_bytes(), icc=ICC)), "PNG"),
    "png16": encode(from_samples(DEEP, "PNG"), "PNG"),
    "palette": pillow(Image.fromarray(COLOUR).quantize(9), "PNG", transparency=1),
    "jpeg": encode(replace(from_samples(COLOUR, "PNG"), metadata=Metadata(exif=exif_bytes(), icc=ICC)), "JPEG"),
    "tiff": encode(replace(from_samples(DEEP, "PNG"), metadata=Metadata(exif=exif_bytes(), icc=ICC)), "TIFF"),
    "tiles": tiff(DEEP, photometric="rgb", tile=(16, 16), compression="zlib", predictor=True),
    "lzw": pillow(COLOUR, "TIFF", compression="tiff_lzw"),
    "webp": encode(from_samples(COLOUR, "PNG"), "WEBP"),
    "bmp": encode(from_samples(np.dstack([COLOUR, GRAY]), "PNG"), "BMP"),
    "ppm": b"P3\n2 2\n15\n" + b"1 2 3 " * 4,
    "npy": encode(from_samples(GRAY, "NPY"), "NPY"),
}


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_the_bytes_only_our_errors_leave(seed, capfd):
    chance = random.Random(seed)
    for _ in range(200):
        file = bytearray(SEEDS[seed])
        if chance.random() < 0.15:
            del file[chance.randrange(len(file)) :]
        span = chance.choice([len(file), min(len(file), 300)])
        for _ in range(chance.choice([1, 1, 2, 5]) if span else 0):
            file[chance.randrange(span)] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        mutated = with_checksums(file) if seed.startswith(("png", "palette")) else bytes(file)
        with contextlib.suppress(SmdaeError):
            read(mutated, "a")
    assert capfd.readouterr() == ("", "")
