"""Numbers that were fitted to features of pictures, as files hold them.

    z = (min(max(f, lowest), highest) - mean)/deviation

is what weights are for: beyond what was met in the fit, features count no more.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_numbers", "standardised"]


def read_numbers(path: Path, features: tuple[str, ...]) -> dict[str, Any]:
    """Return the numbers in a JSON file by name, lists of them as arrays.

    Raises:
        ValueError: They are for other features.
    """
    content = json.loads(path.read_text())
    if tuple(content.pop("features")) != features:
        raise ValueError(f"{path.name} is of other features")
    return {name: np.array(value) if isinstance(value, list) else value for name, value in content.items()}


def standardised(
    f: np.ndarray, lowest: np.ndarray, highest: np.ndarray, mean: np.ndarray, deviation: np.ndarray
) -> np.ndarray:
    """Return z for features f, all with shape (n,), or f with shape (m, n)."""
    return (np.clip(f, lowest, highest) - mean) / deviation
