"""Write results: all files of a picture or none, and no folder left behind after a failure."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from smdae.errors import OutputError
from smdae.files.dressing import Origin
from smdae.files.refusals import refuse_changed
from smdae.files.writing import write
from smdae.pipeline.messages import Messages, Put
from smdae.pipeline.places import STREAM, Job

MAX_ATTEMPTS = 5  # at writing into a folder that another run may remove


def put_result(
    job: Job, put: Callable[[Path], object], pieces: Callable[[], Iterable[bytes | memoryview]], stdout: Put
) -> None:
    """Write a result: to stdout in `pieces`, or to its file by `put`.

    Missing folders are made for it, and removed again if the writing fails, whose error is then raised.
    """
    if job.target == STREAM:
        for piece in pieces():
            stdout(piece)
        return
    new = next((place for place in reversed(job.target.parents) if not os.path.exists(place)), None)
    try:
        for attempt in range(MAX_ATTEMPTS):
            if new:
                job.target.parent.mkdir(parents=True, exist_ok=True)
            try:
                put(job.target)
                break
            except OutputError:  # another run may have made the same folder, and taken it away as empty
                if not new or os.path.exists(job.target.parent) or attempt == MAX_ATTEMPTS - 1:
                    raise
    except BaseException:
        if new:
            forget(new)
        raise


def put_bytes(job: Job, data: bytes, overwrite: bool, origin: Origin | None, stdout: Put) -> None:
    """Write the bytes of a result to its file, or to stdout; errors are those of `put_result`."""
    put_result(job, lambda target: write(target, data, overwrite=overwrite, origin=origin), lambda: [data], stdout)


@contextmanager
def beside(files: Sequence[tuple[Path, bytes]], overwrite: bool, origin: Origin | None) -> Iterator[None]:
    """Write files as the context begins, and remove the new ones again if what follows inside it fails.

    Raises:
        OutputError: A file exists and may not be overwritten, or cannot be written.
    """
    new: list[Path] = []
    folders: list[Path] = []
    try:
        for path, data in files:
            first = next((place for place in reversed(path.parents) if not os.path.exists(place)), None)
            if first:
                path.parent.mkdir(parents=True)
                folders.append(first)
            fresh = not os.path.lexists(path)
            write(path, data, overwrite=overwrite, origin=origin)
            if fresh:
                new.append(path)
        yield
    except BaseException:
        for path in new:
            with suppress(OSError):
                path.unlink()
        for folder in folders:
            forget(folder)
        raise


def origin_of(job: Job, messages: Messages) -> Origin | None:
    """Return the attributes of the input that its result is to keep; None for a stream. Warn of those that are lost.

    Raises:
        OutputError: The input is to be replaced, and has changed since the run began.
    """
    if job.replaced is not None:
        refuse_changed(job.source, job.replaced)
    with suppress(OSError, ValueError):  # reading it will report them
        status = job.replaced or job.source.stat()
        if job.source != STREAM and stat.S_ISREG(status.st_mode):

            def lost(what: str) -> None:
                messages.warn(f"'{job.target}' is replaced, but {what} could not be kept")

            return Origin(status, job.replaced is not None, lost)
    return None


def forget(folder: Path) -> None:
    """Remove a folder that was made for results, and the folders in it, if they are empty."""
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            os.rmdir(place)
