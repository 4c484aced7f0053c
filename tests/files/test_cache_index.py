"""The index of a cache: what goes in comes out, and nothing else passes for one."""

import json
import os
import time

import pytest

from smdae.files.cache_index import Entry, ForgedError, Index, Key, Run


def index():
    whole = Index("pixels-00c0ffee", 200_000)
    whole.entries = {
        Key("/a/b.png", 1): Entry(123, 10**18 + 1, (Run(0, 1, 100, 200, "uint8"),)),
        Key("/a/b.png", 3): Entry(123, 10**18 + 1, (Run(20_000, 1, 100, 200, "uint8"),)),
        Key("/a/b.png", 1, 0.5): Entry(123, 10**18 + 1, (Run(80_000, 1, 100, 200, "float32"),)),
        Key(os.fsdecode(b"/caf\xe9\n\xf0\x9f\x8e\x88.npy"), 1): Entry(9, -5, (Run(160_000, 4, 10, 20, "uint8"),)),
        Key("/nothing.npz", 1): Entry(1, 1, ()),
    }
    return whole


def test_what_goes_in_comes_out():
    whole = index()
    assert Index.of_lines(list(whole.to_lines())) == whole
    assert Index.of_lines(list(Index("pixels-0").to_lines())) == Index("pixels-0")


def test_each_line_is_json():
    lines = [json.loads(line) for line in index().to_lines()]
    assert lines[0]["bytes"] == 200_000
    assert lines[1] == {
        "path": "/a/b.png",
        "channels": 1,
        "white": None,
        "size": 123,
        "mtime_ns": 10**18 + 1,
        "runs": [[0, 1, 100, 200, "uint8"]],
    }


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [],
        lambda lines: [*lines, b"{}\n"],
        lambda lines: [b"[1]\n", *lines],
        lambda lines: [b"\xff\n", *lines[1:]],
        lambda lines: [b"[" * 10_000 + b"\n", *lines[1:]],
        lambda lines: [*lines[:-1], lines[-1][:-9]],
        lambda lines: [lines[0].replace(b'"version":2', b'"version":1'), *lines[1:]],
        lambda lines: [lines[0].replace(b"smdae", b"other"), *lines[1:]],
        lambda lines: [lines[0].replace(b"[240,", b"[112,"), *lines[1:]],
        lambda lines: [lines[0], b"{}\n", *lines[1:]],
    ],
)
def test_what_is_not_whole_is_none(spoil):
    with pytest.raises(ValueError, match=r"."):
        Index.of_lines(spoil(list(index().to_lines())))


def head(**changes):
    def change(lines):
        return [json.dumps(json.loads(lines[0]) | changes).encode() + b"\n", *lines[1:]]

    return change


def source(**changes):
    def change(lines):
        return [lines[0], json.dumps(json.loads(lines[1]) | changes).encode() + b"\n", *lines[2:]]

    return change


@pytest.mark.parametrize(
    "forge",
    [
        head(pixels="../../victim"),
        head(pixels="/etc/pixels-00"),
        head(pixels="pixels-../../victim"),
        head(pixels="pixels-00/../../victim"),
        head(pixels="pixels-00\n"),
        head(pixels=""),
        head(pixels=None),
        head(pixels=["pixels-0"]),
        head(bytes=1.5),
        head(bytes=-1),
        head(bytes=True),
        source(runs=[[0, 10**9, 100, 200, "uint8"]]),
        source(runs=[[10**12, 1, 100, 200, "uint8"]]),
        source(runs=[[-1, 1, 100, 200, "uint8"]]),
        source(runs=[["0", 1, 100, 200, "uint8"]]),
        source(runs=[[0, 1, 100, 200, "int8"]]),
        source(runs=[[1, 1, 10, 20, "float32"]]),
        source(runs=[[0, 0, 100, 200, "uint8"]]),
        source(runs=[[0, 1, 100.0, 200, "uint8"]]),
        source(runs=[[0, 1, 10**30, 200, "uint8"]]),
        source(runs=[[0, 2, 1, 1, "uint8"]] * (1 << 10) + [[0, 1 << 17, 1, 1, "uint8"]] * (1 << 8)),
        source(channels=2),
        source(channels="1"),
        source(white="1"),
        source(white=-1),
        source(size=-1),
        source(mtime_ns="now"),
        source(path=3),
        source(path="a\0b"),
    ],
)
def test_what_no_cache_can_hold_is_a_forgery(forge):
    begun = time.process_time()
    with pytest.raises(ForgedError, match="it names"):
        Index.of_lines(forge(list(index().to_lines())))
    assert time.process_time() - begun < 2


def test_what_lies_beyond_the_end_of_the_pixels_is_forgotten():
    whole = index()
    whole.shorten(whole.size)
    assert len(whole.entries) == 5
    whole.shorten(70_000)
    assert whole.size == 70_000
    assert [key for key in whole.entries if key.path == "/a/b.png"] == [Key("/a/b.png", 1)]


def test_bytes_that_entries_share_count_once():
    whole = index()
    assert whole.live == 20_000 + 60_000 + 80_000 + 800
    whole.entries[Key("/elsewhere.png", 1)] = whole.entries[Key("/a/b.png", 1)]
    assert whole.live == 20_000 + 60_000 + 80_000 + 800
