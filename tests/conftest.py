"""What more than one test file uses. Tests run on one thread: tiny models gain nothing from more."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from torch import Generator

from smdae.models import EnergyModel


@pytest.fixture
def generator() -> Generator:
    return Generator().manual_seed(0)


def random_energy(dim: int, hidden: int, seed: int = 0, **more: object) -> EnergyModel:
    """An energy in float64 whose units are curved where the tests look."""
    model = EnergyModel(dim, hidden, **more).double()
    generator = Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model
