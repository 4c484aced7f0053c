"""A comparison under way, with a bar; at the end its page is printed."""

from rich.progress import TimeRemainingColumn

from smdae.cli import console, stdout
from smdae.cli.interrupts import Terminated
from smdae.comparing import report_folder
from smdae.comparing.record import encode
from smdae.comparing.report import page
from smdae.comparing.text import printable
from smdae.errors import BatchError
from smdae.pipeline.compared import Comparison


def drive(comparison: Comparison, resume: bool, json_: bool) -> int:
    """Run a comparison with a progress bar, write its report, print its results on stdout, and return 0.

    Args:
        comparison: The comparison.
        resume: Whether to run only the fits and parts that an earlier run has not finished.
        json_: Whether results are printed as JSON, rather than as tables in text.

    Raises:
        BatchError: A fit diverged; the report is written all the same.
        OutputError: The report cannot be written.
    """
    plan, folder = comparison.plan, comparison.folder
    if resume:
        comparison.take_over()
        fits, parts = len(comparison.courses), len(comparison.record.parts)
        console.note(f"{fits} of {len(plan.fits)} fits and {parts} parts are finished already")
    try:
        with console.progress(TimeRemainingColumn()) as bar:
            task = bar.add_task("preparing", total=1.0)
            for found in comparison.run():
                bar.update(task, completed=found.share, description=found.stage)
    except (KeyboardInterrupt, Terminated):
        if comparison.is_begun:
            console.note(f"what is finished is in '{folder}'; run the same command with --resume to go on")
        raise
    record = comparison.finished()
    if json_:
        stdout.stream(encode(record))
    else:
        print(printable(page(record)), flush=True)
    console.note(f"the report is '{folder / report_folder.REPORT}'")
    diverged = comparison.diverged
    if diverged:
        raise BatchError(f"{len(diverged)} of {len(plan.fits)} fits diverged: {', '.join(dict.fromkeys(diverged))}")
    return 0
