"""The compression of a TIFF: whether it loses anything, and which one a result gets.

A lossless compression stays, with its predictor. A lossy one, and one that is only read, becomes Deflate.
"""

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from smdae.files.tiff_pages import JPEGS, YCBCR

if TYPE_CHECKING:
    import tifffile

NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773
FAX = (2, 3, 4)  # of bits, by CCITT; no library that is used here writes them
# Those that compress bytes, of whatever samples.
OF_BYTES = frozenset((NONE, LZW, DEFLATE, 32946, PACKBITS, 34925, 34926, 50000, 50013))
JPEG_2000, WEBP, JPEG_XR, LERC = 34712, (50001, 34927), 34934, 34887
OF_PICTURES = frozenset((JPEG_2000, *WEBP, JPEG_XR, LERC, 34933, 50002, 52546, 7))
HORIZONTAL, FLOATING = 2, 3
LERC_PARAMETERS = 50674
LERC_INNER = {1: "deflate", 2: "zstd"}
SIDE = 16  # pixels a side of what is tried
HEAD = 4096  # bytes of a segment, which show whether it is lossless


def is_lossless(source: BinaryIO, page: "tifffile.TiffPage") -> bool:
    """Return whether the compression of a page is lossless, judging by its first bytes."""
    if page.compression in OF_BYTES or page.compression in FAX:
        return True
    source.seek(page.dataoffsets[0])
    head = source.read(min(HEAD, page.databytecounts[0]))
    if page.compression in JPEGS:
        return b"\xff\xc3" in head and page.photometric != YCBCR
    if page.compression in WEBP:
        return b"VP8L" in head[:64]
    if page.compression == JPEG_2000:
        at = head.find(b"\xff\x52")  # the marker of how a JPEG 2000 is coded
        return at >= 0 and head[at + 13 : at + 14] == b"\x01"
    return page.compression in OF_PICTURES


def codec_of(
    source: BinaryIO, page: "tifffile.TiffPage", dtype: np.dtype, samples: int
) -> tuple[int, int, dict[str, Any]]:
    """Return the compression of the pages of a result, its predictor, and the arguments of its encoder.

    The result has samples of `dtype`, of which so many of a pixel lie together.
    """
    code = int(page.compression)
    kind = dtype.kind
    fits = HORIZONTAL if kind in "iu" and dtype.itemsize <= 4 else FLOATING if kind == "f" else NONE
    if kind == "b":
        return (code if code in OF_BYTES - {34926} else DEFLATE), NONE, {}
    if not is_lossless(source, page) or code not in OF_BYTES | OF_PICTURES:
        return DEFLATE, fits, {}
    if code in OF_BYTES:
        return code, fits if page.predictor != NONE and code != NONE else NONE, {}
    how: dict[str, Any] = {}
    if code in WEBP or code in JPEGS:
        how["lossless"] = True
    if code in JPEGS and (samples != 1 or page.photometric not in (0, 1)):
        return DEFLATE, fits, {}
    if code == LERC:
        parameters = page.tags.valueof(LERC_PARAMETERS) or (4, 0)
        if parameters[1] in LERC_INNER:
            how["compression"] = LERC_INNER[parameters[1]]
    if not _is_encoded(code, dtype, samples, how):
        return DEFLATE, fits, {}
    return code, NONE, how


def _is_encoded(code: int, dtype: np.dtype, samples: int, how: dict[str, Any]) -> bool:
    """Return whether a codec of pictures keeps samples of a type to the last bit, tried on a few of them."""
    import tifffile

    low, high = (0, 1) if dtype.kind == "f" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    values = np.linspace(low, high, SIDE * SIDE * samples).astype(dtype).reshape(SIDE, SIDE, samples)
    values = values if samples > 1 else values[..., 0]
    if code == JPEG_2000:
        how = how | {"codecformat": 0}
    try:
        data = tifffile.TIFF.COMPRESSORS[code](values, **how)
        again = tifffile.TIFF.DECOMPRESSORS[code](data)
    except Exception:  # codecs raise various errors for input that they do not take
        return False
    return bool(np.array_equal(np.asarray(again).reshape(values.shape), values))
