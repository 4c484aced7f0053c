"""`smdae denoise`: noisy pictures in, clean pictures of the same kind out.

`denoise_declared` declares the options, `denoise_options` checks them, and `denoise_run` does the work.
"""

from functools import partial
from typing import Any

import typer

from smdae.cli import stdout
from smdae.cli.denoise_declared import Declared
from smdae.cli.option_files import printed
from smdae.cli.options import Work, taking

HELP = """Denoise images.

smdae denoise noisy.png                      writes noisy_denoised.png

smdae denoise scans/ -r -o clean/            a folder and all in it

cat noisy.png | smdae denoise - -o - > clean.png
"""
RENAMED = {"old_stepper": "sampler", "old_modes": "components"}  # options whose old spelling is still taken


@taking(Declared)
def command(context: typer.Context, **given: Any) -> Work:
    """Parse the options of `smdae denoise`, and return a function that checks them and does the work."""
    if given["print_config"]:
        return partial(stdout.document, printed(context))
    from smdae.cli.denoise_options import DenoiseOptions
    from smdae.cli.denoise_run import run

    given |= {name: given[old] for old, name in RENAMED.items() if given[old] is not None}
    return partial(run, DenoiseOptions(**given), context.obj)
