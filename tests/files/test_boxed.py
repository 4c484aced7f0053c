"""AVIF, HEIC, JPEG XL and JPEG 2000: what their libraries write comes back, but for the pixels."""

import importlib.util
from dataclasses import replace
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from smdae.cli.app import main
from smdae.errors import InputError, MemoryLimitError, OutputError
from smdae.files import extent, formats, room
from smdae.files.boxes import box, boxes_of, joined
from smdae.files.images import encode, read
from smdae.files.jpegxl_header import header_of
from smdae.files.marks import without_words
from smdae.files.picture import Metadata, from_samples, samples_of
from tests.tiny import colour, gray, model_bytes

RNG = np.random.default_rng(7)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
DEEP = colour().astype(np.uint16) * 257
NAMES = {"AVIF": "a.avif", "HEIC": "a.heic", "JXL": "a.jxl", "JP2": "a.jp2"}
with_heic = pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is None, reason="needs smdae[heic]")
LIBRARIES = [pytest.param("AVIF"), pytest.param("HEIC", marks=with_heic), pytest.param("JXL"), pytest.param("JP2")]


def exif(orientation=1):
    words = Image.Exif()
    words[271], words[274] = "Maker", orientation
    return words.tobytes().removeprefix(b"Exif\0\0")


def orientation_of(data):
    words = Image.Exif()
    words.load(data)
    return words.get(274, 1)


def made(format, samples, orientation=1):
    """A file with metadata, as its library writes it, at its best quality."""
    buffer, words = BytesIO(), exif(orientation)
    if format == "AVIF":
        options = {"exif": b"Exif\0\0" + words, "icc_profile": ICC, "xmp": XMP}
        Image.fromarray(samples).save(buffer, "AVIF", quality=95, subsampling="4:4:4", **options)
    elif format == "HEIC":
        import pillow_heif

        mode = {2: "L", 3: {3: "RGB", 4: "RGBA"}[samples.shape[-1]] if samples.ndim == 3 else ""}[samples.ndim]
        options = {"exif": b"Exif\0\0" + words, "icc_profile": ICC, "xmp": XMP, "chroma": 444}
        size = samples.shape[1::-1]
        if samples.dtype == np.uint16:
            mode += ";16"
        pillow_heif.encode(mode, size, np.ascontiguousarray(samples).tobytes(), buffer, quality=95, **options)
    elif format == "JXL":
        coded = imagecodecs.jpegxl_encode(np.ascontiguousarray(samples), lossless=True, usecontainer=True)
        return bytes(coded) + box(b"Exif", bytes(4) + words) + box(b"xml ", XMP) + box(b"jumb", b"a word")
    else:
        boxes = []
        for kind, payload in boxes_of(imagecodecs.jpeg2k_encode(np.ascontiguousarray(samples), codecformat="jp2")):
            if kind == b"jp2h":
                inner = [(k, bytes([2, 0, 0]) + ICC if k == b"colr" else p) for k, p in boxes_of(payload)]
                payload = joined([*inner, (b"res ", b"resolution")])
            boxes.append((kind, payload))
        uuid = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
        return joined([*boxes, (b"uuid", b"JpgTiffExif->JP2" + words), (b"uuid", uuid + XMP)])
    return buffer.getvalue()


def unmarked(file):
    """A file without the box of words that a result ends with, where it has one."""
    boxes = tuple(boxes_of(file))
    return joined(boxes if boxes == without_words(boxes) else boxes[:-1])


def shown(file, name):
    """The picture as it is looked at, by another way than that of smdae."""
    if name == "HEIC":
        import pillow_heif

        return np.asarray(pillow_heif.open_heif(BytesIO(file))[0])
    if name == "AVIF":
        return np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(file))))
    return imagecodecs.jpegxl_decode(file) if name == "JXL" else imagecodecs.jpeg2k_decode(file)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(model_bytes())
    return tmp_path


@pytest.mark.parametrize("format", LIBRARIES)
def test_all_but_pixels_is_equal_after_denoise(place, format):
    file = made(format, colour())
    (place / NAMES[format]).write_bytes(file)
    before = read(file, "a")
    assert before.format == format
    assert main(["denoise", NAMES[format], "-m", "m.safetensors", "-s", "20"]) == 0
    result = (place / f"a_denoised.{NAMES[format][2:]}").read_bytes()
    after = read(result, "b")
    if format in ("JXL", "JP2"):  # whose boxes are kept; the codestream is not the same
        coded = (b"jp2c", b"jxlc", b"jxll")
        assert [one for one in without_words((*boxes_of(result),)) if one[0] not in coded] == [
            one for one in boxes_of(file) if one[0] not in coded
        ]
    else:
        assert after.metadata == before.metadata
    assert (after.pixels.dtype, after.maxval, after.lossless) == (before.pixels.dtype, before.maxval, before.lossless)
    if format != "JXL":  # which has no profile here
        assert after.metadata.icc == ICC
    assert (after.metadata.xmp, after.metadata.exif) == (XMP, before.metadata.exif)
    assert 1 < np.abs(after.pixels.astype(int) - before.pixels).mean() < 25
    assert len(unmarked(result)) <= 1.05 * len(made(format, after.pixels))


@pytest.mark.parametrize("format", ["JXL", "JP2"])
@pytest.mark.parametrize(
    "samples",
    [
        colour(),
        gray(),
        np.dstack([colour(), gray()]),
        np.dstack([gray(), gray(seed=1)]),
        DEEP,
        DEEP[..., 0].copy(),
        np.dstack([DEEP, DEEP[..., 0]]),
    ],
    ids=lambda samples: f"{samples.dtype}-{samples.shape[2:]}",
)
def test_lossless_is_lossless_through_the_whole_path(format, samples):
    picture = read(made(format, samples), "a")
    assert picture.lossless
    np.testing.assert_array_equal(samples_of(picture), samples)
    np.testing.assert_array_equal(samples_of(read(encode(picture, format), "b")), samples)
    fresh = replace(from_samples(samples, "PNG"), metadata=Metadata(exif=exif(), xmp=XMP))
    again = read(encode(fresh, format), "c")
    np.testing.assert_array_equal(samples_of(again), samples)
    assert (again.metadata.exif, again.metadata.xmp) == (exif(), XMP)


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("format", ["JXL", "JP2"])
def test_the_bits_of_a_sample_stay(format, bits):
    values = RNG.integers(0, 2**bits, (11, 13, 3)).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    if format == "JXL":
        file = bytes(imagecodecs.jpegxl_encode(values, lossless=True, bitspersample=bits))
    else:
        file = bytes(imagecodecs.jpeg2k_encode(values, bitspersample=bits, codecformat="j2k"))
    picture = read(file, "a")
    assert picture.maxval == 2**bits - 1
    assert (picture.white, picture.pixels.max()) == (65535, 65535)
    again = encode(picture, format)
    np.testing.assert_array_equal(shown(again, format), values)
    assert read(again, "b").maxval == picture.maxval
    if format == "JP2":
        assert again.startswith(b"\xff\x4f\xff\x51")


def test_floats_in_jpeg_xl():
    values = RNG.random((9, 8, 3)).astype(np.float32)
    picture = read(bytes(imagecodecs.jpegxl_encode(values, lossless=True)), "a")
    assert (picture.white, picture.maxval) == (1.0, None)
    np.testing.assert_array_equal(read(encode(picture, "JXL"), "b").pixels, values)


@pytest.mark.parametrize("format", LIBRARIES)
def test_lossy_stays_lossy_and_close(format):
    kinds = {
        "JXL": lambda: bytes(imagecodecs.jpegxl_encode(colour(), distance=0.5)),
        "JP2": lambda: bytes(imagecodecs.jpeg2k_encode(colour(), level=45, reversible=False, codecformat="jp2")),
    }
    file = kinds[format]() if format in kinds else made(format, colour())
    picture = read(file, "a")
    assert not picture.lossless
    again = encode(picture, format)
    assert not read(again, "b").lossless
    assert np.abs(read(again, "b").pixels.astype(int) - picture.pixels).mean() < (12 if format == "JXL" else 3)
    assert len(encode(picture, format, quality=30)) < len(again)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", LIBRARIES[:2])
def test_orientation_is_kept_and_shows_the_same(format, orientation):
    file = made(format, colour(), orientation)
    picture = read(file, "a")
    assert orientation_of(picture.metadata.exif or b"") == orientation
    assert np.abs(picture.pixels.astype(int) - colour()).mean() < 4
    again = encode(picture, format)
    assert np.abs(shown(again, format).astype(int) - shown(file, format)).mean() < 3
    assert read(again, "b").metadata == picture.metadata
    jpeg = Image.open(BytesIO(encode(picture, "JPEG")))
    assert np.abs(np.asarray(ImageOps.exif_transpose(jpeg)).astype(int) - shown(file, format)).mean() < 4


def test_the_orientation_in_the_exif_of_a_jpeg_xl_turns_no_other_format():
    file = made("JXL", colour(), 6)
    picture = read(file, "a")
    assert orientation_of(picture.metadata.exif) == 1
    assert box(b"Exif", bytes(4) + exif(6)) in encode(picture, "JXL")


@with_heic
@pytest.mark.parametrize("bits", [10, 12])
def test_deep_heic_stays_deep(bits):
    import pillow_heif

    values = (DEEP >> (16 - bits)).astype(np.uint16)
    buffer = BytesIO()
    pillow_heif.encode(f"RGB;{bits}", (32, 24), values.tobytes(), buffer, quality=95, chroma=444, bit_depth=bits)
    picture = read(buffer.getvalue(), "a.heic")
    assert (picture.pixels.dtype, picture.maxval) == (np.uint16, 2**bits - 1)
    assert np.abs(picture.pixels.astype(int) - DEEP).mean() < 0.02 * 65535
    again = encode(picture, "HEIC")
    opened = pillow_heif.open_heif(BytesIO(again), convert_hdr_to_8bit=False)
    assert (opened.info["bit_depth"], opened.info["chroma"]) == (bits, 444)
    assert np.abs(read(again, "b").pixels.astype(int) - picture.pixels).mean() < 0.01 * 65535


def test_a_missing_extra_is_named_with_the_command(place, monkeypatch, capsys):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    (place / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (place / "b.png").write_bytes(encode(from_samples(gray(), "PNG"), "PNG"))
    assert main(["denoise", "a.heic"]) == 3
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "smdae: error: cannot read 'a.heic': HEIC takes pillow-heif, which is not installed"
    assert 'pip install "smdae[heic]"' in said[1]
    assert main(["denoise", "b.png", "-o", "c.heic", "-m", "m.safetensors"]) == 4
    assert 'pip install "smdae[heic]"' in capsys.readouterr().err


@pytest.mark.parametrize("quality", [None, 80])
@pytest.mark.parametrize("format", LIBRARIES)
def test_other_formats_become_these(place, format, quality):
    (place / "a.png").write_bytes(encode(from_samples(colour(), "PNG"), "PNG"))
    options = [] if quality is None else ["--quality", str(quality)]
    assert main(["denoise", "a.png", "-o", NAMES[format], "-m", "m.safetensors", "-s", "20", *options]) == 0
    assert read((place / NAMES[format]).read_bytes(), "b").pixels.shape == (24, 32, 3)


@pytest.mark.parametrize("format", LIBRARIES)
def test_cuts_are_refused_in_one_line(format):
    file = made(format, colour())
    for share in (0.1, 0.3, 0.6, 0.9):
        with pytest.raises(InputError) as caught:
            read(file[: int(len(file) * share)], "a")
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("format", LIBRARIES)
def test_memory_is_looked_at_before_decoding(tmp_path, monkeypatch, format):
    file = made(format, np.zeros((300, 400, 3), np.uint8))
    (tmp_path / "x").write_bytes(file)
    assert 3 * 360_000 <= extent.needed_for(tmp_path / "x").nbytes <= 20 * 360_000
    monkeypatch.setattr(room, "ALWAYS", 0)
    monkeypatch.setattr(room, "left", lambda: 1 << 20)
    with pytest.raises(MemoryLimitError, match="120,000 pixels"):
        read(file, "x")


def test_headers_of_jpeg_xl():
    for height, width in ((8, 8), (24, 32), (100, 77), (300, 300), (17, 3000), (2000, 12)):
        for samples in (np.zeros((height, width), np.uint8), np.zeros((height, width, 4), np.uint16)):
            file = bytes(imagecodecs.jpegxl_encode(samples, lossless=True, usecontainer=True))
            header = header_of(dict(boxes_of(file))[b"jxlc"])
            assert header.size == (width, height)
            # The library calls 16 bits linear.
            assert (header.bits, header.lossless, header.standard) == (
                8 * samples.itemsize,
                True,
                samples.itemsize == 1,
            )
            assert header.channels == (samples.shape[2] if samples.ndim == 3 else 1)


def jxl_colours(file):
    return header_of(dict(boxes_of(file))[b"jxlc"] if file[:1] == b"\0" else file).colours


@pytest.mark.parametrize("samples", [DEEP, DEEP[..., 0].copy(), np.dstack([DEEP, DEEP[..., 0]])], ids=["3", "1", "4"])
def test_deep_samples_are_srgb_where_they_were_and_linear_where_they_were(samples):
    linear = bytes(imagecodecs.jpegxl_encode(samples, lossless=True))
    picture = read(linear, "a")
    assert jxl_colours(encode(picture, "JXL")) == jxl_colours(linear)
    from_png = encode(from_samples(samples, "PNG"), "JXL")
    eight = bytes(imagecodecs.jpegxl_encode((samples[..., :3] >> 8).astype(np.uint8).squeeze(), lossless=True))
    if samples.ndim == 2:
        eight = bytes(imagecodecs.jpegxl_encode((samples >> 8).astype(np.uint8), lossless=True))
    assert jxl_colours(from_png) == jxl_colours(eight) != jxl_colours(linear)
    assert jxl_colours(encode(read(from_png, "b"), "JXL")) == jxl_colours(eight)
    np.testing.assert_array_equal(imagecodecs.jpegxl_decode(from_png), samples)


def test_sizes_that_a_file_does_not_warrant_are_refused():
    jxl = bytearray(imagecodecs.jpegxl_encode(np.zeros((17, 3000), np.uint8), lossless=True))
    huge = bytes(jxl[:2]) + (1 << 1 | 0).to_bytes(1, "little") + b"\xff" * 12
    with pytest.raises(InputError):
        read(huge, "a")
    jp2 = bytearray(imagecodecs.jpeg2k_encode(gray(), codecformat="j2k"))
    at = jp2.index(b"\xff\x51") + 6
    jp2[at : at + 8] = (60_000).to_bytes(4) * 2
    with pytest.raises(InputError, match="limit"):
        read(bytes(jp2), "a")


def test_avif_of_other_colours_is_refused_in_a_line():
    try:
        wide = bytes(imagecodecs.avif_encode(colour(), primaries=9, transfer=16))
    except TypeError:
        pytest.skip("this version of imagecodecs writes no AVIF of other colours")
    with pytest.raises(InputError, match="not sRGB"):
        read(wide, "a.avif")


def test_deep_avif_and_animations_are_refused_in_a_line():
    deep = bytes(imagecodecs.avif_encode(DEEP >> 6, bitspersample=10))
    with pytest.raises(InputError, match="10 bits"):
        read(deep, "a.avif")
    frames = BytesIO()
    Image.fromarray(gray()).save(frames, "AVIF", save_all=True, append_images=[Image.fromarray(gray(seed=1))])
    with pytest.raises(InputError, match="animation of 2 frames"):
        read(frames.getvalue(), "a.avif")


def test_what_they_cannot_hold_is_refused():
    with pytest.raises(OutputError, match="AVIF cannot hold uint16"):
        encode(from_samples(DEEP, "PNG"), "AVIF")
    with pytest.raises(OutputError, match="JP2 cannot hold float32"):
        encode(from_samples(DEEP / np.float32(65535), "TIFF"), "JP2")


@with_heic
@pytest.mark.parametrize("white", [1023, 4095])
def test_gray_of_more_than_8_bits_is_read_as_it_was_written(white):
    fresh = replace(from_samples(DEEP[..., 0].copy(), "PNG"), maxval=white)
    again = read(encode(fresh, "HEIC", 100), "a.heic")
    assert (again.pixels.shape, again.pixels.dtype, again.maxval) == (fresh.pixels.shape, np.uint16, white)
    assert np.abs(again.pixels.astype(int) - fresh.pixels).mean() < 300
