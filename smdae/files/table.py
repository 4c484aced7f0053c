"""Tables of examples: N rows of d numbers each, from .npy and .npz arrays and from CSV. (N,) is N rows of one number.

A table is held as one image with shape (1, N, d): a row is a pixel of d channels, a patch of side 1, and what fits do
with patches of images they do with rows. Rows are put in an order of chance, so that the end of a table that is held
out is a sample of it.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from smdae.errors import InputError, UsageError
from smdae.files.corpus import Corpus, named
from smdae.files.corpus_files import ARRAYS, arrays, files_below
from smdae.files.csv_table import numbers_text, parsed
from smdae.files.picture import WHITES

Kind = Literal["rows", "images"]
CSV = (".csv", ".tsv")
TEXTS = (*CSV, ".txt", ".dat")  # of which the last two are tables only where they are named themselves
MAX_NUMBERS = 4096  # in a row: fits take its covariance apart
ARRAYS_ARE_ROWS = "arrays of one or two axes are rows (--as images takes each for one image)"
NAMED = 3  # columns that are named in a message


def kind_of(paths: Sequence[Path], asked: Kind | None, of_patches: bool, noisy: bool) -> tuple[Kind, str]:
    """Return "rows" or "images" for what the paths hold, and a line on why; "" if there was nothing to choose.

    Args:
        paths: Folders and files.
        asked: What the user says that arrays of two axes are; None to choose.
        of_patches: Whether the model is one of patches, which rows can be.
        noisy: Whether the noise is to be looked for, which takes images.

    Raises:
        UsageError: Rows are asked for, and the model or the noise wants images.
        InputError: Rows are asked for, or a CSV given, and there are images.
        MemoryLimitError: A table takes more memory than there is.
    """
    files = [file for path in paths if os.path.exists(path) for file in files_below(path, CSV)]
    if asked != "rows" and not all(file.suffix.lower() in (*TEXTS, *ARRAYS) for file in files):
        # A CSV that is found beside pictures is a list about them; one that is named is meant.
        files = [file for file in files if file.suffix.lower() not in TEXTS or file in paths]
    tables = [file for file in files if _is_table(file)]
    if asked == "rows":
        if not of_patches:
            raise UsageError("rows of numbers are for models of patches, and this is one of images", "--model energy")
        if noisy:
            raise UsageError("--noisy is for images, not for rows of numbers", "leave --noisy or --as rows out")
        if len(tables) < len(files):
            other = next(file for file in files if file not in tables)
            raise InputError(f"cannot use '{other}' as rows: it is not a table of N rows", "leave --as rows out")
        return "rows", ""
    sheets = [file for file in tables if file.suffix.lower() in TEXTS]
    can_be_rows = bool(tables) and len(tables) == len(files) and of_patches and not noisy
    if sheets and (asked == "images" or not can_be_rows):
        why = "--as images was given" if asked else "images, a network or --noisy go with it"
        raise InputError(f"cannot use '{sheets[0]}': a CSV holds rows of numbers, and {why}")
    if not tables or asked == "images":
        return "images", ""
    if can_be_rows:
        return "rows", "" if len(sheets) == len(tables) else ARRAYS_ARE_ROWS
    return "images", "arrays of two axes are images, as others here are" if of_patches and not noisy else ""


def _is_table(file: Path) -> bool:
    """Return whether a file holds nothing but arrays of one or two axes; one that cannot be read is reported later."""
    if file.suffix.lower() in TEXTS:
        return True
    if file.suffix.lower() not in ARRAYS:
        return False
    try:
        return all(array.ndim in (1, 2) for array in arrays(file))
    except InputError:
        return False


def gather_rows(paths: Sequence[Path], white: float | None, seed: int) -> Corpus:
    """Read all tables below the paths.

    Args:
        paths: Folders and files.
        white: What counts as 1 in values that are not uint8 or uint16; None for 1.
        seed: The seed of the order of the rows.

    Returns:
        One image with shape (1, N, d), and its white.

    Raises:
        InputError: A table is unusable, or they differ in their columns, the names of these, or their unit.
        MemoryLimitError: A table takes more memory than there is.
    """
    for path in paths:
        if not os.path.exists(path):
            raise InputError(f"cannot read '{path}': there is no such file or folder")
    found: list[tuple[Path, np.ndarray]] = []
    columns: dict[Path, tuple[str, ...]] = {}
    for file in (file for path in paths for file in files_below(path, CSV)):
        if file.suffix.lower() in TEXTS:
            names, rows = parsed(file)
            found.append((file, rows))
            columns |= {file: names} if names else {}
        else:
            found += [(file, rows) for rows in _tables(file)]
    if not found:
        raise InputError(f"no tables found in {named(paths)}")
    first, table = found[0]
    for file, other in found:
        if other.shape[1] != table.shape[1] and file == first:
            raise InputError(
                f"cannot use '{file}': its arrays have {table.shape[1]} and {other.shape[1]} columns",
                "save the one to fit on in a file of its own",
            )
        if other.shape[1] != table.shape[1]:
            raise InputError(
                f"cannot use '{file}': it has {other.shape[1]} columns, and '{first}' has {table.shape[1]}",
                "leave that file out",
            )
        if other.dtype != table.dtype:
            raise InputError(f"cannot use '{file}': its values are {other.dtype}, those of '{first}' {table.dtype}")
    for file, names in columns.items():
        head, expected = next(iter(columns.items()))
        if names != expected:
            raise InputError(
                f"cannot use '{file}': its columns are {_listed(names)}, and those of '{head}' are {_listed(expected)}"
            )
    peak = WHITES[table.dtype.name] if table.dtype.kind == "u" else white or 1.0
    rows = np.concatenate([other for _, other in found])
    names = next(iter(columns.values()), ())
    return Corpus([one_table(rows, named(paths), seed)], peak, names=((first.name, 1),), columns=names)


def counted(corpus: Corpus) -> str:
    """Return how many rows of how many numbers were read, and what the columns are called, for a message."""
    _, count, _ = corpus.images[0].shape
    names = f" ({_listed(corpus.columns)}: names from the first line)" if corpus.columns else ""
    return f"{count:,} {rows_called(corpus.images)}{names}, one example each"


def rows_called(images: Sequence[np.ndarray]) -> str:
    """Return what rows are called in messages."""
    return f"rows of {numbers_text(images[0].shape[-1])}"


def _listed(columns: Sequence[object]) -> str:
    """Return the names of the first columns as text for a message; long names are cut."""
    return ", ".join(f"{column!s:.20}" for column in columns[:NAMED]) + (", ..." if len(columns) > NAMED else "")


def one_table(rows: np.ndarray, name: str, seed: int) -> np.ndarray:
    """Return rows, (N, d), in random order, with shape (1, N, d).

    Raises:
        InputError: There are fewer than two rows, a row is too long, a column is constant, or a value not finite.
    """
    if rows.shape[1] > MAX_NUMBERS:
        raise InputError(
            f"cannot fit to {name}: a row has {rows.shape[1]:,} numbers, and at most {MAX_NUMBERS:,} are allowed",
            "leave columns out, or give their principal components",
        )
    if len(rows) < 2:
        raise InputError(
            f"cannot fit to {name}: it has {len(rows)} row{'s' if len(rows) != 1 else ''}, and at least two are needed"
        )
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
        raise InputError(
            f"cannot use {name}: row {bad + 1} has values that are not numbers (NaN or infinity)", "leave that row out"
        )
    constant = np.flatnonzero((rows == rows[0]).all(0))
    if len(constant):
        which = _listed([*(constant + 1)])
        are, has = (f"column {which} is", "has") if len(constant) == 1 else (f"columns {which} are", "have")
        raise InputError(f"cannot fit to {name}: {are} constant, and {has} no density", "leave constant columns out")
    return rows[np.random.default_rng(seed).permutation(len(rows))][None]


def _tables(file: Path) -> Iterator[np.ndarray]:
    """Yield the tables of a file of arrays, (N, d), uint8, uint16 or float32."""
    for array in arrays(file):
        if array.dtype.kind not in "iuf":
            raise InputError(f"cannot use '{file}': its values are {array.dtype}, not numbers")
        if array.ndim not in (1, 2) or 0 in array.shape:
            raise InputError(f"cannot use '{file}' as rows: its shape is {array.shape}", "rows are (N, d)")
        array = array[:, None] if array.ndim == 1 else array
        kept = array.dtype.name in ("uint8", "uint16")
        with np.errstate(over="ignore"):
            yield np.array(array) if kept else np.asarray(array, np.float32)
