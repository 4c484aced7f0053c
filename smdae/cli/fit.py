"""`smdae fit`: from images to a model file."""

import os
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smdae.cli import console
from smdae.cli.fitted import tell
from smdae.cli.interrupts import stoppable
from smdae.cli.options import Batch, Device, Imports, Json, Overwrite, Paths, Seed, Threads, threads_of
from smdae.cli.together import on_loss
from smdae.errors import DivergedError, ModelError, OutputError, UsageError
from smdae.names import MODEL_NAMES, OBJECTIVE_NAMES
from smdae.pipeline.card import card_of, line_of
from smdae.pipeline.fit_files import Files, beside, claimed, keep, read_state
from smdae.pipeline.peers import Peers

if TYPE_CHECKING:
    from smdae.cli.configuration import Configuration
    from smdae.files.corpus import Corpus
    from smdae.fitting import Prepared
    from smdae.fitting.distributed import Group
    from smdae.fitting.settings import Settings

__all__ = ["command"]

SAVE_SECONDS = 60.0  # between two states
MAX_DRAWN = 2  # numbers in a row
MAX_SPREAD = 100.0  # times sigma, or a share of it, that columns vary by without a word
SIGNALS = 128  # what the code of a fit stopped by a signal is above its number


def _setting(*names: str, text: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, readable=False, show_default=False, **more)


def command(
    context: typer.Context,
    paths: Paths,
    output: Annotated[Path, typer.Option("--output", "-o", readable=False, help="The model file.")] = Path(
        "model.safetensors"
    ),
    overwrite: Overwrite = False,
    objective: Annotated[
        str | None,
        _setting(
            "--objective",
            text=f"{', '.join(OBJECTIVE_NAMES)}. [default: dsm]",
        ),
    ] = None,
    model: Annotated[
        str | None, _setting("--model", text=f"{', '.join(MODEL_NAMES)}, or module:name. [default: energy]")
    ] = None,
    sigma: Annotated[
        str | None,
        _setting("--sigma", "-s", text="Level of the noise, white being 255, or many: 5-55. [default: 25, unet 1-60]"),
    ] = None,
    noisy: Annotated[
        bool,
        typer.Option("--noisy", help="The images are noisy: no clean ones are needed."),
    ] = False,
    noise: Annotated[
        str | None, _setting("--noise", text="A profile of noise that is not white, as denoise --save-noise writes.")
    ] = None,
    extra_noise: Annotated[
        float | None, _setting("--extra-noise", text="Level of the noise that dsm adds to noisy images.")
    ] = None,
    patch_size: Annotated[
        int | None, _setting("--patch-size", text="Side of a patch. [default: 12, unet 64, experts 64]")
    ] = None,
    size: Annotated[str | None, _setting("--size", text="Of the unet: small or medium. [default: small]")] = None,
    init: Annotated[str | None, _setting("--init", text="A model to start from, such as natural-gray.")] = None,
    probes: Annotated[
        int | None, _setting("--probes", text="Directions an example, if it needs any. [default: 1]")
    ] = None,
    hidden: Annotated[int | None, _setting("--hidden", text="Units of the energy. [default: 512]")] = None,
    filters: Annotated[int | None, _setting("--filters", text="Of the experts: how many. [default: 96]")] = None,
    window: Annotated[
        int | None, _setting("--window", text="Of the experts: pixels that each sees, a side. [default: 9]")
    ] = None,
    potential: Annotated[
        str | None, _setting("--potential", text="Of the experts: student, softplus or pairs. [default: student]")
    ] = None,
    color: Annotated[bool, typer.Option("--color", help="Fit on colours rather than on luma.")] = False,
    target: Annotated[
        str | None, _setting("--target", text="The density of esm: gaussian or gmm. [default: gmm]")
    ] = None,
    max_steps: Annotated[int | None, _setting("--max-steps", text="Steps. [default: 15000, but at most 110 s]")] = None,
    max_time: Annotated[str | None, _setting("--max-time", text="Time, such as 90s, 10m or 1h.")] = None,
    batch: Batch = None,
    lr: Annotated[float | None, _setting("--lr", text="Peak of the learning rate. [default: 0.03, unet 0.006]")] = None,
    seed: Seed = None,
    device: Device = "auto",
    threads: Threads = None,
    cache: Annotated[
        Path | None, _setting("--cache", text="A folder to keep decoded images in, of which there may be any number.")
    ] = None,
    white: Annotated[float | None, _setting("--white", text="The value of white in float images. [default: 1]")] = None,
    as_: Annotated[
        str | None, _setting("--as", text="What arrays (N, d) are: rows, an example each, or images.")
    ] = None,
    config: Annotated[
        Path | None, _setting("--config", "-c", text="Settings in a YAML file; options and $SMDAE_<SETTING> go first.")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings and where each is from, and do no more.")
    ] = False,
    plot: Annotated[
        bool, typer.Option("--plot", help="Of rows of one or two numbers: draw density, score and samples, NAME.png.")
    ] = False,
    import_: Imports = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a fit that was interrupted.")] = False,
    json_: Json = False,
) -> int:
    """Fit a score model to images.

    smdae fit photos/                            two minutes, model.safetensors

    smdae fit photos/ -s 50 --max-time 10m -o strong.safetensors

    smdae fit scans/ --noisy --model unet        from noisy images alone

    smdae fit scans/ --noisy --init natural-gray        shot noise or grain: a bundled network, fitted on
    """
    from smdae.device import find

    if white is not None and not 0 < white < float("inf"):
        raise UsageError(f"--white {white} is not a positive number")
    if as_ not in (None, "rows", "images"):
        raise UsageError(f"--as '{as_}' is neither rows nor images")
    if output.suffix != ".safetensors":
        raise UsageError(f"--output '{output}' does not end in .safetensors")

    from smdae.cli.configuration import render, resolve

    flags = {
        "objective": objective,
        "model": model,
        "sigma": sigma,
        "noisy": noisy or None,
        "noise": noise,
        "extra_noise": extra_noise,
        "probes": probes,
        "patch_size": patch_size,
        "size": size,
        "init": init,
        "hidden": hidden,
        "filters": filters,
        "window": window,
        "potential": potential,
        "color": color or None,
        "target": target,
        "max_steps": max_steps,
        "max_time": max_time,
        "batch": batch,
        "lr": lr,
        "seed": seed,
    }
    configuration = resolve(flags, os.environ, config)
    if print_config:
        print(render(configuration), end="", flush=True)
        return 0
    _import_own(configuration, import_ or ())
    peers: Peers = context.obj
    _refuse_crowd(configuration.settings, peers)

    from smdae.files.writing import clear

    settings, corpus = _read(paths, configuration.settings, white, cache, as_)
    picture = _picture(output, corpus, settings, overwrite or resume) if plot else None
    if resume and peers.first and not os.path.exists(beside(output)[0]):
        resume = False
        console.note(f"there is no '{beside(output)[0]}' to resume from: the fit starts from the beginning")
    if peers.first:
        clear(output.parent)
    with claimed(output, overwrite, resume) if peers.first else nullcontext() as files:
        where = find(device, peers.local)

        from smdae.fitting.precision import denormals_flushed
        from smdae.memory import keep_freed_memory

        keep_freed_memory()
        _tell(corpus)
        with threads_of(threads), denormals_flushed(), peers.group(where, own=":" not in device) as group:
            resume = bool(group.broadcast([resume])[0])
            return _fit(corpus, settings, where, output, files, resume, json_, group, picture)


def _read(
    paths: list[Path], settings: "Settings", white: float | None, cache: Path | None, asked: Any
) -> "tuple[Settings, Corpus]":
    """Return the settings of a fit, adapted to rows if it is one to rows, and its images or rows; show a bar."""
    from smdae.files.corpus import gather, refuse_unit
    from smdae.files.table import gather_rows, kind_of
    from smdae.fitting.settings import for_rows
    from smdae.models import family

    kind, choice = kind_of(paths, asked, family(settings.model).takes_rows, settings.noisy)
    if kind == "rows":
        corpus = gather_rows(paths, white, settings.seed)
        level = settings.levels[1] * corpus.white
        console.note(f"{choice or 'arrays are rows, one example each'}; sigma is {level:.3g} in their unit")
        spread = float(corpus.images[0].std(axis=(0, 1)).mean())
        if not level / MAX_SPREAD < spread < MAX_SPREAD * level:
            console.warn(f"a column varies by {spread:.3g}: give a --sigma, or a --white, that goes with it")
        return for_rows(settings), corpus
    with console.progress() as bar:
        reading = bar.add_task("reading", total=None)
        corpus = gather(
            paths,
            settings.least_side,
            color=settings.color,
            white=white or 1.0,
            watch=lambda done, of: bar.update(reading, completed=done, total=of),
            cache=cache,
            note=console.note,
            warn=console.warn,
        )
    if white is None:
        refuse_unit(corpus)
    if choice:
        console.note(choice)
    return settings, corpus


def _import_own(configuration: "Configuration", imports: Sequence[str]) -> None:
    """Import a model of the user's own before there is any work.

    Raises:
        ModelError: A file names it, and the command line does not: code is run only where that was asked for.
        UsageError: It cannot be imported.
    """
    from smdae.named import imported, is_named

    name = configuration.settings.model
    if not is_named(name):
        return
    if name not in imports and configuration.origins["model"] != "--model":
        raise ModelError(
            f"the model is the module '{name}', from {configuration.origins['model']}, which is not imported unasked",
            f"if you trust that module: --import {name}",
        )
    imported(name, "--model")


def _refuse_crowd(settings: "Settings", peers: Peers) -> None:
    """Refuse more processes than a step has examples."""
    if settings.least_batch < peers.place.size:
        raise UsageError(
            f"a batch of {settings.least_batch} is too small for {peers.place.size} processes",
            "give a larger --batch, or start fewer processes",
        )


def _fit(
    corpus: "Corpus",
    settings: "Settings",
    where: Any,
    output: Path,
    files: Files | None,
    resume: bool,
    json_: bool,
    group: "Group",
    picture: Path | None = None,
) -> int:
    """Run the fit, write its files unless another process does, and tell of it.

    Returns:
        0, or the code of the signal that stopped it.
    """
    from smdae.fitting import prepare
    from smdae.fitting.loop import ending

    state_file, _ = beside(output)
    with console.progress() as bar:
        looking = bar.add_task("looking for noise", total=None, visible=settings.noisy)
        prepared = prepare(
            corpus.images,
            corpus.white,
            settings,
            where,
            lambda done, of: bar.update(looking, completed=done, total=of),
            group,
            corpus.weights(settings.weights_by_name),
        )
    if resume:
        data = group.broadcast_bytes(lambda: read_state(state_file, prepared.state))
        prepared.state.restore(data, str(state_file))
    if files is None:
        return _drive(prepared, state_file, None)
    if resume:
        files.refuse_foreign(prepared.state)
        files.resume(prepared.state.record["step"])
    else:
        files.begin()
    for text in prepared.notes:
        console.note(text)
    for text in prepared.warnings:
        console.warn(text)
    filter_ = prepared.wiener()
    wiener = None if filter_ is None else prepared.crops.psnr(filter_)
    before = prepared.crops.psnr(prepared.lift(prepared.state.average)) if not resume else None
    try:
        code = _drive(prepared, state_file, files)
        card = card_of(prepared, corpus, wiener, Signals(code - SIGNALS).name if code else ending(prepared.state))
        files.save(prepared, card)
    except DivergedError as error:
        if prepared.state.record["best"] is not None and prepared.state.record["step"] > 0:
            files.save(prepared, card_of(prepared, corpus, wiener, "divergence"))
            error.hint = f"{error.hint}; the last good weights are in '{output}'"
        raise
    except OutputError:
        if not state_file.exists():  # nothing to go on from: leave nothing behind
            files.log.unlink(missing_ok=True)
        raise
    if prepared.noise and not prepared.gained:
        console.warn(
            f"nothing was gained on what is held out: the weights are still those of '{settings.init}'; more images or "
            "a lower --lr may help"
        )
    if code:
        console.note(f"saved '{output}' as far as it came; the same command with --resume goes on")
    else:
        state_file.unlink(missing_ok=True)
    if picture is not None:
        _draw(picture, prepared, corpus)
    if json_:
        console.result({"output": str(output), **card})
    else:
        tell(prepared, card, output, before)
    for text in card["shortfalls"]:
        console.warn(f"the model falls short: {text}")
    return code


def _picture(output: Path, corpus: "Corpus", settings: "Settings", overwrite: bool) -> Path:
    """Return where the picture of a model of one or two numbers goes.

    Raises:
        UsageError: The model is of more, or of images.
        OutputError: There is such a file, and no leave to replace it.
    """
    from smdae.files.refusals import refuse_existing

    if settings.patch_size != 1 or corpus.images[0].shape[2] > MAX_DRAWN:
        raise UsageError(
            "--plot draws models of one or two numbers", "smdae compare draws those of more, and of images"
        )
    place = output.with_suffix(".png")
    refuse_existing(place, overwrite=overwrite)
    return place


def _draw(place: Path, prepared: "Prepared", corpus: "Corpus") -> None:
    """Draw the density, the score and samples of the model of a fit."""
    import torch

    from smdae.comparing.portrait import portrait
    from smdae.files.writing import write

    rows = torch.from_numpy(corpus.images[0][0].astype("float32") / corpus.white)
    model = prepared.fitted().to("cpu")
    write(place, portrait(model, rows, prepared.examples.sigma, corpus.white), overwrite=True)
    console.note(f"drawn in '{place}'")


def _tell(corpus: "Corpus") -> None:
    """What was left out of the images."""
    if corpus.skipped:
        console.warn(f"{len(corpus.skipped)} files skipped; the first: {corpus.skipped[0]}")
    if corpus.small:
        console.warn(f"{corpus.small} images skipped: smaller than the patch size")


def _drive(prepared: "Prepared", state_file: Path, files: Files | None) -> int:
    """Run the fit with a bar, a log and states, unless another process writes these.

    Returns:
        0, or the code of the signal that stopped it.
    """
    from time import monotonic

    from rich.progress import TextColumn, TimeRemainingColumn

    saved, group = monotonic(), prepared.group
    figures = TextColumn("{task.fields[figures]}")

    def rescue() -> str | None:
        with suppress(OutputError):
            keep(state_file, prepared.state)
        going_on = f"the same command with --resume goes on from step {prepared.state.record['step']}"
        return going_on if state_file.exists() else None

    with (
        on_loss(rescue),
        stoppable("stopping, and saving what there is (again to quit at once)") as stop,
        console.progress(figures, TimeRemainingColumn()) as bar,
    ):
        task = bar.add_task(prepared.state.settings.objective, total=None, figures="")
        shown = ""
        for report in prepared.run():
            if report.validation:
                shown = f"{report.validation.kind} {report.validation.value:.2f}"
            if files:
                files.tell(line_of(report))
            bar.update(
                task,
                completed=report.step,
                total=report.steps,
                figures=f"J {report.objective:.4g}  {shown}  {report.rate / 1000:.0f}k patches/s",
            )
            stop.signal = group.largest(stop.signal or 0) or None
            if files and (stop or monotonic() - saved > SAVE_SECONDS):
                keep(state_file, prepared.state)
                saved = monotonic()
            if stop:
                return stop.code
    return 0
