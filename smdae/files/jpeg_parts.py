"""JPEGs of more than one part: the pictures of an MPO, and the inks of CMYK.

MPO (CIPA DC-007) is JPEGs one behind the other. A segment of the first, "MPF", holds a TIFF directory, and in it an
entry of 16 bytes for each: its kind, its length, its place. Pictures that are as large as the first are denoised;
previews, depth and gain maps are left alone, and so is all that stands between and behind the pictures. Of the index
only lengths and places change.

Four channels are inks. They are denoised as they are stored, each as a gray picture with a noise of its own, and stored
in the same way: programs of Adobe store how much light is left (255 is no ink) and write a segment that says so, and
whether the first three inks are kept as luma and chroma (YCCK). A picture without that segment is written without it.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from smdae.errors import InputError
from smdae.files import jpeg_file
from smdae.files.exif import stripped
from smdae.files.extent import refuse_huge
from smdae.files.jpeg_segments import ADOBE, APP2, APP14, MPF, end_of, segments_of, with_segments
from smdae.files.picture import Metadata, Picture, check_size

__all__ = ["Inks", "Mpo", "parts_of_jpeg"]

INKS = 4
YCCK = 2  # in Adobe's segment
ENTRIES, ENTRY = 0xB002, 16  # the tag of the index, the bytes of one of its entries
MAX_ENTRIES = 1000
KIND = 0xFFFFFF  # of a picture in its entry
PREVIEWS = (0x010001, 0x010002)
MAPS = (
    b"hdrgm:",
    b"HDRGainMap",
    b"urn:iso:std:iso:ts:21496",
    b"DepthMap",
    b"apdi:",
)  # by which pictures that are only maps are recognised


def parts_of_jpeg(data: bytes) -> "Mpo | Inks | None":
    """Return the parts of a JPEG; None for a single picture. Raises InputError for parts that cannot be separated."""
    segments = segments_of(data)
    index = next((payload for marker, payload in segments if marker == APP2 and payload.startswith(MPF)), None)
    if index is not None:
        mpo = _mpo(data, index)
        if mpo is not None:
            return mpo
    image = JpegImageFile(BytesIO(data))
    return Inks(data) if image.mode == "CMYK" else None


# ---- MPO ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Mpo:
    """The pictures of an MPO.

    Attributes:
        data: The file.
        places: Start and end of each JPEG in it, in the order of the index.
        shown: The numbers of those that are denoised.
        entries: Where the entries stand, from the start of the index on.
        order: Of the bytes in the index, as `struct` has it.
    """

    data: bytes
    places: tuple[tuple[int, int], ...]
    shown: tuple[int, ...]
    entries: int
    order: str
    format = "JPEG"
    alike = False

    @property
    def called(self) -> str:
        """Return what messages call the whole file, such as "an MPO of 2 pictures"."""
        return f"an MPO of {len(self.places)} pictures"

    @property
    def piece(self) -> str:
        """Return what messages call a part of it: "picture"."""
        return "picture"

    def __len__(self) -> int:
        return len(self.shown)

    def __iter__(self) -> Iterator[Picture]:
        return (self._read(number) for number in self.shown)

    def _read(self, number: int) -> Picture:
        start, end = self.places[number]
        return jpeg_file.read(self.data[start:end])

    def encoded(self, pictures: Sequence[Picture | None], quality: int | None = None, strip: bool = False) -> bytes:
        """Return the MPO with other pixels; with `strip`, the index is all that stays of its words."""
        made = [self.data[start:end] for start, end in self.places]
        for number, picture in zip(self.shown, pictures, strict=True):
            if picture is None and not strip and quality is None:
                continue
            picture = picture or self._read(number)
            index = [s for s in segments_of(made[number]) if _is_index(s)]
            metadata = stripped(picture.metadata) if strip else picture.metadata
            whole = jpeg_file.encode(replace(picture, metadata=metadata), quality or jpeg_file.QUALITY)
            own = segments_of(whole)
            made[number] = with_segments(whole, [*own, *index])
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


def _is_index(segment: tuple[int, bytes]) -> bool:
    return segment[0] == APP2 and segment[1].startswith(MPF)


def _mpo(data: bytes, index: bytes) -> Mpo | None:
    """Return the pictures of an MPO; None where there is only one, or the index makes no sense to anyone."""
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


# ---- CMYK ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Inks:
    """The four inks of a JPEG in CMYK, as they are stored."""

    data: bytes
    format = "JPEG"
    called = "a picture in four inks (CMYK)"
    piece = "ink"
    alike = False

    def __len__(self) -> int:
        return INKS

    def __iter__(self) -> Iterator[Picture]:
        stored, quality = self._stored()
        for ink in range(INKS):
            yield Picture(np.ascontiguousarray(stored[..., ink]), 255.0, "JPEG", lossless=False, quality=quality)

    def encoded(self, pictures: Sequence[Picture | None], quality: int | None = None, strip: bool = False) -> bytes:
        """Return the JPEG with other inks."""
        stored, _ = self._stored()
        for ink, picture in enumerate(pictures):
            if picture is not None:
                stored[..., ink] = picture.pixels
        segments = segments_of(self.data)
        adobe = next((payload for marker, payload in segments if marker == APP14 and payload.startswith(ADOBE)), b"")
        is_ycck = len(adobe) > 11 and adobe[11] == YCCK
        made = _in_ycck(stored, quality) if is_ycck else _in_cmyk(stored, quality)
        if strip:
            bare = stripped(self._metadata())
            small = Picture(np.zeros((1, 1), np.uint8), 255.0, "JPEG", metadata=bare)
            segments = [*segments_of(jpeg_file.encode(small)), *([(APP14, adobe)] if adobe else [])]
        return with_segments(made, segments) + (b"" if strip else self.data[end_of(self.data) :])

    def _stored(self) -> tuple[np.ndarray, int | None]:
        """Return the inks as they are stored, (H, W, 4), uint8, and the quality of the JPEG."""
        image = JpegImageFile(BytesIO(self.data))
        check_size(*image.size, jpeg_file.DENSEST * len(self.data))
        pixels = image.width * image.height
        refuse_huge(pixels, INKS * pixels, len(self.data))
        return 255 - np.asarray(image), jpeg_file.quality_of(image)  # Pillow turns them round

    def _metadata(self) -> Metadata:
        info = JpegImageFile(BytesIO(self.data)).info
        exif = (info.get("exif") or b"").removeprefix(jpeg_file.EXIF_PREFIX)
        return Metadata(exif=exif or None, icc=info.get("icc_profile") or None, dpi=info.get("dpi"))


def _in_cmyk(stored: np.ndarray, quality: int | None) -> bytes:
    buffer = BytesIO()
    image = Image.frombytes("CMYK", stored.shape[1::-1], (255 - stored).tobytes())
    image.save(buffer, "JPEG", quality=quality or jpeg_file.QUALITY, subsampling=0)
    return buffer.getvalue()


def _in_ycck(stored: np.ndarray, quality: int | None) -> bytes:
    import imagecodecs

    level = quality or jpeg_file.QUALITY
    return bytes(
        imagecodecs.jpeg8_encode(
            np.ascontiguousarray(stored), level, colorspace="CMYK", outcolorspace="YCCK", subsampling="444"
        )
    )
