"""The files of a fit: the model, beside it the log and, until it is done, the state that a fit goes on from.

The log is open, and locked, from before the work until its end: of two fits that would write one model the second is
refused, and the system takes the lock back from one that was killed. A model that has come to be under the name
meanwhile is not of this fit, and stays.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]

from smdae.errors import ModelError, OutputError

if TYPE_CHECKING:
    from smdae.fitting import Prepared
    from smdae.fitting.state import State

__all__ = ["Files", "beside", "claimed", "keep", "read_state"]

MAX_STATE = 1 << 36  # bytes


def beside(output: Path) -> tuple[Path, Path]:
    """Return the state and the log of a fit, named after its model."""
    return output.with_suffix(".state"), output.with_suffix(".metrics.jsonl")


def read_state(state_file: Path, state: "State") -> bytes:
    """Return the bytes of the state of a fit; of another file, no more than its header is read.

    Raises:
        ModelError: It cannot be read, is damaged, or of another fit.
    """
    from smdae.files import tensor_file

    try:
        return tensor_file.read(state_file, MAX_STATE, lambda header: state.accept(header, str(state_file)))
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise ModelError(f"cannot resume from '{state_file}': {reason}") from None
    except ValueError as error:
        raise ModelError(f"cannot resume from '{state_file}': the file is damaged, {error}") from None


def keep(state_file: Path, state: "State") -> None:
    """Write the state of a fit.

    Raises:
        OutputError: It cannot be written; an older one is as it was.
    """
    from smdae.files.writing import write

    write(state_file, state.to_bytes(), overwrite=True)


@dataclass(frozen=True)
class Files:
    """The files of a fit that nobody else writes.

    Attributes:
        model, state, log: Their names.
        overwrite: Whether leave was given to replace what is there.
        found: What tells the model that was there at the start from others, None if there was none.
        descriptor: The log, open.
    """

    model: Path
    state: Path
    log: Path
    overwrite: bool
    found: tuple[int, ...] | None
    descriptor: int

    def begin(self) -> None:
        """Take away the log and the state of an older fit, which leave was given to replace."""
        self._cut(0)
        self.state.unlink(missing_ok=True)

    def resume(self, step: int) -> None:
        """Take out of the log what came after a step: a fit that was killed had told of more than it had saved."""
        good = 0
        with suppress(OSError, ValueError, KeyError, TypeError):
            for line in self.log.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
                good += len(line)
        self._cut(good)

    def tell(self, figures: dict[str, Any]) -> None:
        """Write one more line of the log, whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        from smdae.files.refusals import refusals

        line = memoryview(json.dumps(figures).encode() + b"\n")
        length = os.fstat(self.descriptor).st_size
        try:
            with refusals(self.log):
                while line:
                    line = line[os.write(self.descriptor, line) :]
        except OutputError:
            self._cut(length)
            raise

    def save(self, prepared: "Prepared", card: dict[str, Any]) -> None:
        """Write the model with its best weights so far.

        Raises:
            OutputError: It cannot be written, or another has come to be there since the fit began.
        """
        from smdae.files.model_file import encode
        from smdae.files.writing import write

        data = encode(prepared.fitted(), card, half=prepared.state.settings.half)
        unchanged = self.found is not None and _identity(self.model) == self.found
        try:
            write(self.model, data, overwrite=self.overwrite or unchanged)
        except OutputError as error:
            with suppress(OutputError):  # so that nothing is lost
                keep(self.state, prepared.state)
            if self.state.exists():
                foreign = not (self.overwrite or unchanged) and os.path.lexists(self.model)
                how = "the same command with --resume"
                error.hint = f"{how} -y replaces it" if foreign else f"{how} writes it once that is put right"
            raise

    def refuse_foreign(self, state: "State") -> None:
        """Raise an error if the model there is not of the fit that goes on.

        Raises:
            OutputError: It is another, and no leave was given to replace it.
        """
        from smdae.files.model_file import read

        if self.overwrite or self.found is None:
            return
        with suppress(ModelError):
            if read(self.model)[0].get("fit") == state.settings.model_dump(mode="json"):
                return
        raise OutputError(f"cannot write '{self.model}': what is there is not of this fit", "-y replaces it")

    def _cut(self, length: int) -> None:
        """Leave no more than so many bytes of the log; where it is a device there is nothing to cut."""
        with suppress(OSError):
            os.ftruncate(self.descriptor, length)


@contextmanager
def claimed(output: Path, overwrite: bool, resume: bool) -> Iterator[Files]:
    """Claim the files of a fit: within, they are this process's alone. A log in which nothing was told is removed.

    Raises:
        OutputError: There are such files, and no leave to replace them, or another fit writes them.
    """
    from smdae.files.refusals import refuse_existing

    state, log = beside(output)
    leave = overwrite or resume
    refuse_existing(output, overwrite=leave)
    refuse_existing(log, overwrite=leave or _is_empty(log))
    refuse_existing(state, overwrite=leave)
    found, is_new = _identity(output), not os.path.lexists(log)
    descriptor = _locked(log, output)
    try:
        told = os.fstat(descriptor).st_size
        if told and not leave:  # by a fit that has ended since
            refuse_existing(log, overwrite=False)
        yield Files(output, state, log, overwrite, found, descriptor)
    finally:
        if (is_new or told) and not os.fstat(descriptor).st_size:
            _remove(log, descriptor)
        os.close(descriptor)


def _locked(log: Path, output: Path) -> int:
    """Return a log, open, and locked where the system has locks.

    Raises:
        OutputError: It cannot be opened, or another fit has it.
    """
    from smdae.files.refusals import refusals

    while True:
        with refusals(log):
            # Without the last flag to open a pipe would wait for one who reads from it.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
            descriptor = os.open(log, flags, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            hint = "wait for it to end, or name another with -o"
            raise OutputError(f"cannot write '{output}': another fit is writing it", hint) from None
        except OSError:  # a file system without locks
            return descriptor
        # Whoever had it may have taken it away when nothing came of his fit.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(log)):
                return descriptor
        os.close(descriptor)


def _remove(file: Path, descriptor: int) -> None:
    """Remove a file if it still is the one that is open."""
    with suppress(OSError):
        if os.path.samestat(os.stat(file), os.fstat(descriptor)):
            file.unlink()


def _is_empty(file: Path) -> bool:
    """Return whether a file is there and holds nothing, as the log of a fit that was killed at its start."""
    try:
        return os.stat(file).st_size == 0
    except OSError:
        return False


def _identity(file: Path) -> tuple[int, ...] | None:
    """Return what changes when a file is replaced or written, None if there is none."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, stat.S_IFMT(status.st_mode))
