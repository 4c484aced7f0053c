"""The files of a fit: the model, beside it the log and, until it is done, the state that a fit goes on from."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smdae.errors import ModelError, OutputError

if TYPE_CHECKING:
    from smdae.fitting import Prepared
    from smdae.fitting.state import State

__all__ = ["beside", "forget", "log", "read_state", "save"]

MAX_STATE = 1 << 36  # bytes


def beside(output: Path) -> tuple[Path, Path]:
    """The state and the log of a fit, named after its model."""
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


def forget(metrics_file: Path, step: int) -> None:
    """Take out of the log what came after a step: a fit that was killed had told of more than it had saved."""
    from smdae.files.writing import write

    with suppress(OSError, ValueError, KeyError):
        lines = metrics_file.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        if len(kept) < len(lines):
            write(metrics_file, "".join(kept).encode(), overwrite=True)


def log(metrics_file: Path, figures: dict[str, Any]) -> None:
    """One more line of the log."""
    try:
        with metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")
    except OSError as error:
        reason = (error.strerror or "unwritable").lower()
        raise OutputError(f"cannot write '{metrics_file}': {reason}") from error


def save(prepared: "Prepared", output: Path, card: dict[str, Any]) -> None:
    """Write the model with its best weights so far."""
    from smdae.files.model_file import encode
    from smdae.files.writing import write

    # The place was checked before the fit; whatever has come to be there since is older than what we hold.
    data = encode(prepared.fitted(), card, half=prepared.state.settings.half)
    write(output, data, overwrite=True)
