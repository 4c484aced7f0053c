"""The EXIF orientation: how a picture is turned and mirrored before it is shown.

    1 as stored, 2 mirrored, 3 by a half turn, 4 mirrored and by a half turn, 5 to 8 with width and height exchanged

Pixels are denoised as they are stored. What is made while looking at a picture, such as a mask, is turned back to that.
"""

from io import BytesIO

import numpy as np
from PIL.ExifTags import Base

from smdae.files.exif import described
from smdae.files.picture import Metadata

QUARTERS = {3: 2, 6: 1, 8: 3}  # counterclockwise, by which an upright picture becomes the stored one
MIRRORED = {2: 0, 7: 1, 4: 2, 5: 3}  # and, behind that, a change of left and right


def orientation_of(metadata: Metadata) -> int:
    """Return the orientation in the EXIF of a picture, 1 to 8; 1 if there is none."""
    words = described(BytesIO((metadata.exif or b"").removeprefix(b"Exif\0\0")))
    found = words.get(Base.Orientation, 1)
    return found if found in {*QUARTERS, *MIRRORED} else 1


def turned_back(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return upright pixels, (H, W) or (H, W, C), as they are stored under an orientation."""
    turned = np.rot90(pixels, QUARTERS.get(orientation, MIRRORED.get(orientation, 0)))
    return turned[:, ::-1] if orientation in MIRRORED else turned


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels that are stored under an orientation, (H, W) or (H, W, C), as they are shown."""
    turned = pixels[:, ::-1] if orientation in MIRRORED else pixels
    return np.rot90(turned, -QUARTERS.get(orientation, MIRRORED.get(orientation, 0)))


def lying_over(pixels: np.ndarray, metadata: Metadata, other: Metadata, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels of a picture, (H, W) or (H, W, C), turned as another picture of the same scene is stored.

    The two are laid over each other as they are shown. If their sizes differ then, but agree as stored, the pixels are
    returned as they are stored.

    Args:
        pixels: The pixels as they are stored.
        metadata: The metadata of their picture.
        other: The metadata of the other picture.
        size: The height and the width of the other picture as it is stored.
    """
    own, wanted = orientation_of(metadata), orientation_of(other)
    if own == wanted:
        return pixels
    turned = turned_back(upright(pixels, own), wanted)
    return pixels if turned.shape[:2] != size and pixels.shape[:2] == size else turned
