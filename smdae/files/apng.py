"""Animated PNG: each frame is the pixels of a PNG of its own (https://www.w3.org/TR/png-3/#11acTL, fcTL, fdAT).

All chunks stay but those of pixels, those on palettes where the frames no longer have one, and the time of the last
change: where a frame changes, all are written anew as gray or colours, with alpha if there was any. A first picture
that is no frame stays as it is.
"""

import struct
from collections.abc import Sequence
from functools import partial

import numpy as np

from smdae.errors import InputError
from smdae.files import png
from smdae.files.animation import CLEAR, KEEP, RESTORE, Animation, Frame, rgba
from smdae.files.exif import stripped
from smdae.files.marks import KEYWORD
from smdae.files.parts import Rewriting
from smdae.files.picture import Metadata, Picture
from smdae.files.png_chunks import SIGNATURE, chunk, chunks

Chunk = tuple[bytes, bytes]
DISPOSALS = {0: KEEP, 1: CLEAR, 2: RESTORE}
LEFT_OUT = (b"fdAT", b"PLTE", b"tRNS", b"hIST", b"sPLT", b"tIME")
WORDS = (b"tEXt", b"zTXt", b"iTXt")
CONTROL = ">IIIIIHHBB"  # of a frame: number, width, height, x, y, delay as a fraction, disposal, blending


def parts_of_png(data: bytes) -> Animation | None:
    """Return the frames of an animated PNG; None for a single picture."""
    position = data.find(b"acTL")
    if position < 0 or int.from_bytes(data[position + 4 : position + 8]) < 2:
        return None
    found = [(kind, bytes(payload)) for kind, payload in chunks(data)]
    kinds = [kind for kind, _ in found]
    if b"acTL" not in kinds or kinds.count(b"fcTL") < 2:
        return None
    width, height, depth = struct.unpack_from(">IIB", found[0][1])
    if depth == 16:
        raise InputError("it is an animation of 16 bits", "save it with 8 bits first")
    frames = []
    for control, body in _frames(found):
        _, across, down, left, top, _, _, disposal, over = struct.unpack(CONTROL, control)
        decode = partial(_decoded, found, (across, down), body)
        frames.append(Frame((left, top), (across, down), decode, DISPOSALS.get(disposal, KEEP), over == 1))
    return Animation(data, "PNG", (width, height), tuple(frames), partial(_rewritten, found, tuple(frames)))


def _frames(found: Sequence[Chunk]) -> list[tuple[bytes, bytes]]:
    """Return the control and the compressed pixels of each frame."""
    frames: list[tuple[bytes, list[bytes]]] = []
    for kind, payload in found:
        if kind == b"fcTL":
            frames.append((payload, []))
        elif kind == b"fdAT" and frames:
            frames[-1][1].append(payload[4:])
        elif kind == b"IDAT" and frames:
            frames[-1][1].append(payload)
    return [(control, b"".join(body)) for control, body in frames]


def _decoded(found: Sequence[Chunk], size: tuple[int, int], body: bytes) -> np.ndarray:
    """Return the pixels of a frame, (h, w, 4)."""
    header = struct.pack(">II", *size) + found[0][1][8:]
    palette = [(kind, payload) for kind, payload in found if kind in (b"PLTE", b"tRNS")]
    whole = [(b"IHDR", header), *palette, (b"IDAT", body), (b"IEND", b"")]
    return rgba(png.read(SIGNATURE + b"".join(chunk(*part) for part in whole)))


def _rewritten(
    found: Sequence[Chunk], frames: Sequence[Frame], pixels: Sequence[np.ndarray | None], how: Rewriting
) -> bytes:
    """Return the file with other pixels in its frames."""
    shown = [frame.decode() if new is None else new for frame, new in zip(frames, pixels, strict=True)]
    kinds = [kind for kind, _ in found]
    is_apart = kinds.index(b"IDAT") < kinds.index(b"fcTL")
    width, height = struct.unpack_from(">II", found[0][1])
    if is_apart:
        body = b"".join(payload for kind, payload in found if kind == b"IDAT")
        shown = [_decoded(found, (width, height), body), *shown]
    gray = all((one[..., 0] == one[..., 1]).all() and (one[..., 0] == one[..., 2]).all() for one in shown)
    opaque = all((one[..., 3] == 255).all() for one in shown)
    channels = [0] if gray else [0, 1, 2]
    made = [_encoded(one[..., channels if opaque else [*channels, 3]]) for one in shown]
    colour = made[0][0]
    pieces, number, sequence = [SIGNATURE], 0, 0
    for kind, payload in found:
        if kind == b"IHDR":
            pieces.append(chunk(kind, payload[:8] + bytes([8, colour]) + payload[10:12] + b"\0"))
        elif kind == b"fcTL":
            number += is_apart or sequence > 0
            pieces.append(chunk(kind, struct.pack(">I", sequence) + payload[4:]))
            sequence += 1
            if number > 0:
                for body in made[number][1]:
                    pieces.append(chunk(b"fdAT", struct.pack(">I", sequence) + body))
                    sequence += 1
        elif kind == b"IDAT":
            pieces += [chunk(kind, body) for body in made[0][1]]
            made[0] = (colour, [])
        elif kind in png.OF_SAMPLES:
            payload = png.fitted(kind, png.neutral(kind, payload, found), len(channels) + (not opaque), 8)
            pieces += [chunk(kind, payload)] if payload else []
        elif not (
            kind in LEFT_OUT or (how.strip and kind in WORDS) or (kind == b"tEXt" and payload.startswith(KEYWORD))
        ):
            kept = stripped(Metadata(exif=payload)).exif if how.strip and kind == b"eXIf" else payload
            if kept is not None:
                pieces.append(chunk(kind, kept))
    return b"".join(pieces)


def _encoded(samples: np.ndarray) -> tuple[int, list[bytes]]:
    """Return the type of colour of samples, (h, w, 1 to 4), and the compressed pixels."""
    samples = np.ascontiguousarray(samples)
    colours = samples.shape[2] - 1 + samples.shape[2] % 2
    pixels = samples[..., :3] if colours == 3 else samples[..., 0]
    alpha = samples[..., colours] if samples.shape[2] > colours else None
    found = list(chunks(png.encode(Picture(pixels, 255.0, "PNG", alpha))))
    return found[0][1][9], [bytes(payload) for kind, payload in found if kind == b"IDAT"]
