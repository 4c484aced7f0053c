"""`smdae compare`: the same fit with every objective, side by side."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smdae.cli import console
from smdae.cli.options import Device, Json, Overwrite, Paths, Seed
from smdae.errors import BatchError, OutputError, UsageError

if TYPE_CHECKING:
    from smdae.comparing import Contest, Findings

__all__ = ["command"]

RESULTS, CURVES = "results.json", "curves.png"
MOST = 100_000_000  # patches, and steps
LEAST_PATCHES = 100
# Of images, held out: more than in a fit, which lives on its data; here they are the judges.
HOLD_OUT = 0.2


def _option(*names: str, text: str) -> Any:
    return typer.Option(*names, help=text)


def command(
    paths: Paths,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            help="One to compare; again for more. [default: all but ssm, ssm-vr, fd-ssm]",
            show_default=False,
        ),
    ] = None,
    sigma: Annotated[float, _option("--sigma", "-s", text="Level of the noise, white being 255.")] = 25.0,
    output: Annotated[Path, _option("--output", "-o", text="The folder of the report.")] = Path("comparison"),
    overwrite: Overwrite = False,
    patches: Annotated[int, _option("--patches", text="Patches that all are fitted on.")] = 20_000,
    max_steps: Annotated[int, _option("--max-steps", text="Steps of each fit.")] = 3000,
    batch: Annotated[int, _option("--batch", "-b", text="Patches a step.")] = 256,
    patch_size: Annotated[int, _option("--patch-size", text="Side of a patch.")] = 12,
    hidden: Annotated[int, _option("--hidden", text="Units of the energy.")] = 512,
    lr: Annotated[float, _option("--lr", text="Peak of the learning rate.")] = 0.02,
    seed: Seed = None,
    device: Device = "auto",
    white: Annotated[
        float | None,
        typer.Option("--white", help="The value of white in float images. [default: 1]", show_default=False),
    ] = None,
    json_: Json = False,
) -> int:
    """Compare objectives on the same patches, from the same start.

    smdae compare photos/                        about five minutes, comparison/

    smdae compare photos/ --objective dsm --objective ism-parzen -s 50 -o fifty/
    """
    from smdae.device import check_name, find
    from smdae.files.corpus import gather

    check_name(device)
    if white is not None and not 0 < white < float("inf"):
        raise UsageError(f"--white {white} is not a positive number")
    if patches < LEAST_PATCHES:
        raise UsageError(f"--patches {patches} is less than {LEAST_PATCHES}")
    for name, count in (("patches", patches), ("max-steps", max_steps)):
        if count > MOST:
            raise UsageError(f"--{name} {count} is more than {MOST:,}")

    from smdae.fitting.settings import check

    settings = check(
        {
            "sigma": sigma,
            "patch_size": patch_size,
            "hidden": hidden,
            "batch": batch,
            "lr": lr,
            "max_steps": max_steps,
            "seed": seed or 0,
            "hold_out": HOLD_OUT,
        }
    )
    from smdae.comparing import Contest, applicable

    names = _chosen(objective, applicable())
    with console.progress() as bar:
        reading = bar.add_task("reading", total=None)
        corpus = gather(paths, patch_size, watch=lambda done, of: bar.update(reading, completed=done, total=of))
    _refuse(output, [RESULTS, CURVES, *map(_filters, names)], overwrite)
    where = find(device)

    from smdae.fitting.precision import denormals_flushed
    from smdae.memory import keep_freed_memory

    keep_freed_memory()
    for text in corpus.skipped[:1]:
        console.warn(f"{len(corpus.skipped)} files skipped; the first: {text}")
    if corpus.small:
        console.warn(f"{corpus.small} images skipped: smaller than the patch size")
    with denormals_flushed():
        contest = Contest.of(corpus.images, white or corpus.white, settings, patches, where)
        _tell(contest)
        return _report(contest, _drive(contest, names), output, json_)


def _chosen(asked: list[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """The objectives to compare, each once, in the order of the table; unasked, those that need no probes."""
    from smdae.objectives import OBJECTIVES

    unknown = [name for name in asked or () if name not in known]
    if unknown:
        raise UsageError(f"unknown objective '{unknown[0]}'; there are {', '.join(known)}")
    return tuple(name for name in known if (name in asked if asked else "probes" not in OBJECTIVES[name].needs))


def _refuse(folder: Path, files: list[str], overwrite: bool) -> None:
    """Refuse a folder that holds something, unless told otherwise, and files that could not be written."""
    from smdae.files.writing import refuse_existing

    if not folder.exists():
        refuse_existing(folder, overwrite=False)
        return
    if not folder.is_dir():
        raise OutputError(f"cannot write to '{folder}': it is not a folder", "name another with -o")
    for name in files:
        refuse_existing(folder / name, overwrite=True)
    if not overwrite and any(folder.iterdir()):
        raise OutputError(f"cannot write to '{folder}': the folder is not empty", "-y replaces the report in it")


def _tell(contest: "Contest") -> None:
    """What the user should know about the data."""
    if not contest.images[1]:
        console.warn("one small image: nothing is held out, the figures are on what was fitted")
    if contest.places < len(contest.patches):
        console.warn(
            f"the images hold {contest.places:,} different patches, turns not counted; the "
            f"{len(contest.patches):,} repeat some"
        )


def _drive(contest: "Contest", names: tuple[str, ...]) -> "Findings":
    """Run the comparison with a bar."""
    from rich.progress import TimeRemainingColumn

    from smdae.comparing import compare

    with console.progress(TimeRemainingColumn()) as bar:
        task = bar.add_task("preparing", total=1.0)
        for found in compare(contest, names):
            bar.update(task, completed=found.share, description=found.stage)
    return found


def _report(contest: "Contest", found: "Findings", folder: Path, json_: bool) -> int:
    """Write the report and print the page."""
    from smdae.comparing import plots
    from smdae.comparing.page import page
    from smdae.comparing.report import results
    from smdae.files.writing import write

    record = results(contest, found)
    contents = {RESULTS: (json.dumps(record, indent=1, allow_nan=False) + "\n").encode(), CURVES: plots.curves(record)}
    diverged = [course.objective for course in found.courses if course.outcome == "diverged"]
    for course in found.courses:
        if course.outcome != "diverged":
            W = contest.origin.centre(course.model.W)
            title = f"{course.objective}: filters, the largest of {len(W)}, each on its own scale"
            contents[_filters(course.objective)] = plots.filters(W, contest.settings.patch_size, title)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to '{folder}': {(error.strerror or 'refused').lower()}") from error
    for name, content in contents.items():
        # The folder was checked before the work; whatever has come to be there since is older than what we hold.
        write(folder / name, content, overwrite=True)
    if json_:
        console.result(record)
    else:
        print(page(record), flush=True)
    console.note(f"the report is in '{folder}': {RESULTS}, {CURVES} and the filters of each model")
    if diverged:
        raise BatchError(f"{len(diverged)} of {len(found.courses)} fits diverged: {', '.join(diverged)}")
    return 0


def _filters(name: str) -> str:
    return f"filters-{name}.png"
