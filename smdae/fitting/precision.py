"""The precision of matrix products in a fit: float32, or bfloat16 with float32 for weights, sums and losses.

`auto` is bfloat16 on hardware that multiplies it faster than float32: GPUs from Ampere on, and CPUs with AVX512-BF16 or
AMX, where a step of a network takes little more than half the time.

Averages of gradients that stay zero, as for units that are never active, shrink until they are denormal numbers, with
which a CPU computes a hundred times more slowly. Unless these are flushed to zero, a step of a network takes three
times as long after some thousands of steps.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Flush denormal numbers to zero within the context, in this thread and in those that it starts."""
    before = not torch.tensor(1e-39).mul(1.0).item()
    for dtype in (np.float32, np.float64):
        np.finfo(dtype)  # measured at the first call by NumPy before 2, which would warn of what it finds below
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def products_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context with products in a precision: auto, float32 or bfloat16; auto is bfloat16 where that is fast."""
    if precision == "bfloat16" or (precision == "auto" and _is_fast(device)):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _is_fast(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
