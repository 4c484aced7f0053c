"""Read the examples of `fit` and `compare`, images or rows of numbers, and say what was read."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smdae.cli import console
from smdae.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from smdae.files.corpus import Corpus
    from smdae.fitting.settings import Settings

MAX_SPREAD = 100.0  # ratio of the spread of columns and sigma, or its inverse, beyond which there is a warning


def read_examples(
    paths: Sequence[Path],
    settings: "Settings",
    white: float | None,
    asked: Any,
    cache: Path | None = None,
    level_for: "Callable[[np.ndarray, float], tuple[float, float]] | None" = None,
) -> "tuple[Settings, Corpus]":
    """Read images or rows of numbers with a progress bar; return the settings that suit them, and the data.

    Files that were skipped, images that are too small and a sigma of another order than the rows are warned of.

    Args:
        paths: Folders and files.
        settings: The settings of a fit to the examples.
        white: The value of white in floats; None for 1.
        asked: What --as says that arrays of two axes are: `rows` or `images`; None to choose.
        cache: A folder where decoded images are kept; None to have them in memory.
        level_for: Returns the white and the level of the noise to take for rows and their white; None for those given.

    Raises:
        UsageError: --as is unknown or does not suit the model, or the values do not suit the value of white.
        InputError: There is nothing that can be read.
        OutputError: The cache cannot be written.
    """
    from smdae.files.corpus import gather, refuse_unit
    from smdae.files.table import kind_of
    from smdae.models import family

    if asked not in (None, "rows", "images"):
        raise UsageError(f"--as '{asked}' is neither rows nor images", "write --as rows or --as images")
    kind, choice = kind_of(paths, asked, family(settings.model).takes_rows, settings.noisy)
    if kind == "rows":
        return _rows(paths, settings, white, choice, level_for)
    with console.progress() as bar:
        reading = bar.add_task("reading", total=None)
        corpus = gather(
            paths,
            settings.least_side,
            color=settings.color,
            white=white or 1.0,
            watch=lambda done, of: bar.update(reading, completed=done, total=of),
            cache=cache,
            note=console.note,
            warn=console.warn,
        )
    if white is None:
        refuse_unit(corpus)
    if choice:
        console.note(choice)
    _tell_of_left_out(corpus, settings.least_side)
    return settings, corpus


def _tell_of_left_out(corpus: "Corpus", least: int) -> None:
    """Say by their kinds how many files are of no use, and how many images are too small; nothing if there are none."""
    from smdae.files.kinds import counted

    if corpus.skipped:
        kinds = counted(corpus.unread)
        count = corpus.unread.total()
        what = f"{count:,} files skipped: {kinds}; the first" if count > 1 else f"1 file skipped: {kinds}"
        console.warn(f"{what}: {corpus.skipped[0]}")
    if corpus.small:
        kinds = counted(corpus.small)
        console.warn(f"{corpus.small.total():,} images skipped, smaller than the patch size {least}: {kinds}")
    if corpus.left_out:
        console.note(f"{corpus.left_out.total():,} skipped: {counted(corpus.left_out)}")


def _rows(
    paths: Sequence[Path],
    settings: "Settings",
    white: float | None,
    choice: str,
    level_for: "Callable[[np.ndarray, float], tuple[float, float]] | None",
) -> "tuple[Settings, Corpus]":
    """Read rows of numbers; say how many there are, and warn if sigma is far from their spread.

    Arguments are those of `read_examples`, and errors those of `gather_rows`.
    """
    from smdae.files.table import counted, gather_rows
    from smdae.fitting.settings import for_rows

    rows = gather_rows(paths, white, settings.seed)
    if level_for is not None:
        white, sigma = level_for(rows.images[0], rows.white)
        rows = replace(rows, white=white)
        settings = settings.model_copy(update={"sigma": sigma})
    level = settings.levels[1] * rows.white
    how = "" if level_for is None else ", a third of their spread (-s sets it)"
    console.note(f"{f'{choice}; ' if choice else ''}{counted(rows)}; sigma is {level:.3g} in their unit{how}")
    if rows.white != 1 and rows.images[0].dtype.kind == "f":
        console.note(f"models take the rows divided by {rows.white:.10g}, the value of white")
    spread = float(rows.images[0].std(axis=(0, 1)).mean())
    if not level / MAX_SPREAD < spread < MAX_SPREAD * level:
        console.warn(
            f"a column varies by {spread:.3g}, far from sigma: with --white {spread:.1g}, sigma 255 stands for that"
        )
    return for_rows(settings), rows
