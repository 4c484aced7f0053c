"""MPO: several JPEGs one behind the other, with an index of them in the first (CIPA DC-007).

A segment of the first, "MPF", holds a TIFF directory, and in it an entry of 16 bytes for each JPEG: its kind, its
length, its place. Pictures that are as large as the first are denoised; previews, depth and gain maps are left alone,
and so is all that stands between and behind the pictures. Of the index only lengths and places change. The inks of CMYK
are parts of a JPEG too (`cmyk`).
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise

from PIL.JpegImagePlugin import JpegImageFile

from smdae.errors import InputError
from smdae.files import jpeg_file
from smdae.files.cmyk import Inks
from smdae.files.exif import stripped
from smdae.files.jpeg_segments import APP2, MPF, end_of, segments_of, with_segments
from smdae.files.marks import marked
from smdae.files.parts import Rewriting
from smdae.files.picture import Picture

ENTRIES, ENTRY = 0xB002, 16  # the tag of the index, the bytes of one of its entries
MAX_ENTRIES = 1000
KIND = 0xFFFFFF  # of a picture in its entry
PREVIEWS = (0x010001, 0x010002)
# Words by which pictures that are only maps are recognised.
MAPS = (b"hdrgm:", b"HDRGainMap", b"urn:iso:std:iso:ts:21496", b"DepthMap", b"apdi:")


@dataclass(frozen=True, eq=False)
class Mpo:
    """The pictures of an MPO.

    Attributes:
        places: The start and end of each JPEG in it, in the order of the index.
        shown: The numbers of the JPEGs that are denoised.
        entries: The offset of the entries in the index.
        order: The byte order of the index, as `struct` writes it.
    """

    data: bytes
    places: tuple[tuple[int, int], ...]
    shown: tuple[int, ...]
    entries: int
    order: str
    format = "JPEG"
    piece = "picture"
    alike = False

    @property
    def called(self) -> str:
        """Return what messages call the whole file, such as "an MPO of 2 pictures"."""
        return f"an MPO of {len(self.places)} pictures"

    def __len__(self) -> int:
        return len(self.shown)

    def __iter__(self) -> Iterator[Picture]:
        return (self._read(number) for number in self.shown)

    def _read(self, number: int) -> Picture:
        start, end = self.places[number]
        return jpeg_file.read(self.data[start:end])

    def encoded(self, pictures: Sequence[Picture | None], how: Rewriting) -> bytes:
        """Return the MPO with other pixels; if stripped, the index is all that stays of its words.

        Raises:
            InputError: A JPEG in it is damaged.
            MemoryLimitError: It takes more memory than there is.
        """
        made = [self.data[start:end] for start, end in self.places]
        for number, picture in zip(self.shown, pictures, strict=True):
            if picture is None and not how.strip and how.quality is None:
                continue
            picture = picture or self._read(number)
            index = [s for s in segments_of(made[number]) if s[0] == APP2 and s[1].startswith(MPF)]
            metadata = stripped(picture.metadata) if how.strip else picture.metadata
            whole = jpeg_file.encode(replace(picture, metadata=metadata), how.quality or jpeg_file.QUALITY)
            own = segments_of(whole)
            made[number] = with_segments(whole, [*own, *index])
        if how.words is not None:
            made[0] = marked(made[0], self.format, how.words)
        return self._joined(made)

    def _joined(self, made: list[bytes]) -> bytes:
        """Return the pictures in their order in the file, with what stood between them, and lengths and places."""
        pieces, position, size, starts = list[bytes](), 0, 0, dict[int, int]()
        for number in sorted(range(len(made)), key=lambda k: self.places[k]):
            start, end = self.places[number]
            pieces += [self.data[position:start], made[number]]
            starts[number] = size + start - position
            size = starts[number] + len(made[number])
            position = end
        whole = bytearray(b"".join([*pieces, self.data[position:]]))
        origin = whole.index(b"\xff\xe2", 2)
        while whole[origin + 4 : origin + 8] != MPF:
            origin = whole.index(b"\xff\xe2", origin + 2)
        origin += 8
        for number, picture in enumerate(made):
            place = starts[number] - origin if number else 0
            struct.pack_into(f"{self.order}II", whole, origin + self.entries + ENTRY * number + 4, len(picture), place)
        return bytes(whole)


def parts_of_jpeg(data: bytes) -> "Mpo | Inks | None":
    """Return the parts of a JPEG; None for a single picture. Raises InputError for parts that cannot be separated."""
    index = next((payload for marker, payload in segments_of(data) if marker == APP2 and payload.startswith(MPF)), None)
    mpo = None if index is None else _mpo_of(data, index)
    if mpo is not None:
        return mpo
    return Inks(data) if JpegImageFile(BytesIO(data)).mode == "CMYK" else None


def _mpo_of(data: bytes, index: bytes) -> Mpo | None:
    """Return the pictures of an MPO; None if there is only one, or the index cannot be understood.

    Raises:
        InputError: The file is truncated, or the index names places where no pictures begin.
    """
    directory = index[len(MPF) :]
    origin = data.index(index) + len(MPF)
    try:
        order, entries, count = _entries(directory)
        kinds, starts = [], []
        for number in range(count):
            kind, _, place = struct.unpack_from(f"{order}III", directory, entries + ENTRY * number)
            kinds.append(kind & KIND)
            starts.append(origin + place if number else 0)
    except (struct.error, KeyError, ValueError):
        return None
    if count < 2:
        return None
    if max(starts) + 2 > len(data):
        raise InputError("the file is truncated")
    if len({*starts}) < count or any(data[start : start + 2] != b"\xff\xd8" for start in starts):
        raise InputError("the file is damaged: its index of pictures is wrong")
    # The lengths in an index are often wrong, also in those that Pillow writes.
    limits = dict(pairwise([*sorted(starts), len(data)]))
    view = memoryview(data)
    places = tuple((start, start + end_of(view[start : limits[start]])) for start in starts)
    first = JpegImageFile(BytesIO(data[: places[0][1]])).size
    shown = [
        number
        for number, (kind, (start, end)) in enumerate(zip(kinds, places, strict=True))
        if number == 0 or _is_shown(data[start:end], kind, first)
    ]
    return Mpo(data, places, tuple(shown), entries, order)


def _entries(directory: bytes) -> tuple[str, int, int]:
    """Return the byte order of an index, where its entries start, and how many there are."""
    order = {b"II": "<", b"MM": ">"}[directory[:2]]
    (first,) = struct.unpack_from(f"{order}I", directory, 4)
    (tags,) = struct.unpack_from(f"{order}H", directory, first)
    for k in range(tags):
        tag, _, nbytes, place = struct.unpack_from(f"{order}HHII", directory, first + 2 + 12 * k)
        if tag == ENTRIES:
            if nbytes % ENTRY or nbytes > ENTRY * MAX_ENTRIES:
                raise ValueError(nbytes)
            return order, place, nbytes // ENTRY
    raise KeyError(ENTRIES)


def _is_shown(jpeg: bytes, kind: int, size: tuple[int, int]) -> bool:
    """Return whether one of the pictures behind the first is such a picture itself."""
    if kind in PREVIEWS or any(word in payload for _, payload in segments_of(jpeg) for word in MAPS):
        return False
    image = JpegImageFile(BytesIO(jpeg))
    return image.size == size and image.mode in ("L", "RGB")
