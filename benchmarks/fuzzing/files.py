"""Damaged and crafted files of science, cameras and streams, through the commands themselves, from file to file.

Each is placed in a folder of its own, and a command is run on it: `denoise` at some level, whose result must be read
again, or with `--strength 0`, which must leave every pixel as it is; `info`; `fit`; `compare`. Whatever the file holds,
the command ends with an exit code of the contract, a refusal has one line that names the file, and nothing but the
result is written.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.fuzzing import models, whole_files
from benchmarks.fuzzing.structures import damaged_file, damaged_volume
from smdae.cli.app import main
from smdae.files import fits, images, sequence, stack

UNDERSTOOD = {"denoise": {0, 2, 3, 4, 7}, "info": {0, 2, 3, 7}, "fit": {0, 2, 3, 6, 7}, "compare": {0, 2, 3, 7}}
DIVERGED, NO_MEMORY = 6, 7
FLAGS = ("--patch-size", "4", "--hidden", "4", "--max-steps", "1", "-b", "4")


@dataclass(frozen=True)
class Crafted:
    """Files, and the command that is run on one of them.

    Attributes:
        name: The file, or folder, that the command is run on; it is piped into the command if this begins with -.
        files: All files by their places.
        command: The name of the command.
        more: Options of it; a name of one of the files stands for its path.
        damage: The place of the file that was damaged, if it is not the one that the command is run on.
    """

    name: str
    files: dict[str, bytes]
    command: str = "denoise"
    more: tuple[str, ...] = ()
    damage: str = ""


@cache
def seeds() -> dict[str, Crafted]:
    """Return whole files of every kind, each with a command that reads it, by name."""
    endings = {"TIFF-stack": ".tif", "DNG": ".dng", "FITS": ".fits"}
    found = {}
    for name, data in whole_files.files().items():
        kind = name.split()[0].strip("-")
        ending = ".fits.gz" if name == "FITS packed" else endings.get(kind, f".{kind.lower()}")
        place = ("-" if name.startswith("-") else "") + "a" + ending
        command = "fit" if kind in ("CSV", "TSV", "NPZ") or name == "NPY rows" else "denoise"
        found[name.strip("-") + " piped" * name.startswith("-")] = Crafted(place, {place: data}, command)
    for name, files in whole_files.volumes().items():
        found[name] = Crafted("a.ome.zarr", {f"a.ome.zarr/{place}": data for place, data in files.items()})
    more = {
        "profile": ("--noise", "n.yaml", whole_files.PROFILES[0].encode()),
        "profile tables": ("--noise", "n.yaml", whole_files.PROFILES[1].encode()),
        "second reference": ("--reference", "r.npy", whole_files.second()),
        "second mask": ("--mask", "m.png", whole_files.picture()),
    }
    for name, (option, place, data) in more.items():
        files = {"p.png": whole_files.picture(), place: data}
        found[name] = Crafted("p.png", files, more=(option, place), damage=place)
    return found


def example(number: int) -> tuple[str, Crafted]:
    """Return crafted file number so and so, after the name of what it was."""
    chance, names = Random(number), [*seeds()]
    name = names[number % len(names)]
    whole = seeds()[name]
    if name.startswith("Zarr"):
        files = damaged_volume(whole.files, chance)
    else:
        place = whole.damage or whole.name
        files = whole.files | {place: damaged_file(whole.files[place], name, chance)}
    return name, replace(whole, files=files, **_used(whole, chance))


def _used(whole: Crafted, chance: Random) -> dict[str, Any]:
    """Return the command that is run, and its options, as far as they are others."""
    if whole.command == "fit":
        return {}
    if whole.damage:
        return {"more": ("--sigma", "5", *whole.more)} if chance.random() < 0.5 else {}
    others = () if whole.name.startswith("-") else ("fit", "compare")
    command = chance.choice(["denoise", "denoise", "denoise", "info", *others])
    level = chance.choice([("--sigma", "3"), ("--strength", "0"), ("--strength", "0"), ()])
    return {"command": command, "more": level if command == "denoise" else ()}


# Judgement


def outcome(crafted: Crafted) -> str:
    """Return what running the command comes to, in a word; raise an AssertionError if a promise is broken."""
    with TemporaryDirectory() as folder:
        top = Path(folder)
        model = top / "m" / "model.safetensors"
        model.parent.mkdir()
        model.write_bytes(models.seeds()["energy"])
        for place, data in crafted.files.items():
            path = top / "in" / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (top / "out").mkdir()
        before = _below(top)
        target = top / "out" / crafted.name.lstrip("-")
        if crafted.name.endswith(".dng"):
            target = target.with_suffix(".tif")
        code, printed, said = _run(crafted, top, target, str(model))
        after = _below(top)
        left = {place: data for place, data in after.items() if before.get(place) != data or place not in before}
        assert before.items() <= after.items(), "a file was changed"
        whole = left if target.is_dir() else left.get(str(target.relative_to(top)))
        others = [place for place in left if not place.startswith(str(target.relative_to(top)))]
        assert all(place.startswith("out/fitted.") for place in others), f"more is written: {others}"
        return _judged(crafted, code, said, whole if crafted.name[0] != "-" else printed, top, target, str(model))


def _judged(crafted: Crafted, code: int, said: str, whole: Any, top: Path, target: Path, model: str) -> str:
    """Return how the end of a command counts; raise an AssertionError if a promise is broken."""
    assert code in UNDERSTOOD[crafted.command], f"exit code {code}: {said}"
    errors = [line for line in said.splitlines() if line.startswith("smdae: error: ")]
    if code:
        assert len(errors) == 1, f"says: {said}"
        named = crafted.damage or crafted.name
        assert code == DIVERGED or ("stdin" if named[0] == "-" else named) in errors[0], f"names no file: {errors[0]}"
        may_be_part = b"YUV4MPEG2" in b"".join(crafted.files.values()) or crafted.name[0] == "-"
        assert not whole or (may_be_part and code == 3), "a result of what is refused"
        return "no memory" if code == NO_MEMORY else "refused"
    assert not errors, said
    if crafted.command != "denoise":
        return "read"
    assert whole, "no result"
    if crafted.more[:2] == ("--strength", "0"):
        _check_same(crafted, whole)
    elif target.exists():
        again = replace(crafted, name=target.name, files={}, more=("--strength", "0"), command="denoise", damage="")
        (top / "again").mkdir()
        code, _, said = _run(again, top, top / "again" / target.name, model, target)
        assert code == 0, f"the result cannot be read: {said}"
    return "read"


def _check_same(crafted: Crafted, whole: Any) -> None:
    """Raise an AssertionError if a result in which nothing was to change holds other pixels than its source."""
    if crafted.name.endswith(".dng"):
        return
    if isinstance(whole, dict):
        given = {place.partition("/")[2]: data for place, data in crafted.files.items()}
        made = {place.partition(".zarr/")[2]: data for place, data in whole.items()}
        assert made == given, f"other files: {sorted(made.items() ^ given.items())[:1]}"
        return
    (data,) = crafted.files.values()
    before, after = (_pixels(crafted.name, name, file) for name, file in (("before", data), ("after", whole)))
    assert len(before) == len(after), f"{len(after)} parts of {len(before)}"
    alike = (
        one == other if isinstance(one, bytes) else _is_same(one, other)
        for one, other in zip(before, after, strict=True)
    )
    assert all(alike), "other pixels"


def _pixels(place: str, name: str, data: bytes) -> list[Any]:
    """Return all samples of a file as arrays; of a file that has to come back as it was its bytes."""
    if place.endswith(".tif"):
        with stack.opened(data, name) as pages:
            pictures = [picture for number in range(len(pages)) for picture in pages.pictures(number)]
    elif ".fits" in place:
        with fits.opened(data, name) as file:
            return [image.plane(file.file, k) for image in file.images for k in range(image.count)] + [
                b"%d" % file.size
            ]
    elif place.endswith((".png", ".pnm")):
        stream = io.BytesIO(data)
        first, then = sequence.first_of(stream)
        more = sequence.more_of(then, stream) if sequence.begins_one(then) else ()  # what is none is left out
        pictures = [images.read(one, name) for one in (first, *more)]
    else:
        return [data]
    return [part for picture in pictures for part in (picture.pixels, picture.alpha) if part is not None]


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _run(crafted: Crafted, top: Path, target: Path, model: str, source: Path | None = None) -> tuple[int, bytes, str]:
    """Run the command, and return its exit code and what it writes to stdout and to stderr."""
    source = source or top / "in" / crafted.name
    more = [str(top / "in" / word) if word in crafted.files else word for word in crafted.more]
    is_piped = crafted.name.startswith("-") and source.parent.name == "in"
    path = "-" if is_piped else str(source)
    arguments = {
        "denoise": ["denoise", path, "-o", "-" if is_piped else str(target), "-m", model, *more],
        "info": ["info", path, "--json"],
        "fit": ["fit", path, "-o", str(top / "out" / "fitted.safetensors"), *FLAGS],
        "compare": ["compare", path, "--reference", path],
    }[crafted.command]
    with _streams_of(source.read_bytes() if is_piped else b"") as (out, said):
        code = main(arguments)
    return code, out.getvalue(), said.getvalue().decode()


@contextmanager
def _streams_of(piped: bytes) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    """Yield what is written to stdout and to stderr meanwhile; stdin holds `piped`."""
    before = sys.stdin, sys.stdout, sys.stderr
    out, said = io.BytesIO(), io.BytesIO()
    sys.stdin = io.TextIOWrapper(io.BytesIO(piped))
    sys.stdout, sys.stderr = io.TextIOWrapper(out), io.TextIOWrapper(said, write_through=True)
    try:
        yield out, said
        sys.stdout.flush()
    finally:
        sys.stdout.detach()
        sys.stderr.detach()
        sys.stdin, sys.stdout, sys.stderr = before


def _below(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}
