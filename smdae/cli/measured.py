"""`smdae compare --reference CLEAN IMAGE...`: prints how close pictures are to a clean one; a gate for pipelines."""

import math
from pathlib import Path
from typing import Any

from smdae.cli import console, stdout
from smdae.errors import BatchError, GateError, SmdaeError, UsageError
from smdae.pipeline.places import STREAM, sources

TAKEN = ("paths", "reference", "min_psnr", "white", "json_", "threads", "config", "overwrite")


def refuse_other_options(context: Any) -> None:
    """Raise UsageError for the first option on the command line that is for fits."""
    for option in context.command.params:
        source = context.get_parameter_source(option.name)
        if source is not None and source.name == "COMMANDLINE" and option.name not in TAKEN:
            name = next((name for name in option.opts if name.startswith("--")), option.opts[0])
            raise UsageError(f"{name} does not go with --reference, which only measures pictures", "leave it out")


def measure(inputs: list[Path], reference: Path, least: float | None, white: float | None, as_json: bool) -> int:
    """Print PSNR and SSIM of pictures against a clean one, a line each on stdout, and return the exit code.

    Each must reach a PSNR of `least` dB, unless that is None.

    Raises:
        UsageError: There is nothing to measure.
        InputError: The reference, or the only picture, cannot be read or has another size.
        BatchError: Some of many pictures cannot be measured.
        GateError: A picture has a lower PSNR than `least`.
    """
    from smdae.pipeline.measured import measured

    if STREAM in inputs or reference == STREAM:
        raise UsageError("compare reads files, not stdin", "name a file")
    if least is not None and not math.isfinite(least):
        raise UsageError(f"--min-psnr {least} is not a number of decibels")
    files = sources(inputs)
    failures: list[str] = []
    below: list[str] = []
    with stdout.guarded():
        for file, outcome in measured(files, reference, white):
            if isinstance(outcome, SmdaeError):
                if len(files) == 1:
                    raise outcome
                failures.append(outcome.message)
                console.failure(outcome)
                if as_json:
                    stdout.result({"input": str(file), "error": outcome.message, "code": outcome.code})
                continue
            psnr, ssim = outcome
            if least is not None and psnr < least:
                below.append(f"'{file}' has {psnr:.2f} dB")
            if as_json:
                numbers = {"psnr": psnr if math.isfinite(psnr) else None, "ssim": None if math.isnan(ssim) else ssim}
                stdout.result({"input": str(file), **numbers, "identical": psnr == math.inf})
            else:
                stdout.text(f"PSNR {psnr:6.2f} dB   SSIM {ssim:.4f}   {file}")
    if failures:
        raise BatchError(f"{len(failures)} of {len(files)} pictures could not be measured:", None, failures)
    if below:
        raise GateError(f"{len(below)} of {len(files)} below --min-psnr {least:g}:", None, below)
    return 0
