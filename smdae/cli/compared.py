"""A comparison under way: what is found is saved piece by piece, and at the end printed."""

from dataclasses import replace
from pathlib import Path

from rich.progress import TimeRemainingColumn

from smdae.cli import console
from smdae.cli.interrupts import Terminated
from smdae.comparing.comparison import Plan, compare
from smdae.comparing.contest import Contest
from smdae.comparing.page import page
from smdae.comparing.parts import PARTS
from smdae.comparing.record import LeftOut, Record, encode
from smdae.comparing.text import printable
from smdae.errors import BatchError, OutputError
from smdae.files import report_folder

__all__ = ["begun", "drive"]

# What must be as it was for a run to go on; what else there is adds to a report.
FIXED = ("sigma", "target", "patches", "patch_size", "hidden", "batch", "max_steps", "lr", "seed", "contest")


def begun(contest: Contest, plan: Plan, target: str | None, left_out: tuple[LeftOut, ...]) -> Record:
    """The record before anything is found."""
    s = contest.settings
    settings = {
        "objectives": list(plan.names),
        "seeds": plan.seeds,
        "models": list(plan.files),
        "baselines": list(plan.baselines),
        "quick": plan.quick,
        "sigma": s.sigma,
        "target": target,
        "dim": contest.dim,
        "patches": len(contest.patches),
        "different_patches": contest.places,
        "patch_size": s.patch_size if target is None else None,
        "images": contest.images[0],
        "held_out_images": contest.images[1],
        "held_out_patches": len(contest.held_out),
        "model": s.model,
        "hidden": s.hidden,
        "batch": s.batch,
        "max_steps": int(s.limits[0]),
        "lr": s.lr,
        "seed": s.seed,
        "device": str(contest.device),
        "contest": contest.digest,
    }
    return Record(settings, left_out)


def _taken_over(record: Record, plan: Plan, folder: Path) -> Record:
    """The record with those parts of an earlier run that were measured of the same."""
    before = report_folder.earlier(folder)
    ours, theirs = ({name: r.settings.get(name) for name in FIXED} for r in (record, before))
    for name, now in ours.items():
        if theirs[name] != now:
            what = (
                "the examples are" if name == "contest" else f"{name.replace('_', '-')} was {theirs[name]}, now it is"
            )
            raise OutputError(
                f"cannot resume from '{folder}': {what} {'others' if name == 'contest' else now}",
                "give the same images and settings, or start afresh with -y and without --resume",
            )
    kept = {name: part for name, part in before.parts.items() if part.of == plan.of(name)}
    return replace(record, parts={name: kept[name] for name in PARTS if name in kept})


def drive(contest: Contest, plan: Plan, record: Record, folder: Path, resume: bool, json_: bool) -> int:
    """Run what is missing, save each piece as it comes, and print the page."""
    courses = []
    if resume:
        record = _taken_over(record, plan, folder)
        courses = report_folder.fits_in(folder, contest, plan.fits)
        console.note(f"{len(courses)} of {len(plan.fits)} fits and {len(record.parts)} parts are there already")
    begun, diverged = False, []

    def begin() -> None:
        nonlocal begun
        if not begun:
            report_folder.begin(folder, fresh=not resume)
            report_folder.save_record(folder, record)
            begun = True

    try:
        with console.progress(TimeRemainingColumn()) as bar:
            task = bar.add_task("preparing", total=1.0)
            for found in compare(contest, plan, courses, tuple(record.parts)):
                bar.update(task, completed=found.share, description=found.stage)
                if found.course is not None:
                    begin()
                    report_folder.save_fit(folder, contest, found.course)
                    if found.course.outcome == "diverged":
                        diverged.append(found.course.objective)
                if found.part is not None:
                    begin()
                    record = record.with_part(found.part.name, plan.of(found.part.name), found.part.tables)
                    report_folder.save_pictures(folder, found.part.name, found.part.pictures)
                    report_folder.save_record(folder, record)
    except (KeyboardInterrupt, Terminated):
        if begun:
            console.note(f"what is finished is in '{folder}'; the same command with --resume goes on")
        raise
    begin()
    record = replace(record, complete=True)
    report_folder.finish(folder, record)
    if json_:
        console.stream(encode(record))
    else:
        print(printable(page(record)), flush=True)
    console.note(f"the report is '{folder / report_folder.REPORT}'")
    if diverged:
        raise BatchError(f"{len(diverged)} of {len(plan.fits)} fits diverged: {', '.join(dict.fromkeys(diverged))}")
    return 0
