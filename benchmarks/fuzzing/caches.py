"""Damaged and crafted caches: the same images, or a refusal in one line, and nothing outside the cache is changed.

All that an index may name lies in one temporary folder: the pictures, the cache, and files that must stay as they are.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.fuzzing.damage import damaged, json_damaged, refused
from smdae.errors import InputError, OutputError
from smdae.files.corpus import gather


@dataclass(frozen=True)
class Crafted:
    """A cache, to be placed beside the pictures.

    Attributes:
        files: Its files by name; the index gets the digest that belongs to it.
        damage: What seeds the damage that is then done to the bytes of the index, None for none.
        is_changed: Whether a picture has changed since, so that the cache is added to.
        is_forged: Whether the index says other things than it did.
    """

    files: dict[str, bytes]
    damage: int | None = None
    is_changed: bool = False
    is_forged: bool = False


def _pictures(folder: Path) -> None:
    folder.mkdir()
    waves = np.sin(np.add.outer(np.arange(24) / 3, np.arange(600) / 2))
    np.save(folder / "a.npy", (128 + 100 * waves).astype(np.uint8))
    np.save(folder / "b.npy", (128 + 100 * waves[:, :40]).astype(np.uint8).reshape(4, 6, 40))
    np.save(folder / "c.npy", waves[:, :50].astype(np.float32))
    for path in folder.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))


def seeds() -> dict[str, Crafted]:
    """Return a whole cache."""
    return {"whole": Crafted(_seed())}


@cache
def _seed() -> dict[str, bytes]:
    """Return the files of a whole cache; `TOP` stands for the folder that it lies in."""
    with TemporaryDirectory() as top:
        _pictures(Path(top) / "in")
        gather([Path(top) / "in"], 4, cache=Path(top) / "cache")
        files = {path.name: path.read_bytes() for path in (Path(top) / "cache").iterdir()}
        files["index.jsonl"] = files["index.jsonl"].replace(os.path.abspath(top).encode(), b"TOP")
    return {
        name.replace(_pixels(files), "pixels-00"): data.replace(_pixels(files).encode(), b"pixels-00")
        for name, data in files.items()
    }


def _pixels(files: dict[str, bytes]) -> str:
    return next(name for name in files if name.startswith("pixels-"))


def _placed(index: bytes, top: Path, damage: int | None) -> bytes:
    """Return an index as it lies in a folder, with the digest that belongs to it, and then damaged."""
    lines = index.replace(b"TOP", os.path.abspath(top).encode()).splitlines(keepends=True)[:-1]
    digest = hashlib.blake2b(b"".join(lines), digest_size=16).hexdigest()
    placed = b"".join([*lines, json.dumps({"digest": digest}).encode() + b"\n"])
    return placed if damage is None else damaged(placed, Random(damage))


def example(number: int) -> tuple[str, Crafted]:
    """Return crafted cache number so and so, after the name of what was done to it."""
    chance = Random(number)
    files = dict(_seed())
    what = chance.choice(["index", "index forged", "index forged", "pixels", "names"])
    if what == "index forged":
        lines = files["index.jsonl"].splitlines(keepends=True)[:-1]
        at = chance.randrange(len(lines))
        lines[at] = json_damaged(lines[at].decode(), chance).encode() + b"\n"
        files["index.jsonl"] = b"".join([*lines, b"{}\n"])
    elif what == "names":
        name = chance.choice(sorted(files))
        files[chance.choice(["pixels-01", "index.jsonl", "lock", "more", ".index.jsonl.part"])] = files.pop(name)
    elif what == "pixels":
        files["pixels-00"] = damaged(files["pixels-00"], chance)
    damage = number if what == "index" else None
    return what, Crafted(files, damage, chance.random() < 0.5, what == "index forged")


def outcome(crafted: Crafted) -> str:
    """Return what a corpus by way of the cache comes to; raise an AssertionError if a promise is broken."""
    with TemporaryDirectory() as folder:
        top = Path(folder)
        _pictures(top / "in")
        for name in ("victim", "cache-victim"):
            (top / name).write_bytes(b"as it was")
        (top / "cache").mkdir()
        for name, data in crafted.files.items():
            (top / "cache" / name).write_bytes(_placed(data, top, crafted.damage) if name == "index.jsonl" else data)
        if crafted.is_changed:
            os.utime(top / "in" / "a.npy")
        before = _below(top)
        notes: list[str] = []
        try:
            corpus = gather([top / "in"], 4, cache=top / "cache", note=notes.append, warn=notes.append)
            images = [np.asarray(image) for image in corpus.images]
        except (InputError, OutputError) as error:
            refusal = refused(error, "'")
        else:
            refusal = ""
            truth = gather([top / "in"], 4).images
            same = len(images) == len(truth) and all(map(np.array_equal, images, truth))
            assert same or crafted.is_forged, "other images"
        assert _below(top) == before, "a file outside the cache was changed"
        assert all(text.isprintable() for text in notes)
        return refusal or ("mended" if notes else "read")


def _below(top: Path) -> dict[str, bytes]:
    """Return all files but those of the cache."""
    return {str(p): p.read_bytes() for p in sorted(top.rglob("*")) if p.is_file() and p.parent.name != "cache"}
