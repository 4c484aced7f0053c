"""Where results go: names planned and refused before any work."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from smdae.errors import OutputError, UsageError

if TYPE_CHECKING:
    from smdae.files.picture import Picture

__all__ = ["STREAM", "check_target", "folder_of", "plan"]

STREAM = Path("-")


def folder_of(output: str | None) -> Path | None:
    """The folder that results go to: one that is there, or one that is to be made as the slash at its end says."""
    if output is None or output == str(STREAM):
        return None
    return Path(output) if os.path.isdir(output) or output.endswith(os.sep) else None


def plan(inputs: list[Path], output: str | None, folder: Path | None) -> list[Path]:
    """Where each result goes."""
    if inputs.count(STREAM) > 1:
        raise UsageError("stdin can be read only once")
    if len(inputs) > 1 and output is not None and not folder:
        raise UsageError(
            f"--output '{output}' is no folder to hold {len(inputs)} results", f"write -o {output}{os.sep}"
        )
    if folder and STREAM in inputs:
        raise UsageError("a result from stdin needs a file name or - as its output")
    if output is None:
        targets = [i if i == STREAM else i.with_name(f"{i.stem}_denoised{i.suffix}") for i in inputs]
    elif folder:
        targets = [folder / i.name for i in inputs]
    else:
        targets = [Path(output)]
    places = [os.path.realpath(target) for target in targets]
    for i, (target, place) in enumerate(zip(targets, places, strict=True)):
        if place in places[:i]:
            raise UsageError(f"two results would both be '{target}'", "denoise them in two calls")
        if target != STREAM and any(place == os.path.realpath(other) for other in inputs[:i] + inputs[i + 1 :]):
            raise UsageError(f"'{target}' is an input and would be a result", "leave it out, or give another -o")
    return targets


def check_target(target: Path, picture: "Picture", overwrite: bool, made: Path | None) -> str:
    """The format of the result; refuses what cannot be written. The folder `made` need not be there yet."""
    from smdae.files.images import SUFFIXES, refuse_format
    from smdae.files.writing import refuse_existing

    kind = picture.format
    if target != STREAM:
        refuse_existing(made if made and not made.exists() else target, overwrite=overwrite)
        suffix = target.suffix.lower()
        if suffix not in SUFFIXES:
            raise OutputError(f"cannot write '{target}': unknown ending", f"endings are {', '.join(SUFFIXES)}")
        if SUFFIXES[suffix] != kind:
            kind = SUFFIXES[suffix]
    refuse_format(picture, kind)
    return kind
