"""PNG: 8 and 16 bits; gray, colour, alpha and palettes; metadata.

Only the critical chunks reach a decoder: Pillow's, or with 16 bits that of imagecodecs, for Pillow drops the low bytes
of 16-bit colour. A colour key (tRNS of gray and RGB) becomes alpha, compared at full depth.

A deflate stream cannot shrink data by more than 1032 to 1, so a header that promises more than that of its
pixel chunks is refused before memory is asked for.

What noise and texture have filled repeats nowhere, and to look for it is most of the time that deflate takes. Where
bands of rows say that runs alone are as good, it looks for no more: a quarter of the time, and 0.98 to 1.01 of the
bytes on photographs. Text and drawings, which repeat, are compressed as ever.

A background (bKGD) and the bits that matter (sBIT) are written for the samples of the result, which may have lost a
palette or gained alpha. The time of the last change (tIME) is left out: the same picture has the same bytes whenever it
is written.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from smdae.errors import InputError
from smdae.files.animation import refuse_animation
from smdae.files.marks import KEYWORD
from smdae.files.picture import (
    Metadata,
    Picture,
    check_size,
    dots_per_inch,
    from_samples,
    samples_in,
    samples_of,
)
from smdae.files.png_chunks import SIGNATURE, chunk, chunks, parts
from smdae.files.room import refuse_huge

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
OF_COLOURS = (b"cHRM", b"cICP", b"gAMA", b"sRGB", b"mDCV", b"cLLI", b"mDCv", b"cLLi")
OF_PIXELS = (b"pCAL", b"sCAL", b"sTER")  # what pixels measure, and their two halves
OF_SAMPLES = (b"bKGD", b"sBIT")  # that depend on the kind of samples
OWN = (b"eXIf", b"iCCP", b"pHYs")  # that become, or are made of, other fields of the metadata
XMP = b"XML:com.adobe.xmp\0"
INCH = 0.0254
MAX_DEFLATE = 1032
MAX_ICC = 1 << 25
USUAL = -1  # the library's own choice of a strategy
BANDS, ROWS = 3, 16  # of an image, that strategies are tried on
WORSE = 1.02  # of the bytes, which a faster strategy may take


def read(data: bytes) -> Picture:
    """Return the picture of a whole PNG file; raise InputError or MemoryLimitError with the reason."""
    found = list(chunks(data))
    if found[0][0] != b"IHDR" or len(found[0][1]) != 13:
        raise InputError("the file is damaged")
    width, height, depth, colour, _, _, _ = struct.unpack(">IIBBBBB", found[0][1])
    check_size(width, height)
    other = {kind: payload for kind, payload in found if kind not in CRITICAL}
    frames = struct.unpack_from(">I", other.get(b"acTL", b"\0\0\0\1"))[0]
    refuse_animation(frames)
    stored = sum(len(payload) for kind, payload in found if kind == b"IDAT")
    if height * (width * CHANNELS.get(colour, 1) * depth // 8) > MAX_DEFLATE * stored:
        raise InputError("the file is truncated")
    channels = (3 if colour == 3 else CHANNELS.get(colour, 1)) + (b"tRNS" in other)  # palettes are looked up
    refuse_huge(width * height, width * height * channels * max(1, depth // 8), len(data))

    wanted = (*CRITICAL, b"tRNS") if colour == 3 else CRITICAL
    png = b"".join([SIGNATURE, *(part for kind, payload in found if kind in wanted for part in parts(kind, payload))])
    samples = _deep_samples(png) if depth == 16 else samples_in(PngImagePlugin.PngImageFile(BytesIO(png)))
    if colour in (0, 2) and b"tRNS" in other:
        samples = _keyed(samples, other[b"tRNS"], depth)
    return from_samples(samples, "PNG", metadata=_metadata(found))


def encode(picture: Picture) -> bytes:
    """Return the PNG file of a uint8 or uint16 picture, metadata included."""
    samples = samples_of(picture)
    made = _sixteen_bit if samples.dtype == np.uint16 else _eight_bit
    png = made(samples, _strategy(samples, made))
    header_end = len(SIGNATURE) + 25
    channels = samples.shape[2] if samples.ndim == 3 else 1
    made_chunks = _metadata_chunks(picture.metadata, channels, 8 * samples.itemsize)
    return b"".join([png[:header_end], *made_chunks, png[header_end:]])


def neutral(kind: bytes, payload: bytes, found: Sequence[tuple[bytes, Any]]) -> bytes:
    """Return the payload of a chunk in `OF_SAMPLES` whatever the samples; empty if it does not fit its file.

    A background is gray or red, green and blue in 16 bits; the bits are those of each channel.
    """
    depth, colour = found[0][1][8], found[0][1][9]
    channels = 3 if colour == 3 else CHANNELS.get(colour, 1)
    if kind == b"sBIT":
        return payload if len(payload) == channels else b""
    if colour == 3:
        palette = dict(found).get(b"PLTE", b"")
        entry = palette[3 * payload[0] : 3 * payload[0] + 3] if len(payload) == 1 else b""
        values = np.frombuffer(entry, np.uint8).astype(np.int64) * 257
    else:
        stored = payload if len(payload) == 2 * (channels - 1 + channels % 2) else b""
        values = np.frombuffer(stored, ">u2").astype(np.int64) * (65535 // (2**depth - 1))
    return values.astype(">u2").tobytes() if values.size and values.max() < 65536 else b""


def fitted(kind: bytes, payload: bytes, channels: int, depth: int) -> bytes:
    """Return a payload of `neutral` as a file of 1 to 4 channels of 8 or 16 bits has it; empty if it does not fit."""
    colours = channels - 1 + channels % 2
    if kind == b"sBIT":
        bits = [min(one, depth) for one in payload[:colours]]
        bits += [*payload[colours : colours + 1], depth][:1] if channels > colours else []
        return bytes(bits) if len(payload) - colours in (0, 1) and all(bits) else b""
    values = np.frombuffer(payload, ">u2")
    return (values // (65535 // (2**depth - 1))).astype(">u2").tobytes() if len(values) == colours else b""


def _eight_bit(samples: np.ndarray, strategy: int) -> memoryview:
    """Return a PNG without metadata of uint8 samples, by a strategy of zlib's."""
    buffer = BytesIO()
    Image.fromarray(samples).save(buffer, "PNG", compress_type=strategy)
    return buffer.getbuffer()


def _sixteen_bit(samples: np.ndarray, strategy: int) -> memoryview:
    """Return a PNG without metadata of uint16 samples, by a strategy of zlib's."""
    import imagecodecs

    chosen = None if strategy == USUAL else strategy
    return memoryview(imagecodecs.png_encode(np.ascontiguousarray(samples), 6, strategy=chosen))


def _deep_samples(png: bytes) -> np.ndarray:
    """Return the samples of a 16-bit PNG: uint16, (H, W), or (H, W, 2 to 4) with alpha or colour."""
    import imagecodecs

    samples: np.ndarray = imagecodecs.png_decode(png)
    if samples.dtype != np.uint16:
        raise InputError("its 16 bits cannot be decoded exactly", "save it as a TIFF first")
    return samples


def _strategy(samples: np.ndarray, made: Callable[[np.ndarray, int], memoryview]) -> int:
    """Return the strategy of deflate for samples, (H, W, ...): to look for runs alone, or the usual one."""
    starts = np.linspace(0, max(0, len(samples) - ROWS), BANDS).astype(int)
    part = np.concatenate([samples[start : start + ROWS] for start in starts])
    return zlib.Z_RLE if len(made(part, zlib.Z_RLE)) <= WORSE * len(made(part, USUAL)) else USUAL


def _keyed(samples: np.ndarray, key: bytes, depth: int) -> np.ndarray:
    colours = np.atleast_3d(samples)
    # Pillow stretches gray of 2 and 4 bits to 8, so the key is stretched alike.
    scale = 255 // (2**depth - 1) if depth < 8 else 1
    transparent = np.frombuffer(key, ">u2", colours.shape[2]).astype(np.int64) * scale
    opaque = (colours != transparent).any(axis=2)
    return np.dstack([samples, opaque * samples.dtype.type(np.iinfo(samples.dtype).max)])


def _metadata(chunks: list[tuple[bytes, Any]]) -> Metadata:
    found = dict(chunks)
    chunks = [(kind, neutral(kind, of, chunks) if kind in OF_SAMPLES else of) for kind, of in chunks]
    chunks = [(kind, payload) for kind, payload in chunks if kind != b"tEXt" or not payload.startswith(KEYWORD)]
    xmp = next((text for kind, text in chunks if kind == b"iTXt" and text.startswith(XMP + b"\0")), None)
    return Metadata(
        exif=found.get(b"eXIf"),
        icc=_icc(found.get(b"iCCP", b"")),
        xmp=xmp and xmp[len(XMP) + 2 :].split(b"\0", 2)[-1],
        dpi=_dpi(found.get(b"pHYs", b"")),
        png=tuple((kind, payload) for kind, payload in chunks if _is_carried(kind, payload) and payload is not xmp),
    )


def _is_carried(kind: bytes, payload: bytes) -> bool:
    """Return whether a chunk goes with other pixels: of what they mean, or of a kind that may be copied."""
    if kind == b"pHYs":  # the shape of a pixel, where it is no length
        return _dpi(payload) is None and len(payload) == 9
    return kind in (*OF_COLOURS, *OF_PIXELS, *OF_SAMPLES) or (kind[3:4].islower() and kind not in OWN)


def _icc(payload: bytes) -> bytes | None:
    _, _, compressed = payload.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(compressed[1:], MAX_ICC)
    except zlib.error:
        return None
    return profile if inflate.eof else None


def _dpi(payload: bytes) -> tuple[float, float] | None:
    if len(payload) != 9 or payload[8] != 1:
        return None
    across, down, _ = struct.unpack(">IIB", payload)
    return dots_per_inch(across * INCH, down * INCH)


def _metadata_chunks(metadata: Metadata, channels: int, depth: int) -> Iterator[bytes]:
    for kind, payload in metadata.png:
        if kind in OF_SAMPLES:
            payload = fitted(kind, payload, channels, depth)
            if not payload:
                continue
        if not (kind == b"sRGB" and metadata.icc):
            yield chunk(kind, payload)
    if metadata.icc:
        yield chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc))
    if metadata.exif:
        yield chunk(b"eXIf", metadata.exif)
    if metadata.xmp:
        yield chunk(b"iTXt", XMP + b"\0\0\0\0" + metadata.xmp)
    if metadata.dpi:
        per_metre = [round(dots / INCH) for dots in metadata.dpi]
        yield chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
