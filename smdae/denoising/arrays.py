"""Arrays of what callers pass: numpy's own, tensors of torch, Pillow images, tables, and lists of numbers.

Tensors come from any device, with a gradient or without. Pillow images are read as their files are: colours of a
palette are looked up, and its indices are not taken for brightness.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from smdae.errors import InputError, UsageError
from smdae.files.picture import samples_in

if TYPE_CHECKING:
    from PIL.Image import Image


@runtime_checkable
class HasArray(Protocol):
    """An object of which numpy makes an array without a loop over its elements, such as a table of pandas."""

    def __array__(self) -> np.ndarray:
        """Return its values."""


def array_of(values: Any) -> np.ndarray:
    """Return the array of what a caller passes: an array, a tensor, a Pillow image, a table or nested lists of numbers.

    Its numbers and its type are not checked: None, text and other objects become an array of objects or of text.

    Raises:
        UsageError: Nested lists differ in length, numpy refuses the value, or some of its values are masked.
    """
    if isinstance(values, torch.Tensor):
        return _of_tensor(values)
    if is_image(values):
        return _of_image(values)
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            raise UsageError(
                "some values of the array are masked",
                "fill them: .astype(float).filled(numpy.nan) makes pixels that are left as they are",
            )
        return np.asarray(values.data)
    if isinstance(values, list | tuple) and any(isinstance(one, torch.Tensor) or is_image(one) for one in values):
        values = [array_of(one) for one in values]
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = "its parts differ in shape" if "inhomogeneous" in str(error) else " ".join(str(error).split())
        raise UsageError(f"no array can be made of this {type(values).__name__}: {reason}") from error


def as_python(value: Any) -> Any:
    """Return a number of numpy or torch as one of Python, lists and arrays of one axis as tuples, others unchanged."""
    if isinstance(value, torch.Tensor) and value.ndim <= 1:
        value = value.detach().cpu().tolist()
    elif isinstance(value, np.generic | np.ndarray) and value.ndim <= 1:
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(as_python(one) for one in value)
    return value


def is_image(value: Any) -> bool:
    """Return whether a value is a Pillow image: False while Pillow has not been imported."""
    return "PIL.Image" in sys.modules and isinstance(value, sys.modules["PIL.Image"].Image)


def _of_tensor(tensor: torch.Tensor) -> np.ndarray:
    """Return the values of a tensor; of bfloat16, which numpy has not, as float32."""
    values = tensor.detach().cpu().resolve_conj().resolve_neg()
    if values.layout is not torch.strided:
        values = values.to_dense()
    return np.asarray((values.float() if values.dtype is torch.bfloat16 else values).numpy())


def _of_image(image: "Image") -> np.ndarray:
    """Return the samples of a Pillow image, (H, W) or (H, W, 2 to 4); of one bit, and of int32, as numpy has them."""
    if image.mode in ("1", "I"):
        return np.asarray(image)
    try:
        return samples_in(image)
    except InputError as error:
        raise UsageError(f"the image cannot be denoised: {error.message}", error.hint) from None
