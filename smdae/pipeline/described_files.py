"""The reading of a file of pictures for `info`, with the noise of each of its channels.

For a camera raw file it is the noise of the mosaic, which is what `denoise` takes out; for stacks, FITS and volumes
that of the page with the median level of each channel; for video that of luma and of each chroma in the first frames.
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
from smdae.files import fits, images, ome_metadata, ome_zarr, parts, raw, stack, y4m
from smdae.files.images import decoding, opening
from smdae.files.picture import Picture
from smdae.files.sequence import Ahead
from smdae.pipeline.picture_description import UNLOADED, Description, described
from smdae.pipeline.picture_noise import find_noise
from smdae.pipeline.places import STREAM
from smdae.pipeline.shared_noise import typical_noise

if TYPE_CHECKING:
    from smdae.files.stack import Stack
    from smdae.pipeline.options import Options

FRAMES = 5  # of a video, that are examined
PLANES = ("luma", "blue chroma", "red chroma")


def describe(source: Path, options: "Options") -> list[Description]:
    """Read a file, estimate its noise, and return a description of each channel.

    Raises:
        InputError, MemoryLimitError: The file cannot be read.
        UsageError, InputError: As `find_noise`; an option does not go with files of this kind.
    """
    from smdae.pipeline.reading import piped
    from smdae.pipeline.stacked import called_key

    name = "stdin" if source == STREAM else str(source)
    begun = y4m.exactly(sys.stdin.buffer, len(y4m.MAGIC)) if source == STREAM else None
    if begun == y4m.MAGIC or (begun is None and y4m.is_video(source)):
        return _of_video(source, begun, name, options)
    if ome_metadata.is_volume(source):
        return _of_volume(source, name, options)
    content = source if begun is None else piped(begun)
    if raw.is_raw(content, name):
        return _of_raw(content, name, options)
    if fits.is_fits(content):
        return _of_fits(content, name, options)
    several = parts.find(content, name)
    if several is not None:
        noise, shared = typical_noise(several, UNLOADED, options, name)
        return [described(name, several.page(0), len(several), noise, shared, piece=several.container.piece)]
    if stack.count(content) > 1:
        with stack.opened(content, name) as pages:
            descriptions = [
                described(
                    name,
                    group.page(0),
                    len(group),
                    *typical_noise(group, UNLOADED, options, name, len(pages.groups) > 1),
                    channel=(group.key.channel + 1, len(pages.groups)),
                    series=group.key.series + 1,
                    part=called_key(pages, group.key) if len(pages.axes) > 1 else "",
                )
                for group in pages.groups.values()
            ]
            return descriptions or [_of_bits(name, pages, options)]
    picture = images.read(content, name)
    return [described(name, picture, 1, find_noise(picture, UNLOADED, options, name), options)]


def _of_bits(name: str, pages: "Stack", options: "Options") -> Description:
    """Describe a TIFF whose pages are all of one bit a sample, which `denoise` leaves as they are."""
    bits = pages.pictures(0)[0]
    picture = replace(bits, pixels=255 * bits.pixels)
    height, width = picture.pixels.shape[:2]
    size = f"{len(pages)} pages of {width} x {height}" if len(pages) > 1 else f"{width} x {height}"
    what = f"{size} in black and white, 1 bit, TIFF"
    return described(name, picture, len(pages), find_noise(picture, UNLOADED, options, name), options, what=what)


def _of_raw(content: Path | bytes, name: str, options: "Options") -> list[Description]:
    """Read a camera raw file, estimate its noise, and return the description of both."""
    from smdae.pipeline.one_raw import noise_of, stand_in

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


def _of_fits(content: Path | bytes, name: str, options: "Options") -> list[Description]:
    """Read a FITS file, and return each of its images with its noise."""
    from smdae.pipeline.one_fits import planes_of

    options = replace(options, mend=False)  # stars are as small as outliers
    found = []
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
            found.append(described(name, picture, len(planes), *noise, channel=channel, what=what))
    return found


def _of_volume(folder: Path, name: str, options: "Options") -> list[Description]:
    """Read an OME-Zarr, and return each of its channels with its noise."""
    from smdae.pipeline.volume_channels import planes_in

    found = []
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
                found.append(described(name, picture, count, *noise, channel=(c + 1, image.channels), what=what))
    return found


def _of_video(source: Path, begun: bytes | None, name: str, options: "Options") -> list[Description]:
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
    found = []
    for k in range(count):
        pictures = [Picture(np.ascontiguousarray(planes[k][::step]), white, "Y4M") for planes in frames]
        height, width = header.shapes[k]
        frame = f"{len(frames)} frames" if len(frames) > 1 else "frame"
        what = f"the first {frame}, {PLANES[k]} of {width} x {height}, {header.bits} bits, Y4M"
        noise = typical_noise(Numbered(len(pictures), pictures.__getitem__), UNLOADED, options, name)
        found.append(described(name, pictures[0], len(frames), *noise, channel=(k + 1, count), what=what))
    return found


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
