"""JPEGs of four inks (CMYK), each denoised as a gray picture with a noise of its own.

Inks are denoised and written as they are stored. Programs of Adobe store how much light is left (255 is no ink), and
write a segment that says so, and whether the first three inks are kept as luma and chroma (YCCK). A picture without
that segment is written without it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from smdae.files import jpeg_file
from smdae.files.eight_bit import EXIF_PREFIX
from smdae.files.exif import stripped
from smdae.files.jpeg_segments import ADOBE, APP14, COMMENT, end_of, segments_of, with_segments
from smdae.files.marks import OPENING, marked
from smdae.files.parts import Rewriting
from smdae.files.picture import Metadata, Picture, check_size
from smdae.files.room import refuse_huge

INKS = 4
YCCK = 2  # in Adobe's segment


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

    def encoded(self, pictures: Sequence[Picture | None], how: Rewriting) -> bytes:
        """Return the JPEG with a picture in place of each ink; where `pictures` has None, the ink stays as it is.

        Raises:
            InputError: The JPEG itself is damaged.
            MemoryLimitError: The JPEG takes more memory than there is.
        """
        stored, _ = self._stored()
        for ink, picture in enumerate(pictures):
            if picture is not None:
                stored[..., ink] = picture.pixels
        segments = segments_of(self.data)
        adobe = next((payload for marker, payload in segments if marker == APP14 and payload.startswith(ADOBE)), b"")
        is_ycck = len(adobe) > 11 and adobe[11] == YCCK
        made = _in_ycck(stored, how.quality) if is_ycck else _in_cmyk(stored, how.quality)
        if how.strip:
            bare = stripped(self._metadata())
            small = Picture(np.zeros((1, 1), np.uint8), 255.0, "JPEG", metadata=bare)
            segments = [*segments_of(jpeg_file.encode(small)), *([(APP14, adobe)] if adobe else [])]
        segments = [one for one in segments if one[0] != COMMENT or not one[1].startswith(OPENING)]
        whole = with_segments(made, segments) + (b"" if how.strip else self.data[end_of(self.data) :])
        return whole if how.words is None else marked(whole, self.format, how.words)

    def _stored(self) -> tuple[np.ndarray, int | None]:
        """Return the inks as they are stored, (H, W, 4), uint8, and the quality of the JPEG."""
        image = JpegImageFile(BytesIO(self.data))
        check_size(*image.size, jpeg_file.DENSEST * len(self.data))
        pixels = image.width * image.height
        refuse_huge(pixels, INKS * pixels, len(self.data))
        return 255 - np.asarray(image), jpeg_file.quality_of(image)  # Pillow turns them round

    def _metadata(self) -> Metadata:
        info = JpegImageFile(BytesIO(self.data)).info
        exif = (info.get("exif") or b"").removeprefix(EXIF_PREFIX)
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
