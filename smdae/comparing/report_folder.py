"""The folder of a comparison. It always holds what is finished, so that an interrupted run can be resumed.

    results.json, schema.json     the figures, and their schema
    PART-TABLE.csv                the same, a file for each table
    PART-PICTURE.png              the pictures
    report.html                   all of it in one file
    models/OBJECTIVE-SEED.safetensors    the fits: model files whose card has the course too

While parts are missing, results.json says that it is not complete, and there are no report.html and CSV files.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smdae.errors import ModelError, OutputError
from smdae.files import model_file
from smdae.files.refusals import refuse_existing
from smdae.files.writing import clear, write

if TYPE_CHECKING:
    from smdae.comparing.contest import Contest
    from smdae.comparing.contestants import Course
    from smdae.comparing.record import Record

RESULTS, SCHEMA, REPORT, MODELS = "results.json", "schema.json", "report.html", "models"


def refuse(folder: Path, overwrite: bool, resume: bool) -> None:
    """Raise OutputError if the report cannot be written to the folder, or the folder holds anything; write nothing.

    The folder need not exist. With `overwrite` it may hold files, which the new report replaces or leaves; with
    `resume` it must hold an earlier report, which is continued.
    """
    if not os.path.exists(folder):
        if resume:
            raise OutputError(f"cannot resume: there is no folder '{folder}'", "leave --resume out for a new report")
        refuse_existing(folder, overwrite=False)
        return
    if not os.path.isdir(folder):
        raise OutputError(f"cannot write to '{folder}': it is not a folder", "name another with -o")
    refuse_existing(folder / RESULTS, overwrite=True)
    if resume:
        if not (folder / RESULTS).is_file():
            raise OutputError(f"cannot resume: '{folder}' holds no {RESULTS}", "leave --resume out for a new report")
    elif not overwrite and any(folder.iterdir()):
        raise OutputError(
            f"cannot write to '{folder}': the folder is not empty",
            "-y replaces the report in it, --resume goes on with it",
        )


def earlier(folder: Path) -> "Record":
    """Return the record of an earlier run; OutputError if it cannot be read."""
    from smdae.comparing.record import decode

    try:
        return decode((folder / RESULTS).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = (error.strerror or "unreadable").lower() if isinstance(error, OSError) else str(error)
        raise OutputError(
            f"cannot resume from '{folder / RESULTS}': {reason}", "-y without --resume starts afresh"
        ) from None


def begin(folder: Path, fresh: bool) -> None:
    """Make the folder; if `fresh`, remove the files of an earlier report and no others.

    OutputError if the system refuses it.
    """
    from smdae.comparing.parts import PARTS

    try:
        folder.mkdir(exist_ok=True)
        (folder / MODELS).mkdir(exist_ok=True)
        for place in (folder, folder / MODELS):
            clear(place)
        if fresh:
            ours = [folder / name for name in (RESULTS, SCHEMA, REPORT)]
            for name, part in PARTS.items():
                ours += [folder / f"{name}-{table}.csv" for table in part.rows]
                ours += [folder / f"{name}-{picture}.png" for picture in part.pictures]
            for path in (*ours, *(folder / MODELS).glob("*-*.safetensors")):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to '{folder}': {(error.strerror or 'refused').lower()}") from None


def save_record(folder: Path, record: "Record") -> None:
    """Write results.json with what has been found so far; raise OutputError if it cannot be written."""
    from smdae.comparing.record import encode

    write(folder / RESULTS, encode(record), overwrite=True)


def save_pictures(folder: Path, part: str, pictures: Mapping[str, bytes]) -> None:
    """Write the pictures of a part, PNG files by name, as PART-NAME.png; raise OutputError if one cannot be written."""
    for name, data in pictures.items():
        write(folder / f"{part}-{name}.png", data, overwrite=True)


def finish(folder: Path, record: "Record") -> None:
    """Write what is made of the record and the pictures, CSV files, schema and report, or raise OutputError."""
    from smdae.comparing.parts import PARTS
    from smdae.comparing.record import csv_files, schema
    from smdae.comparing.report import report

    pictures: dict[str, dict[str, bytes]] = {}
    for part in record.parts:
        for name in PARTS[part].pictures:
            with suppress(OSError):
                pictures.setdefault(part, {})[name] = (folder / f"{part}-{name}.png").read_bytes()
    contents = csv_files(record) | {
        SCHEMA: (json.dumps(schema(), indent=1) + "\n").encode(),
        REPORT: report(record, pictures),
    }
    for name, data in contents.items():
        write(folder / name, data, overwrite=True)
    save_record(folder, record)


def save_fit(folder: Path, contest: "Contest", course: "Course") -> None:
    """Write the model of a fit, with its course in the card, or raise OutputError.

    One that diverged is not written, so that it is fitted again.
    """
    if course.outcome == "diverged":
        return
    model = contest.lift(course.model)
    clean = contest.examples(course.objective).implicit
    card = {
        "model": contest.settings.model,
        "settings": model.settings(),
        "objective": course.objective,
        "sigma": contest.settings.sigma,
        "channels": model.channels,
        "patch_size": model.size,
        "score_of": "the clean density" if clean else "the density at level sigma",
        "steps": course.step,
        "psnr": course.points[-1].psnr,
        "contest": contest.digest,
        "course": _plain(course),
    }
    data = model_file.encode(model, card)
    write(folder / MODELS / f"{course.objective}-{course.seed}.safetensors", data, overwrite=True)


def _plain(course: "Course") -> dict[str, Any]:
    """Return a course without its model, as plain values."""
    return {
        "objective": course.objective,
        "seed": course.seed,
        "step": course.step,
        "outcome": course.outcome,
        "reason": course.reason,
        "points": [asdict(point) for point in course.points],
    }


def fits_in(folder: Path, contest: "Contest", wanted: Sequence[tuple[str, int]]) -> list["Course"]:
    """Return those wanted fits, by objective and seed, that an earlier run has finished in the same contest.

    What is missing or damaged is left out.
    """
    from smdae.comparing.contestants import Course, Point
    from smdae.comparing.evaluation import Value

    found = []
    for objective, seed in wanted:
        # What is missing or damaged is fitted again.
        with suppress(ModelError, KeyError, TypeError, ValueError):
            model = model_file.load(folder / MODELS / f"{objective}-{seed}.safetensors")
            saved = model.card["course"]
            if model.card["contest"] != contest.digest or (saved["objective"], saved["seed"]) != (objective, seed):
                continue
            points = tuple(
                Point(p["step"], p["seconds"], {n: Value(**v) for n, v in p["values"].items()}, p["psnr"])
                for p in saved["points"]
            )
            patch = model.patch.to(contest.device)
            found.append(Course(objective, seed, patch, saved["step"], points, saved["outcome"], saved["reason"]))
    return found
