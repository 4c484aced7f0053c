"""`denoise --report`: collects what is shown of each picture while they are done, and writes the page at the end."""

from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smdae.files.picture import Picture
    from smdae.pipeline.found import Found
    from smdae.pipeline.report_view import View

__all__ = ["Report"]

MOST_VIEWS = 24  # pictures that are shown; the table has all


class Report:
    """What a run has to show; from any thread.

    Args:
        path: Where the page goes.
        overwrite: Whether it may replace what is there.
    """

    def __init__(self, path: Path, overwrite: bool) -> None:
        self.path, self.overwrite = path, overwrite
        self.views: dict[str, list[View]] = {}
        self.records: list[dict[str, Any]] = []
        self.lock = Lock()
        self.taken = 0

    def show(self, name: str, before: "Picture", after: "Picture", found: "Found", part: str = "") -> None:
        """Keep what is shown of a picture, unless enough are.

        Args:
            name: Of its file.
            before, after: As it was read, and the result.
            found: The noise that was taken out.
            part: Which part of its file it is, in words.
        """
        from smdae.pipeline.report_view import view_of

        with self.lock:
            if self.taken >= MOST_VIEWS:
                return
            self.taken += 1
        white = after.white / before.white if after.depth != before.depth else 1.0
        view = view_of(name, before.pixels, after.pixels, found, part, white)
        with self.lock:
            self.views.setdefault(name, []).append(view)

    def said(self, name: str, warnings: list[str]) -> None:
        """Keep the warnings that were said of a picture."""
        with self.lock:
            if name in self.views:
                plain = tuple(text.removeprefix("smdae: warning: ") for text in warnings)
                self.views[name][0] = replace(self.views[name][0], warnings=plain)

    def tell(self, record: dict[str, Any]) -> None:
        """Keep a row of the table: what --json says of a picture."""
        self.records.append(record)

    def write(self) -> None:
        """Write the page.

        Raises:
            OutputError: It cannot be written.
        """
        from smdae.files.writing import write
        from smdae.pipeline.report_page import page

        views = [view for row in self.records for view in self.views.get(row["input"], ())]
        write(self.path, page(self.records, views), overwrite=self.overwrite)
