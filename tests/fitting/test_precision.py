"""In which numbers products are taken."""

import pytest
import torch

from smdae.fitting.precision import denormals_flushed, products_in

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "fast", "dtype"),
    [
        ("float32", True, torch.float32),
        ("bfloat16", False, torch.bfloat16),
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
    ],
)
def test_products_are_taken_as_asked_and_auto_where_it_is_fast(precision, fast, dtype, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    x = torch.rand(3, 3)
    with products_in(precision, CPU):
        assert (x @ x).dtype == dtype
        assert (x + x).dtype == torch.float32
    assert (x @ x).dtype == torch.float32


def test_denormals_are_flushed_within_and_only_there():
    tiny = torch.full((8,), 1e-39)
    assert (tiny * 1.0 > 0).all()
    with denormals_flushed():
        assert (tiny * 1.0 == 0).all()
        with denormals_flushed():
            pass
        assert (tiny * 1.0 == 0).all()
    assert (tiny * 1.0 > 0).all()
