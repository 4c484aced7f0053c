"""`smdae denoise`: noisy pictures in, clean pictures of the same kind out."""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import typer

from smdae.cli import console
from smdae.cli.extras import Extras, refuse, targets
from smdae.cli.options import Device, Imports, Json, Overwrite, check_range
from smdae.cli.peers import Peers
from smdae.cli.places import ENDINGS, STREAM, Job, Naming, claims, plan, refuse_raced
from smdae.cli.selection import is_picture, listed, share_of
from smdae.cli.together import on_loss
from smdae.errors import UsageError
from smdae.names import SAMPLER_NAMES

__all__ = ["command"]

DEPTHS = {"same": None, "8": "uint8", "16": "uint16", "32f": "float32"}
LEAST, MOST = 1e-3, 1e5  # sigma
MOST_SEED = 2**63
BEST_QUALITY = 100  # of a JPEG or a WebP
REST = "the same command with --skip-existing does the rest"
SMALLEST_TILE = 64  # pixels; as in denoising.tiles, which would load torch


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
        typer.Option("--files-from", help="A list of images and folders, a line each; - is a list on stdin."),
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="Only part I of N parts of all pictures: 1/4 to 4/4 do them all.")
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
        bool, typer.Option("--fast", help="Take the small bundled network: a fifth of the time, a little worse.")
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
        typer.Option("--save-noise", readable=False, help="Write the noise that was found to a profile for --noise."),
    ] = None,
    strength: Annotated[
        float, typer.Option("--strength", help="How much of the noise to take out, 0 to 1; 0 changes nothing.")
    ] = 1.0,
    luma: Annotated[float, typer.Option("--luma", help="How much of it in brightness, 0 to 1.")] = 1.0,
    chroma: Annotated[float, typer.Option("--chroma", help="How much of it in colour, 0 to 1.")] = 1.0,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask", readable=False, help="A picture that is white where changes are let through, black elsewhere."
        ),
    ] = None,
    stepper: Annotated[
        str, typer.Option("--sampler", help=f"How to step along the score: {', '.join(SAMPLER_NAMES)}.")
    ] = "tweedie",
    old_stepper: Annotated[str | None, typer.Option("--stepper", hidden=True)] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="How many. [default: the sampler's]")] = None,
    step_size: Annotated[float | None, typer.Option("--step-size", help="How large. [default: the sampler's]")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the noise that langevin and coarse-to-fine draw.")] = 0,
    blend: Annotated[
        float, typer.Option("--blend", help="How far to go from the mean to a sample, 0 to 1: sharper, less accurate.")
    ] = 0.0,
    samples: Annotated[int, typer.Option("--samples", help="Samples of the posterior to write beside the result.")] = 0,
    save_steps: Annotated[
        str | None, typer.Option("--save-steps", help="The path from noise to image: a GIF, a PNG or a folder.")
    ] = None,
    uncertainty: Annotated[
        Path | None,
        typer.Option(
            "--uncertainty",
            readable=False,
            help="The standard deviation of each pixel: .tif, .npy, or .png to look at.",
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
        Path | None, typer.Option("--reference", readable=False, help="The clean image: prints PSNR and SSIM.")
    ] = None,
    white: Annotated[
        float | None, typer.Option("--white", help="The value of white. [default: 255, 65535, or 1 in floats]")
    ] = None,
    black: Annotated[float | None, typer.Option("--black", help="The value of black. [default: 0]")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Search folders to their depth.")] = False,
    suffix: Annotated[
        str | None, typer.Option("--suffix", help="What follows the name of a result. [default: _denoised]")
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", help=f"Of the results: {', '.join(ENDINGS)}. [default: the input's]")
    ] = None,
    bit_depth: Annotated[
        str, typer.Option("--bit-depth", help=f"Of the results: {', '.join(DEPTHS)}; 32f is float.")
    ] = "same",
    axes: Annotated[
        str | None,
        typer.Option("--axes", help="Of TIFF stacks: TZCYX, or TC3YX for pages in one row. [default: the file's]"),
    ] = None,
    channel: Annotated[
        str | None, typer.Option("--channel", help="Channels of TIFFs to denoise, such as 1,3. [default: all]")
    ] = None,
    pages: Annotated[
        str | None, typer.Option("--pages", help="Pages of TIFFs to denoise, such as 2-10. [default: all]")
    ] = None,
    quality: Annotated[
        int | None, typer.Option("--quality", help="Of JPEG and WebP results, 1 to 100. [default: 95]")
    ] = None,
    strip_metadata: Annotated[
        bool,
        typer.Option("--strip-metadata", help="Leave out dates, places and words; colours and orientation stay."),
    ] = False,
    linear: Annotated[
        bool, typer.Option("--linear", help="Develop camera raw files to linear light, no brighter than they are.")
    ] = False,
    in_place: Annotated[bool, typer.Option("--in-place", help="Replace the inputs.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave results alone that are there.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", help="Pictures to work on at once. [default: one for each core]")
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", help="Of a network's products: float32, bfloat16, float16 or auto.")
    ] = "auto",
    device: Device = "auto",
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be read and written, and do nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say more: a line for each picture, and why results are in doubt.")
    ] = False,
    import_: Imports = None,
    log: Annotated[
        Path | None, typer.Option("--log", readable=False, help="Append all that is said to a file, with the time.")
    ] = None,
    json_: Json = False,
) -> int:
    """Denoise images.

    smdae denoise noisy.png                      writes noisy_denoised.png

    smdae denoise scans/ -r -o clean/            a folder and all in it

    cat noisy.png | smdae denoise - -o - > clean.png
    """
    from smdae.cli.batch import Stopped, at_once, run
    from smdae.cli.batch_progress import BAR, BatchProgress
    from smdae.cli.manner import Manner
    from smdae.cli.noise_choice import noise_named
    from smdae.cli.one_picture import figures, forget, is_number, worker
    from smdae.cli.rehearsal import rehearse
    from smdae.files.claims import claimed
    from smdae.files.tiff_axes import Selection, numbers_in
    from smdae.files.tiff_axes import checked as axes_checked
    from smdae.files.writing import clear, refusals
    from smdae.memory import keep_freed_memory

    if log is not None and is_picture(log):
        raise UsageError(f"--log '{log}' is named as a picture is", "lines are appended to it: name another file")
    console.speak(quiet, verbose, log)
    inputs = inputs or []
    format = {"tif": "tiff", "jpg": "jpeg"}.get(format.lower(), format.lower()) if format is not None else None
    _refuse_contradictions(
        {
            "--quiet": quiet,
            "--verbose": verbose,
            "--skip-existing": skip_existing,
            "--overwrite": overwrite,
            "--in-place": in_place,
        }
    )
    if not inputs and files_from is None:
        raise UsageError(
            "missing argument 'INPUT': the images to denoise", "such as smdae denoise noisy.png; 'smdae denoise --help'"
        )
    if quality is not None and not 1 <= quality <= BEST_QUALITY:
        raise UsageError(f"--quality {quality} is not from 1 to {BEST_QUALITY}")
    part = None if shard is None else share_of(shard)
    selection = Selection(
        None if axes is None else axes_checked(axes),
        None if channel is None else numbers_in(channel, "--channel"),
        None if pages is None else numbers_in(pages, "--pages"),
    )
    levels = _levels(sigma)
    for name, value, least in (("stride", stride, 1), ("tile", tile, SMALLEST_TILE), ("jobs", jobs, 1)):
        if value is not None and value < least:
            raise UsageError(f"--{name} {value} is less than {least}")
    check_range(white, black)
    for name, share in (("strength", strength), ("luma", luma), ("chroma", chroma)):
        if not 0 <= share <= 1:
            raise UsageError(f"--{name} {share} is not between 0 and 1")
    for name, asked, known in (("format", format, ENDINGS), ("bit-depth", bit_depth, DEPTHS)):
        if asked is not None and asked not in known:
            raise UsageError(f"unknown --{name} '{asked}'; there are {', '.join(known)}")
    if not 0 <= blend <= 1:
        raise UsageError(f"--blend {blend} is not between 0 and 1")
    if not 0 <= seed < MOST_SEED:
        raise UsageError(f"--seed {seed} is not from 0 to {MOST_SEED - 1}")
    stepper = stepper if old_stepper is None else old_stepper
    components = components if old_modes is None else old_modes
    if stepper != "tweedie" or steps is not None or step_size is not None:
        from smdae.denoising.samplers import checked

        checked(stepper, steps, step_size)
    if precision != "auto":
        from smdae.denoising.precision import check_precision

        check_precision(precision)
    is_folder = save_steps is not None and (save_steps.endswith(os.sep) or not Path(save_steps).suffix)
    extras = Extras(samples, Path(save_steps) if save_steps else None, is_folder, uncertainty, components)
    if fast and model is not None:
        raise UsageError("--fast chooses a bundled network, and --model names one", "leave one of them out")
    kind = noise_named(noise)
    if files_from == "-" and STREAM in inputs:
        raise UsageError("stdin can be read only once")
    of_list = None if files_from is None else listed(files_from)
    naming = Naming(output, suffix, ENDINGS.get(format or ""), recursive, in_place, skip_existing)
    chosen = plan(inputs, naming, of_list, part)
    planned, folder = chosen.jobs, chosen.folder
    streamed = any(job.target == STREAM for job in planned)
    if extras.some and not chosen.is_single:
        raise UsageError("--samples, --save-steps, --uncertainty and --components go with one input")
    refuse(extras, planned, reference)
    if quality is not None and (part is None or format is not None):  # a share may have none of the JPEGs
        _refuse_quality(planned)
    peers: Peers = context.obj
    if streamed or STREAM in inputs:
        peers.refuse("a stream")
    if json_ and streamed:
        raise UsageError("--json and an image exclude each other on stdout", "write the image to a file with -o")
    for option, path in (("reference", reference), ("mask", mask), ("save-noise", save_noise)):
        if path is not None and not chosen.is_single:
            raise UsageError(f"--{option} goes with one input")
    if save_noise is not None and levels is not None:
        raise UsageError("--save-noise saves what is found, and --sigma tells it", "leave one of them out")
    if dry_run:
        if peers.first:
            beside = [] if not extras.some else targets(extras, planned[0])
            rehearse(planned, overwrite or in_place, beside + ([save_noise] if save_noise else []), json_)
            if chosen.remark:
                console.note(chosen.remark)
        return 0
    if streamed and sys.stdout.isatty():
        raise UsageError("an image is not written to a terminal", "redirect stdout, or write to a file with -o")
    if STREAM in inputs and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("nothing is piped into stdin", "pipe an image in, or name a file")

    if log is not None:
        with refusals(log), log.open("ab"):
            pass
    if not planned:
        console.note(f"no picture is in part {shard}")
        return 0
    keep_freed_memory()
    manner = Manner(
        model,
        device,
        levels,
        white,
        black,
        None,
        kind,
        luma,
        chroma,
        mask,
        save_noise,
        strength,
        {
            "stepper": stepper,
            "steps": steps,
            "step_size": step_size,
            "seed": seed,
            "stride": stride,
            "ensemble": ensemble,
            "precision": precision,
        },
        tile,
        DEPTHS[bit_depth],
        ENDINGS.get(format or ""),
        overwrite or in_place,
        overwrite,
        folder,
        adapt,
        reference,
        blend,
        extras,
        json_,
        not chosen.is_single,
        peers.local,
        fast,
        quality,
        strip_metadata,
        linear,
        tuple(import_ or ()),
        selection=selection,
    )
    made = folder if folder and not folder.exists() else None
    peers.agree_on(planned)  # none begins before all have looked at what there is
    written = [job.target for job in planned if job.target != STREAM and not job.skipped]
    written += [path for path in (save_noise, extras.steps, uncertainty) if path is not None]
    for place in {os.path.dirname(os.path.realpath(path)) for path in written} if peers.first else ():
        clear(Path(place))
    stop = Event()

    def tell(record: dict[str, Any]) -> None:
        if json_:
            console.result({k: v if is_number(v) else None for k, v in record.items()})
        elif "psnr" in record:
            console.note(figures(record))
        if "seconds" in record:
            console.detail(f"'{record['input']}' -> '{record['output']}', {record['seconds']:.1f} s")
        elif "skipped" in record:
            console.detail(f"'{record['input']}' skipped: '{record['output']}' is there")

    claim = claims(planned, inputs if part is None else []) if peers.first else {}
    try:
        with (
            claimed(claim),
            on_loss(lambda: None if in_place else REST),
            console.guarded(),
            console.progress(width=BAR, left=True) as bar,
        ):
            if any(claim.values()):
                refuse_raced(planned)
            seen = BatchProgress(bar, len(planned))
            alone = len(planned) == 1 or (not jobs and (fail_fast or peers.place.size > 1))
            many = 1 if alone else at_once(planned, device, jobs)
            told = 0

            def watch(done: int, of: int) -> None:
                if stop.is_set():
                    raise Stopped
                seen.step(done, of)

            def tell_and_count(record: dict[str, Any]) -> None:
                nonlocal told
                tell(record)
                told += 1
                seen.tell(told)

            work = seen.watched(worker(manner, watch))
            ending = chosen.remark, chosen.is_single
            run(planned, work, tell_and_count, many, fail_fast, peers, stop, *ending)
    finally:
        if made and peers.first:
            forget(made)
    return 0


CONTRADICTIONS = (
    ("--quiet", "--verbose"),
    ("--skip-existing", "--overwrite"),
    ("--skip-existing", "--in-place"),
)


def _refuse_contradictions(given: dict[str, bool]) -> None:
    """Raise UsageError for two options that exclude each other."""
    for one, other in CONTRADICTIONS:
        if given[one] and given[other]:
            raise UsageError(f"{one} and {other} exclude each other", "leave one of them out")


def _refuse_quality(jobs: Sequence[Job]) -> None:
    """Raise UsageError for a quality where no result can have one."""
    from smdae.files.images import SUFFIXES, WITH_QUALITY

    kinds = {SUFFIXES.get(job.target.suffix.lower()) for job in jobs if job.target != STREAM}
    if kinds and kinds.isdisjoint(WITH_QUALITY):
        kind = next((kind for kind in kinds if kind), "the result")
        raise UsageError(f"--quality is for JPEG and WebP, and {kind} has none", "leave it out, or add --format jpeg")


def _levels(text: str) -> tuple[float, ...] | None:
    """Sigma on the 0 to 255 scale, one for all channels or one for each; None to find it."""
    if text == "auto":
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(value == 0 or LEAST <= value <= MOST for value in values) or not any(values):
        raise UsageError(
            f"--sigma '{text}' is neither auto nor a number from {LEAST:g} to {MOST:g}",
            "or one for each channel: 20,10,15",
        )
    return values
