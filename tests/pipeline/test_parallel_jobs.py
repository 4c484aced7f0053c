"""How many pictures are worked on at once, and what happens to the cores meanwhile."""

import struct
from dataclasses import replace

import pytest
import torch

from smdae import memory
from smdae.pipeline import batch
from smdae.pipeline.places import Job
from tests.tiny import encoded, gray


@pytest.fixture(autouse=True)
def pictures(bare):
    (bare / "in").mkdir()
    (bare / "in" / "a.png").write_bytes(encoded(gray()))


def test_so_many_at_once_as_cores_pictures_and_memory_allow(bare, monkeypatch):
    jobs = [Job(bare / "in" / "a.png", bare / f"{k}.png") for k in range(20)]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    for room, expected in ((64 << 30, 8), (5 << 30, 4), (1 << 20, 1)):
        monkeypatch.setattr(memory, "available", lambda device, room=room: room)
        assert batch.parallel_jobs(jobs, "cpu") == expected
    monkeypatch.setattr(memory, "available", lambda device: 64 << 30)
    assert batch.parallel_jobs(jobs[:3], "cpu") == 3
    assert batch.parallel_jobs(jobs, "cuda:999") == 1  # of which each picture tells
    header = struct.pack(">I4sIIBBBBB", 13, b"IHDR", 40_000, 40_000, 8, 2, 0, 0, 0)
    (bare / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header)  # of pixels there are none
    large = Job(bare / "large.png", bare / "x.png")
    assert batch.parallel_jobs([*jobs, large], "cpu") == 1
    assert batch.parallel_jobs([*jobs, large], "cpu", 4) == 1
    assert batch.parallel_jobs([*jobs, replace(large, skipped=True)], "cpu") == 8
    assert batch.parallel_jobs([*jobs, replace(large, skipped=True)], "cpu", 12) == 12


def test_cores_are_shared_out_and_given_back(bare, four_cores):
    seen = []
    jobs = [Job(bare / "in" / "a.png", bare / f"{k}.png") for k in range(6)]

    def work(job):
        seen.append(torch.get_num_threads())
        return {}

    batch.Batch(jobs, work, lambda record: None, parallel=2).run()
    assert seen == [2] * 6
    assert torch.get_num_threads() == 4
