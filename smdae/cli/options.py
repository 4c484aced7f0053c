"""Options that more than one command has, and how durations and sizes are written."""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from smdae.device import check_name
from smdae.errors import UsageError

Work = Callable[[], int]  # what a command asks for, once its options are parsed: does it, and returns the exit code
# The values of --bit-depth, and the sample type of results.
DEPTHS = {"same": None, "8": "uint8", "16": "uint16", "32f": "float32"}


def option(text: str, *names: str, default: str | None = None, **more: Any) -> Any:
    """Return an option of typer's, whose help is the text and the default in words.

    Typer names one without names after its parameter: --save-noise for save_noise. A flag must be named, or typer adds
    its opposite.
    """
    told = f"{text} [default: {default}]" if default else text
    return typer.Option(*names, help=told, readable=False, **more)


def taking(options: type) -> Callable[[Callable[..., Work]], Callable[..., Work]]:
    """Return a decorator by which typer gives a command the fields of a dataclass as options, by name."""

    def declared(command: Callable[..., Work]) -> Callable[..., Work]:
        context, _ = signature(command).parameters.values()
        of_fields = signature(options).parameters.values()
        command.__signature__ = Signature([context, *of_fields])  # type: ignore[attr-defined]
        return command

    return declared


# For those who write -r, as `denoise` needs it: `fit` and `compare` search the folders in folders anyway.
Anyway = Annotated[bool | None, option("", "--recursive", "-r", hidden=True)]
Overwrite = Annotated[bool, option("Replace existing files.", "--overwrite", "-y")]


def _device(context: typer.Context, value: str) -> str:
    """Return the name of a device; if it is unknown, raise UsageError with the option or variable that gave it."""
    source = context.get_parameter_source("device")
    check_name(value, "SMDAE_DEVICE" if source and source.name == "ENVIRONMENT" else "--device")
    return value


Device = Annotated[
    str, option("auto, cpu, cuda, cuda:N or mps.", "--device", "-d", envvar="SMDAE_DEVICE", callback=_device)
]
Imports = Annotated[
    list[str] | None,
    option("A module of your own that a model file may name; its code is run.", "--import", metavar="MODULE:NAME"),
]
Json = Annotated[bool, option("Print the result as JSON on stdout.", "--json")]


def _config(context: typer.Context, value: Path | None) -> Path | None:
    if value is None:
        return None
    from smdae.cli.option_files import configured

    return configured(context, value)


Config = Annotated[
    Path | None,
    option(
        "Options in a YAML file; those given here or in the environment take precedence.",
        "--config",
        "-c",
        is_eager=True,
        callback=_config,
    ),
]
PrintConfig = Annotated[bool, option("Print the options and where each is from; do nothing else.", "--print-config")]
Threads = Annotated[
    int | None,
    option("Cores to compute with.", "--threads", default="all", envvar="SMDAE_THREADS", min=1, max=4096),
]
Seed = Annotated[int | None, option("Seed of all random numbers.", default="0")]
NOISE = option("white, shot (depends on brightness), grain (correlated), a profile's file, or auto.")
WHITE = option("The value of white.", default="255, 65535, or 1 in floats")
BLACK = option("The value of black.", default="0")
RECURSIVE = option("Search the folders in folders too.", "--recursive", "-r")


def levels(text: str, option: str = "--sigma") -> float | tuple[float, float] | str:
    """Return a level of noise such as 25, the two ends of a range such as 5-55, or `auto` as it is.

    Numbers are not checked: a level may be negative or NaN, and the first end above the second.

    Raises:
        UsageError: The text is none of these.
    """
    if text == "auto":
        return text
    with suppress(ValueError):
        return float(text)  # 1e-3 is a number, not a range
    low, _, high = text.partition("-")
    try:
        return float(low), float(high)
    except ValueError:
        raise UsageError(
            f"{option} {text!r:.60} is not a level of noise", "write 25, or 5-55 for many; with --noisy, auto"
        ) from None


MAX_VALUE = 1e30  # of a pixel, beyond which squares overflow single precision; as in denoising.preparation


def check_range(white: float | None, black: float | None) -> None:
    """Raise UsageError for a white or black that is not finite or out of range, or a white not above black."""
    if white is not None and not 0 < white < math.inf:
        raise UsageError(f"--white {white} is not a positive number")
    if white is not None and not 1 / MAX_VALUE <= white <= MAX_VALUE:
        raise UsageError(f"--white {white:g} is not from {1 / MAX_VALUE:g} to {MAX_VALUE:g}")
    if black is not None and not math.isfinite(black):
        raise UsageError(f"--black {black} is not a finite number")
    if black is not None and not -MAX_VALUE <= black <= MAX_VALUE:
        raise UsageError(f"--black {black:g} is not from {-MAX_VALUE:g} to {MAX_VALUE:g}")
    if black is not None and white is not None and white <= black:
        raise UsageError(f"--white {white:g} is not above --black {black:g}")


UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def seconds(text: str, option: str) -> float:
    """Return a duration such as 90, 90s, 10m or 1.5h, in seconds.

    Raises:
        UsageError: The text is not a duration, or not a positive one.
    """
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)([smh]?)", text.strip())
    if not match or float(match[1]) <= 0:
        raise UsageError(f"{option} {text!r:.60} is not a duration", "write 90s, 10m or 1.5h")
    return float(match[1]) * UNITS[match[2]]


@contextmanager
def threads_of(count: int | None) -> Iterator[None]:
    """Compute with that many threads for as long as the context lasts; None leaves their number as it is."""
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
MAX_BYTES = 1 << 60
MIN_BYTES = 1 << 26


def bytes_of(text: str, option: str) -> int:
    """Return a size such as 500M, 2G or 2.5 GB in bytes; K, M, G and T are powers of 1024.

    Raises:
        UsageError: The text is not a size, or less than 64 MB.
    """
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if not match:
        raise UsageError(f"{option} {text!r:.60} is not a size", "write 500M or 2G")
    found = round(min(float(match[1]) * BYTES[match[2]], MAX_BYTES))
    if found < MIN_BYTES:
        raise UsageError(f"{option} {text!r:.60} is less than {MIN_BYTES >> 20} MB", "write 500M or 2G")
    return found
