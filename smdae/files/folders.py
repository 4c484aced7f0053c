"""Walk through the folders below a folder, those behind symbolic links too, each of them once.

Data sets are often put together of links. A link may lead back to a folder that holds it, or several to one folder, so
folders are told apart by where they really are. A folder that is hidden, as version control and galleries keep theirs,
is not searched unless it is named itself.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """A folder on the way through folders.

    Attributes:
        path: The folder, as it was come by.
        real: The same folder, without links.
        folders: The sorted names of the folders in it; those that are taken out of this list are not searched.
        names: The sorted names of the files in it.
    """

    path: Path
    real: str
    folders: list[str]
    names: list[str]

    def real_file(self, name: str) -> str:
        """Return where a file of this folder really is."""
        path = os.path.join(self.path, name)
        return os.path.realpath(path) if os.path.islink(path) else os.path.join(self.real, name)


def places(
    top: Path, onerror: Callable[[OSError], object], follow: bool = True, outside: str | None = None
) -> Iterator[Place]:
    """Yield a folder, and each folder below it once, in a fixed order.

    Args:
        top: The folder.
        onerror: Called with the error for each folder that cannot be read.
        follow: Whether links to folders are followed; if not, they are named, and not searched.
        outside: The real path of a folder that is left out with all below it, unless `top` lies in it; None for none.
    """
    start = os.path.realpath(top)
    if outside is not None and _is_in(start, outside):
        outside = None
    real = {str(top): start}
    seen = {start}
    for path, folders, names in os.walk(top, onerror=onerror, followlinks=follow):
        here = real.pop(path)
        known = [(name, os.path.islink(os.path.join(path, name))) for name in sorted(folders) if name[0] != "."]
        folders.clear()
        for name, is_link in known:
            link = os.path.join(path, name)
            below = os.path.realpath(link) if is_link else os.path.join(here, name)
            is_known = below in seen or (follow and is_link and _is_found_without(below, start))
            if is_known or (outside is not None and _is_in(below, outside)):
                continue
            folders.append(name)
            real[link] = below
            seen.add(below)
        yield Place(Path(path), here, folders, sorted(names))


def _is_found_without(real: str, start: str) -> bool:
    """Return whether a folder holds the one where the search began, or is found below that without any link."""
    if _is_in(start, real):
        return True
    return _is_in(real, start) and not any(part[0] == "." for part in Path(real).relative_to(start).parts)


def _is_in(path: str, folder: str) -> bool:
    """Return whether a real path is a real folder or lies below it."""
    return path == folder or path.startswith(os.path.join(folder, ""))
