"""The noise of files with their own readers, for `info`: camera raw, FITS, video and OME-Zarr volumes.

For a raw file it is the noise of the mosaic, which is what `denoise` takes out; for FITS and volumes that of the plane
with the median level of each image or channel; for video that of luma and of each chroma in the first frames.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.errors import InputError, UsageError
from smdae.files import fits, ome_zarr, raw, y4m
from smdae.files.images import decoding, opening
from smdae.files.picture import Picture
from smdae.files.sequence import Ahead
from smdae.pipeline.picture_description import UNLOADED, Description, described

if TYPE_CHECKING:
    from smdae.pipeline.options import Options

FRAMES = 5  # of a video, that are examined
PLANES = ("luma", "blue chroma", "red chroma")


def of_raw(content: Path | bytes, name: str, options: "Options") -> list[Description]:
    """Read a camera raw file, estimate its noise, and return the description of both."""
    from smdae.pipeline.one_raw import noise_of, stand_in
    from smdae.pipeline.picture_noise import find_noise

    if options.white is not None or options.black is not None or options.noise == "grain":
        raise UsageError("--white, --black and --noise grain do not go with camera raw files", "leave them out")
    with raw.opened(content.read_bytes() if isinstance(content, Path) else content, name, quiet=True) as shot:
        if shot.mosaic is None:
            picture = replace(shot.developed(), format="RAW")
            return [described(name, picture, 1, find_noise(picture, UNLOADED, options, name), options)]
        width, height = shot.size
        what = f"{width} x {height}, a mosaic of red, green and blue, camera raw"
        found = noise_of(shot, shot.mosaic, options)
        picture = replace(stand_in(shot.size, "uint16"), format="RAW")
        return [described(name, picture, 1, found, options, what=what)]


def of_fits(content: Path | bytes, name: str, options: "Options") -> list[Description]:
    """Read a FITS file, and return each of its images with its noise."""
    from smdae.pipeline.one_fits import planes_of
    from smdae.pipeline.shared_noise import typical_noise

    options = replace(options, mend=False)  # stars are as small as outliers
    parts = []
    with fits.opened(content, name) as file:
        for k, image in enumerate(file.images):
            planes = planes_of(image, file.file)
            picture = replace(planes.page(0), format="FITS")
            height, width = image.shape
            of = f"image {k + 1} of {len(file.images)}, " if len(file.images) > 1 else ""
            size = f"{len(planes)} planes of {width} x {height}" if len(planes) > 1 else f"{width} x {height}"
            bits = 8 * image.dtype.itemsize
            depth = f"{bits}-bit floats" if image.dtype.kind == "f" else f"{bits} bits"
            what = f"{of}{size} in gray, {depth}, FITS"
            noise = typical_noise(planes, UNLOADED, options, name, len(file.images) > 1)
            channel = k + 1, len(file.images)
            parts.append(described(name, picture, len(planes), *noise, channel=channel, what=what))
    return parts


def of_volume(folder: Path, name: str, options: "Options") -> list[Description]:
    """Read an OME-Zarr, and return each of its channels with its noise."""
    from smdae.pipeline.shared_noise import typical_noise
    from smdae.pipeline.volume_channels import planes_in

    parts = []
    with ome_zarr.opened(folder, name) as volume:
        for image in volume.images:
            height, width = image.shape[-2:]
            for c in range(image.channels):
                count = len(all_planes := image.planes(c))
                planes = planes_in(image, image.written(all_planes), name)
                picture = replace(planes.page(0), format="OME-Zarr")
                of = f"channel {c + 1} of {image.channels}, " if image.channels > 1 else ""
                size = f"{count:,} planes of {width} x {height}" if count > 1 else f"{width} x {height}"
                format = "OME-Zarr" if image.is_ome else "Zarr"
                what = f"{of}{size} in gray, {image.array.dtype.name}, {format} {image.axes}"
                noise = typical_noise(planes, UNLOADED, options, name, image.channels > 1)
                parts.append(described(name, picture, count, *noise, channel=(c + 1, image.channels), what=what))
    return parts


def of_video(source: Path, begun: bytes | None, name: str, options: "Options") -> list[Description]:
    """Read the first frames of a Y4M video, and return each of their planes with its noise.

    `begun` are the bytes already read from stdin.
    """
    from smdae.estimation.scale import Scale
    from smdae.pipeline.shared_noise import Numbered, typical_noise

    if options.white is not None or options.black is not None:
        raise UsageError("--white and --black do not go with video", "leave them out")
    with _stream(source, begun) as stream, decoding(f"'{name}'"):
        header = y4m.read_header(stream)
        frames = [planes for _, planes in islice(y4m.frames(stream, header), FRAMES)]
    if not frames:
        raise InputError(f"cannot read '{name}': it has no frames")
    white = float(header.white)
    options = replace(options, mend=False, scale=Scale(0.0, white, (0.0, white)))
    count = len(header.shapes) - header.has_alpha
    step = 2 if header.is_interlaced else 1  # the rows of one field
    parts = []
    for k in range(count):
        pictures = [Picture(np.ascontiguousarray(planes[k][::step]), white, "Y4M") for planes in frames]
        height, width = header.shapes[k]
        frame = f"{len(frames)} frames" if len(frames) > 1 else "frame"
        what = f"the first {frame}, {PLANES[k]} of {width} x {height}, {header.bits} bits, Y4M"
        noise = typical_noise(Numbered(len(pictures), pictures.__getitem__), UNLOADED, options, name)
        parts.append(described(name, pictures[0], len(frames), *noise, channel=(k + 1, count), what=what))
    return parts


@contextmanager
def _stream(source: Path, begun: bytes | None) -> Iterator[Any]:
    """Yield a stream of a file, or of stdin with the bytes already read in front."""
    if begun is not None:
        yield Ahead(begun, sys.stdin.buffer)
        return
    with opening(str(source)):
        file = source.open("rb")
    with file:
        yield file
