"""Boards: sums of processes of one machine are exact and the same for all, and the dead are noticed."""

import os
import time

import pytest
import torch

from smdae.errors import LostError
from smdae.fitting import board as module
from smdae.fitting.board import LEAST, Board, Boards
from tests.ranks import each

ROOM = 1 << 16


def summed(group, dtype, lengths):
    """Sums of numbers that tell whose they are, one after the other, and how often something was done meanwhile."""
    done, sums = [], []
    shared = Board.of(group, ROOM)
    for k, length in enumerate(lengths):
        x = (torch.arange(length).reshape(-1, length) % 7 + 10 * group.rank + k).to(dtype)
        time.sleep(0.002 * ((k + group.rank) % 3))  # now one comes last, now another
        sums.append(shared.sum(x, lambda: done.append(1)))
        x.fill_(99)  # what was written is not looked at any more
    return sums, len(done)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
def test_sums_are_exact_and_those_of_all(size, dtype, tmp_path):
    lengths = [1, 5, 4096, 3] * 10
    for sums, done in each(size, summed, dtype, lengths, folder=tmp_path):
        assert done == len(lengths)
        for k, (length, total) in enumerate(zip(lengths, sums, strict=True)):
            one = torch.arange(length).reshape(-1, length) % 7 + k
            assert torch.equal(total, (size * one + 10 * sum(range(size))).to(dtype))


def rounded(group):
    """A sum whose last bits depend on the order."""
    x = torch.randn(5000, generator=torch.Generator().manual_seed(group.rank))
    return Board.of(group, ROOM).sum(x, lambda: None)


def test_all_have_the_same_to_the_last_bit(tmp_path):
    first, *rest = each(4, rounded, folder=tmp_path)
    assert all(torch.equal(first, other) for other in rest)


def mourning(group, dying):
    shared = Board.of(group, ROOM)
    shared.sum(torch.ones(3), lambda: None)
    if group.rank == dying:
        del shared  # a process that ends gives up its lock
        return None
    begun = time.monotonic()
    with pytest.raises(LostError, match=f"process {dying} of 3 died"):
        shared.sum(torch.ones(3), lambda: None)
    return time.monotonic() - begun


@pytest.mark.parametrize("dying", [0, 1, 2])
def test_a_process_that_is_gone_is_missed(dying, tmp_path):
    taken = each(3, mourning, dying, folder=tmp_path)
    assert all(seconds < 10 for rank, seconds in enumerate(taken) if rank != dying)


def patient(group):
    """One that comes late, but comes."""
    shared = Board.of(group, ROOM)
    time.sleep(2 * module.ALIVE + 0.3 if group.rank == 0 else 0)
    return shared.sum(torch.ones(2), lambda: None)


def test_one_that_is_late_is_waited_for(tmp_path):
    assert all(total.tolist() == [2, 2] for total in each(2, patient, folder=tmp_path))


def chosen(group, known):
    """Which boards a group takes for sums of different sizes, and what is left of the files."""
    if not known:
        group.boards.on = False
    rooms = []
    for count in (10, LEAST // 4, 10, LEAST // 4 + 1, LEAST):
        x = torch.full((count,), 1.0 + group.rank)
        group.add([x])
        assert (x == 3).all()
        rooms.append(group.boards.now.room if group.boards.now else None)
    return rooms, sum("smdae-board" in os.readlink(f"/proc/self/fd/{fd}") for fd in open_files())


def open_files():
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]


@pytest.mark.skipif(not Boards().on, reason="no boards on this machine")
def test_small_sums_go_by_messages_and_large_ones_by_a_board_that_has_room(tmp_path):
    for rooms, files in each(2, chosen, True, folder=tmp_path):
        assert rooms == [None, LEAST, LEAST, 2 * LEAST, 4 * LEAST]
        assert files == 2  # of the last board alone: its own and the map's
    for rooms, files in each(2, chosen, False, folder=tmp_path):
        assert rooms == [None] * 5
        assert files == 0


def elsewhere(group):
    """One of the processes cannot open what the first has: they are on two machines."""
    if group.rank == 1:
        module._opened = lambda path, mark: None
    x = torch.ones(LEAST)
    group.add([x])
    return x, group.boards.now, group.boards.on


def nowhere(group):
    """The first cannot have memory for it."""

    def full(*_):
        raise OSError("no space")

    os.posix_fallocate = full
    x = torch.ones(LEAST)
    group.add([x])
    return x, group.boards.now, group.boards.on


@pytest.mark.parametrize("work", [elsewhere, nowhere])
def test_without_a_board_there_are_messages(work, tmp_path):
    for x, now, on in each(3, work, folder=tmp_path):
        assert (x == 3).all()
        assert now is None
        assert not on


def test_a_file_with_another_mark_is_another(tmp_path):
    (tmp_path / "other").write_bytes(bytes(200))
    assert module._opened(str(tmp_path / "other"), b"x" * 64) is None
    assert module._opened(str(tmp_path / "missing"), bytes(64)) is None
    file = module._opened(str(tmp_path / "other"), bytes(64))
    assert file is not None
    os.close(file)
