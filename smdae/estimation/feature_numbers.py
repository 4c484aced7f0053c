"""Numbers fitted to features of pictures: how files store them, and how features are standardised.

    z = (min(max(f, lowest), highest) - mean) / deviation,    perceptron(z) = constant + outer . tanh(inner z + shift)

Features are clipped to the range that they had in the fit, so that a fit is not extrapolated.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Perceptron:
    """A function of n features by one hidden layer of h units.

    Attributes:
        inner: With shape (h, n).
        shift: With shape (h,).
        outer: With shape (h,).
        constant: The value where the hidden units are 0.
    """

    inner: np.ndarray
    shift: np.ndarray
    outer: np.ndarray
    constant: float

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """Return the values, (m,), at features z, (m, n), or the one at (n,)."""
        return np.asarray(self.constant + np.tanh(z @ self.inner.T + self.shift) @ self.outer)


def read_numbers(path: Path, features: tuple[str, ...]) -> dict[str, Any]:
    """Return the numbers in a JSON file by name: lists of them as arrays, and groups of names as `Perceptron`.

    Args:
        path: The file.
        features: The names of the features that its lists must be for, in order.

    Raises:
        ValueError: They are for other features.
    """
    content = json.loads(path.read_text())
    if tuple(content.pop("features")) != features:
        raise ValueError(f"{path.name} is for other features")
    return {
        name: Perceptron(**_arrays(value)) if isinstance(value, dict) else value
        for name, value in _arrays(content).items()
    }


def standardised(
    f: np.ndarray, lowest: np.ndarray, highest: np.ndarray, mean: np.ndarray, deviation: np.ndarray
) -> np.ndarray:
    """Return (f - mean) / deviation, with the shape of the features f, (n,) or (m, n), clipped to [lowest, highest]."""
    found: np.ndarray = (np.clip(f, lowest, highest) - mean) / deviation
    return found


def _arrays(content: dict[str, Any]) -> dict[str, Any]:
    """Return what a file holds, with lists as arrays."""
    return {name: np.array(value) if isinstance(value, list) else value for name, value in content.items()}
