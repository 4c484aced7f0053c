"""How many pictures are worked on at once, and what happens to the cores meanwhile."""

import struct
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import smdae
from smdae import memory
from smdae.files import extent
from smdae.pipeline import batch
from smdae.pipeline.model_choice import bytes_per_pixel
from smdae.pipeline.places import Job
from tests.tiny import encoded, gray, model_bytes

NAMES = ("natural-gray", "natural-color", "natural-gray-small", "natural-color-small")


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
    assert batch.parallel_jobs([*jobs, large], "cpu") == 4
    assert batch.parallel_jobs([*jobs, large, large], "cpu") == 1
    assert batch.parallel_jobs([*jobs, large, large], "cpu", 4) == 1
    skipped = replace(large, skipped=True)
    assert batch.parallel_jobs([*jobs, skipped, skipped], "cpu") == 8
    assert batch.parallel_jobs([*jobs, skipped, skipped], "cpu", 12) == 12


def test_small_pictures_need_little_memory(bare, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(memory, "available", lambda device: 3 << 29)  # 1.5 GB
    jobs = [Job(bare / "in" / "a.png", bare / f"{k}.png") for k in range(20)]
    assert batch.parallel_jobs(jobs, "cpu", 8, bytes_per_pixel=408) == 8
    assert batch.parallel_jobs(jobs, "cpu", 8) == 1
    (bare / "a.dng").write_bytes(encoded(gray()))  # of camera raw files the number of pixels is not known
    assert batch.parallel_jobs([Job(bare / "a.dng", bare / "x.png")] * 8, "cpu", 8, bytes_per_pixel=408) == 1


def test_the_largest_pictures_have_room_together(bare, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(memory, "available", lambda device: 3 << 29)
    jobs = [Job(bare / "in" / "a.png", bare / f"{k}.png") for k in range(20)]
    (bare / "large.png").write_bytes(encoded(gray(512, 512)))
    large = Job(bare / "large.png", bare / "x.png")
    assert batch.parallel_jobs([*jobs, large], "cpu", 8, bytes_per_pixel=408) == 8
    assert batch.parallel_jobs([large] * 8, "cpu", 8, bytes_per_pixel=408) == 2


def test_a_bitmap_has_eight_pixels_a_byte(bare):
    (bare / "x.pbm").write_bytes(b"P4 800 100\n" + bytes(10_000))
    assert extent.needed_for(bare / "x.pbm").pixels >= 80_000


def test_memory_of_the_model_for_each_pixel_bounds_that_of_the_work(bare, monkeypatch):
    taken = {name: smdae.load(name).bytes_per_pixel for name in NAMES}
    assert bytes_per_pixel(None, False) == max(taken["natural-gray"], taken["natural-color"])
    assert bytes_per_pixel(None, True) == max(taken["natural-gray-small"], taken["natural-color-small"])
    assert bytes_per_pixel("natural-color", False) == taken["natural-color"]
    assert bytes_per_pixel("natural-gray", False) == 3 * taken["natural-gray"]  # of colours, three at once
    monkeypatch.setenv("SMDAE_MODEL", "natural-color-small")
    assert bytes_per_pixel(None, False) == taken["natural-color-small"]
    (bare / "m.safetensors").write_bytes(model_bytes())
    assert bytes_per_pixel("m.safetensors", False) is None  # it holds as many patches for any picture
    assert bytes_per_pixel("missing", False) is None


def test_cores_are_shared_out_and_given_back(bare, four_cores):
    seen = []
    jobs = [Job(bare / "in" / "a.png", bare / f"{k}.png") for k in range(6)]

    def work(job):
        seen.append(torch.get_num_threads())
        return {}

    batch.Batch(jobs, work, lambda record: None, parallel=2).run()
    assert seen == [2] * 6
    assert torch.get_num_threads() == 4


def test_what_libraries_warn_of_in_threads_is_not_shown():
    """A thread that no longer ignores warnings would show those of the others."""

    def work(job):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
        warnings.warn("damaged EXIF", UserWarning, stacklevel=1)
        return {}

    jobs = [Job(Path(f"{k}.png"), Path(f"{k}.out.png")) for k in range(4)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batch.Batch(jobs, work, lambda record: None, parallel=2).run()
    assert not caught
