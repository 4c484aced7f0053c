"""The models that come with smdae: their names, versions and licences, and how a model is identified.

The version of a name goes up by one whenever its weights change, and so do pixels; `models.json` beside the weights
keeps it with the digest of the file, so that weights that changed under an old version are found out by the tests.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

BUNDLED = Path(__file__).parent.parent / "weights"
INDEX = BUNDLED / "models.json"
SHOWN = 8  # digits of a digest, for people


@dataclass(frozen=True)
class Identity:
    """The identity of a model.

    Attributes:
        name: A bundled one with its version, natural-gray@2; else the file, or the class of a model made in Python.
        digest: BLAKE2b of the file, 32 hexadecimal digits; None for what came from no file.
    """

    name: str
    digest: str | None = None

    def __str__(self) -> str:
        return self.name if self.digest is None else f"{self.name} ({self.digest[:SHOWN]})"


@cache
def entries() -> dict[str, dict[str, Any]]:
    """Return what is kept of each bundled model by its name: version, licence and digest."""
    known: dict[str, dict[str, Any]] = json.loads(INDEX.read_text(encoding="utf-8"))
    return known


def version_of(name: str) -> int | None:
    """Return the version of a bundled model; None for other names."""
    return entries()[name]["version"] if name in entries() else None
