"""Pixels as tensors and back: the unit in which black is 0 and white 1, and the unit and dtype of the image."""

import numpy as np
import torch
from torch import Tensor

from smdae.estimation.scale import Scale


def as_tensor(planes: np.ndarray, scale: Scale, device: torch.device) -> Tensor:
    """Return pixels, (n, h, w, C), as a float32 tensor, (n, C, h, w), black being 0 and white 1; not clipped.

    Args:
        planes: uint8, uint16 or floats. float64 is rounded to float32 last, so that small differences stay.
        scale: Which values are black and white.
        device: Where the tensor is to be.
    """
    planes = planes.transpose(0, 3, 1, 2)
    if planes.dtype == np.uint8:  # moved to the device as bytes: a quarter of the traffic
        values = torch.from_numpy(np.array(planes, order="C")).to(device).float()
    else:
        if planes.dtype.itemsize > 4:
            return torch.from_numpy(np.ascontiguousarray(scale.to_unit(planes))).to(device)
        with np.errstate(over="ignore"):  # becomes infinite, which samplers report
            values = torch.from_numpy(np.array(planes, np.float32, order="C")).to(device)
    return (values - scale.black if scale.black else values) / scale.span


def as_pixels(estimate: Tensor, scale: Scale, dtype: np.dtype) -> np.ndarray:
    """Return an estimate, (1, C, h, w), black being 0 and white 1, as pixels of a dtype, (h, w, C).

    Args:
        estimate: Within the range of dtype if that is an integer type; it is rounded then. For float16 it is clipped.
        scale: The meaning of the pixels' values.
        dtype: uint8, uint16 or float.
    """
    if dtype.itemsize > 4:
        values = estimate[0].permute(1, 2, 0).cpu().double().numpy()
        return (values * scale.span + scale.black).astype(dtype)
    result = (estimate[0] * scale.span).permute(1, 2, 0)
    if scale.black:
        result = result + scale.black
    if dtype == np.uint8:
        return result.round().to(torch.uint8).cpu().numpy()
    values = result.cpu().numpy()
    if dtype == np.float16:  # its largest value, 65504, is easily exceeded
        values = values.clip(float(np.finfo(np.float16).min), float(np.finfo(np.float16).max))
    return (np.rint(values) if dtype.kind == "u" else values).astype(dtype)
