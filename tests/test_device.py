"""The device that was asked for, and that of one process of several."""

import pytest
import torch

from smdae import device
from smdae.device import find, taken
from smdae.errors import DeviceError


@pytest.fixture
def two_devices(monkeypatch):
    """As if there were two CUDA devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_each_process_has_a_device_of_its_own(two_devices):
    for name in ("auto", "cuda"):
        assert [str(find(name, local)) for local in (0, 1)] == ["cuda:0", "cuda:1"]
        assert str(find(name)) == "cuda"
    assert str(find("cuda:0", 1)) == "cuda:0"  # all on one, if that is asked for
    assert str(find("cpu", 1)) == "cpu"


def test_more_processes_than_devices_are_refused(two_devices):
    with pytest.raises(DeviceError, match="no device 'cuda:2': there are 2") as refused:
        find("auto", 2)
    assert "no more processes" in refused.value.hint


def test_where_there_is_none_all_share_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert {str(find("auto", local)) for local in (None, 0, 3)} == {"cpu"}
    with pytest.raises(DeviceError, match="there is no CUDA device here") as refused:
        find("cuda", 1)
    assert "auto" in refused.value.hint


def test_what_auto_took_is_told(monkeypatch, tmp_path):
    """A slow run on the CPU beside a GPU, for want of another build of PyTorch, is what users find out last."""
    cpu, cuda = torch.device("cpu"), torch.device("cuda", 0)
    monkeypatch.setattr(device, "GPUS", (str(tmp_path / "gpu"),))
    assert taken("auto", cuda) == "on cuda:0"
    assert taken("auto", cpu) == "on the CPU"
    assert taken("cuda", cuda) == ""
    (tmp_path / "gpu").touch()
    assert "there is a GPU, which this PyTorch cannot use" in taken("auto", cpu)
    assert taken("cpu", cpu) == ""
