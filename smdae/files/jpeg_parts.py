"""JPEGs of more than one part: the pictures of an MPO (`mpo`), and the inks of CMYK (`cmyk`)."""

from io import BytesIO

from PIL.JpegImagePlugin import JpegImageFile

from smdae.files.cmyk import Inks
from smdae.files.jpeg_segments import APP2, MPF, segments_of
from smdae.files.mpo import Mpo, mpo_of

__all__ = ["parts_of_jpeg"]


def parts_of_jpeg(data: bytes) -> "Mpo | Inks | None":
    """Return the parts of a JPEG; None for a single picture. Raises InputError for parts that cannot be separated."""
    segments = segments_of(data)
    index = next((payload for marker, payload in segments if marker == APP2 and payload.startswith(MPF)), None)
    if index is not None:
        mpo = mpo_of(data, index)
        if mpo is not None:
            return mpo
    image = JpegImageFile(BytesIO(data))
    return Inks(data) if image.mode == "CMYK" else None
