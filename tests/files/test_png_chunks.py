"""Chunks of a PNG besides pixels: all that still hold are in the result, for the samples that it has."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from smdae.cli.app import main
from smdae.files.png_chunks import SIGNATURE, chunk, chunks
from tests.tiny import colour, encoded, gray, model_bytes

ICC = b"a profile\0\0" + zlib.compress(b"not one, but it is carried")
STAYS = [
    (b"gAMA", struct.pack(">I", 45455)),
    (b"cHRM", struct.pack(">8I", *range(31270, 31278))),
    (b"iCCP", ICC),
    (b"cICP", bytes([9, 16, 0, 1])),
    (b"pHYs", struct.pack(">IIB", 11811, 11811, 1)),
    (b"oFFs", struct.pack(">iiB", 3, 4, 0)),
    (b"pCAL", b"counts\0" + struct.pack(">iiBB", 0, 255, 0, 2) + b"e\0000\0001"),
    (b"sCAL", b"\1" + b"0.1\0000.1"),
    (b"sTER", b"\1"),
    (b"tEXt", b"Title\0noise"),
    (b"zTXt", b"Author\0\0" + zlib.compress(b"anybody")),
    (b"iTXt", "Description\0\0\0de\0\0Rauschen, groß".encode()),
    (b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"),
    (b"teSt", b"a chunk of somebody's that may be copied"),
]
GOES = [
    (b"tIME", struct.pack(">HBBBBB", 2020, 2, 3, 4, 5, 6)),
    (b"dSIG", b"a signature of all bytes"),
    (b"teST", b"a chunk of somebody's that may not"),
]


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    (bare / "m.safetensors").write_bytes(model_bytes())
    (bare / "mc.safetensors").write_bytes(model_bytes(3))
    return bare


def with_chunks(file: bytes, more: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG with more chunks in front of its pixels, behind its palette."""
    found = [(kind, bytes(payload)) for kind, payload in chunks(file)]
    at = next(k for k, (kind, _) in enumerate(found) if kind == b"IDAT")
    return SIGNATURE + b"".join(chunk(*one) for one in [*found[:at], *more, *found[at:]])


def found_in(file: bytes) -> dict[bytes, bytes]:
    own = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"fdAT", b"IEND", b"acTL", b"fcTL")
    return {kind: payload for kind, payload in chunks(file) if kind not in own and not payload.startswith(b"smdae\0")}


def denoised(here, file: bytes, *options: str) -> bytes:
    (here / "a.png").write_bytes(file)
    model = "mc" if Image.open(BytesIO(file)).mode not in ("L", "LA", "1", "I;16") else "m"
    assert main(["denoise", "a.png", "-m", f"{model}.safetensors", "-s", "20", "-o", "b.png", "-y", *options]) == 0
    result = (here / "b.png").read_bytes()
    Image.open(BytesIO(result)).load()
    return result


def test_every_chunk_that_holds_for_other_pixels_stays_and_no_other(here):
    result = denoised(here, with_chunks(encoded(colour()), STAYS + GOES))
    found, wanted = found_in(result), dict(STAYS)
    for one in (found, wanted):  # the name of the profile may be another, and its compression
        one[b"iCCP"] = zlib.decompress(one[b"iCCP"].partition(b"\0")[2][1:])
    assert found == wanted
    assert len(result) <= 1.05 * len(with_chunks(encoded(np.asarray(Image.open(BytesIO(result)))), STAYS))


PALETTE = Image.fromarray(colour()).quantize(16)
KEYED = [(b"tRNS", struct.pack(">HHH", 1, 2, 3))]


@pytest.mark.parametrize(
    ("file", "kind", "before", "after", "options"),
    [
        (encoded(gray()), b"bKGD", struct.pack(">H", 200), struct.pack(">H", 200), ()),
        (encoded(gray()), b"bKGD", struct.pack(">H", 200), struct.pack(">H", 51400), ("--bit-depth", "16")),
        (encoded(gray()), b"sBIT", b"\5", b"\5", ("--bit-depth", "16")),
        (encoded(gray()), b"sBIT", b"\5\5", None, ()),  # which is of gray with alpha
        (encoded(gray()), b"bKGD", b"\0\1\2", None, ()),
        (encoded(gray()), b"bKGD", b"", None, ()),
        (encoded(colour()), b"bKGD", struct.pack(">HHH", 1, 2, 255), struct.pack(">HHH", 1, 2, 255), ()),
        (encoded(colour()), b"bKGD", struct.pack(">HHH", 1, 2, 256), None, ()),  # which 8 bits cannot hold
        (encoded(colour()), b"sBIT", b"\5\6\5", b"\5\6\5", ()),
        (encoded(colour()), b"sBIT", b"\5\6\0", None, ()),
        (encoded(np.dstack([colour(), gray()])), b"sBIT", b"\5\6\5\1", b"\5\6\5\1", ()),
        (with_chunks(encoded(colour()), KEYED), b"sBIT", b"\5\6\5", b"\5\6\5\x08", ()),  # it gets alpha
        (
            with_chunks(encoded(colour()), KEYED),
            b"bKGD",
            struct.pack(">HHH", 1, 2, 3),
            struct.pack(">HHH", 1, 2, 3),
            (),
        ),
        (encoded(gray().astype(np.uint16) * 257), b"bKGD", struct.pack(">H", 4000), struct.pack(">H", 4000), ()),
        (encoded(gray().astype(np.uint16) * 257), b"sBIT", b"\x0c", b"\x08", ("--bit-depth", "8")),
    ],
)
def test_the_background_and_the_bits_that_matter_are_those_of_the_samples(file, kind, before, after, options, here):
    result = denoised(here, with_chunks(file, [(kind, before)]), *options)
    assert found_in(result) == ({} if after is None else {kind: after})
    again = denoised(here, result, *options)
    assert found_in(again) == found_in(result)


@pytest.mark.parametrize("index", [0, 7, 15, 200])
def test_a_background_in_a_palette_becomes_its_colour(index, here):
    buffer = BytesIO()
    PALETTE.save(buffer, "PNG", bits=8)
    file = buffer.getvalue()
    at = file.index(b"PLTE")  # old versions of Pillow write 256 colours, whatever the picture has
    entry = file[at + 4 :][: int.from_bytes(file[at - 4 : at])][3 * index : 3 * index + 3]
    result = denoised(here, with_chunks(file, [(b"bKGD", bytes([index]))]))
    assert found_in(result).get(b"bKGD", b"") == (struct.pack(">HHH", *entry) if entry else b"")


def test_gray_of_few_bits_has_its_background_stretched(here):
    header = struct.pack(">IIBBBBB", 32, 24, 4, 0, 0, 0, 0)
    rows = b"".join(b"\0" + (row[::2] << 4 | row[1::2]).tobytes() for row in gray() >> 4)
    parts = [(b"IHDR", header), (b"sBIT", b"\3"), (b"bKGD", b"\0\x0f"), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    result = denoised(here, SIGNATURE + b"".join(chunk(*one) for one in parts))
    assert found_in(result) == {b"sBIT": b"\3", b"bKGD": b"\0\xff"}


def test_those_of_an_animation_too(here):
    buffer = BytesIO()
    frames = [Image.fromarray(colour()[:: 1 - 2 * k].copy()) for k in (0, 1)]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    more = [(b"sBIT", b"\5\6\5"), (b"bKGD", struct.pack(">HHH", 9, 8, 7))]
    result = denoised(here, with_chunks(buffer.getvalue(), [*more, *GOES[:1], *STAYS[:1], *STAYS[9:12]]))
    assert Image.open(BytesIO(result)).n_frames == 2
    assert found_in(result) == dict([*more, *STAYS[:1], *STAYS[9:12]])


def test_strip_leaves_what_a_picture_looks_like(here):
    more = [(b"bKGD", struct.pack(">HHH", 9, 8, 7)), (b"sBIT", b"\5\6\5")]
    result = denoised(here, with_chunks(encoded(colour()), [*more, *STAYS, *GOES]), "--strip-metadata")
    kept = found_in(result)
    assert kept.pop(b"eXIf")  # its orientation
    assert set(kept) == {b"gAMA", b"cHRM", b"iCCP", b"cICP", b"pHYs", b"bKGD", b"sBIT"}
