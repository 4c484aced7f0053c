"""A density of the user's own: found by its name, checked, refused by a clear word."""

import sys

import pytest
import torch
from torch import Generator

from smdae.comparing.target import load
from smdae.errors import InputError, UsageError

SOURCE = """
import torch

class Half:
    def sample(self, n, generator=None):
        return torch.randn(n, 2, generator=generator, dtype=torch.float64)

    def score(self, x):
        return -x

class Flat(Half):
    def score(self, x):
        return -x.sum(1)

class Wild(Half):
    def sample(self, n, generator=None):
        return torch.full((n, 2), float("nan"))

class Long(Half):
    def sample(self, n, generator=None):
        return torch.zeros(n, 4097)

class Wide(Half):
    def __init__(self, width):
        self.width = width

def make():
    return Half()

density, flat, wild, long, lame = Half(), Flat(), Wild(), Long(), object()
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("raise RuntimeError('no\\nway')")
    yield
    for name in ("mine", "broken"):
        sys.modules.pop(name, None)


def test_samples_and_scores_are_float32():
    before = [*sys.path]
    density = load("mine:density")
    assert sys.path == before
    x = density.sample(5, Generator().manual_seed(0))
    assert x.dtype == torch.float32
    assert torch.equal(density.score(x), -x)
    assert torch.equal(x, density.sample(5, Generator().manual_seed(0)))


@pytest.mark.parametrize("name", ["mine:Half", "mine:make"])
def test_its_class_or_a_function_makes_it_as_a_model_of_ones_own_is_made(name):
    x = load(name).sample(5, Generator().manual_seed(0))
    assert torch.equal(x, load("mine:density").sample(5, Generator().manual_seed(0)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine:Wide", "cannot make 'mine:Wide': .*missing 1 required positional argument: 'width'"),
        ("mine:torch", "no sample and no score"),
        ("mine", "module:name"),
        (":x", "module:name"),
        ("mine:", "module:name"),
        ("nowhere:density", "cannot import 'nowhere'"),
        ("mine:nothing", "no 'nothing'"),
        ("mine:lame", "no sample and no score"),
        ("broken:density", "no way"),
    ],
)
def test_what_is_no_density_is_refused(name, words):
    with pytest.raises(UsageError, match=words) as refused:
        load(name)
    assert "\n" not in refused.value.message


def test_wrong_shapes_and_numbers_are_refused():
    with pytest.raises(InputError, match="score gives"):
        load("mine:flat").score(torch.zeros(3, 2))
    with pytest.raises(InputError, match="not finite"):
        load("mine:wild").sample(3, None)


def test_samples_of_more_numbers_than_memory_is_for_are_refused():
    with pytest.raises(InputError, match="4,097 numbers, and at most 4,096 are allowed"):
        load("mine:long").sample(2)
