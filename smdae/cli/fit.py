"""`smdae fit`: from images to a model file."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smdae.cli import console, stdout
from smdae.cli.examples import read_examples
from smdae.cli.fit_run import Request, run
from smdae.cli.options import (
    Anyway,
    Device,
    Imports,
    Json,
    Overwrite,
    Seed,
    Threads,
    Work,
    check_range,
    option,
    threads_of,
)
from smdae.errors import ModelError, UsageError
from smdae.names import MODEL_NAMES, OBJECTIVE_NAMES
from smdae.pipeline.fit_files import Files, beside, claimed
from smdae.pipeline.peers import Peers

if TYPE_CHECKING:
    from smdae.cli.configuration import Configuration
    from smdae.files.corpus import Corpus
    from smdae.fitting.settings import Settings

HELP = """Fit a score model to images.

smdae fit photos/                            two minutes, model.safetensors

smdae fit photos/ -s 50 --max-time 10m -o strong.safetensors

smdae fit scans/ --noisy --model unet        from noisy images alone

smdae fit scans/ --noisy --init natural-gray        shot noise or grain: a bundled network, fitted on
"""

MAX_PLOTTED = 2  # numbers in a row, for --plot
# The options that are settings of the fit.
OF_OBJECTIVE = ("objective", "sigma", "noisy", "noise", "extra_noise", "probes", "target")
OF_MODEL = ("model", "size", "init", "hidden", "filters", "window", "potential", "patch_size", "color")
OF_STEPS = ("max_steps", "max_time", "batch", "lr", "seed")


def command(
    context: typer.Context,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Folders, images, .npy and .npz arrays, or CSV tables of numbers.",
            readable=False,
            show_default=False,
        ),
    ],
    output: Annotated[Path, option("The model file.", "--output", "-o")] = Path("model.safetensors"),
    overwrite: Overwrite = False,
    objective: Annotated[str | None, option(f"{', '.join(OBJECTIVE_NAMES)}.", default="dsm")] = None,
    model: Annotated[str | None, option(f"{', '.join(MODEL_NAMES)}, or module:name.", default="energy")] = None,
    sigma: Annotated[
        str | None,
        option(
            "Level of the noise, white being 255, or a range: 5-55.",
            "--sigma",
            "-s",
            default="25, unet 1-60, rows a third of their spread",
        ),
    ] = None,
    noisy: Annotated[bool, option("The images are noisy: no clean ones are needed.", "--noisy")] = False,
    noise: Annotated[
        str | None, option("A profile of noise that is not white, as denoise --save-noise writes it.")
    ] = None,
    extra_noise: Annotated[float | None, option("Level of the noise that dsm adds to noisy images.")] = None,
    patch_size: Annotated[int | None, option("Side of a patch.", default="12, unet 64, experts 64")] = None,
    size: Annotated[str | None, option("Size of the unet: small or medium.", default="small")] = None,
    init: Annotated[str | None, option("A model to start from, such as natural-gray.")] = None,
    probes: Annotated[
        int | None, option("Random directions for each example, if the objective needs any.", default="1")
    ] = None,
    hidden: Annotated[int | None, option("Hidden units of the energy.", default="512")] = None,
    filters: Annotated[int | None, option("Number of experts.", default="96")] = None,
    window: Annotated[int | None, option("Pixels a side that each expert sees.", default="9")] = None,
    potential: Annotated[
        str | None, option("Potential of the experts: student, softplus or pairs.", default="student")
    ] = None,
    color: Annotated[bool, option("Fit on colour images rather than on their luma.", "--color")] = False,
    target: Annotated[str | None, option("The density of esm: gaussian or gmm.", default="gmm")] = None,
    max_steps: Annotated[int | None, option("Steps.", default="15000, but at most 110 s")] = None,
    max_time: Annotated[str | None, option("Time, such as 90s, 10m or 1h.")] = None,
    batch: Annotated[int | None, option("Patches a step.", "--batch", "-b", default="512, unet 16, experts 8")] = None,
    lr: Annotated[float | None, option("Peak of the learning rate.", default="0.03, unet 0.006")] = None,
    seed: Seed = None,
    device: Device = "auto",
    threads: Threads = None,
    cache: Annotated[
        Path | None, option("A folder to keep decoded images in, for more images than fit into memory.")
    ] = None,
    white: Annotated[float | None, option("The value of white in float images.", default="1")] = None,
    as_: Annotated[str | None, option("What arrays (N, d) are: rows, an example each, or images.", "--as")] = None,
    config: Annotated[
        Path | None,
        option("Settings in a YAML file; options and $SMDAE_<SETTING> take precedence.", "--config", "-c"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        option("A setting by its name, such as ema=0.999; repeat for more; --print-config lists all.", "--set"),
    ] = None,
    print_config: Annotated[
        bool, option("Print the settings and where each is from; do nothing else.", "--print-config")
    ] = False,
    plot: Annotated[
        bool, option("For rows of one or two numbers: draw density, score and samples, NAME.png.", "--plot")
    ] = False,
    import_: Imports = None,
    recursive: Anyway = None,
    resume: Annotated[bool, option("Resume a fit that was interrupted.", "--resume")] = False,
    json_: Json = False,
) -> Work:
    """Parse and check the options of `smdae fit`, and return a function that does the work.

    Raises:
        UsageError: An option or a setting has an impossible value, or the configuration cannot be read.
    """
    given = locals()
    check_range(white, None)
    if output.suffix != ".safetensors":
        raise UsageError(f"--output '{output}' does not end in .safetensors", "such as -o model.safetensors")

    from smdae.cli.configuration import render, resolve

    flags = {name: None if given[name] is False else given[name] for name in (*OF_OBJECTIVE, *OF_MODEL, *OF_STEPS)}
    configuration = resolve(flags, os.environ, config, set_ or ())
    if print_config:
        return partial(stdout.document, render(configuration))
    peers: Peers = context.obj
    _refuse_small_batch(configuration.settings, peers)

    def work() -> int:
        from smdae.device import find, taken
        from smdae.files.writing import clear
        from smdae.fitting.given import level_for_rows

        _import_own(configuration, import_ or ())
        # A sigma of 25 of 255 is none for rows, which come in any unit.
        chosen = level_for_rows if configuration.origins["sigma"] == "default" else None
        settings, corpus = read_examples(paths, configuration.settings, white, as_, cache, chosen)
        picture = _picture(output, corpus, settings, overwrite or resume) if plot else None
        resumes = resume
        if resume and peers.first and not os.path.exists(beside(output)[0]):
            resumes = False
            console.note(f"there is no '{beside(output)[0]}' to resume from: the fit starts from the beginning")
        if peers.first:
            clear(output.parent)
        with claimed(output, overwrite, resumes) if peers.first else nullcontext() as files, threads_of(threads):
            where = find(device, peers.local)
            if peers.first and (told := taken(device, where)):
                console.note(f"computing {told}")
            request = Request(corpus, settings, where, output, resumes, json_, picture)
            return _run(request, files, peers, own=":" not in device)

    return work


def _run(request: Request, files: Files | None, peers: Peers, own: bool) -> int:
    """Run a fit in all processes; `own` if no other process computes on the device."""
    from smdae.fitting.precision import denormals_flushed
    from smdae.memory import keep_freed_memory

    keep_freed_memory()
    with denormals_flushed(), peers.group(request.device, own) as group:
        request = replace(request, resume=bool(group.broadcast([request.resume])[0]))
        return run(request, files, group)


def _import_own(configuration: "Configuration", imports: Sequence[str]) -> None:
    """Import a model of the user's own before any work; do nothing for a model of smdae.

    Raises:
        ModelError: It was not named on the command line; only code that is named there is run.
        UsageError: It cannot be imported.
    """
    from smdae.named import imported, is_named

    name = configuration.settings.model
    if not is_named(name):
        return
    if name not in imports and configuration.origins["model"] != "--model":
        raise ModelError(
            f"the model is the module '{name}', from {configuration.origins['model']}, which is imported only if you "
            "ask for it",
            f"if you trust that module: --import {name}",
        )
    imported(name, "--model")


def _refuse_small_batch(settings: "Settings", peers: Peers) -> None:
    """Raise UsageError if there are more processes than examples in a batch."""
    if settings.least_batch < peers.place.size:
        raise UsageError(
            f"a batch of {settings.least_batch} is too small for {peers.place.size} processes",
            "give a larger --batch, or start fewer processes",
        )


def _picture(output: Path, corpus: "Corpus", settings: "Settings", overwrite: bool) -> Path:
    """Return the file that --plot draws a model of one or two numbers into.

    Raises:
        UsageError: The model is of more numbers, or of images.
        OutputError: The file exists and may not be overwritten.
    """
    from smdae.files.refusals import refuse_existing

    if settings.patch_size != 1 or corpus.images[0].shape[2] > MAX_PLOTTED:
        raise UsageError(
            "--plot draws models of one or two numbers", "smdae compare draws those of more, and of images"
        )
    place = output.with_suffix(".png")
    refuse_existing(place, overwrite=overwrite)
    return place
