"""GIF: a table of 256 colours, and frames of indices into it, or into tables of their own; Pillow does the LZW.

The blocks of a file are walked here, so that all of them stay as they are: comments, loops, times, how a frame gives
way to the next. A frame that changes gets a table of its own: of its very colours if they are not too many, and
otherwise of those that Pillow finds for it, without dithering, which would be noise again.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from smdae.errors import InputError, OutputError
from smdae.files.animation import CLEAR, KEEP, RESTORE, Animation, Frame, refuse_animation
from smdae.files.marks import OPENING
from smdae.files.parts import Rewriting
from smdae.files.picture import Metadata, Picture

EXTENSION, IMAGE, END = 0x21, 0x2C, 0x3B
CONTROL, COMMENT, PLAIN_TEXT, APPLICATION = 0xF9, 0xFE, 0x01, 0xFF
XMP = b"XMP DataXMP"
HAS_TABLE, INTERLACED, TABLE_SIZE = 0x80, 0x40, 0x07
COLOURS = 256
DISPOSALS = {2: CLEAR, 3: RESTORE}
TRIES = 2  # rounds of k-means, by which a table becomes better


@dataclass(frozen=True)
class Block:
    """One block of a file.

    Attributes:
        kind: `IMAGE`, or the label of an extension.
    """

    kind: int
    start: int
    end: int


def read(data: bytes) -> Picture:
    """Return the picture of a GIF of one frame; raise InputError or MemoryLimitError with the reason."""
    animation = _animation(data)
    refuse_animation(len(animation))
    return replace(next(iter(animation)), metadata=Metadata(gif=data))


def encode(picture: Picture) -> bytes:
    """Return a uint8 picture as a GIF file.

    A picture that was read from a GIF becomes the same file with other pixels; its words go if `stripped` has taken
    them from the picture. The colours of any other picture become a table of up to 256.

    Raises:
        OutputError: The picture is gray and was not read from a GIF.
        InputError: The GIF from which the picture was read is damaged.
        MemoryLimitError: The picture takes more memory than there is.
    """
    if picture.metadata.gif is not None:
        return _animation(picture.metadata.gif).encoded([picture], Rewriting())
    alpha = np.full(picture.pixels.shape[:2], 255, np.uint8) if picture.alpha is None else picture.alpha
    if picture.pixels.ndim != 3:
        raise OutputError("gray pictures are not written as GIF", "write PNG")
    table, indices, clear = _indexed(np.dstack([picture.pixels, alpha]))
    options = {} if clear is None else {"transparency": clear}
    return _saved(table, indices, **options)


def parts_of_gif(data: bytes) -> Animation | None:
    """Return the frames of an animated GIF; None for a single picture."""
    animation = _animation(data)
    return animation if len(animation) > 1 else None


def _animation(data: bytes) -> Animation:
    width, height, flags, _, _ = struct.unpack_from("<HHBBB", data, 6)
    table = _table(data, 13, flags)
    frames, control = [], b""
    for block in _blocks(data):
        if block.kind == CONTROL:
            control = data[block.start + 3 : block.start + 7]
        elif block.kind == IMAGE:
            left, top, across, down, local = struct.unpack_from("<HHHHB", data, block.start + 1)
            colours = _table(data, block.start + 10, local) or table
            if not colours:
                raise InputError("the file is damaged: a frame has no colours")
            clear = control[3] if len(control) == 4 and control[0] & 1 else None
            disposal = DISPOSALS.get(control[0] >> 2 & 7, KEEP) if control else KEEP
            body = data[block.start + 10 + len(_table(data, block.start + 10, local)) : block.end]
            decode = partial(_decoded, (across, down), local & INTERLACED, colours, clear, body)
            frames.append(Frame((left, top), (across, down), decode, disposal))
            control = b""
    return Animation(data, "GIF", (width, height), tuple(frames), partial(_rewritten, data))


def _blocks(data: bytes) -> Iterator[Block]:
    """Yield the blocks behind the header, up to the end."""
    position = 13 + len(_table(data, 13, data[10]))
    while position < len(data) and data[position] != END:
        start = position
        if data[position] == EXTENSION:
            kind, position = data[position + 1], position + 2
        elif data[position] == IMAGE:
            kind = IMAGE
            position += 11 + len(_table(data, position + 10, data[position + 9]))  # and the width of the first code
        else:
            raise InputError("the file is damaged: a block is of no known kind")
        while True:
            if position >= len(data):
                raise InputError("the file is truncated")
            size = data[position]
            position += 1 + size
            if not size:
                break
        yield Block(kind, start, position)
    if position >= len(data):
        raise InputError("the file is truncated")


def _table(data: bytes, start: int, flags: int) -> bytes:
    """Return the table of colours that flags announce."""
    return data[start : start + (6 << (flags & TABLE_SIZE))] if flags & HAS_TABLE else b""


def _decoded(size: tuple[int, int], interlaced: int, table: bytes, clear: int | None, body: bytes) -> np.ndarray:
    """Return the pixels of a frame, (h, w, 4)."""
    flags = HAS_TABLE | (len(table) // 3).bit_length() - 2
    head = struct.pack("<6sHHBBB", b"GIF89a", *size, flags, 0, 0) + table
    file = head + struct.pack("<BHHHHB", IMAGE, 0, 0, *size, interlaced) + body + bytes([END])
    image = GifImageFile(BytesIO(file))
    if image.mode not in ("P", "L"):
        raise InputError("the file is damaged")
    indices = np.asarray(image)
    colours = np.zeros((COLOURS, 4), np.uint8)
    colours[: len(table) // 3, :3] = np.frombuffer(table, np.uint8).reshape(-1, 3)
    colours[:, 3] = 255
    if clear is not None:
        colours[clear] = 0
    found: np.ndarray = colours[indices]
    return found


def _rewritten(data: bytes, pixels: Sequence[np.ndarray | None], how: Rewriting) -> bytes:
    """Return the file with other pixels in its frames."""
    head, shared = data[: 13 + len(_table(data, 13, data[10]))], b""
    first = pixels[0]
    if first is not None and all(new is not None for new in pixels) and _table(data, 13, data[10]):
        # No frame needs the table of the file any more, so it becomes that of the first.
        flags, shared, _, _ = _made(first, False)
        head = data[:10] + bytes([data[10] & ~TABLE_SIZE | flags & TABLE_SIZE]) + data[11:13] + shared
    pieces, number, control = [head], 0, b""
    for block in _blocks(data):
        whole = data[block.start : block.end]
        if block.kind == CONTROL:
            control = whole
        elif block.kind == IMAGE:
            new = pixels[number]
            pieces += [control, whole] if new is None else _frame(control, whole, new, b"" if number else shared)
            number, control = number + 1, b""
        elif not (
            (block.kind == COMMENT and (how.strip or whole[3:].startswith(OPENING)))
            or (how.strip and block.kind == APPLICATION and whole[3:14] == XMP)
        ):
            pieces.append(whole)
    return b"".join([*pieces, bytes([END])])


def _frame(control: bytes, whole: bytes, pixels: np.ndarray, shared: bytes) -> list[bytes]:
    """Return the control block and the image of a frame with other pixels, whose table may be that of the file."""
    interlaced = bool(whole[9] & INTERLACED)
    flags, colours, body, clear = _made(pixels, interlaced)
    if control:
        with_clear = control[3] & ~1 | (clear is not None)
        control = control[:3] + bytes([with_clear]) + control[4:6] + bytes([clear or 0]) + control[7:]
    elif clear is not None:
        control = bytes([EXTENSION, CONTROL, 4, 1, 0, 0, clear, 0])
    if colours == shared:
        flags, colours = flags & INTERLACED, b""
    # The table stands behind the nine bytes of place and size, and their flags.
    return [control, whole[:9], bytes([flags]), colours, body]


def _made(pixels: np.ndarray, interlaced: bool) -> tuple[int, bytes, bytes, int | None]:
    """Return flags, table and compressed indices of an image, and which index is transparent."""
    table, indices, clear = _indexed(pixels)
    made = _saved(table, indices, interlace=interlaced)
    image = next(block for block in _blocks(made) if block.kind == IMAGE)
    flags = HAS_TABLE | (made[10] & TABLE_SIZE) | (INTERLACED if interlaced else 0)
    return flags, _table(made, 13, made[10]), made[image.start + 10 : image.end], clear


def _indexed(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Return a table of colours, (n, 3), the indices of pixels, (h, w), and which of them is transparent."""
    drawn = pixels[..., 3] > 0
    room = COLOURS - (not drawn.all())
    packed = pixels[..., :3].astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)  # (h, w)
    distinct, which = np.unique(packed[drawn], return_inverse=True)
    indices = np.zeros(drawn.shape, np.uint8)
    if len(distinct) <= room:
        table = np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], axis=1).astype(np.uint8)
        indices[drawn] = which
    else:
        shown = Image.fromarray(np.where(drawn[..., None], pixels[..., :3], pixels[drawn][0, :3]))
        reduced = shown.quantize(room, Image.Quantize.MEDIANCUT, TRIES, dither=Image.Dither.NONE)
        table = np.array(reduced.getpalette(), np.uint8).reshape(-1, 3)[:room]
        indices = np.array(reduced)
    if drawn.all():
        return table, indices, None
    clear = len(table)
    indices[~drawn] = clear
    return np.vstack([table, np.zeros((1, 3), np.uint8)]), indices, clear


def _saved(table: np.ndarray, indices: np.ndarray, **options: object) -> bytes:
    image = Image.fromarray(indices)
    image.putpalette(table.tobytes())
    buffer = BytesIO()
    image.save(buffer, "GIF", optimize=False, **options)
    return buffer.getvalue()
