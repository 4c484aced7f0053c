"""Whole files of science, cameras, streams, tables and noise profiles, a few thousand bytes each, by name.

They are the same bytes in every process: what libraries make up each time, as dates and identifiers, is replaced.
"""

import gzip
import io
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from benchmarks import dng
from smdae.files import fits, ome_zarr, raw

HEIGHT, WIDTH = 24, 20
MADE_UP = re.compile(rb"(?<=urn:uuid:)[0-9a-f-]{36}|(?<=updated )[0-9T:.-]{19}|(?<=CHECKSUM= ')[^']{16}")


def _noisy(*shape: int, white: int = 255, seed: int = 3) -> np.ndarray:
    """Return waves and noise, of 0 to `white`; the last two axes are rows and columns."""
    rows, columns = np.mgrid[0 : shape[-2], 0 : shape[-1]]
    waves = 0.5 + 0.3 * np.sin(rows / 3 + columns / 4)
    noise = 0.03 * np.random.default_rng(seed).standard_normal(shape)
    kind = np.uint8 if white < 256 else np.uint16
    return np.rint(white * (waves + noise)).clip(0, white).astype(kind)


def _stack(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def _pages(values: np.ndarray, **options: Any) -> bytes:
    return _stack(values, photometric="minisblack", metadata=None, **options)


def _levels(big: bool) -> bytes:
    """Return a picture with smaller ones: of two pages in directories below each, else of one behind it."""
    file = io.BytesIO()
    values = _noisy(2, 64, 48, white=4095)
    with tifffile.TiffWriter(file, ome=big) as tiff:
        if big:
            tiff.write(values, subifds=1, metadata={"axes": "ZYX"}, tile=(16, 16))
            tiff.write(values[:, ::2, ::2], subfiletype=1, tile=(16, 16))
        else:
            tiff.write(values[0], metadata=None)
            tiff.write(values[0, ::2, ::2], subfiletype=1, metadata=None)
    return file.getvalue()


def _series() -> bytes:
    """Return an OME-TIFF of two series."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, ome=True) as tiff:
        tiff.write(_noisy(2, HEIGHT, WIDTH, white=4095), metadata={"axes": "CYX"}, compression="zlib")
        tiff.write(_noisy(3, 16, WIDTH), metadata={"axes": "TYX"})
    return file.getvalue()


def _stacks() -> dict[str, bytes]:
    deep, pages = _noisy(2, 2, HEIGHT, WIDTH, white=4095), _noisy(3, HEIGHT, WIDTH)
    colour = np.moveaxis(_noisy(2, 3, HEIGHT, WIDTH), 1, 3).copy()
    floats = (deep / np.float32(4095)).astype(np.float32)
    table = np.stack([np.arange(256, dtype=np.uint8)] * 3)
    said = {"axes": "TCYX", "Labels": ["a", "b", "c", "d"], "LUTs": [table, table], "Ranges": (0.0, 9.0, 1.0, 8.0)}
    return {
        "TIFF-stack ImageJ": _stack(deep, imagej=True, metadata=said, resolution=(3.0, 3.0)),
        "TIFF-stack ImageJ, big-endian": _stack(floats, imagej=True, metadata={"axes": "ZCYX"}, byteorder=">"),
        "TIFF-stack OME": _stack(deep, ome=True, metadata={"axes": "ZCYX"}, tile=(16, 16), compression="zlib"),
        "TIFF-stack OME series": _series(),
        "TIFF-stack axes": _stack(deep, metadata={"axes": "TCYX"}, compression="lzw", predictor=True),
        "TIFF-stack zstd": _pages(floats[0], compression="zstd", predictor=3),
        "TIFF-stack JPEG": _stack(colour, metadata=None, compression="jpeg", photometric="rgb"),
        "TIFF-stack JPEG 2000": _pages(pages, compression="jpeg2000"),
        "TIFF-stack packbits": _pages(pages, compression="packbits", rowsperstrip=5),
        "TIFF-stack planes": _stack(np.moveaxis(colour, 3, 1).copy(), photometric="rgb", planarconfig="separate"),
        "TIFF-stack BigTIFF": _pages(pages.astype(np.int32), bigtiff=True),
        "TIFF-stack bits": _pages(pages > 128),
        "TIFF-stack two channels": _pages(
            np.moveaxis(deep[0], 0, 2).copy(), planarconfig="contig", extrasamples=["unspecified"]
        ),
        "TIFF-stack float 16": _pages(floats[0].astype(np.float16)),
        "TIFF-stack levels": _levels(big=False),
        "TIFF-stack pyramid": _levels(big=True),
    }


def _fits() -> dict[str, bytes]:
    from astropy.io import fits as library

    def saved(*units: Any, **options: Any) -> bytes:
        file = io.BytesIO()
        library.HDUList([*units]).writeto(file, **options)
        return file.getvalue()

    values = _noisy(HEIGHT, WIDTH, white=4095)
    cube = _noisy(2, HEIGHT, WIDTH).astype(np.float32)
    cube[0, 3:5, 4] = np.nan
    counts = library.ImageHDU(values.astype(np.int16))
    counts.header["BLANK"] = int(values[2, 3])
    packed = saved(library.PrimaryHDU(values.astype(np.float64)))
    science = library.ImageHDU(values.astype(np.int32), name="SCI")
    column = library.Column("a", "J", array=np.arange(5))
    return {
        "FITS uint16": saved(library.PrimaryHDU(values)),
        "FITS cube": saved(library.PrimaryHDU(cube)),
        "FITS bytes": saved(library.PrimaryHDU(_noisy(HEIGHT, WIDTH))),
        "FITS units": saved(library.PrimaryHDU(), counts, library.BinTableHDU.from_columns([column])),
        "FITS sums": saved(library.PrimaryHDU(), science, library.ImageHDU(cube, name="ERR"), checksum=True),
        "FITS packed": gzip.compress(packed, mtime=0),
    }


def _shots() -> dict[str, bytes]:
    seen = dng.exposed(dng.mosaic(dng.scene(32, 40)), 0.004, 0.01)
    developed = np.rint(16383 * dng.scene(32, 40)).astype(np.uint16)
    small = np.rint(255 * dng.scene(16, 20)).astype(np.uint8)
    return {
        "DNG": dng.dng(seen),
        "DNG noise": dng.dng(seen, "GBRG", noise=(0.004, 0.0001), orientation=6),
        "DNG thumbnail": dng.dng(seen, "BGGR", noise=(0.004, 0.0001) * 3, thumbnail=small),
        "DNG demosaiced": dng.dng(developed),
    }


def _video(words: str, *planes: tuple[int, int], bits: int = 8) -> bytes:
    """Return a video of three frames."""
    kind = np.uint8 if bits == 8 else "<u2"
    header = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 {words} XCOLORRANGE=LIMITED\n".encode()
    frames = [
        b"FRAME\n" + b"".join(_noisy(*plane, white=(1 << bits) - 1, seed=k).astype(kind).tobytes() for plane in planes)
        for k in range(3)
    ]
    return header + b"".join(frames)


def _png(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def _streams() -> dict[str, bytes]:
    whole, half = (HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2)
    pages = _noisy(3, HEIGHT, WIDTH)
    colour = np.moveaxis(_noisy(3, HEIGHT, WIDTH, white=4095), 0, 2).astype(">u2")
    return {
        "Y4M": _video("Ip A1:1 C420mpeg2", whole, half, half),
        "Y4M 10 bits": _video("C444p10", whole, whole, whole, bits=10),
        "Y4M alpha, interlaced": _video("It C444alpha", whole, whole, whole, whole),
        "Y4M gray": _video("Cmono", whole),
        "-Y4M": _video("C422", whole, (HEIGHT, WIDTH // 2), (HEIGHT, WIDTH // 2)),
        "-PNG": b"".join(map(_png, pages)),
        "-PNM": b"".join(b"P5\n%d %d\n255\n%s" % (WIDTH, HEIGHT, page.tobytes()) for page in pages),
        "-PNM 12 bits": b"".join(b"P6 %d %d 4095\n%s" % (WIDTH, HEIGHT, colour.tobytes()) for _ in range(2)),
    }


def _arrays() -> dict[str, bytes]:
    def saved(write: Callable[..., None], *values: np.ndarray) -> bytes:
        file = io.BytesIO()
        write(file, *values)
        return file.getvalue()

    pages, rows = _noisy(3, HEIGHT, WIDTH), _noisy(30, 4) / 255.0
    colour = np.moveaxis(_noisy(2, 3, HEIGHT, WIDTH, white=4095), 1, 3)
    text = "\n".join(["a,b,c,d", *(",".join(f"{value:.4f}" for value in row) for row in rows)])
    return {
        "NPY stack": saved(np.save, pages),
        "NPY stack, colour": saved(np.save, colour.astype(">u2")),
        "NPY stack, floats": saved(np.save, np.asfortranarray(pages / 255.0)),
        "NPY rows": saved(np.save, rows),
        "NPZ images": saved(np.savez, pages, colour),
        "NPZ packed": saved(np.savez_compressed, rows),
        "CSV": text.encode(),
        "CSV semicolons": text.replace(",", ";").replace(".", ",").encode(),
        "TSV": text.partition("\n")[2].replace(",", "\t").encode("utf-8-sig"),
    }


PROFILES = (
    """# noise
smdae: noise profile
version: 1
white: 255.0
zero: 0.0
curves:
- {gain: 0.8, black: 0.0, read: 2.5}
""",
    """smdae: noise profile
version: 1
curves:
- {at: [0.0, 128.0, 255.0], levels: [2.1, 6.0, 8.0]}
grain:
- [1.0, 0.5]
- [0.5, 0.25]
""",
)


def files() -> dict[str, bytes]:
    """Return all files that are one, by name; those whose name begins with - are for a pipe."""
    made = {**_stacks(), **_streams(), **_arrays()}
    made |= _fits() if fits.is_installed() else {}
    made |= _shots() if raw.is_installed() else {}
    return {name: MADE_UP.sub(lambda found: b"0" * len(found[0]), data) for name, data in made.items()}


def picture() -> bytes:
    """Return a PNG in gray."""
    return _png(_noisy(HEIGHT, WIDTH))


def second() -> bytes:
    """Return an array of the same size."""
    file = io.BytesIO()
    np.save(file, _noisy(HEIGHT, WIDTH, seed=4))
    return file.getvalue()


@cache
def volumes() -> dict[str, dict[str, bytes]]:
    """Return the files of each OME-Zarr and Zarr by name, by their places."""
    if not ome_zarr.is_installed():
        return {}
    import zarr

    found = {}
    values = _noisy(2, 2, HEIGHT, WIDTH, white=4095)
    for name, format in {"2": 2, "3": 3, "shards": 3, "array 2": 2, "array 3": 3}.items():
        how: dict[str, Any] = {"shape": values.shape, "dtype": values.dtype, "chunks": (1, 1, 16, 16), "fill_value": 0}
        if name == "shards":
            how |= {"shards": (1, 2, 32, 32)}
        with TemporaryDirectory() as top:
            if name.startswith("array"):
                zarr.create_array(top, zarr_format=format, **how)[...] = values
            else:
                _ome(zarr.open_group(top, mode="w", zarr_format=format), values, format, how)
            files = {str(path.relative_to(top)): path.read_bytes() for path in Path(top).rglob("*") if path.is_file()}
        found[f"Zarr {name}"] = dict(sorted(files.items()))
    return found


def _ome(group: Any, values: np.ndarray, format: int, how: dict[str, Any]) -> None:
    """Write two levels of a volume, and what says so."""
    keys = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if format == 2 else {}
    for level in range(2):
        part = values[..., :: 2**level, :: 2**level]
        group.create_array(str(level), **(how | keys | {"shape": part.shape}))[...] = part
    axes = [{"name": name, "type": "channel" if name == "c" else "space"} for name in "czyx"]
    sizes = [{"type": "scale", "scale": [1.0, 1.0, 0.3, 0.3]}]
    datasets = [{"path": str(level), "coordinateTransformations": sizes} for level in range(2)]
    described = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]}
    group.attrs.update(described if format == 2 else {"ome": {"version": "0.5"} | described})
