"""The run of `fit`: from images to a model file and what is told of it, with a bar, a log and states to resume from."""

from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

from smdae.cli import console
from smdae.cli.fitted import tell
from smdae.cli.interrupts import stoppable
from smdae.cli.together import on_loss
from smdae.errors import DivergedError, OutputError
from smdae.pipeline.card import card_of, line_of
from smdae.pipeline.fit_files import Files, beside, keep, read_state

if TYPE_CHECKING:
    from smdae.files.corpus import Corpus
    from smdae.fitting import Prepared
    from smdae.fitting.distributed import Group
    from smdae.fitting.settings import Settings

__all__ = ["run"]

SAVE_SECONDS = 60.0  # between two states
SIGNALS = 128  # what the code of a fit stopped by a signal is above its number


def run(
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
    """Run the fit, write its files if this process is the one that writes, and print its figures.

    Returns:
        The exit code: 0, or that of the signal that stopped the fit.
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
        card = card_of(prepared, wiener, Signals(code - SIGNALS).name if code else ending(prepared.state))
        files.save(prepared, card)
    except DivergedError as error:
        if prepared.state.record["best"] is not None and prepared.state.record["step"] > 0:
            files.save(prepared, card_of(prepared, wiener, "divergence"))
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
    """Run the fit with a progress bar; write its log, and its state now and then, unless `files` is None.

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
                files.log_line(line_of(report))
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
