"""Colour profiles (ICC) of the pictures that smdae itself develops: sRGB, and linear light with its primaries."""

import contextlib
import functools
import struct
from io import BytesIO

TONE = (b"rTRC", b"gTRC", b"bTRC")
HEADER, ENTRY = 128, 12  # bytes of a profile's header, and of an entry of the table of tags behind it
STRAIGHT = b"curv" + bytes(8)  # a tone curve that changes nothing


@functools.cache
def srgb() -> bytes:
    """Return the colour profile of sRGB, as bytes."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def is_srgb(profile: bytes) -> bool:
    """Return whether a profile calls itself sRGB, which is what pictures without one are taken for."""
    from PIL import ImageCms

    with contextlib.suppress(Exception):  # whatever the library finds wrong with it
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).lower().startswith("srgb")
    return False


@functools.cache
def linear() -> bytes:
    """Return the colour profile, as bytes, of linear light with the primaries of sRGB: only its tone curves differ."""
    profile = srgb()
    (count,) = struct.unpack_from(">I", profile, HEADER)
    tags = []
    for at in range(HEADER + 4, HEADER + 4 + ENTRY * count, ENTRY):
        name, offset, length = struct.unpack_from(">4sII", profile, at)
        if name == b"desc":
            text = "linear sRGB".encode("utf-16-be")
            content = b"mluc" + struct.pack(">IIIHHII", 0, 1, ENTRY, 0x656E, 0x5553, len(text), 28) + text
        else:
            content = STRAIGHT if name in TONE else profile[offset : offset + length]
        tags.append((name, content))
    table, body = struct.pack(">I", count), b""
    start = HEADER + 4 + ENTRY * count
    for name, content in tags:
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I", start + len(body)) + profile[4:HEADER]
    return header[:84] + bytes(16) + header[100:] + table + body  # the digest of the other is none of this one
