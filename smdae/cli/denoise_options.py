"""The options of `denoise` as given on the command line, and their check before any work."""

import math
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from smdae.cli.denoise_declared import Declared
from smdae.cli.options import DEPTHS, bytes_of, check_range
from smdae.errors import UsageError
from smdae.files.formats import ENDINGS, NAMES
from smdae.files.tiff_axes import Selection, numbers_in
from smdae.files.tiff_axes import checked as axes_checked
from smdae.pipeline.extras import Extras
from smdae.pipeline.picture_names import is_picture
from smdae.pipeline.places import STREAM, Naming
from smdae.pipeline.selection import share_of

if TYPE_CHECKING:
    from smdae.estimation.estimate import Kind
    from smdae.noise import Noise

PAGES = (".html", ".htm")
MIN_SIGMA, MAX_SIGMA = 1e-3, 1e5  # sigma
MAX_COUNT = 10**9  # pixels of a stride or a tile, pictures at once
MAX_SEED = 2**63 - 1
MAX_QUALITY = 100  # of a JPEG or a WebP
SMALLEST_TILE = 64  # pixels a side; as in denoising.tiles, which would load torch
CONTRADICTIONS = (
    ("quiet", "verbose"),
    ("skip_existing", "overwrite"),
    ("skip_existing", "in_place"),
)


class DenoiseOptions(Declared):
    """The options of `denoise` as given on the command line; the help of the command explains each."""

    @property
    def paths(self) -> list[Path]:
        """Return the inputs that were named; an empty list if there are none."""
        return self.inputs or []

    @property
    def ending(self) -> str | None:
        """Return the ending of the results; None for that of their input."""
        return None if self.format is None else ENDINGS[self.format.lower()]

    @cached_property
    def part(self) -> tuple[int, int] | None:
        """Return (I, N) of --shard I/N, which part of all pictures to denoise; None for all.

        Raises:
            UsageError: It is not of the form I/N with I from 1 to N.
        """
        return None if self.shard is None else share_of(self.shard)

    @cached_property
    def levels(self) -> tuple[float, ...] | None:
        """Return the levels of the noise, white being 255: one for all channels or one for each; None to estimate them.

        Raises:
            UsageError: --sigma is neither auto nor such levels.
        """
        return _levels(self.sigma)

    @cached_property
    def kind(self) -> "Kind | Noise":
        """Return the kind of noise, such as auto or grain, or the noise in the profile that --noise names.

        Raises:
            UsageError: There is no such kind, nor such a file.
            InputError: The profile cannot be read.
        """
        from smdae.pipeline.noise_choice import noise_named

        return noise_named(self.noise)

    @cached_property
    def selection(self) -> Selection:
        """Return which channels and pages of TIFF stacks to denoise, and how their axes are ordered.

        Raises:
            UsageError: --axes, --channel or --pages is not written as it has to be.
        """
        return Selection(
            None if self.axes is None else axes_checked(self.axes),
            None if self.channel is None else numbers_in(self.channel, "--channel"),
            None if self.pages is None else numbers_in(self.pages, "--pages"),
        )

    @property
    def extras(self) -> Extras:
        """Return the settings of the files to write beside the result."""
        steps = self.save_steps
        is_folder = steps is not None and (steps.endswith(os.sep) or not Path(steps).suffix)
        return Extras(self.samples, Path(steps) if steps else None, is_folder, self.uncertainty, self.components)

    @property
    def naming(self) -> Naming:
        """Return the rules by which results are named."""
        return Naming(self.output, self.suffix, self.ending, self.recursive, self.in_place, self.skip_existing)

    def check(self) -> None:
        """Check all options but --log, before any work; return nothing.

        Raises:
            UsageError: An option has an impossible value, or two exclude each other.
            InputError: A noise profile cannot be read.
        """
        for pair in CONTRADICTIONS:
            if all(getattr(self, name) for name in pair):
                both = " and ".join(f"--{name.replace('_', '-')}" for name in pair)
                raise UsageError(f"{both} exclude each other", "leave one of them out")
        if not self.paths and self.files_from is None:
            raise UsageError(
                "missing argument 'INPUT': the images to denoise",
                "such as smdae denoise noisy.png; 'smdae denoise --help'",
            )
        self._check_ranges()
        self._check_sampler_and_precision()
        if self.fast and self.model is not None:
            raise UsageError("--fast chooses a bundled network, and --model names one", "leave one of them out")
        if self.report is not None and self.report.suffix.lower() not in PAGES:
            raise UsageError(f"--report '{self.report}' does not end in .html", "such as --report report.html")
        _ = self.kind
        if self.files_from == "-" and STREAM in self.paths:
            raise UsageError("stdin can be read only once", "give - once")
        if self.save_noise is not None and self.levels is not None:
            raise UsageError("--save-noise saves what is estimated, and --sigma gives it", "leave one of them out")

    def _check_ranges(self) -> None:
        """Raise UsageError for an option with a value that is out of its range, or unknown."""
        if self.quality is not None and not 1 <= self.quality <= MAX_QUALITY:
            raise UsageError(f"--quality {self.quality} is not from 1 to {MAX_QUALITY}")
        _ = self.part, self.levels, self.selection  # reading them checks them
        least = {"stride": 1, "tile": SMALLEST_TILE, "jobs": 1}
        for name, value in (("stride", self.stride), ("tile", self.tile), ("jobs", self.jobs)):
            if value is not None and value < least[name]:
                raise UsageError(f"--{name} {value} is less than {least[name]}")
            if value is not None and value > MAX_COUNT:
                raise UsageError(f"--{name} is more than {MAX_COUNT:,}")
        if self.max_memory is not None:
            bytes_of(self.max_memory, "--max-memory")
        check_range(self.white, self.black)
        shares = (("strength", self.strength), ("luma", self.luma), ("chroma", self.chroma))
        for name, share in (*shares, ("blend", self.blend)):
            if not 0 <= share <= 1:
                raise UsageError(f"--{name} {share} is not between 0 and 1")
        formats, depths = (ENDINGS, NAMES), (DEPTHS, tuple(DEPTHS))
        for name, asked, (known, shown) in (("format", self.format, formats), ("bit-depth", self.bit_depth, depths)):
            if asked is not None and asked.lower() not in known:
                raise UsageError(f"unknown --{name} '{asked}'; there are {', '.join(shown)}")
        if not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"--seed {self.seed} is not from 0 to {MAX_SEED}")

    def _check_sampler_and_precision(self) -> None:
        """Raise UsageError for an unknown sampler or precision, or for steps that the sampler does not take."""
        if self.sampler != "tweedie" or self.steps is not None or self.step_size is not None:
            from smdae.denoising.samplers import checked_steps

            checked_steps(self.sampler, self.steps, self.step_size)
        if self.precision != "auto":
            from smdae.denoising.precision import check_precision

            check_precision(self.precision)

    def check_log(self) -> None:
        """Raise UsageError if a file beside the pictures is called '-', or the log is named like a picture.

        Lines would be appended to that picture.
        """
        files = {"log": self.log, "save-noise": self.save_noise, "mask": self.mask, "reference": self.reference}
        files |= {"uncertainty": self.uncertainty, "save-steps": Path(self.save_steps) if self.save_steps else None}
        for option, path in files.items():
            if path == STREAM:
                raise UsageError(f"--{option} takes a file, and '-' is stdin or stdout", "name a file")
        if self.log is not None and is_picture(self.log):
            raise UsageError(
                f"--log '{self.log}' has the name of a picture", "lines are appended to it: name another file"
            )


def _levels(text: str) -> tuple[float, ...] | None:
    """Return the levels in a text such as 25 or 20,10,15; None for auto.

    Raises:
        UsageError: A level is not a number, or out of range, or all are 0.
    """
    if text == "auto":
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(value == 0 or MIN_SIGMA <= value <= MAX_SIGMA for value in values) or not any(values):
        raise UsageError(
            f"--sigma '{text}' is neither auto nor a number from {MIN_SIGMA:g} to {MAX_SIGMA:g}",
            "or one for each channel: 20,10,15",
        )
    return values
