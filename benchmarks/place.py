"""Where scripts run other programs: the root of the repository, and the environment in which they find it."""

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent


def environment() -> dict[str, str]:
    """Return the variables of this process, with the repository among the places of modules."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
