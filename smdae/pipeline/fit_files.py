"""The files of a fit: the model, beside it the log and, until the fit is done, the state to resume from.

The log is open and locked during the whole fit. So of two fits that would write the same model the second is refused,
and the system releases the lock of a fit that was killed. A model file that appears under the name during the fit is of
another fit, and is not overwritten.
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

MAX_STATE = 1 << 36  # bytes


def beside(output: Path) -> tuple[Path, Path]:
    """Return the paths of the state and of the log of a fit, which lie beside its model."""
    return output.with_suffix(".state"), output.with_suffix(".metrics.jsonl")


def read_state(state_file: Path, state: "State") -> bytes:
    """Read the saved state of a fit, and return its bytes; of any other file only the header is read.

    Raises:
        ModelError: The file cannot be read, is damaged, or belongs to another fit.
    """
    from smdae.files import tensor_file

    try:
        return tensor_file.read(state_file, MAX_STATE, lambda header: state.accept(header, str(state_file)))
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise ModelError(
            f"cannot resume from '{state_file}': {reason}", "-y without --resume begins a new fit"
        ) from None
    except ValueError as error:
        raise ModelError(
            f"cannot resume from '{state_file}': the file is damaged, {error}", "-y without --resume begins a new fit"
        ) from None


def keep(state_file: Path, state: "State") -> None:
    """Write the state of a fit, from which it can be resumed.

    Raises:
        OutputError: The file cannot be written; an older one stays as it was.
    """
    from smdae.files.writing import write

    write(state_file, state.to_bytes(), overwrite=True)


@dataclass(frozen=True)
class Files:
    """The files of a fit, claimed so that no other process writes them.

    Attributes:
        found: Numbers that identify the model file that existed at the start; None if there was none.
    """

    model: Path
    state: Path
    log: Path
    overwrite: bool
    found: tuple[int, ...] | None
    descriptor: int

    def begin(self) -> None:
        """Empty the log and remove the state of an older fit, which the user has allowed to overwrite."""
        self._cut(0)
        self.state.unlink(missing_ok=True)

    def resume(self, step: int) -> None:
        """Cut the log after the line of a step.

        A fit that was killed may have logged steps after its last saved state.
        """
        good = 0
        with suppress(OSError, ValueError, KeyError, TypeError):
            for line in self.log.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
                good += len(line)
        self._cut(good)

    def log_line(self, figures: dict[str, Any]) -> None:
        """Append one line to the log, whole or not at all; OutputError if it cannot be written."""
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
        """Write the model file, with the best weights so far.

        Raises:
            OutputError: It cannot be written, or another file has appeared there since the fit began.
        """
        from smdae.files.model_file import encode_tested
        from smdae.files.writing import write

        data = encode_tested(prepared.fitted(), card, half=prepared.state.settings.half)
        unchanged = self.found is not None and _identity(self.model) == self.found
        try:
            write(self.model, data, overwrite=self.overwrite or unchanged)
        except OutputError as error:
            with suppress(OutputError):  # so that nothing is lost
                keep(self.state, prepared.state)
            if os.path.exists(self.state):
                foreign = not (self.overwrite or unchanged) and os.path.lexists(self.model)
                how = "the same command with --resume"
                error.hint = f"{how} -y replaces it" if foreign else f"{how} writes it once the cause is removed"
            raise

    def refuse_foreign(self, state: "State") -> None:
        """Refuse to resume where the model file belongs to another fit.

        Raises:
            OutputError: It does, and the user has not allowed to overwrite it.
        """
        from smdae.files.model_file import read

        if self.overwrite or self.found is None:
            return
        with suppress(ModelError):
            if read(self.model)[0].get("fit") == state.settings.model_dump(mode="json"):
                return
        raise OutputError(f"cannot write '{self.model}': there is a model of another fit", "-y replaces it")

    def _cut(self, length: int) -> None:
        """Cut the log to a length in bytes; a log that is a device is left alone."""
        with suppress(OSError):
            os.ftruncate(self.descriptor, length)


@contextmanager
def claimed(output: Path, overwrite: bool, resume: bool) -> Iterator[Files]:
    """Claim the files of a fit for this process, as long as the context lasts, and yield them.

    A log that stays empty is removed at the end.

    Raises:
        OutputError: Such files exist, and the user has not allowed to overwrite them, or another fit is writing them.
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
        length = os.fstat(descriptor).st_size
        if length and not leave:  # written by a fit that has ended since
            refuse_existing(log, overwrite=False)
        yield Files(output, state, log, overwrite, found, descriptor)
    finally:
        if (is_new or length) and not os.fstat(descriptor).st_size:
            _remove(log, descriptor)
        os.close(descriptor)


def _locked(log: Path, output: Path) -> int:
    """Open the log, lock it where the system has locks, and return its descriptor.

    Raises:
        OutputError: It cannot be opened, or another fit has locked it.
    """
    from smdae.files.refusals import refusals

    while True:
        with refusals(log):
            # Without the last flag, opening a pipe would wait for its reader.
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
        # Another fit may have removed the log, as nothing came of it, between the opening and the lock.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(log)):
                return descriptor
        os.close(descriptor)


def _remove(file: Path, descriptor: int) -> None:
    """Remove a file if it is still the one behind the open descriptor."""
    with suppress(OSError):
        if os.path.samestat(os.stat(file), os.fstat(descriptor)):
            file.unlink()


def _is_empty(file: Path) -> bool:
    """Return whether a file exists and is empty, like the log of a fit that was killed at its start."""
    try:
        return os.stat(file).st_size == 0
    except OSError:
        return False


def _identity(file: Path) -> tuple[int, ...] | None:
    """Return numbers that change whenever a file is replaced or written; None if there is no file."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, stat.S_IFMT(status.st_mode))
