"""What `--noise` says: a kind, or the file of a profile that `--save-noise` wrote."""

from pathlib import Path
from typing import TYPE_CHECKING

from smdae.errors import InputError, UsageError

if TYPE_CHECKING:
    from smdae.estimation.estimate import Kind
    from smdae.noise import Noise

__all__ = ["noise_named"]

MAX_BYTES = 1 << 20  # of a profile


def noise_named(text: str) -> "Kind | Noise":
    """Return the kind of noise, or the noise itself.

    Raises:
        UsageError: There is no such kind or file, or the file is no profile.
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
    if not text or not path.is_file():
        raise UsageError(
            f"--noise '{text}' is neither a kind of noise nor a file",
            f"kinds are {', '.join(KINDS)}; --save-noise writes a file",
        )
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read '{text}': {(error.strerror or 'it fails').lower()}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"--noise '{text}' is not a noise profile", "--save-noise writes one")
    try:
        return Noise.from_yaml(data.decode(), f"--noise '{text}'")
    except UnicodeDecodeError:
        raise UsageError(f"--noise '{text}' is not a noise profile", "--save-noise writes one") from None
