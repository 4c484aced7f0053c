"""The options of `smdae denoise` as typer declares them: names, types, defaults and help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from smdae.cli.options import (
    BLACK,
    DEPTHS,
    NOISE,
    RECURSIVE,
    WHITE,
    Config,
    Device,
    Imports,
    Json,
    Overwrite,
    PrintConfig,
    Threads,
    option,
)
from smdae.files.formats import NAMES, WITH_QUALITY, in_words
from smdae.names import SAMPLER_NAMES


@dataclass(frozen=True)
class Declared:
    """The options of `smdae denoise`, as typer declares them."""

    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUT",
            help="Noisy images, folders of them, patterns; - is stdin.",
            readable=False,
            show_default=False,
        ),
    ] = None
    files_from: Annotated[
        str | None, option("A file that lists images and folders, one a line; - reads the list from stdin.")
    ] = None
    shard: Annotated[
        str | None, option("Denoise only part I of N, such as 1/4; 1/4 to 4/4 together are all pictures.")
    ] = None
    output: Annotated[
        str | None, option("A file, a folder, or - for stdout.", "--output", "-o", default="NAME_denoised beside it")
    ] = None
    model: Annotated[
        str | None, option("A model file or name.", "--model", "-m", default="$SMDAE_MODEL, else a bundled network")
    ] = None
    fast: Annotated[bool, option("Use the small bundled network: a fifth of the time, a little worse.", "--fast")] = (
        False
    )
    sigma: Annotated[str, option("Level of the noise, white being 255, or R,G,B; auto finds it.", "--sigma", "-s")] = (
        "auto"
    )
    noise: Annotated[str, NOISE] = "auto"
    save_noise: Annotated[Path | None, option("Write the estimated noise to a profile, a file for --noise.")] = None
    strength: Annotated[float, option("Share of the noise to take out, 0 to 1; 0 changes nothing.")] = 1.0
    luma: Annotated[float, option("Share of that in brightness, 0 to 1.")] = 1.0
    chroma: Annotated[float, option("Share of that in colour, 0 to 1.")] = 1.0
    mask: Annotated[Path | None, option("A picture that is white where changes are allowed, black elsewhere.")] = None
    sampler: Annotated[str, option(f"How to step along the score: {', '.join(SAMPLER_NAMES)}.")] = "tweedie"
    old_stepper: Annotated[str | None, option("", "--stepper", hidden=True)] = None
    steps: Annotated[int | None, option("Steps of the sampler.", default="the sampler's")] = None
    step_size: Annotated[float | None, option("Their size.", default="the sampler's")] = None
    seed: Annotated[int, option("Seed of the noise that langevin and coarse-to-fine draw.")] = 0
    blend: Annotated[float, option("Move from the mean towards a sample, 0 to 1: sharper, less accurate.")] = 0.0
    samples: Annotated[int, option("Samples of the posterior to write beside the result.")] = 0
    save_steps: Annotated[str | None, option("Write the path from noise to image: a GIF, a PNG or a folder.")] = None
    uncertainty: Annotated[
        Path | None,
        option("Write the standard deviation of each pixel, in the picture's unit, as .tif or .npy; .png to look at."),
    ] = None
    components: Annotated[int, option("Principal components of the posterior to write beside the result.")] = 0
    old_modes: Annotated[int | None, option("", "--modes", hidden=True)] = None
    stride: Annotated[int | None, option("Pixels between patches: more is faster, a little worse.", default="1")] = None
    tile: Annotated[int | None, option("Side of a tile in pixels.", "--tile", "-t", default="as memory allows")] = None
    ensemble: Annotated[
        bool, option("Average over eight flips and turns: a little better, 8 x the time.", "--ensemble")
    ] = False
    adapt: Annotated[
        bool,
        option(
            "Adapt the model to each picture first: minutes, with --fast half of one; better on textures.", "--adapt"
        ),
    ] = False
    reference: Annotated[Path | None, option("The clean image, to print PSNR and SSIM.")] = None
    white: Annotated[float | None, WHITE] = None
    black: Annotated[float | None, BLACK] = None
    recursive: Annotated[bool, RECURSIVE] = False
    suffix: Annotated[str | None, option("What is added to the name of a result.", default="_denoised")] = None
    format: Annotated[str | None, option(f"Format of the results: {', '.join(NAMES)}.", default="the input's")] = None
    bit_depth: Annotated[
        str, option(f"Samples of the results: {', '.join(DEPTHS)}; 32f is float, and keeps counts.")
    ] = "same"
    axes: Annotated[
        str | None, option("Axes of TIFF stacks: TZCYX, or TC3YX for pages in one row.", default="the file's")
    ] = None
    channel: Annotated[str | None, option("Channels of TIFFs to denoise, such as 1,3.", default="all")] = None
    pages: Annotated[str | None, option("Pages of TIFFs to denoise, such as 2-10.", default="all")] = None
    quality: Annotated[int | None, option(f"Quality of {in_words(WITH_QUALITY)} results, 1 to 100.", default="95")] = (
        None
    )
    strip_metadata: Annotated[
        bool, option("Leave out dates, places and words; colours and orientation stay.", "--strip-metadata")
    ] = False
    linear: Annotated[
        bool, option("Develop camera raw files to linear light, no brighter than they are.", "--linear")
    ] = False
    in_place: Annotated[bool, option("Replace the inputs.", "--in-place")] = False
    skip_existing: Annotated[bool, option("Skip pictures whose results exist.", "--skip-existing")] = False
    fail_fast: Annotated[bool, option("Stop at the first failure.", "--fail-fast")] = False
    jobs: Annotated[int | None, option("Pictures to denoise at once.", "--jobs", "-j", default="one for each core")] = (
        None
    )
    precision: Annotated[str, option("Precision of a network's products: float32, bfloat16, float16 or auto.")] = "auto"
    device: Device = "auto"
    threads: Threads = None
    max_memory: Annotated[str | None, option("Memory to use at most, such as 2G.", default="what is free")] = None
    overwrite: Overwrite = False
    dry_run: Annotated[bool, option("Print what would be read and written; write nothing.", "--dry-run")] = False
    report: Annotated[Path | None, option("Write an .html page: before and after, noise, residual.")] = None
    quiet: Annotated[bool, option("Print only errors.", "--quiet", "-q")] = False
    verbose: Annotated[
        bool, option("Print more: a line for each picture, and why results are in doubt.", "--verbose", "-v")
    ] = False
    import_: Imports = None
    log: Annotated[Path | None, option("Append all messages to a file, with the time.")] = None
    config: Config = None
    print_config: PrintConfig = False
    json_: Json = False
