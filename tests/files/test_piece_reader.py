"""Pieces of a file: what is read is what is there, and what cannot be read is told."""

import os

import numpy as np
import pytest

from smdae.errors import InputError
from smdae.files import piece_reader
from smdae.files.piece_reader import Pieces

LENGTH = 330_000


@pytest.fixture(params=["held", "read"])
def file(request, tmp_path, monkeypatch):
    """A file small enough to be held, or too large."""
    monkeypatch.setattr(piece_reader, "MAX_HELD", 1 << 30 if request.param == "held" else 0)
    path = tmp_path / "pixels"
    path.write_bytes(np.random.default_rng(0).integers(0, 256, LENGTH, dtype=np.uint8).tobytes())
    return path


def opened(path, part=slice(0, LENGTH)):
    return Pieces(path, LENGTH, part)


def piece(found, k, length):
    data, places = found
    return bytes(data[places[k] :][:length])


def test_pieces_are_those_of_the_file_up_to_the_end(file):
    data = file.read_bytes()
    source = opened(file)
    starts = np.array([0, 7, 65_533, 196_608, LENGTH - 100, 7])
    found = source.read(starts, 100)
    for k, start in enumerate(starts):
        assert piece(found, k, 100) == data[start : start + 100]
    found = source.read(np.array([LENGTH - 30, 5, LENGTH - 1]), 100)
    assert piece(found, 0, 30) == data[-30:]
    assert piece(found, 1, 100) == data[5:105]
    assert piece(found, 2, 1) == data[-1:]
    assert piece(source.read(np.array([10]), 200_000), 0, 200_000) == data[10:200_010]


def test_a_part_of_a_file_is_read_as_the_whole_is(file):
    data = file.read_bytes()
    source = opened(file, part=slice(131_572, 262_124))
    for start in (131_572, 196_598, 262_024):
        assert piece(source.read(np.array([start]), 100), 0, 100) == data[start : start + 100]


def test_a_file_that_was_cut_off_is_told_and_one_that_grew_is_not(file):
    data = file.read_bytes()
    source = opened(file)
    with file.open("ab") as more:
        more.write(b"x" * 1000)
    assert piece(source.read(np.array([LENGTH - 30]), 100), 0, 30) == data[-30:]
    os.truncate(file, 131_072)
    if not source.held:
        with pytest.raises(InputError, match="shorter"):
            source.read(np.array([LENGTH - 30]), 10)


def test_an_error_of_the_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(piece_reader, "MAX_HELD", 0)
    (tmp_path / "pixels").write_bytes(bytes(100))
    source = Pieces(tmp_path / "pixels", 100, slice(0, 100))

    def broken(*_):
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(piece_reader.os, "pread", broken)
    with pytest.raises(InputError, match="input/output error"):
        source.read(np.array([0]), 10)


def test_where_the_disk_is_waited_for_it_is_told_of_all_pieces_first(tmp_path, monkeypatch):
    monkeypatch.setattr(piece_reader, "MAX_HELD", 0)
    waits, said = [0], []
    monkeypatch.setattr(piece_reader, "_waits", lambda: waits[0])
    (tmp_path / "pixels").write_bytes(bytes(100))
    source = Pieces(tmp_path / "pixels", 100, slice(0, 100))
    monkeypatch.setattr(piece_reader.os, "posix_fadvise", lambda _, start, length, how: said.append((start, length)))
    monkeypatch.setattr(piece_reader.os, "pread", lambda _, length, start: said.append(start) or bytes(length))
    for waited, expected in ((False, []), (True, []), (False, [(50, 10), (10, 10)])):
        said.clear()
        waits[0] += waited
        source.read(np.array([50, 10]), 10)
        assert said == [*expected, 50, 10]
