"""How much memory there is: that of the machine, and of the control groups that this process is in."""

from pathlib import Path

import pytest

from smdae import memory

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


def test_groups_of_the_first_version(tmp_path):
    root = machine(tmp_path, "5:cpu:/x\n4:memory:/x\n")
    group(root / "sys/fs/cgroup/memory/x", 6 * GB, 2 * GB, GB, old=True)
    group(root / "sys/fs/cgroup/memory", 9_223_372_036_854_771_712, 2 * GB, 0, old=True)
    assert memory.left(root) == 5 * GB


def test_where_nothing_is_said_there_is_a_guess(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "without_proc", lambda: memory.UNKNOWN)
    assert memory.left(tmp_path) == memory.UNKNOWN
