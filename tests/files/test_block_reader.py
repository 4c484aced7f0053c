"""Blocks: what is read is what was written, or is made good, or is told of; and no more is looked at than is used."""

import os
import zlib
from array import array

import numpy as np
import pytest

from smdae.errors import InputError
from smdae.files import block_reader as blocks
from smdae.files.block_reader import BLOCK, Blocks, checked_on
from tests.storing import checks_of, refuse

LENGTH = 5 * BLOCK + 1234


@pytest.fixture(params=["kept", "read"])
def file(request, tmp_path, monkeypatch):
    """A file of some blocks, small enough to be kept, or too large."""
    monkeypatch.setattr(blocks, "MAX_KEPT", 1 << 30 if request.param == "kept" else 0)
    path = tmp_path / "pixels"
    path.write_bytes(np.random.default_rng(0).integers(0, 256, LENGTH, dtype=np.uint8).tobytes())
    return path


def opened(path, data, part=slice(0, LENGTH), repair=refuse):
    return Blocks(path, len(data), checks_of(data), part, repair)


def flip(path, at):
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))


def piece(found, k, length):
    data, places = found
    return bytes(data[places[k] :][:length])


def test_pieces_are_those_of_the_file_across_blocks_and_up_to_the_end(file):
    data = file.read_bytes()
    source = opened(file, data)
    starts = np.array([0, 7, BLOCK - 3, 3 * BLOCK, LENGTH - 100, 7])
    found = source.read(starts, 100)
    for k, start in enumerate(starts):
        assert piece(found, k, 100) == data[start : start + 100]
    found = source.read(np.array([LENGTH - 30, 5, LENGTH - 1]), 100)
    assert piece(found, 0, 30) == data[-30:]
    assert piece(found, 1, 100) == data[5:105]
    assert piece(found, 2, 1) == data[-1:]
    assert piece(source.read(np.array([10]), 3 * BLOCK), 0, 3 * BLOCK) == data[10 : 10 + 3 * BLOCK]


def test_a_part_of_a_file_is_read_as_the_whole_is(file):
    data = file.read_bytes()
    source = opened(file, data, part=slice(2 * BLOCK + 500, 4 * BLOCK - 20))
    for start in (2 * BLOCK + 500, 3 * BLOCK - 10, 4 * BLOCK - 120):
        assert piece(source.read(np.array([start]), 100), 0, 100) == data[start : start + 100]


@pytest.mark.parametrize("at", [0, BLOCK - 1, BLOCK, 3 * BLOCK + 77, LENGTH - 1])
def test_a_flipped_bit_is_made_good_before_a_byte_of_its_block_is_used(file, at):
    data = file.read_bytes()
    flip(file, at)
    told = []

    def repair(block):
        told.append(block)
        file.write_bytes(data)

    start = max(0, at // BLOCK * BLOCK - 10)
    found = opened(file, data, repair=repair).read(np.array([start]), 200)
    assert told == [at // BLOCK]
    length = min(200, LENGTH - start)
    assert piece(found, 0, length) == data[start : start + length]


def test_what_cannot_be_made_good_is_told(file):
    data = file.read_bytes()
    flip(file, BLOCK + 5)
    source = opened(file, data, repair=lambda block: None)
    assert piece(source.read(np.array([100]), 50), 0, 50) == data[100:150]  # another block
    with pytest.raises(InputError, match="damaged"):
        source.read(np.array([100, BLOCK + 900]), 50)


def test_each_block_is_checked_once(file, monkeypatch):
    data = file.read_bytes()
    source = opened(file, data)
    checked = []
    crc32 = zlib.crc32
    monkeypatch.setattr(blocks.zlib, "crc32", lambda block, *more: checked.append(len(block)) or crc32(block, *more))
    for _ in range(3):
        source.read(np.array([3, 9, 5 * BLOCK, BLOCK - 2]), 4)
    assert checked == [BLOCK, BLOCK, 1234]


def test_a_file_that_was_cut_off_is_told_and_one_that_grew_is_not(file):
    data = file.read_bytes()
    source = opened(file, data)
    with file.open("ab") as more:
        more.write(b"x" * 1000)
    assert piece(source.read(np.array([LENGTH - 30]), 100), 0, 30) == data[-30:]
    os.truncate(file, 2 * BLOCK)
    with pytest.raises(InputError, match="pixels"):
        opened(file, data, repair=lambda block: None).read(np.array([3 * BLOCK]), 10)
    if source._kept is None:
        with pytest.raises(InputError, match="shorter"):
            source.read(np.array([LENGTH - 30]), 10)


def test_an_error_of_the_disk_is_told(file, monkeypatch):
    source = opened(file, file.read_bytes())

    def broken(*_):
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(blocks.os, "pread", broken)
    with pytest.raises(InputError, match="input/output error"):
        source.read(np.array([0]), 10)


def test_where_the_disk_is_waited_for_it_is_told_of_all_pieces_first(file, monkeypatch):
    data, waits, told = file.read_bytes(), [0], []
    monkeypatch.setattr(blocks, "_waits", lambda: waits[0])
    source = opened(file, data)
    source.read(np.arange(6) * BLOCK, 10)
    pieces = [(5, 10), (3 * BLOCK, 10), (LENGTH - 3, 3)]
    monkeypatch.setattr(blocks.os, "posix_fadvise", lambda _, start, length, how: told.append((start, length)))
    for waited, expected in ((False, []), (True, []), (False, pieces), (False, pieces)):
        told.clear()
        waits[0] += waited
        source.read(np.array([start for start, _ in pieces]), 10)
        assert told == ([] if source._kept is not None else expected)


@pytest.mark.parametrize("sizes", [[1, 2, 3], [BLOCK], [BLOCK - 1, 1, 1], [3 * BLOCK + 5, BLOCK - 5, 7]])
def test_checks_go_on_where_they_were(sizes):
    data = bytes(np.random.default_rng(0).integers(0, 256, sum(sizes), dtype=np.uint8))
    checks, size = array("I"), 0
    for length in sizes:
        size = checked_on(checks, size, data[size : size + length])
    assert size == len(data)
    assert checks.tolist() == [zlib.crc32(data[k : k + BLOCK]) for k in range(0, len(data), BLOCK)]
