"""The device of a name, such as cuda:1, or an error that says that it is not there."""

import os
from typing import TYPE_CHECKING

from smdae.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

KINDS = ("auto", "cpu", "cuda", "mps")
GPUS = ("/dev/nvidia0", "/dev/kfd")  # what the drivers of a GPU make, on Linux


def check_name(name: str, option: str = "--device") -> None:
    """Raise UsageError for a name that is not auto, cpu, mps, cuda or cuda:N, without loading torch.

    Args:
        name: What should be the name of a device.
        option: The option or the variable that says so.
    """
    kind, colon, index = name.partition(":")
    if kind not in KINDS or (colon and not (kind == "cuda" and index.isdecimal() and len(index) < 5)):
        raise UsageError(f"{option} '{name:.40}' is not a device", "devices are auto, cpu, cuda, cuda:N and mps")


def named(device: "torch.device | str") -> "torch.device":
    """Return the torch device for a name or for a torch.device.

    A torch.device of a kind without a name here, such as meta, is returned as it is.

    Raises:
        UsageError: `device` is neither a torch.device nor one of the names auto, cpu, mps, cuda and cuda:N.
        DeviceError: There is no such device here.
    """
    import torch

    if isinstance(device, torch.device):
        return find(str(device)) if device.type in KINDS else device
    if not isinstance(device, str):
        raise UsageError(
            f"a device is given by its name, not by a value of type {type(device).__name__}", "such as 'cpu'"
        )
    check_name(device, "device")
    return find(device)


def find(name: str, local: int | None = None) -> "torch.device":
    """Return the device of a name; `auto` is CUDA if there is any, else MPS if there is any, else the CPU.

    Args:
        name: auto, cpu, mps, cuda or cuda:N.
        local: The number of this process on this machine, from 0; None if the process is alone. Where `name` stands
            for CUDA without a number, the process takes the CUDA device with number `local`.

    Raises:
        DeviceError: There is no such device here.
    """
    import torch

    if local is not None and (name == "cuda" or (name == "auto" and torch.cuda.is_available())):
        name = f"cuda:{local}"
    kind, _, index = name.partition(":")
    if kind == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            have = f"there are {count}" if count else "there is no CUDA device here"
            hint = "use -d auto to take what there is"
            if count and local is not None:
                hint = "start no more processes than there are, or share one: -d cuda:0"
            raise DeviceError(f"no device '{name}': {have}", hint)
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("no device 'mps' here", "use -d auto to take what there is")
    return torch.device(name)


def taken(name: str, where: "torch.device") -> str:
    """Return in words what `auto` has taken, such as "on the CPU"; empty if a device was named.

    Args:
        name: The name that was given.
        where: The device that `find` returned for it.
    """
    if name != "auto":
        return ""
    if where.type != "cpu":
        return f"on {where}"
    unused = ": there is a GPU, which this PyTorch cannot use" if any(map(os.path.exists, GPUS)) else ""
    return f"on the CPU{unused}"
