"""How much memory there is, by the machine and its control groups, and what threads keep of it."""

import ctypes
import sys
from pathlib import Path

import pytest

from smdae import memory
from tests.tiny import python

GB = 1 << 30


def machine(root: Path, cgroup: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text("MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\n")  # 32 GB
    (root / "proc/self/cgroup").write_text(cgroup)
    return root


def group(folder: Path, limit: int | str, use: int, cached: int, old: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if old else ("memory.max", "memory.current")
    for name, value in zip(names, (limit, use), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{'total_' if old else ''}inactive_file {cached}\n")


@pytest.mark.parametrize(
    ("name", "limits", "expected"),
    [
        ("/", {}, 32 * GB),
        ("/", {"": ("max", GB, 0)}, 32 * GB),
        ("/", {"": (4 * GB, GB, 0)}, 3 * GB),
        ("/a/b", {"a/b": (4 * GB, 3 * GB, 2 * GB)}, 3 * GB),
        ("/a/b", {"a": (2 * GB, GB, 0), "a/b": ("max", GB, 0)}, GB),
        ("/a/b", {"a": (2 * GB, 3 * GB, 0)}, 0),
        ("/as/seen/outside", {"": (5 * GB, GB, 0)}, 4 * GB),
        ("/../escaped", {"": (5 * GB, GB, 0)}, 4 * GB),
    ],
)
def test_the_least_of_machine_and_groups(tmp_path, name, limits, expected):
    root = machine(tmp_path, f"0::{name}\n")
    for folder, numbers in limits.items():
        group(root / "sys/fs/cgroup" / folder, *numbers)
    assert memory.left(root) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the address space")
def test_the_address_space_of_a_process_bounds_it():
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 28,) * 2)"
    done = python("-c", f"{code}; from smdae.memory import left; print(left())")
    assert 1 << 26 < int(done.stdout) < 1 << 28


def test_groups_of_the_first_version(tmp_path):
    root = machine(tmp_path, "5:cpu:/x\n4:memory:/x\n")
    group(root / "sys/fs/cgroup/memory/x", 6 * GB, 2 * GB, GB, old=True)
    group(root / "sys/fs/cgroup/memory", 9_223_372_036_854_771_712, 2 * GB, 0, old=True)
    assert memory.left(root) == 5 * GB


def test_where_nothing_is_said_there_is_a_guess(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "without_proc", lambda: memory.UNKNOWN)
    assert memory.left(tmp_path) == memory.UNKNOWN


KEPT = """
import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from smdae.cli.app import main
main(["--version"])
import torch
from smdae.memory import keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [(str(k), ctypes.c_size_t) for k in range(7)] + [("used", ctypes.c_size_t), ("free", ctypes.c_size_t)]
    _fields_ += [("top", ctypes.c_size_t)]

def work():
    for n in range(200, 800, 100):
        torch.ones(n, n) @ torch.ones(n, n)
    together.wait()  # all have worked
    together.wait()  # and their memory is looked at

info = ctypes.CDLL(None).mallinfo2
info.restype = Info
torch.set_num_threads(1)
keep_freed_memory(8)
together = Barrier(9)
before = info().used
with ThreadPoolExecutor(8) as pool:
    waiting = [pool.submit(work) for _ in range(8)]
    together.wait()
    print((info().used - before) / 2**20)
    together.wait()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc from 2.33 on tells it")
def test_threads_that_wait_keep_nothing_of_what_they_worked_in():
    done = python("-c", KEPT)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) < 20  # MB; 199 if MKL keeps it


@pytest.mark.parametrize(
    "error", [SyntaxError("expected ':'"), SystemError("error return without exception set")], ids=["syntax", "system"]
)
def test_a_compiler_without_memory_may_say_that_the_syntax_is_wrong(error):
    assert not memory.is_out_of_memory(error)
    with memory.limited(1 << 20):
        assert memory.is_out_of_memory(error)
