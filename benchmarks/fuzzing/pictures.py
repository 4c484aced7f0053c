"""Damaged image files by the million: whole ones of every kind that is read, and what chance does to their bytes.

An example is known by its number alone: the number seeds all chance, so that whatever one of them brings to light can
be had again. Of damaged PNG files a third is as it is, a third gets checksums that are right, and a third is damaged
within a chunk, in the pixels before they are deflated: without that all damage would be found at the door.
"""

import struct
import zlib
from dataclasses import replace
from functools import cache
from io import BytesIO
from random import Random

import numpy as np
import tifffile
from PIL import Image

from benchmarks.fuzzing.damage import damaged, refused
from smdae.errors import InputError, MemoryLimitError
from smdae.files.formats import FORMATS, missing
from smdae.files.images import encode, read
from smdae.files.parts import find
from smdae.files.picture import STANDS_FOR, WHITES, Metadata, Picture, from_samples
from smdae.files.png_chunks import chunk

ADAM7 = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
PNG = b"\x89PNG\r\n\x1a\n"


# Whole files


def _pillow(image: np.ndarray | Image.Image, format: str, **options: object) -> bytes:
    buffer = BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def _animated(image: np.ndarray | Image.Image, format: str, **options: object) -> bytes:
    """Return a file of three frames: a picture, turned round, and again."""
    first = image if isinstance(image, Image.Image) else Image.fromarray(image)
    turned = first.transpose(Image.Transpose.ROTATE_180)
    return _pillow(first, format, save_all=True, append_images=[turned, first], **options)


def _tiff(samples: np.ndarray, **options: object) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, samples, metadata=None, **options)
    return buffer.getvalue()


def _lzw16(samples: np.ndarray) -> bytes:
    """Return a 16-bit colour TIFF in LZW: written as bytes, in rows of twice the width, and relabelled."""
    file = bytearray(_pillow(samples.view(np.uint8).reshape(len(samples), -1, 3), "TIFF", compression="tiff_lzw"))
    tags = tifffile.TiffFile(BytesIO(bytes(file))).pages.first.tags
    struct.pack_into("<H", file, tags[256].valueoffset, samples.shape[1])
    struct.pack_into("<3H", file, tags[258].valueoffset, 16, 16, 16)
    return bytes(file)


def _interlaced(samples: np.ndarray) -> bytes:
    """Return a PNG in the seven passes of Adam7; 16-bit samples are big-endian."""
    samples = np.atleast_3d(samples)
    height, width, channels = samples.shape
    passes = [samples[top::down, left::across] for top, down, left, across in ADAM7]
    rows = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, COLOUR_TYPES[channels], 0, 0, 1)
    return _png([(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def _npy(samples: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, samples)
    return buffer.getvalue()


def _plain(samples: np.ndarray) -> bytes:
    """Return a PGM or PPM in decimal digits."""
    height, width = samples.shape[:2]
    numbers = b" ".join(b"%d" % value for value in samples.ravel())
    return b"P%d # made by hand\n%d %d\n%d\n%s\n" % (samples.ndim, width, height, np.iinfo(samples.dtype).max, numbers)


@cache
def seeds() -> dict[str, bytes]:
    """Return a whole file of every kind that is read, by name."""
    generator = np.random.default_rng(5)
    colour = generator.integers(0, 256, (13, 10, 3)).astype(np.uint8)
    gray, alpha = colour[..., 0].copy(), colour[..., 1].copy()
    deep = generator.integers(0, 65536, (13, 10, 3)).astype(np.uint16)
    floats = deep / np.float32(65535)
    palette = Image.fromarray(colour).quantize(9)
    exif = Image.Exif()
    exif[271], exif[274], exif[282], exif[283] = "Maker", 6, 300.0, 300.0
    exif.get_ifd(0x8769).update({36867: "2020:01:02 03:04:05", 33434: 0.01})
    metadata = Metadata(exif.tobytes().removeprefix(b"Exif\0\0"), bytes(300), b"<x:xmpmeta/>", (300.0, 300.0))

    def full(samples: np.ndarray, format: str) -> bytes:
        return encode(replace(from_samples(samples, format), metadata=metadata), format)

    return {
        "PNG gray": _pillow(gray, "PNG"),
        "PNG colour, metadata": full(colour, "PNG"),
        "PNG gray, alpha": _pillow(np.dstack([gray, alpha]), "PNG"),
        "PNG colour, alpha": _pillow(np.dstack([colour, alpha]), "PNG"),
        "PNG palette": _pillow(palette, "PNG", bits=4),
        "PNG palette, alpha": _pillow(palette, "PNG", transparency=bytes(range(9))),
        "PNG colour key": _pillow(colour, "PNG", transparency=tuple(map(int, colour[3, 4]))),
        "PNG gray 16": encode(from_samples(deep[..., 0], "PNG"), "PNG"),
        "PNG gray 16, alpha": encode(from_samples(deep[..., :2], "PNG"), "PNG"),
        "PNG colour 16, metadata": full(deep, "PNG"),
        "PNG gray, interlaced": _interlaced(gray),
        "PNG colour 16, interlaced": _interlaced(deep.astype(">u2")),
        "TIFF gray": _tiff(gray),
        "TIFF colour 16, metadata": full(deep, "TIFF"),
        "TIFF colour 16, big-endian": _tiff(deep, photometric="rgb", byteorder=">"),
        "TIFF colour 16, BigTIFF": _tiff(deep, photometric="rgb", bigtiff=True),
        "TIFF colour, strips": _tiff(colour, photometric="rgb", rowsperstrip=4),
        "TIFF colour, planes": _tiff(np.moveaxis(colour, 2, 0).copy(), photometric="rgb", planarconfig="separate"),
        "TIFF colour, alpha": _tiff(np.dstack([colour, alpha]), photometric="rgb", extrasamples=["assocalpha"]),
        "TIFF colour, deflate": _tiff(colour, photometric="rgb", compression="zlib"),
        "TIFF tiles, deflate": _tiff(deep, photometric="rgb", tile=(16, 16), compression="zlib", predictor=True),
        "TIFF gray 16, falling": _tiff(deep[..., 0], photometric="miniswhite"),
        "TIFF gray 32": _tiff(deep[..., 0].astype(np.uint32) << 8),
        "TIFF gray float": _tiff(floats[..., 0]),
        "TIFF colour float 64": _tiff(floats.astype(np.float64), photometric="rgb", byteorder=">"),
        "TIFF gray, LZW": _pillow(gray, "TIFF", compression="tiff_lzw"),
        "TIFF colour, LZW": _pillow(colour, "TIFF", compression="tiff_lzw", exif=exif),
        "TIFF colour 16, LZW": _lzw16(deep),
        "TIFF palette, LZW": _pillow(palette, "TIFF", compression="tiff_lzw"),
        "TIFF gray, PackBits": _pillow(gray, "TIFF", compression="packbits"),
        "TIFF colour, JPEG": _pillow(colour, "TIFF", compression="jpeg"),
        "JPEG gray": _pillow(gray, "JPEG"),
        "JPEG colour, metadata": full(colour, "JPEG"),
        "JPEG colour, progressive": _pillow(colour, "JPEG", progressive=True, quality=60),
        "WEBP lossy": _pillow(colour, "WEBP", quality=60),
        "WEBP lossless, alpha": _pillow(np.dstack([colour, alpha]), "WEBP", lossless=True, exact=True),
        "WEBP lossy, alpha, metadata": _pillow(np.dstack([colour, alpha]), "WEBP", exif=exif, icc_profile=bytes(300)),
        "WEBP frames": _animated(colour, "WEBP", lossless=True),
        "WEBP frames, lossy": _animated(np.dstack([colour, alpha]), "WEBP", quality=60),
        "PNG frames": _animated(colour, "PNG"),
        "PNG frames, alpha": _animated(np.dstack([colour, alpha]), "PNG", blend=1, default_image=True),
        "PNG frames, palette": _animated(palette, "PNG"),
        "GIF": _pillow(palette, "GIF", transparency=2, comment=b"made by hand"),
        "GIF interlaced": _pillow(gray, "GIF", interlace=True),
        "GIF frames": _animated(colour, "GIF", disposal=[1, 2, 3]),
        "JPEG MPO": _animated(colour, "MPO", exif=exif),
        "JPEG inks": _pillow(Image.fromarray(colour).convert("CMYK"), "JPEG"),
        "AVIF": _pillow(colour, "AVIF", exif=exif, icc_profile=bytes(300)),
        "AVIF alpha": _pillow(np.dstack([colour, alpha]), "AVIF"),
        "JXL gray": encode(from_samples(gray, "JXL"), "JXL"),
        "JXL colour, lossy": encode(replace(from_samples(colour, "JXL"), lossless=False), "JXL"),
        "JXL colour 16, alpha": encode(from_samples(np.dstack([deep, deep[..., 0]]), "JXL"), "JXL"),
        "JXL metadata": full(colour, "JXL"),
        "JP2 gray": encode(from_samples(gray, "JP2"), "JP2"),
        "JP2 colour 16, metadata": full(deep, "JP2"),
        "JP2 colour, lossy": encode(replace(from_samples(colour, "JP2"), lossless=False), "JP2"),
        "JP2 codestream": encode(replace(from_samples(colour, "JP2"), metadata=Metadata(codestream=True)), "JP2"),
        **({} if missing(FORMATS["HEIC"]) else {"HEIC": full(colour, "HEIC"), "HEIC 10": full(deep, "HEIC")}),
        "BMP gray": _pillow(gray, "BMP"),
        "BMP colour": _pillow(colour, "BMP"),
        "BMP palette": _pillow(palette, "BMP"),
        "BMP colour, alpha": encode(from_samples(np.dstack([colour, alpha]), "BMP"), "BMP"),
        "PPM gray": encode(from_samples(gray, "PPM"), "PPM"),
        "PPM colour 16": encode(from_samples(deep, "PPM"), "PPM"),
        "PPM gray 16, plain": _plain(deep[..., 0]),
        "PPM colour, plain": _plain(colour),
        "PPM bits": _pillow(Image.fromarray(gray > 100), "PPM"),
        "PPM bits, plain": b"P1 10 2 " + b"01" * 10,
        "PPM gray 12": b"P5 10 13 4095\n" + (deep[..., 0] // 16).astype(">u2").tobytes(),
        "PAM gray, alpha": encode(from_samples(np.dstack([gray, alpha]), "PAM"), "PAM"),
        "PAM colour 16, alpha": encode(from_samples(np.dstack([deep, deep[..., 0]]), "PAM"), "PAM"),
        "NPY gray": _npy(gray),
        "NPY colour 16, big-endian": _npy(deep.astype(">u2")),
        "NPY float, columns first": _npy(np.asfortranarray(floats)),
        "NPY float 16": _npy(floats[..., 0].astype(np.float16)),
    }


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return PNG + b"".join(chunk(*part) for part in chunks)


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a whole PNG, all pixels in one."""
    found: dict[bytes, bytes] = {}
    position = len(PNG)
    while position < len(png):
        end = position + 8 + int.from_bytes(png[position : position + 4])
        kind = png[position + 4 : position + 8]
        found[kind] = found.get(kind, b"") + png[position + 8 : end]
        position = end + 4
    return [*found.items()]


def _with_checksums(file: bytes) -> bytes:
    """Return the chunks of a damaged PNG as far as they can be found, with checksums that are right."""
    made, position = bytearray(file), len(PNG)
    while position + 12 <= len(made):
        end = position + 8 + int.from_bytes(made[position : position + 4])
        if end + 4 > len(made):
            break
        struct.pack_into(">I", made, end, zlib.crc32(made[position + 4 : end]))
        position = end + 4
    return bytes(made)


def mutate(file: bytes, chance: Random) -> bytes:
    """Return the file with one to four kinds of damage."""
    if not file.startswith(PNG):
        return damaged(file, chance)
    place = chance.choice(["anywhere", "under checksums", "in a chunk"])
    if place == "in a chunk":
        chunks = _chunks(file)
        which = chance.randrange(len(chunks))
        kind, payload = chunks[which]
        if kind == b"IDAT":
            payload = zlib.compress(damaged(zlib.decompress(payload), chance))
        else:
            payload = damaged(payload, chance)
        chunks[which] = kind, payload
        return _png(chunks)
    spoiled = damaged(file, chance)
    return _with_checksums(spoiled) if place == "under checksums" else spoiled


def example(number: int) -> tuple[str, bytes]:
    """Return damaged file number so and so, after the name of what it was."""
    names = [*seeds()]
    name = names[number % len(names)]
    return name, mutate(seeds()[name], Random(number))


# Judgement


def outcome(file: bytes) -> str:
    """Return what reading the file comes to, in a word; raise an AssertionError if the reader breaks its promises."""
    try:
        parts = find(file, "a")
        pictures = [read(file, "a")] if parts is None else list(parts)
        if parts is not None:  # as if all of them had changed
            assert parts.encoded([*pictures])
    except (InputError, MemoryLimitError) as error:
        refusal = error
    else:
        refusal = None
    if refusal:
        return refused(refusal, "'a'")
    for picture in pictures:
        _check(picture)
    return "read"


def _check(picture: Picture) -> None:
    """Raise an AssertionError for a picture that is none."""
    pixels, alpha = picture.pixels, picture.alpha
    assert picture.format in FORMATS
    if picture.stored is None:
        narrow = pixels.dtype.kind == "u" and (picture.white + 1).is_integer() and pixels.max() <= picture.white
        assert picture.white == WHITES[pixels.dtype.name] or narrow  # of 3 bits, say, in samples of 8
    else:  # as many bits as the file says, of those that its samples have
        assert STANDS_FOR[picture.stored] == pixels.dtype.name
        assert 0 < picture.white <= np.iinfo(picture.stored).max
    assert pixels.size
    assert pixels.ndim == 2 or pixels.shape[2:] == (3,), pixels.shape
    assert alpha is None or (alpha.shape, alpha.dtype) == (pixels.shape[:2], pixels.dtype)
    parts = [part for part in (pixels, alpha) if part is not None and part.dtype.kind == "f"]
    assert picture.is_finite is all(np.isfinite(part).all() for part in parts)
