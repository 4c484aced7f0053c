"""The precision of matrix products in a network while it denoises.

    float32     as it was fitted; on CUDA all of its digits, TF32 being off
    bfloat16    8 of its 24 binary digits
    float16     11 of them, up to 65504
    auto        for integer pictures: float16 on CUDA, and bfloat16 on CPUs that multiply it faster than float32 (AMX,
                AVX512-BF16), up to the noise level where its error is that of rounding, and unless the picture is so
                small that converting the weights takes longer; float32 for all else

The first and the last layer always take float32, as rounding there is rounding of the pixels. The difference from
float32 is measured by `benchmarks/accelerator.py`: on Set12, from sigma 5 to 50, bfloat16 is off by 0.5 to 0.8 % of
sigma (RMS) and loses 0.003 dB at most on average, 0.005 on the worst image; float16 is off by 0.05 to 0.08 % and loses
0.0001. Judgement and uncertainty take differences of nearly equal results, and always use float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from smdae.errors import UsageError
from smdae.protocols import HasPrecision, offers

MAX_BFLOAT16_SIGMA = 50 / 255  # beyond it the root mean square error is over 0.3 gray levels
MIN_BFLOAT16_PIXELS = 64 * 64  # at 32 x 32 it takes 1.1 to 1.5 times as long as float32, at 96 x 96 0.6 to 0.75 times

PRECISIONS: dict[str, torch.dtype | None] = {
    "auto": None,
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def check_precision(name: str, model: Any = None) -> None:
    """Raise UsageError for an unknown name, or for a precision that the model cannot take."""
    if name not in PRECISIONS:
        raise UsageError(f"unknown precision '{name}'; there are {', '.join(PRECISIONS)}")
    if PRECISIONS[name] and model is not None and not offers(model, HasPrecision):
        raise UsageError(f"precision {name} is for networks, and this model is not one", "leave it out, or use float32")


def chosen_precision(name: str, model: Any, device: torch.device, is_integer: bool, sigma: float, pixels: int) -> str:
    """Return the precision to use: the name itself, or what `auto` stands for.

    Args:
        name: A name of PRECISIONS.
        model: A score model of images.
        device: Where it computes.
        is_integer: Whether its images are of integers, whose results are rounded anyway.
        sigma: The highest level of the noise, white being 1.
        pixels: Number of pixels of an image.
    """
    if name != "auto":
        return name
    if not is_integer or not offers(model, HasPrecision):
        return "float32"
    if device.type == "cuda":
        return "float16"
    is_faster = pixels >= MIN_BFLOAT16_PIXELS and device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if is_faster and sigma <= MAX_BFLOAT16_SIGMA else "float32"


def with_precision(model: Any, name: str) -> Any:
    """Return the model with products of a precision, a name of PRECISIONS other than auto."""
    dtype = PRECISIONS[name]
    return model.with_products_in(dtype) if dtype else model


@contextmanager
def exact() -> Iterator[None]:
    """Turn TF32 off within the context, so that convolutions on CUDA keep all digits of float32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
