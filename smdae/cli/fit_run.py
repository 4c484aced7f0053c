"""Run `fit`: from images to a model file, with a progress bar, a log, and saved states to resume from."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

from smdae.cli import console, stdout
from smdae.cli.fit_table import print_table
from smdae.cli.interrupts import stoppable
from smdae.cli.together import on_loss
from smdae.errors import DivergedError, OutputError
from smdae.pipeline.card import card_of, line_of, of_noise
from smdae.pipeline.fit_files import Files, beside, keep, read_state

if TYPE_CHECKING:
    import torch

    from smdae.files.corpus import Corpus
    from smdae.fitting import Prepared
    from smdae.fitting.distributed import Group
    from smdae.fitting.settings import Settings

SAVE_SECONDS = 60.0  # between two saved states
SIGNALS = 128  # plus the number of the signal, the exit code of a fit stopped by one


@dataclass(frozen=True, eq=False)
class Request:
    """A fit that is asked for."""

    corpus: "Corpus"
    settings: "Settings"
    device: "torch.device"
    output: Path
    resume: bool
    as_json: bool
    picture: Path | None = None


def run(request: Request, files: Files | None, group: "Group") -> int:
    """Run a fit, write its files if this process has them, and print its figures; return the exit code.

    Returns:
        The exit code: 0, or 128 plus the number of the signal that stopped the fit.

    Raises:
        UsageError, ModelError: The settings and the images, or the state and the fit, do not suit each other.
        DivergedError: The fit diverged; the best weights before are written.
        OutputError: A file cannot be written.
        LostError: Another process died.
    """
    prepared = _prepared(request, group)
    state_file, _ = beside(request.output)
    if request.resume:
        data = group.broadcast_bytes(lambda: read_state(state_file, prepared.state))
        prepared.state.restore(data, str(state_file))
    if files is None:
        return _drive(prepared, state_file, None)
    if request.resume:
        files.refuse_foreign(prepared.state)
        files.resume(prepared.state.record["step"])
    else:
        files.begin()
    for text in prepared.notes:
        console.note(text)
    for text in prepared.warnings:
        console.warn(text)
    before = None if request.resume else prepared.crops.psnr(prepared.lift(prepared.state.average))
    code, card = _fitted(prepared, state_file, files)
    if prepared.noise and not prepared.gained:
        console.warn(
            f"nothing was gained on held-out images: the weights are still those of '{request.settings.init}'; more "
            "images or a lower --lr may help"
        )
    if code:
        console.note(f"saved '{request.output}' with the fit so far; run the same command with --resume to go on")
    else:
        state_file.unlink(missing_ok=True)
    if request.picture is not None:
        _draw(request.picture, prepared, request.corpus)
    if request.as_json:
        stdout.result({"output": str(request.output), **card})
    else:
        print_table(prepared, card, request.output, before)
    for text in card["shortfalls"]:
        console.warn(f"the model falls short: {text}")
    return code


def _prepared(request: Request, group: "Group") -> "Prepared":
    """Prepare the fit, with a progress bar while noise is looked for."""
    from smdae.fitting import prepare

    corpus, settings = request.corpus, request.settings
    with console.progress() as bar:
        task = bar.add_task("looking for noise", total=None, visible=settings.noisy)
        return prepare(
            corpus.images,
            corpus.white,
            settings,
            request.device,
            watch=lambda done, of: bar.update(task, completed=done, total=of),
            group=group,
            weights=corpus.weights(settings.weights_by_name),
        )


def _fitted(prepared: "Prepared", state_file: Path, files: Files) -> tuple[int, dict[str, Any]]:
    """Run the fit and write the model; return the exit code and the card of the model."""
    from smdae.fitting.loop import ending

    filter_ = prepared.wiener()
    wiener = None if filter_ is None else prepared.crops.psnr(filter_)
    try:
        code = _drive(prepared, state_file, files)
        card = card_of(prepared, wiener, Signals(code - SIGNALS).name if code else ending(prepared.state))
        files.save(prepared, card)
    except DivergedError as error:
        if prepared.state.record["best"] is not None and prepared.state.record["step"] > 0:
            files.save(prepared, card_of(prepared, wiener, "divergence"))
            error.hint = f"{error.hint}; the last good weights are in '{files.model}'"
        raise
    except OutputError:
        if not os.path.exists(state_file):  # nothing to resume from: leave nothing behind
            files.log.unlink(missing_ok=True)
        raise
    return code, card


def _draw(place: Path, prepared: "Prepared", corpus: "Corpus") -> None:
    """Draw the density, the score and samples of a fitted model into a PNG file, and say so."""
    import torch

    from smdae.comparing.portrait import portrait
    from smdae.files.writing import write

    rows = torch.from_numpy(corpus.images[0][0].astype("float32") / corpus.white)
    model = prepared.fitted().to("cpu")
    write(place, portrait(model, rows, prepared.examples.sigma, corpus.white), overwrite=True)
    console.note(f"drawn in '{place}'")


def _drive(prepared: "Prepared", state_file: Path, files: Files | None) -> int:
    """Run the fit with a progress bar; write its log, and its state every minute, unless `files` is None.

    Returns:
        The exit code: 0, or that of the signal that stopped the fit.
    """
    from time import monotonic

    from rich.progress import TextColumn, TimeRemainingColumn

    saved, group = monotonic(), prepared.group
    figures = TextColumn("{task.fields[figures]}")

    def rescue() -> str | None:
        with suppress(OutputError):
            keep(state_file, prepared.state)
        hint = f"run the same command with --resume to go on from step {prepared.state.record['step']}"
        return hint if os.path.exists(state_file) else None

    with (
        on_loss(rescue),
        stoppable("stopping, and saving what there is (again to quit at once)") as stop,
        console.progress(figures, TimeRemainingColumn()) as bar,
    ):
        task = bar.add_task(prepared.state.settings.objective, total=None, figures="")
        shown, examples = "", "rows" if prepared.patches.size == 1 else "patches"
        noisy = prepared.crops.psnr() if examples == "rows" and prepared.denoises else None
        for report in prepared.run():
            if report.validation and noisy is not None:
                shown = f"error {of_noise(report.validation.value, noisy)}"
            elif report.validation:
                shown = f"{report.validation.kind} {report.validation.value:.2f}"
            if files:
                files.log_line(line_of(report))
            bar.update(
                task,
                completed=report.step,
                total=report.steps,
                figures=f"J {report.objective:.4g}  {shown}  {report.rate / 1000:.0f}k {examples}/s",
            )
            stop.signal = group.largest(stop.signal or 0) or None
            if files and (stop or monotonic() - saved > SAVE_SECONDS):
                keep(state_file, prepared.state)
                saved = monotonic()
            if stop:
                return stop.code
    return 0
