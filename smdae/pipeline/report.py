"""The report of `denoise --report`: it collects views of pictures as they are denoised, and writes the page at last."""

from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from smdae.files.orientation import orientation_of, upright
from smdae.files.picture import Picture
from smdae.files.writing import write
from smdae.pipeline.report_page import page
from smdae.pipeline.report_views import View, view_of

if TYPE_CHECKING:
    from smdae.pipeline.found_noise import PictureNoise

MAX_VIEWS = 24  # pictures that are shown; the table lists all


class Report:
    """The pictures and figures of a run for its report, collected from any thread."""

    def __init__(self, path: Path, overwrite: bool) -> None:
        self.path, self.overwrite = path, overwrite
        self.views: dict[str, list[View]] = {}
        self.records: list[dict[str, Any]] = []
        self.lock = Lock()
        self.taken = 0

    def show(self, name: str, before: Picture, after: Picture, found: "PictureNoise", part: str = "") -> None:
        """Keep views of a picture, or of a `part` of its file, turned upright; do nothing once there are MAX_VIEWS."""
        with self.lock:
            if self.taken >= MAX_VIEWS:
                return
            self.taken += 1
        white = after.white / before.white if after.depth != before.depth else 1.0
        turn = orientation_of(before.metadata)
        view = view_of(name, upright(before.pixels, turn), upright(after.pixels, turn), found, part, white)
        with self.lock:
            self.views.setdefault(name, []).append(view)

    def warn(self, name: str, warnings: list[str]) -> None:
        """Keep the warnings that were given about a picture, if it is shown."""
        with self.lock:
            if name in self.views:
                plain = tuple(text.removeprefix("smdae: warning: ") for text in warnings)
                self.views[name][0] = replace(self.views[name][0], warnings=plain)

    def add(self, record: dict[str, Any]) -> None:
        """Keep the JSON record of a picture as a row of the table."""
        self.records.append(record)

    def write(self) -> None:
        """Write the page of all that was kept; OutputError if it cannot be written."""
        views = [view for row in self.records for view in self.views.get(row["input"], ())]
        write(self.path, page(self.records, views), overwrite=self.overwrite)
