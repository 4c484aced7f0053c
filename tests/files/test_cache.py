"""The cache of images: the same images as without it, each source decoded once, whatever happens on the way."""

import errno
import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile

from smdae.errors import InputError, OutputError
from smdae.files import cache as module
from smdae.files import cache_folder, corpus, corpus_files
from smdae.files.cache import Cache
from smdae.files.cache_index import Index
from smdae.files.corpus import gather
from smdae.files.disk_store import Stored, numbers_of
from tests.forked import SERVER
from tests.storing import gathering
from tests.tiny import colour, encoded, everything_below, gray, largest_file, photos

P = 4
CACHE = Path("cache")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that were decoded."""
    names = []
    whole = corpus.images_in

    def read(file, white):
        names.append(file.name)
        return whole(file, white)

    monkeypatch.setattr(corpus, "images_in", read)
    return names


def kept(*paths, size=P, **options):
    """Images by way of the cache, which nothing may be said of unless told otherwise."""
    said = options.pop("said", [])
    found = gather([Path(path) for path in paths], size, cache=CACHE, note=said.append, warn=said.append, **options)
    assert isinstance(found.images, Stored)
    return found


def assert_equal(found, expected):
    assert (found.white, found.skipped) == (expected.white, expected.skipped)
    assert (found.unread, found.small, found.left_out) == (expected.unread, expected.small, expected.left_out)
    assert len(found.images) == len(expected.images)
    for ours, theirs in zip(found.images, expected.images, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def pixels():
    """The file of pixels."""
    (path,) = CACHE.glob("pixels-*")
    return path


def index():
    with (CACHE / "index.jsonl").open("rb") as lines:
        return Index.of_lines(lines)


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(data)


WIDE = numbers_of(1, 400, 400)  # what a picture of 400 x 400 takes, in several strips


def bytes_of(count=3):
    """What that many pictures take."""
    return count * gray().size


# The same images


def put_all(folder):
    """Files of every depth and kind, some of which cannot be used."""
    folder.mkdir()
    (folder / "8.png").write_bytes(encoded(gray()))
    (folder / "colour.png").write_bytes(encoded(colour(30, 700)))
    (folder / "cut.png").write_bytes(encoded(gray())[:200])
    (folder / "small.png").write_bytes(encoded(gray(3, 9)))
    tifffile.imwrite(folder / "16.tif", gray(seed=1).astype(np.uint16) * 257)
    np.save(folder / "stack.npy", np.stack([gray(seed=seed) for seed in range(5)]) / 255)
    np.save(folder / "half.npy", (gray(24, 1000, seed=2) / 255).astype(np.float16))
    np.save(folder / "fortran.npy", np.asfortranarray(np.stack([gray(), gray(seed=3)])))
    np.savez(folder / "two.npz", gray(), more=np.stack([colour(), colour()[::-1]]))
    np.savez(folder / "bad.npz", gray() / 255, bad=np.full((8, 9), np.nan))
    return folder


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("white", [1.0, 0.5])
@pytest.mark.parametrize(
    "names",
    [
        ["8.png"],
        ["8.png", "colour.png", "small.png", "fortran.npy", "cut.png", "8.png"],
        ["16.tif"],
        ["half.npy", "stack.npy"],
        ["half.npy", "8.png"],
        ["."],
    ],
)
def test_images_are_those_that_would_be_in_memory(here, names, color, white):
    folder = put_all(here / "in")
    paths = [folder / name for name in names]
    for _ in range(2):
        assert_equal(kept(*paths, color=color, white=white), gather(paths, P, color=color, white=white))


def test_one_folder_serves_any_number_of_fits(here, decoded):
    folder = put_all(here / "in")
    photos(here / "photos")
    calls = [
        ([folder], {}),
        ([folder], {"color": True}),
        ([here / "photos"], {}),
        ([folder / "stack.npy"], {"white": 0.5}),
    ]
    for _ in range(2):
        decoded.clear()
        for paths, options in calls:
            found = kept(*paths, **options)
            made = list(decoded)
            assert_equal(found, gather(paths, P, **options))
            decoded[:] = made
    assert set(decoded) == {"cut.png", "bad.npz"}  # which may be readable some day


def test_a_large_stack_is_read_piece_by_piece(here, monkeypatch):
    stack = np.random.default_rng(0).integers(0, 256, (50, 20, 30, 3), dtype=np.uint8)
    np.save("a.npy", stack)
    whole = gather([Path("a.npy")], P, color=True)
    monkeypatch.setattr(corpus_files, "PIECE", 7 * 20 * 30 * 3)
    read, counts = np.fromfile, []

    def counted(file, dtype, count, **more):
        counts.extend([count // 1800] if file == Path("a.npy") else [])
        return read(file, dtype, count, **more)

    monkeypatch.setattr(np, "fromfile", counted)
    assert_equal(kept("a.npy", color=True), whole)
    assert counts == [7] * 7 + [1]
    assert_equal(kept("a.npy", color=True), whole)
    assert len(counts) == 8


@pytest.mark.parametrize("channels", [1, 3])
def test_wide_images_are_whole_to_the_last(here, channels):
    """In a stack they are one run, whose end is where the pixels end."""
    np.save("a.npy", np.random.default_rng(0).integers(0, 256, (30, 50, 1300, 3)[: 3 + channels // 3], dtype=np.uint8))
    found = kept("a.npy", color=channels == 3)
    assert_equal(found, gather([Path("a.npy")], P, color=channels == 3))
    (entry,) = index().entries.values()
    (run,) = entry.runs
    assert run.images == 30
    assert run.end(channels) == index().size == index().live == pixels().stat().st_size


@pytest.mark.parametrize(
    ("name", "said"), [("missing", "no such file"), ("empty", "no images found"), ("cut.png", "'cut.png'")]
)
def test_what_cannot_be_read_is_refused_as_without_a_cache_and_leaves_none(here, name, said):
    (here / "empty").mkdir()
    (here / "cut.png").write_bytes(encoded(gray())[:200])
    before = everything_below(here)
    with pytest.raises(InputError, match=said):
        kept(name)
    assert everything_below(here) == before


def test_images_that_are_all_too_small_are_refused_and_kept(here, decoded):
    (here / "a.png").write_bytes(encoded(gray(3, 9)))
    for _ in range(2):
        with pytest.raises(InputError, match="smaller than the patch size 4") as caught:
            kept("a.png")
        assert "--patch-size 3" in caught.value.hint
    assert decoded == ["a.png"]
    assert kept("a.png", size=3).images[0].shape == (3, 9)


# Decoded once


def test_what_was_decoded_is_not_decoded_again(here, decoded):
    photos(here / "photos")
    kept("photos")
    assert decoded == ["0.png", "1.png", "2.png"]
    before = everything_below(CACHE)
    kept("photos")
    kept(here / "photos" / "1.png")
    assert len(decoded) == 3
    assert everything_below(CACHE) == before


@pytest.mark.parametrize("what", ["changed", "touched", "added", "removed"])
def test_a_file_that_is_another_is_decoded_anew_and_no_other_is(here, decoded, what):
    folder = photos(here / "photos", 4)
    kept("photos")
    decoded.clear()
    if what == "changed":
        (folder / "1.png").write_bytes(encoded(gray(30, 30, seed=9)))
    elif what == "touched":
        os.utime(folder / "1.png", (1, 1))
    elif what == "added":
        (folder / "11.png").write_bytes(encoded(gray(30, 30, seed=9)))
    else:
        (folder / "1.png").unlink()
    found = kept("photos")
    assert decoded == {"changed": ["1.png"], "touched": ["1.png"], "added": ["11.png"], "removed": []}[what]
    assert_equal(found, gather([folder], P))


def test_holes_do_not_grow_beyond_what_there_is(here):
    folder = photos(here / "photos", 4)
    sizes = []
    for seed in range(12):
        (folder / "1.png").write_bytes(encoded(gray(seed=20 + seed)))
        os.utime(folder / "1.png", (seed, seed))
        assert_equal(kept("photos"), gather([folder], P))
        sizes.append(pixels().stat().st_size)
    assert max(sizes) <= bytes_of(9)
    assert min(sizes[6:]) == bytes_of(4)


# Damage


def four_kept(here, decoded):
    """Four pictures in a folder, and in the cache."""
    (here / "in").mkdir()
    for seed in range(4):
        (here / "in" / f"{seed}.png").write_bytes(encoded(gray(400, 400, seed=seed)))
    kept("in")
    decoded.clear()


@pytest.mark.parametrize("at", [3, -3])
def test_a_damaged_index_is_told_and_all_is_decoded_anew(here, decoded, at):
    folder = photos(here / "photos")
    kept("photos")
    decoded.clear()
    flip(CACHE / "index.jsonl", at)
    said = []
    found = kept("photos", said=said)
    assert decoded == ["0.png", "1.png", "2.png"]
    assert "is made anew: its index cannot be used" in said[0]
    assert_equal(found, gather([folder], P))
    assert len(list(CACHE.iterdir())) == 3


@pytest.mark.parametrize("length", [0, 10, 300])
def test_an_index_that_was_cut_off_is_none(here, length):
    folder = photos(here / "photos")
    kept("photos")
    os.truncate(CACHE / "index.jsonl", length)
    assert_equal(kept("photos"), gather([folder], P))


def test_pixels_that_were_cut_off_are_told_and_what_is_missing_is_decoded_anew(here, decoded):
    four_kept(here, decoded)
    os.truncate(pixels(), 3 * WIDE - 5)
    said = []
    found = kept("in", said=said)
    assert decoded == ["2.png", "3.png"]
    assert "was cut off" in said[0]
    assert_equal(found, gather([here / "in"], P))


def test_pixels_that_have_gone_are_no_cache(here, decoded):
    folder = photos(here / "photos")
    kept("photos")
    pixels().unlink()
    assert_equal(kept("photos"), gather([folder], P))


# Stopped on the way


@pytest.mark.parametrize(("apart", "writes", "again"), [(1, 2, 2), (1 << 30, 3, 4)])
def test_after_a_builder_was_killed_nothing_is_taken_for_whole_that_is_not(here, decoded, apart, writes, again):
    """With an index after every file, what was whole is not decoded again; with none, all is."""
    folder = photos(here / "photos", 4)
    process = SERVER.Process(target=gathering, args=(here, apart, writes))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert_equal(kept("photos"), gather([folder], P))
    assert len(decoded) == again + 4
    assert {path.name for path in CACHE.iterdir()} == {"index.jsonl", "lock", pixels().name}
    assert pixels().stat().st_size == bytes_of(4)


def test_what_an_interrupted_builder_has_made_is_not_made_again(here, decoded):
    folder = photos(here / "photos", 4)

    def watch(done, of):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept("photos", watch=watch)
    assert_equal(kept("photos"), gather([folder], P))
    assert decoded[:4] == ["0.png", "1.png", "2.png", "3.png"]


@pytest.mark.parametrize("before", [False, True])
def test_a_full_disk_is_one_line_and_leaves_nothing_new(here, before, monkeypatch):
    folder = photos(here / "photos")
    monkeypatch.setattr(module, "BYTES_BETWEEN_INDICES", 1)
    if before:
        kept(folder / "0.png")
    there = everything_below(here)
    with largest_file(bytes_of(1) + 100), pytest.raises(OutputError) as caught:
        kept("photos")
    assert caught.value.code == 4
    assert "cannot write 'cache/pixels-" in caught.value.message
    assert "larger than the system allows" in caught.value.message
    after = everything_below(here)
    if before:
        assert after.pop("cache/index.jsonl").splitlines()[1:] == there.pop("cache/index.jsonl").splitlines()[1:]
    assert after == there
    assert_equal(kept("photos"), gather([folder], P))


# More than one


def test_the_second_builder_waits_with_a_word_and_finds_all_made(here, decoded):
    folder = photos(here / "photos")
    said, found = [], []
    waiting = threading.Event()

    def note(text):
        said.append(text)
        waiting.set()

    def second():
        found.append(gather([folder], P, cache=CACHE, note=note))

    other = threading.Thread(target=second)

    def watch(done, of):
        if done == 1:
            other.start()
            assert waiting.wait(60)

    first = kept("photos", watch=watch)
    other.join(60)
    assert said == ["another process is filling the cache 'cache': waiting for it"]
    assert sorted(decoded) == ["0.png", "0.png", "1.png", "2.png"]  # the one that it had in hand before it waited
    assert pixels().stat().st_size == bytes_of()
    assert_equal(found[0], gather([folder], P))
    assert_equal(first, gather([folder], P))


def test_processes_that_begin_at_once_make_one_cache(here):
    folder = photos(here / "photos", 6)
    processes = [SERVER.Process(target=gathering, args=(here,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert pixels().stat().st_size == bytes_of(6)
    assert_equal(kept("photos"), gather([folder], P))


def test_a_builder_that_took_its_cache_away_leaves_no_lock_that_counts(here, monkeypatch):
    """The one that waited for it makes a cache of its own."""
    photos(here / "photos")
    locked = cache_folder.fcntl.flock
    taken = []

    def flock(file, how):
        locked(file, how)
        if not taken:
            taken.append((CACHE / "lock").unlink())

    monkeypatch.setattr(cache_folder.fcntl, "flock", flock)
    kept("photos")
    assert (CACHE / "lock").exists()


def test_one_that_reads_is_not_disturbed_by_one_that_adds(here):
    folder = photos(here / "photos")
    found, expected = kept("photos"), gather([folder], P)
    (folder / "a.png").write_bytes(encoded(gray(seed=7)))
    for name in ("0.png", "1.png", "2.png"):
        os.utime(folder / name, (1, 1))
    assert_equal(kept("photos"), gather([folder], P))  # in a file begun anew
    assert_equal(found, expected)


# Places


def refusing(monkeypatch):
    """As a folder on a file system that is read-only."""
    whole = os.open

    def opened(path, flags, *more, **options):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return whole(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", opened)


def test_a_folder_that_cannot_be_written_will_do_if_nothing_is_missing(here, monkeypatch):
    folder = photos(here / "photos")
    expected = gather([folder], P)
    kept("photos")
    refusing(monkeypatch)
    assert_equal(kept("photos"), expected)
    (folder / "3.png").write_bytes(encoded(gray(seed=3)))
    with pytest.raises(OutputError, match="read-only"):
        kept("photos")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CACHE.write_text("x"), "it is not a folder"),
        (lambda: (CACHE.mkdir(), (CACHE / "holiday.png").write_text("x")), "it holds other files"),
    ],
)
def test_what_is_no_cache_is_refused_and_left_alone(here, make, said):
    photos(here / "photos")
    make()
    before = everything_below(here)
    with pytest.raises(OutputError, match=said):
        kept("photos")
    assert everything_below(here) == before


def test_a_cache_in_a_folder_that_is_not_there_is_refused(here):
    photos(here / "photos")
    with pytest.raises(OutputError, match="there is no folder"):
        gather([Path("photos")], P, cache=Path("no/cache"))


def test_a_file_of_any_name_is_found_again(here, decoded):
    (here / "in").mkdir()
    for name in ("[red].png", "ü🎈.png", "new\nline.png", os.fsdecode(b"caf\xe9.png")):
        (here / "in" / name).write_bytes(encoded(gray()))
    kept("in")
    kept("in")
    assert len(decoded) == 4


# Small matters


def test_a_file_is_found_by_whatever_path_it_is_named(here, decoded):
    photos(here / "photos")
    kept("photos")
    kept(Path("photos") / ".." / "photos")
    kept(here / "photos")
    assert len(decoded) == 3


def test_no_more_than_an_image_is_held_while_they_are_decoded(here, monkeypatch):
    photos(here / "photos", 5)
    alive, most = set(), []
    whole = corpus._channels

    class Watched(np.ndarray):
        def __del__(self):
            alive.discard(id(self))

    def channels(image, color):
        made = whole(image, color).view(Watched)
        alive.add(id(made))
        most.append(len(alive))
        return made

    monkeypatch.setattr(corpus, "_channels", channels)
    kept("photos")
    assert max(most) <= 2


def test_a_cache_within_which_nothing_was_missing_wrote_nothing(here, monkeypatch):
    photos(here / "photos")
    kept("photos")
    monkeypatch.setattr(Cache, "_begin", lambda self: pytest.fail("it was locked"))
    kept("photos")


# Made by others


def forged(**changes):
    """Give the index another first line."""
    path = CACHE / "index.jsonl"
    first, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([json.dumps(json.loads(first) | changes).encode() + b"\n", *others]))


@pytest.mark.parametrize("change", [lambda: None, lambda: os.utime("photos/0.png")], ids=["found", "added to"])
def test_an_index_that_names_a_file_elsewhere_is_refused_and_the_file_is_left_alone(here, change):
    photos(here / "photos")
    kept("photos")
    pixels().rename("victim")
    forged(pixels="../victim")
    change()
    before = everything_below(here)
    with pytest.raises(InputError, match="not written by smdae"):
        kept("photos")
    assert everything_below(here) == before


@pytest.mark.parametrize("name", ["pixels", "index.jsonl", "lock"])
def test_a_link_in_a_cache_is_not_followed(here, name):
    photos(here / "photos")
    kept("photos")
    path = pixels() if name == "pixels" else CACHE / name
    path.rename("victim")
    path.symlink_to(here / "victim")
    os.utime("photos/0.png")
    before = everything_below(here)
    with pytest.raises(OutputError, match="is a link"):
        kept("photos")
    assert everything_below(here) == before


def test_pixels_that_go_by_another_name_too_are_not_written(here):
    """As in a backup made of hard links."""
    photos(here / "photos")
    kept("photos")
    os.link(pixels(), "victim")
    before = (here / "victim").read_bytes()
    kept("photos")
    os.utime("photos/0.png")
    with pytest.raises(OutputError, match="more than one name"):
        kept("photos")
    assert (here / "victim").read_bytes() == before


def test_a_pipe_in_a_cache_is_refused_at_once(here):
    CACHE.mkdir()
    os.mkfifo(CACHE / "index.jsonl")
    photos(here / "photos")
    with pytest.raises(OutputError, match="not a file"):
        kept("photos")
