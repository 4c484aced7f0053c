"""Noise profiles on the command line: what `--noise` means, and the file that `--save-noise` writes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from smdae.errors import InputError, UsageError

if TYPE_CHECKING:
    from smdae.estimation.estimate import Kind
    from smdae.noise import Noise

MAX_BYTES = 1 << 20  # of a profile


def noise_named(text: str) -> "Kind | Noise":
    """Return the kind of noise that a text names, or the noise in the profile whose file it names.

    Raises:
        UsageError: There is no such kind or file, or the file is not a noise profile.
        InputError: The file cannot be read.
    """
    if text == "auto":  # which needs nothing loaded
        return "auto"
    from smdae.estimation.estimate import KINDS
    from smdae.noise import Noise

    for kind in KINDS:
        if text == kind:
            return kind
    path = Path(text)
    if not text or not os.path.isfile(path):
        raise UsageError(
            f"--noise '{text:.80}' is neither a kind of noise nor a file",
            f"kinds are {', '.join(KINDS)}; --save-noise writes a file",
        )
    return Noise.from_yaml(_text(path, f"--noise '{text}'"), f"--noise '{text}'")


def profile(text: str, label: str) -> str:
    """Return the YAML of a noise profile: the text itself if it has more than one line, else what its file holds.

    Raises:
        UsageError: There is no such file, or it is not a noise profile; the message begins with the label.
        InputError: The file cannot be read.
    """
    if "\n" in text:
        return text
    path = Path(text)
    if not text or not os.path.isfile(path):
        raise UsageError(f"{label} '{text:.80}': there is no such file", "denoise --save-noise writes one")
    return _text(path, f"{label} '{text}'")


def saved(noise: "Noise", name: str) -> bytes:
    """Return the profile of noise in the unit of its picture, which messages call `name`, as a YAML file in bytes.

    Raises:
        InputError: There is no noise.
    """
    if noise.is_none:
        raise InputError(
            f"no noise was found in '{name}', so there is no profile of it to save", "leave --save-noise out"
        )
    return noise.to_yaml().encode()


def _text(path: Path, label: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read '{path}': {(error.strerror or 'it fails').lower()}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{label} is not a noise profile", "--save-noise writes one")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{label} is not a noise profile", "--save-noise writes one") from None
