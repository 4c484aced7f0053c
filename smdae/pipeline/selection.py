"""Find the pictures that a command is to work on: files, folders, unexpanded patterns, and shares of them.

A file that is named is an input, whatever its name. Files in a folder are left out, and counted, if they are no
pictures or results of an earlier run: NAME_denoised beside NAME, and, for denoising, files whose metadata say that
smdae made them. Where pictures are replaced, links are left out too: what they lead to may lie elsewhere, or be a
picture of the folder, which would be denoised twice.
"""

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smdae.errors import InputError, UsageError
from smdae.files.folders import Place, places
from smdae.files.kinds import CLOSED, CLOSED_ONES, counted, is_overlooked, kind_of, refuse_closed
from smdae.pipeline.picture_names import SUFFIX, VOLUME, is_more, is_picture, is_raw_name, missing_reader, results_among

RESULT, LINK = "result of an earlier run", "symbolic link"  # kinds of files that are left out, besides endings
PLURALS = {RESULT: "results of an earlier run", LINK: "symbolic links", CLOSED: CLOSED_ONES}
MAX_COUNTED = 10_000  # files in subfolders that are read only to say how many pictures there are
MAX_LIST = 1 << 28  # bytes of a list of files


@dataclass(frozen=True)
class Search:
    """The rules by which folders are searched.

    Attributes:
        into: The folder of the results, whose files are not inputs; None if results go beside their inputs.
        suffixes: The endings of names, before the extension, by which results beside their inputs are recognised.
        marked: Whether results are also recognised by their metadata.
        more: Whether camera raw files, FITS, Y4M and OME-Zarr are pictures too, if they can be read.
        may_be_done: Whether a folder that holds nothing but results is no error: there is nothing left to do in it.
        links: Whether links to files are pictures, and links to folders are followed.
        raw: Whether camera raw files are among those of `more`.
    """

    recursive: bool = False
    into: Path | None = None
    suffixes: tuple[str, ...] = (SUFFIX,)
    more: bool = False
    marked: bool = False
    may_be_done: bool = False
    links: bool = True
    raw: bool = True

    def takes(self, name: str) -> bool:
        """Return whether a file of that name is a picture that can be read here."""
        if not self.raw and is_raw_name(name):
            return False
        return (is_picture(name) or (self.more and is_more(name))) and missing_reader(name) is None


@dataclass(frozen=True)
class Selection:
    """The pictures that were found.

    Attributes:
        pictures: The path of each picture, and its path relative to the folder that was named.
        left_out: The number of files of each kind that were left out in folders.
        deeper: The number of pictures in folders that were not searched.
    """

    pictures: list[tuple[Path, Path]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    deeper: int = 0

    @property
    def remark(self) -> str | None:
        """Return a line on the files that were left out; None if there are none."""
        skipped = _skipped(self.left_out)
        deeper = f"-r would add {self.deeper:,} in subfolders" if self.deeper else ""
        return "; ".join(part for part in (skipped, deeper) if part) or None

    def __add__(self, other: "Selection") -> "Selection":
        return Selection(self.pictures + other.pictures, self.left_out + other.left_out, self.deeper + other.deeper)


def is_many(inputs: Sequence[Path], recursive: bool = False) -> bool:
    """Return whether inputs may stand for many pictures, so that their results need a folder.

    They do if there are several, if one is a folder or a pattern, or if `recursive` is set. A stack of many pages and
    a Zarr volume count as one picture.
    """
    return recursive or len(inputs) > 1 or any(_is_folder(path) or _is_pattern(path) for path in inputs)


def selected(inputs: Iterable[Path], search: Search, literal: bool = False) -> Selection:
    """Return the pictures that inputs stand for, in a fixed order.

    Args:
        inputs: Files, folders and patterns; a file need not exist.
        search: How folders are searched.
        literal: Whether inputs are never patterns.

    Raises:
        InputError: A folder has no pictures, or a pattern no matches.
    """
    pictures: list[tuple[Path, Path]] = []
    left_out: Counter[str] = Counter()
    deeper = 0
    for path in inputs:
        if str(path) != "-" and _is_folder(path):
            found = _in_folder(path, search)
            is_done = search.may_be_done and found.left_out[RESULT] > 0
            if not found.pictures and not is_done:
                if not literal:
                    raise _none_in(path, found, search)
                pictures.append((path, Path(path.name)))  # fails by itself, and the others of the list are denoised
            pictures += found.pictures
            left_out += found.left_out
            deeper += found.deeper
        elif not literal and _is_pattern(path):
            pictures += _matching(path, search)
        else:
            pictures.append((path, Path(path.name)))
    return Selection(pictures, left_out, deeper)


def refuse_unpiped(wanted: str, purpose: str = "") -> None:
    """Raise UsageError unless something is piped into stdin; its hint says what is wanted, such as "an image"."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(f"nothing is piped into stdin{purpose}", f"pipe {wanted} in, or name a file")


def listed(source: str) -> list[Path]:
    """Return the paths in a list: one a line, or separated by NUL as by `find -print0`; - reads the list from stdin.

    Raises:
        UsageError: Nothing is piped into stdin, or the list names stdin.
        InputError: The list cannot be read, is empty, or is too long.
    """
    from smdae.files.images import opening

    if source == "-":
        refuse_unpiped("a list", " for --files-from -")
    with opening(source):
        if source == "-":
            data = sys.stdin.buffer.read(MAX_LIST + 1)
        else:
            with open(source, "rb") as file:
                data = file.read(MAX_LIST + 1)
    if len(data) > MAX_LIST:
        raise InputError(f"--files-from '{source}' has more than {MAX_LIST >> 20} MB", "it must be a list of files")
    lines = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    paths = [Path(os.fsdecode(line)) for line in lines if line.strip()]
    if not paths:
        raise InputError(f"--files-from '{source}' names no files", "it must have a path in each line")
    if Path("-") in paths:
        raise UsageError(f"--files-from '{source}' names -, which is not a file", "pipe a picture in alone")
    return paths


def share_of(text: str) -> tuple[int, int]:
    """Return I and N of a share I/N, 1 <= I <= N; raise UsageError if the text is not one."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard '{text:.40}' is not from 1/N to N/N", "write 1/4 for the first of four parts")
    return int(match[1]), int(match[2])


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder to search; a Zarr volume is a picture, not a folder."""
    from smdae.files.ome_metadata import is_volume

    return os.path.isdir(path) and not is_volume(path)


def _is_pattern(path: Path) -> bool:
    return any(c in str(path) for c in "*?[") and not os.path.lexists(path)


def _matching(pattern: Path, search: Search) -> Iterator[tuple[Path, Path]]:
    matches = sorted(match for match in glob.glob(str(pattern), recursive=True) if not _is_folder(Path(match)))
    if search.into is not None:
        into = Path(os.path.realpath(search.into))
        others = [match for match in matches if not Path(os.path.realpath(match)).is_relative_to(into)]
        matches = others or matches  # unless all of them are there
    if not matches:
        raise InputError(f"no file matches '{pattern}'", "list the folder to see what is there")
    return ((Path(match), Path(Path(match).name)) for match in matches)


def _in_folder(folder: Path, search: Search) -> Selection:
    pictures: list[tuple[Path, Path]] = []
    left_out: Counter[str] = Counter()
    deeper = 0
    closed: list[OSError] = []
    for place, names in _places(folder, search, closed):
        results = results_among(names, search.suffixes)
        if search.recursive and not search.links:
            left_out[LINK] += sum((place.path / name).is_symlink() for name in place.folders)
        for name in names:
            if is_overlooked(name):
                continue
            if name in results:
                left_out[RESULT] += 1
            elif not search.takes(name):
                left_out[kind_of(name)] += 1
            elif not _is_stream(file := place.path / name):
                if not search.links and file.is_symlink():
                    left_out[LINK] += 1
                elif search.marked and _is_marked(file):
                    left_out[RESULT] += 1
                else:
                    pictures.append((file, file.relative_to(folder)))
    left_out += Counter({CLOSED: refuse_closed(folder, closed)})
    if not search.recursive:
        deeper = _deeper(folder, search)
    return Selection(pictures, left_out, deeper)


def _places(folder: Path, search: Search, closed: list[OSError]) -> Iterator[tuple[Place, list[str]]]:
    """Yield each folder that is searched, with the sorted names of its files and of volumes, which are folders.

    Errors of those that cannot be read are added to `closed`.
    """
    # Files in the folder of the results, of this run or an earlier one, are not inputs.
    into = None if search.into is None else os.path.realpath(search.into)
    for place in places(folder, closed.append, search.links, into):
        volumes = [name for name in place.folders if Path(name).suffix.lower() == VOLUME]
        place.folders[:] = [name for name in place.folders if name not in volumes]
        yield place, sorted((*place.names, *volumes))
        if not search.recursive:
            break


def _deeper(folder: Path, search: Search) -> int:
    """Return how many pictures the folders below hold, at least; the count stops after MAX_COUNTED files."""
    count = counted = 0
    below = _places(folder, Search(True, search.into, links=search.links, raw=search.raw), [])
    next(below, None)
    for _, names in below:
        results = results_among(names, search.suffixes)
        count += sum(search.takes(name) and not name.startswith(".") and name not in results for name in names)
        counted += len(names)
        if counted > MAX_COUNTED:
            break
    return count


def _is_marked(file: Path) -> bool:
    """Return whether the metadata of a file say that smdae made it."""
    from smdae.files.marks import words_in

    return words_in(file) is not None


def _is_stream(file: Path) -> bool:
    """Return whether a file is a pipe, a socket or a device: reading it might never end."""
    return os.path.exists(file) and not os.path.isfile(file) and not os.path.isdir(file)


def _none_in(folder: Path, found: Selection, search: Search) -> InputError:
    """Return the error for a folder without pictures."""
    from smdae.files.foreign import advice_for

    def advice_on(kind: str) -> str | None:
        name = f"x.{kind}"
        if not search.raw and is_raw_name(name):
            return "camera raw files are never replaced: name a folder with -o"
        absent = missing_reader(name) if search.more or is_picture(name) else None
        return advice_for(f".{kind}") if absent is None else f"{kind} takes an extra: {absent}"

    skipped = _skipped(found.left_out)
    advice = next((advice for kind, _ in found.left_out.most_common() if (advice := advice_on(kind))), None)
    if not advice and found.left_out[RESULT]:
        advice = "name them to denoise them once more"
        advice += ", or leave them with --skip-existing" if search.marked else ""
    hint = "-r searches the folders in it too" if found.deeper else advice
    return InputError(f"no images found in '{folder}'" + (f", {skipped}" if skipped else ""), hint)


def _skipped(left_out: Counter[str]) -> str:
    """Return in words how many files were left out; empty if none were."""
    kinds = Counter({PLURALS.get(kind, kind) if count > 1 else kind: count for kind, count in left_out.items()})
    return f"{left_out.total():,} skipped: {counted(kinds)}" if left_out else ""
