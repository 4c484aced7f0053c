"""Damage to what a decoder goes by: cards of FITS, tags of TIFF, words of a header, metadata in JSON, numbers."""

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import tifffile

from benchmarks.fuzzing import pictures
from benchmarks.fuzzing.damage import EXTREMES, damaged, json_damaged

CARD = 80  # bytes
NUMBERS = ("0", "-1", "1", "2", "3", "7", "255", "999999", "99999999999", "1e30", "-1e-30", "NaN", "'x'", "T", "", "/")
WORDS = ("W0", "W-1", "W99999", "W1", "H1", "H0", "C420p10", "C444alpha", "Cmono16", "C", "It", "F0:0", "W", "X" * 5000)


def damaged_file(data: bytes, name: str, chance: Random) -> bytes:
    """Return a file of `whole_files`, or a picture in PNG, with damage to its bytes or to its structure."""
    kind = name.split()[0]
    if kind in SEALED or name == "FITS packed":  # nearly all damage from outside would be found by checksums alone
        return SEALED.get(kind, _packed_damaged)(data, chance)
    return (STRUCTURES.get(kind, damaged) if chance.random() < 0.5 else damaged)(data, chance)


def _cards_damaged(data: bytes, chance: Random) -> bytes:
    """Return FITS with other cards, of one to three units' headers."""
    made = bytearray(data)
    places = [
        at for at in range(0, len(made), CARD) if made[at : at + 30].isascii() and made[at + 8 : at + 10] == b"= "
    ]
    for _ in range(chance.choice([1, 1, 2, 3])):
        at = chance.choice(places)
        what = chance.choice(["value", "value", "value", "name", "away"])
        if what == "value":
            made[at + 10 : at + 30] = chance.choice(NUMBERS).rjust(20).encode()
        elif what == "name":
            other = chance.choice(places)
            made[at : at + 8] = made[other : other + 8]
        else:
            made[at : at + CARD] = b" " * CARD
    return bytes(made)


def _tags_damaged(data: bytes, chance: Random) -> bytes:
    """Return a TIFF with other entries in its directories."""
    made = bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages = [*file.pages]
        pages += [level for page in file.pages for level in (page.pages or ())]
        order, is_big = file.byteorder, file.is_bigtiff
        entries = [tag.offset for page in pages for tag in page.tags]
        codes = [tag.code for page in pages for tag in page.tags]
    width = "Q" if is_big else "I"
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.choice(entries)
        what = chance.choice(["value", "value", "count", "type", "code"])
        if what == "code":
            struct.pack_into(order + "H", made, at, chance.choice([*codes, 330, 32781, 51041, 50706, 65535]))
        elif what == "type":
            struct.pack_into(order + "H", made, at + 2, chance.choice([*range(1, 18), 99]))
        else:
            number = chance.choice([*EXTREMES, at, len(data), len(data) - 1, 3, 5, 8, 16, 32])
            size = struct.calcsize(width)
            struct.pack_into(order + width, made, at + 4 + (size if what == "value" else 0), number % (1 << 8 * size))
    return bytes(made)


def _words_damaged(data: bytes, chance: Random) -> bytes:
    """Return a video with another header, or another line of a frame."""
    header, _, rest = data.partition(b"\n")
    words = header.decode().split(" ")
    if chance.random() < 0.3:
        rest = rest.replace(b"FRAME\n", chance.choice([b"FRAME Ixyz\n", b"FRAM\n", b"FRAME", b"FRAME\0\n"]), 1)
    for _ in range(chance.choice([0, 1, 1, 2])):
        at = chance.randrange(1, len(words) + 1)
        words[at : at + chance.choice([0, 1])] = [chance.choice(WORDS)]
    return " ".join(words).encode() + b"\n" + rest


def _numbers_damaged(data: bytes, chance: Random) -> bytes:
    """Return a text with other numbers in it, or the first 200 bytes of a file that begins as one."""
    text = data.decode("latin-1")
    for _ in range(chance.choice([1, 1, 2, 4])):
        digits = [at for at, letter in enumerate(text[: 200 if chance.random() < 0.8 else None]) if letter.isdigit()]
        if digits:
            at = chance.choice(digits)
            number = chance.choice([*NUMBERS, "[]", "{}", ", 3", "(", "1" * 400, "\r\n", "~", ".inf", "0x10", '"'])
            text = text[:at] + number + text[at + chance.choice([0, 1]) :]
    return text.encode("latin-1")


def damaged_volume(files: dict[str, bytes], chance: Random) -> dict[str, bytes]:
    """Return the files of a volume with other metadata or chunks, or without some, or with names of each other."""
    made = dict(files)
    said = [place for place in sorted(made) if Path(place).name in ("zarr.json", ".zarray", ".zattrs", ".zgroup")]
    chunks = [place for place in sorted(made) if place not in said]
    for _ in range(chance.choice([1, 1, 2])):
        what = chance.choice(["metadata", "metadata", "metadata", "bytes", "chunk", "gone", "swapped"])
        place = chance.choice([place for place in (said if what in ("metadata", "bytes") else chunks) if place in made])
        if what == "metadata":
            try:
                made[place] = json_damaged(made[place].decode(), chance).encode()
            except ValueError:  # it is damaged already
                continue
        elif what in ("bytes", "chunk"):
            made[place] = damaged(made[place], chance)
        elif what == "gone":
            del made[place]
            chunks = chunks if len(chunks) > 1 else said
        else:
            other = chance.choice(sorted(made))
            made[place], made[other] = made[other], made[place]
    return made


# Files in files


def _packed_damaged(data: bytes, chance: Random) -> bytes:
    """Return FITS packed by gzip, damaged before or after."""
    if chance.random() < 0.2:
        return damaged(data, chance)
    how = _cards_damaged if chance.random() < 0.6 else damaged
    return gzip.compress(how(gzip.decompress(data), chance), mtime=0)


def _zip_damaged(data: bytes, chance: Random) -> bytes:
    """Return arrays in a .npz, one of them damaged, or all of it."""
    if chance.random() < 0.2:
        return damaged(data, chance)
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(target, "w") as after:
        spoiled = chance.choice(before.namelist())
        for name in before.namelist():
            content = before.read(name)
            how = _numbers_damaged if chance.random() < 0.5 else damaged
            after.writestr(zipfile.ZipInfo(name), how(content, chance) if name == spoiled else content)
    return target.getvalue()


def _pictures_damaged(data: bytes, chance: Random) -> bytes:
    """Return PNG pictures one behind the other, one of them damaged under its checksums, or all of it."""
    parts = [pictures.PNG + part for part in data.split(pictures.PNG)[1:]]
    at = chance.randrange(len(parts))
    parts[at] = pictures.mutate(parts[at], chance)
    return b"".join(parts)


SEALED: dict[str, Callable[[bytes, Random], bytes]] = {"NPZ": _zip_damaged, "PNG": _pictures_damaged}
STRUCTURES: dict[str, Callable[[bytes, Random], bytes]] = {
    "FITS": _cards_damaged,
    "TIFF-stack": _tags_damaged,
    "DNG": _tags_damaged,
    "Y4M": _words_damaged,
    "PNM": _numbers_damaged,
    "CSV": _numbers_damaged,
    "TSV": _numbers_damaged,
    "NPY": _numbers_damaged,
    "profile": _numbers_damaged,
}
