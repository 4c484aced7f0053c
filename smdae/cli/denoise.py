"""`smdae denoise`: noisy pictures in, clean pictures of the same kind out.

This module declares the options; `denoise_options` checks them, and `denoise_run` does the work.
"""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from smdae.cli import stdout
from smdae.cli.option_files import printed
from smdae.cli.options import DEPTHS, Config, Device, Imports, Json, Overwrite, PrintConfig, Threads, Work
from smdae.files.formats import NAMES, WITH_QUALITY, in_words
from smdae.names import SAMPLER_NAMES

__all__ = ["HELP", "command"]

HELP = """Denoise images.

smdae denoise noisy.png                      writes noisy_denoised.png

smdae denoise scans/ -r -o clean/            a folder and all in it

cat noisy.png | smdae denoise - -o - > clean.png
"""


def command(
    context: typer.Context,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUT",
            help="Noisy images, folders of them, patterns; - is stdin.",
            readable=False,
            show_default=False,
        ),
    ] = None,
    files_from: Annotated[
        str | None,
        typer.Option(
            "--files-from", help="A file that lists images and folders, one a line; - reads the list from stdin."
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", help="Denoise only part I of N, such as 1/4; 1/4 to 4/4 together are all pictures."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="A file, a folder, or - for stdout. [default: NAME_denoised beside it]"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A model file or name. [default: $SMDAE_MODEL, else a bundled network]"),
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Use the small bundled network: a fifth of the time, a little worse.")
    ] = False,
    sigma: Annotated[
        str,
        typer.Option("--sigma", "-s", help="Level of the noise, white being 255, or R,G,B; auto finds it."),
    ] = "auto",
    noise: Annotated[
        str,
        typer.Option(
            "--noise",
            help="white, shot (depends on brightness), grain (correlated), a profile's file, or auto.",
        ),
    ] = "auto",
    save_noise: Annotated[
        Path | None,
        typer.Option(
            "--save-noise", readable=False, help="Write the estimated noise to a profile, a file for --noise."
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option("--strength", help="Share of the noise to take out, 0 to 1; 0 changes nothing.")
    ] = 1.0,
    luma: Annotated[float, typer.Option("--luma", help="Share of that in brightness, 0 to 1.")] = 1.0,
    chroma: Annotated[float, typer.Option("--chroma", help="Share of that in colour, 0 to 1.")] = 1.0,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask", readable=False, help="A picture that is white where changes are allowed, black elsewhere."
        ),
    ] = None,
    sampler: Annotated[
        str, typer.Option("--sampler", help=f"How to step along the score: {', '.join(SAMPLER_NAMES)}.")
    ] = "tweedie",
    old_stepper: Annotated[str | None, typer.Option("--stepper", hidden=True)] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of the sampler. [default: the sampler's]")] = None,
    step_size: Annotated[float | None, typer.Option("--step-size", help="Their size. [default: the sampler's]")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the noise that langevin and coarse-to-fine draw.")] = 0,
    blend: Annotated[
        float, typer.Option("--blend", help="Move from the mean towards a sample, 0 to 1: sharper, less accurate.")
    ] = 0.0,
    samples: Annotated[int, typer.Option("--samples", help="Samples of the posterior to write beside the result.")] = 0,
    save_steps: Annotated[
        str | None, typer.Option("--save-steps", help="Write the path from noise to image: a GIF, a PNG or a folder.")
    ] = None,
    uncertainty: Annotated[
        Path | None,
        typer.Option(
            "--uncertainty",
            readable=False,
            help="Write the standard deviation of each pixel, in the picture's unit, as .tif or .npy; .png to look at.",
        ),
    ] = None,
    components: Annotated[
        int,
        typer.Option("--components", help="Principal components of the posterior to write beside the result."),
    ] = 0,
    old_modes: Annotated[int | None, typer.Option("--modes", hidden=True)] = None,
    stride: Annotated[
        int | None,
        typer.Option("--stride", help="Pixels between patches: more is faster, a little worse. [default: 1]"),
    ] = None,
    tile: Annotated[
        int | None, typer.Option("--tile", "-t", help="Side of a tile in pixels. [default: as memory allows]")
    ] = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Average over eight flips and turns: a little better, 8 x the time.")
    ] = False,
    adapt: Annotated[
        bool,
        typer.Option(
            "--adapt",
            help="Adapt the model to each picture first: minutes, with --fast half of one; better on textures.",
        ),
    ] = False,
    reference: Annotated[
        Path | None, typer.Option("--reference", readable=False, help="The clean image, to print PSNR and SSIM.")
    ] = None,
    white: Annotated[
        float | None, typer.Option("--white", help="The value of white. [default: 255, 65535, or 1 in floats]")
    ] = None,
    black: Annotated[float | None, typer.Option("--black", help="The value of black. [default: 0]")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Search the folders in folders too.")] = False,
    suffix: Annotated[
        str | None, typer.Option("--suffix", help="What is added to the name of a result. [default: _denoised]")
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", help=f"Format of the results: {', '.join(NAMES)}. [default: the input's]")
    ] = None,
    bit_depth: Annotated[
        str,
        typer.Option(
            "--bit-depth", help=f"Samples of the results: {', '.join(DEPTHS)}; 32f is float, and keeps counts."
        ),
    ] = "same",
    axes: Annotated[
        str | None,
        typer.Option("--axes", help="Axes of TIFF stacks: TZCYX, or TC3YX for pages in one row. [default: the file's]"),
    ] = None,
    channel: Annotated[
        str | None, typer.Option("--channel", help="Channels of TIFFs to denoise, such as 1,3. [default: all]")
    ] = None,
    pages: Annotated[
        str | None, typer.Option("--pages", help="Pages of TIFFs to denoise, such as 2-10. [default: all]")
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option("--quality", help=f"Quality of {in_words(WITH_QUALITY)} results, 1 to 100. [default: 95]"),
    ] = None,
    strip_metadata: Annotated[
        bool,
        typer.Option("--strip-metadata", help="Leave out dates, places and words; colours and orientation stay."),
    ] = False,
    linear: Annotated[
        bool, typer.Option("--linear", help="Develop camera raw files to linear light, no brighter than they are.")
    ] = False,
    in_place: Annotated[bool, typer.Option("--in-place", help="Replace the inputs.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Skip pictures whose results exist.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", help="Pictures to denoise at once. [default: one for each core]")
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", help="Precision of a network's products: float32, bfloat16, float16 or auto.")
    ] = "auto",
    device: Device = "auto",
    threads: Threads = None,
    max_memory: Annotated[
        str | None,
        typer.Option("--max-memory", help="Memory to use at most, such as 2G. [default: what is free]"),
    ] = None,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be read and written; write nothing.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", readable=False, help="Write an .html page: before and after, noise, residual."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print more: a line for each picture, and why results are in doubt.")
    ] = False,
    import_: Imports = None,
    log: Annotated[
        Path | None, typer.Option("--log", readable=False, help="Append all messages to a file, with the time.")
    ] = None,
    config: Config = None,
    print_config: PrintConfig = False,
    json_: Json = False,
) -> Work:
    """Parse the options of `smdae denoise`, and return a function that checks them and does the work."""
    sampler = sampler if old_stepper is None else old_stepper
    components = components if old_modes is None else old_modes
    not_settings = ("context", "config", "print_config", "old_stepper", "old_modes")
    given = {name: value for name, value in locals().items() if name not in (*not_settings, "not_settings")}
    if print_config:
        return partial(stdout.document, printed(context))
    from smdae.cli.denoise_options import DenoiseOptions
    from smdae.cli.denoise_run import run

    return partial(run, DenoiseOptions(**given), context.obj)
