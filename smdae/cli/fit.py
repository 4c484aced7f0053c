"""`smdae fit`: from images to a model file."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smdae.cli import console
from smdae.cli.interrupts import stoppable
from smdae.cli.options import Batch, Device, Json, Overwrite, Paths, Seed, levels, seconds
from smdae.errors import DivergedError, InputError, ModelError, OutputError, UsageError

if TYPE_CHECKING:
    from smdae.files.corpus import Corpus
    from smdae.fitting import Prepared
    from smdae.fitting.loop import Report

__all__ = ["command"]

SAVE_SECONDS = 60.0  # between two states


def _setting(*names: str, text: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, show_default=False, **more)


def command(
    paths: Paths,
    output: Annotated[Path, typer.Option("--output", "-o", help="The model file.")] = Path("model.safetensors"),
    overwrite: Overwrite = False,
    objective: Annotated[
        str | None,
        _setting(
            "--objective",
            text="dsm, dae, esm, ism, ism-reg, esm-parzen, ism-parzen, ssm, ssm-vr, fd-ssm. [default: dsm]",
        ),
    ] = None,
    model: Annotated[str | None, _setting("--model", text="energy or unet. [default: energy]")] = None,
    sigma: Annotated[
        str | None,
        _setting("--sigma", "-s", text="Level of the noise, white being 255, or many: 5-55. [default: 25, unet 1-60]"),
    ] = None,
    patch_size: Annotated[int | None, _setting("--patch-size", text="Side of a patch. [default: 12, unet 64]")] = None,
    size: Annotated[str | None, _setting("--size", text="Of the unet: small or medium. [default: small]")] = None,
    init: Annotated[str | None, _setting("--init", text="A model to start from, such as natural-gray.")] = None,
    hidden: Annotated[int | None, _setting("--hidden", text="Units of the energy. [default: 512]")] = None,
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
    white: Annotated[float | None, _setting("--white", text="The value of white in float images. [default: 1]")] = None,
    config: Annotated[
        Path | None, _setting("--config", "-c", text="Settings in a YAML file; options go first.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a fit that was interrupted.")] = False,
    json_: Json = False,
) -> int:
    """Fit a score model to images.

    smdae fit photos/                            two minutes, model.safetensors

    smdae fit photos/ -s 50 --max-time 10m -o strong.safetensors
    """
    from smdae.device import check_name, find
    from smdae.files.config import read_config
    from smdae.files.corpus import gather
    from smdae.files.writing import refuse_existing

    given = {
        "objective": objective,
        "model": model,
        "sigma": None if sigma is None else levels(sigma),
        "patch_size": patch_size,
        "size": size,
        "init": init,
        "hidden": hidden,
        "color": color or None,
        "target": target,
        "max_steps": max_steps,
        "max_time": None if max_time is None else seconds(max_time, "--max-time"),
        "batch": batch,
        "lr": lr,
        "seed": seed,
    }
    options = read_config(config) if config else {}
    if isinstance(options.get("max_time"), str):
        options["max_time"] = seconds(options["max_time"], "max-time")
    options |= {name: value for name, value in given.items() if value is not None}
    check_name(device)
    if white is not None and not 0 < white < float("inf"):
        raise UsageError(f"--white {white} is not a positive number")
    if output.suffix != ".safetensors":
        raise UsageError(f"--output '{output}' does not end in .safetensors")

    from smdae.fitting.settings import check

    settings = check(options)
    with console.progress() as bar:
        reading = bar.add_task("reading", total=None)
        corpus = gather(
            paths,
            max(settings.patch_size, *settings.growth, 0),
            color=settings.color,
            white=white or 1.0,
            watch=lambda done, of: bar.update(reading, completed=done, total=of),
        )
    state_file, metrics_file = output.with_suffix(".state"), output.with_suffix(".metrics.jsonl")
    if resume and not os.path.exists(state_file):
        raise InputError(f"there is no '{state_file}' to resume from", "leave --resume out to start a fit")
    for file in (output, metrics_file, state_file):
        refuse_existing(file, overwrite=overwrite or resume)
    where = find(device)

    from smdae.fitting import prepare
    from smdae.memory import keep_freed_memory

    keep_freed_memory()
    _tell(corpus)
    prepared = prepare(corpus.images, corpus.white, settings, where)
    if resume:
        prepared.state.restore(_bytes(state_file), str(state_file))
    else:  # leave was given to replace them, and an old state is none of this fit
        metrics_file.unlink(missing_ok=True)
        state_file.unlink(missing_ok=True)
    for text in prepared.notes:
        console.note(text)
    wiener = prepared.crops.psnr(prepared.wiener())
    before = prepared.crops.psnr(prepared.lift(prepared.state.average)) if not resume else None
    try:
        code = _drive(prepared, metrics_file, state_file)
        card = _card(prepared, corpus, wiener)
        _save(prepared, output, card)
    except DivergedError as error:
        if prepared.state.record["best"] is not None and prepared.state.record["step"] > 0:
            _save(prepared, output, _card(prepared, corpus, wiener))
            error.hint = f"{error.hint}; the last good weights are in '{output}'"
        raise
    except OutputError:
        if not state_file.exists():  # nothing to go on from: leave nothing behind
            metrics_file.unlink(missing_ok=True)
        raise
    if code:
        console.note(f"saved '{output}' as far as it came; the same command with --resume goes on")
    else:
        state_file.unlink(missing_ok=True)
    if json_:
        console.result({"output": str(output), **card})
    else:
        _report(prepared, card, output, before)
    return code


def _tell(corpus: "Corpus") -> None:
    """What was left out of the images."""
    if corpus.skipped:
        console.warn(f"{len(corpus.skipped)} files skipped; the first: {corpus.skipped[0]}")
    if corpus.small:
        console.warn(f"{corpus.small} images skipped: smaller than the patch size")


def _bytes(state_file: Path) -> bytes:
    try:
        return state_file.read_bytes()
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise ModelError(f"cannot resume from '{state_file}': {reason}") from None


def _drive(prepared: "Prepared", metrics_file: Path, state_file: Path) -> int:
    """Run the fit with a bar, a log and states; 0, or the code of the signal that stopped it."""
    from time import monotonic

    from rich.progress import TextColumn, TimeRemainingColumn

    from smdae.files.writing import write

    saved = monotonic()
    figures = TextColumn("{task.fields[figures]}")
    with (
        stoppable("stopping, and saving what there is (again to quit at once)") as stop,
        console.progress(figures, TimeRemainingColumn()) as bar,
    ):
        task = bar.add_task(prepared.state.settings.objective, total=None, figures="")
        shown = ""
        for report in prepared.run():
            if report.validation:
                shown = f"{report.validation.kind} {report.validation.value:.2f}"
            _log(metrics_file, _line(report))
            bar.update(
                task,
                completed=report.step,
                total=report.steps,
                figures=f"J {report.objective:.4g}  {shown}  {report.rate / 1000:.0f}k patches/s",
            )
            if stop or monotonic() - saved > SAVE_SECONDS:
                write(state_file, prepared.state.to_bytes(), overwrite=True)
                saved = monotonic()
            if stop:
                return stop.code
    return 0


def _log(metrics_file: Path, figures: dict[str, Any]) -> None:
    try:
        with metrics_file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(figures) + "\n")
    except OSError as error:
        reason = (error.strerror or "unwritable").lower()
        raise OutputError(f"cannot write '{metrics_file}': {reason}") from error


def _line(report: "Report") -> dict[str, Any]:
    figures: dict[str, Any] = {
        "step": report.step,
        "steps": report.steps,
        "seconds": round(report.seconds, 3),
        "lr": report.lr,
        "objective": report.objective,
        "patches_per_second": round(report.rate),
    }
    if report.validation:
        figures["held_out"] = {report.validation.kind: report.validation.value}
    return figures


def _card(prepared: "Prepared", corpus: "Corpus", wiener: float) -> dict[str, Any]:
    """What the model file says of the model."""
    from smdae import __version__

    state, patches = prepared.state, prepared.patches
    image_model = prepared.fitted()
    return {
        "model": state.settings.model,
        "settings": image_model.settings(),
        "objective": state.settings.objective,
        "score_of": "the clean density" if prepared.examples.implicit else "the density at level sigma",
        "sigma": state.settings.sigma,
        "channels": patches.channels,
        "patch_size": patches.size,
        "about": state.settings.about,
        "images": len(patches),
        "held_out_images": len(prepared.held_out),
        "held_out_psnr": {
            "noisy": prepared.crops.psnr(),
            "wiener": wiener,
            "model": prepared.crops.psnr(image_model),
        },
        "held_out_psnr_at": {
            f"{255 * level:g}": prepared.crops.psnr(image_model, level) for level in state.settings.judged_levels
        },
        "steps": state.record["step"],
        "seconds": round(state.record["seconds"], 1),
        "seed": state.settings.seed,
        "fit": state.settings.model_dump(mode="json"),
        "smdae": __version__,
    }


def _save(prepared: "Prepared", output: Path, card: dict[str, Any]) -> None:
    from smdae.files.model_file import encode
    from smdae.files.writing import write

    # The place was checked before the fit; whatever has come to be there since is older than what we hold.
    data = encode(prepared.fitted(), card, half=prepared.state.settings.half)
    write(output, data, overwrite=True)


def _report(prepared: "Prepared", card: dict[str, Any], output: Path, before: float | None) -> None:
    figures = card["held_out_psnr"]
    record = prepared.state.record
    low, high = prepared.state.settings.levels
    level = f"{255 * high:g}" if low == high else f"{255 * low:g} to {255 * high:g}"
    rows = [("objective", f"{card['objective']}, sigma {level}, {card['images']} images")]
    if prepared.examples.implicit:
        rows.append(("held-out J", f"{-record['before']:.5g} before, {-record['best']:.5g} after"))
    else:
        start = f", {before:.2f} at the start" if before is not None else ""
        rows += [
            ("held-out PSNR", f"{figures['model']:.2f} dB (noisy {figures['noisy']:.2f}{start})"),
            ("Wiener filter", f"{figures['wiener']:.2f} dB on the same patches"),
        ]
    rows += [
        ("time", f"{card['seconds']:.0f} s, {card['steps']} steps"),
        ("model", str(output)),
        ("next", "smdae denoise noisy.png" + ("" if output.name == "model.safetensors" else f" -m {output}")),
    ]
    console.table(rows)
