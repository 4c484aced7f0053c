"""Save a comparison piece by piece in the folder of its report, so that a later run can resume it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from smdae.comparing import report_folder
from smdae.comparing.comparison import Found, Plan, run
from smdae.comparing.contest import Contest
from smdae.comparing.contestants import Course
from smdae.comparing.parts import PARTS
from smdae.comparing.record import LeftOut, Record
from smdae.errors import OutputError

# Settings that a run must share with an earlier one to resume it; other settings only add to the report.
FIXED = ("sigma", "target", "patches", "patch_size", "hidden", "batch", "max_steps", "lr", "seed", "contest")


def begun(contest: Contest, plan: Plan, target: str | None, left_out: tuple[LeftOut, ...]) -> Record:
    """Return the record of a comparison that has found nothing yet: its data, its settings, and what is left out."""
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
    """Return the record with the parts of an earlier run in the folder that have the same settings."""
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


@dataclass
class Comparison:
    """A comparison under way.

    Attributes:
        contest: What all fits have in common.
        courses: Fits that are there already.
        is_begun: Whether anything was written.
        diverged: The objective of each fit that diverged.
    """

    contest: Contest
    plan: Plan
    record: Record
    folder: Path
    courses: list[Course] = field(default_factory=list)
    is_begun: bool = False
    diverged: list[str] = field(default_factory=list)
    _is_resumed: bool = False

    def take_over(self) -> None:
        """Take over the figures and fits that an earlier run has left in the folder.

        Raises:
            OutputError: The earlier run compared something else.
        """
        self.record = _taken_over(self.record, self.plan, self.folder)
        self.courses = report_folder.fits_in(self.folder, self.contest, self.plan.fits)
        self._is_resumed = True

    def run(self) -> Iterator[Found]:
        """Run the comparison, and yield each finding once it is saved.

        Raises:
            OutputError: The folder cannot be written to.
            LostError: A process of a fit is gone.
        """
        for found in run(self.contest, self.plan, self.courses, tuple(self.record.parts)):
            if found.course is not None:
                self._begin()
                report_folder.save_fit(self.folder, self.contest, found.course)
                if found.course.outcome == "diverged":
                    self.diverged.append(found.course.objective)
            if found.part is not None:
                self._begin()
                name = found.part.name
                self.record = self.record.with_part(name, self.plan.of(name), found.part.tables)
                report_folder.save_pictures(self.folder, name, found.part.pictures)
                report_folder.save_record(self.folder, self.record)
            yield found

    def finished(self) -> Record:
        """Write the report into the folder, and return its figures; raise OutputError if it cannot be written."""
        self._begin()
        self.record = replace(self.record, complete=True)
        report_folder.finish(self.folder, self.record)
        return self.record

    def _begin(self) -> None:
        if not self.is_begun:
            report_folder.begin(self.folder, fresh=not self._is_resumed)
            report_folder.save_record(self.folder, self.record)
            self.is_begun = True
