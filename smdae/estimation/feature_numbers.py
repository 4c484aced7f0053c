"""Numbers fitted to features of pictures: how files store them, and how features are standardised.

    z = (min(max(f, lowest), highest) - mean) / deviation

Features are clipped to the range that they had in the fit, so that a fit is not extrapolated.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_numbers", "standardised"]


def read_numbers(path: Path, features: tuple[str, ...]) -> dict[str, Any]:
    """Return the numbers in a JSON file by name, lists of them as arrays.

    Args:
        path: The file.
        features: The names of the features that its lists must be for, in order.

    Raises:
        ValueError: They are for other features.
    """
    content = json.loads(path.read_text())
    if tuple(content.pop("features")) != features:
        raise ValueError(f"{path.name} is for other features")
    return {name: np.array(value) if isinstance(value, list) else value for name, value in content.items()}


def standardised(
    f: np.ndarray, lowest: np.ndarray, highest: np.ndarray, mean: np.ndarray, deviation: np.ndarray
) -> np.ndarray:
    """Return z for features f with shape (n,), or (m, n) for m pictures; the other arguments have shape (n,)."""
    return (np.clip(f, lowest, highest) - mean) / deviation
