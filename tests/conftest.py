"""What more than one test file uses. Tests run on one thread: tiny models gain nothing from more."""

import os
import signal

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TORCH_CPP_LOG_LEVEL"] = "FATAL"  # as in a command of several processes

import pytest
import torch
from torch import Generator

from smdae.models import EnergyModel, UNet

# Shells have what they start in the background ignore it, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# So does nohup with hang-ups. These tests go on all the same, but commands that they start heed one, as a handler that
# does nothing is not inherited.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """The working folder, an empty one, with no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SMDAE_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture(autouse=True)
def _untold(monkeypatch):
    """What `-d auto` has taken goes untold: messages would depend on the machine."""
    monkeypatch.setattr("smdae.device.taken", lambda name, where: "")


@pytest.fixture
def four_cores():
    """Torch with four threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


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


TINY_NETWORK = {"widths": (4, 6), "down": (1, 1), "up": (1, 0), "levels": (0.1, 0.2)}


def random_network(channels: int = 1, seed: int = 0, **more: object) -> UNet:
    """A small network in float64 whose head is not zero."""
    model = UNet(channels, **(TINY_NETWORK | more)).double()
    generator = Generator().manual_seed(seed)
    model.initialise(generator)
    with torch.no_grad():
        model.head.weight.uniform_(-0.3, 0.3, generator=generator)
    return model.requires_grad_(False)
