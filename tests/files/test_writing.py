"""The atomic writer: whole or absent, whatever happens."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from smdae.errors import OutputError
from smdae.files import writing
from smdae.files.refusals import refusals, refuse_existing, refuse_making
from smdae.files.writing import write

needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


def left_behind(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def fail_with(code):
    def fails(*_args, **_kwargs):
        raise OSError(code, os.strerror(code))

    return fails


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 999])
def test_what_is_written_is_there(tmp_path, data):
    write(tmp_path / "a.bin", data)
    assert (tmp_path / "a.bin").read_bytes() == data
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_existing_file_is_refused_and_untouched(tmp_path):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    os.utime(target, (1, 1))
    for refused in (lambda: write(target, b"new"), lambda: refuse_existing(target, overwrite=False)):
        with pytest.raises(OutputError, match="exists already") as caught:
            refused()
        assert "a.png" in caught.value.message
        assert "-y" in caught.value.hint
    assert target.read_bytes() == b"old"
    assert target.stat().st_mtime == 1


def test_overwrite_replaces(tmp_path):
    target = tmp_path / "a.png"
    target.write_bytes(b"a longer old content")
    refuse_existing(target, overwrite=True)
    write(target, b"new", overwrite=True)
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o002])
def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path, umask, mask):
    umask(mask)
    for name, overwrite in (("a", False), ("b", True)):
        write(tmp_path / name, b"x", overwrite=overwrite)
        assert mode(tmp_path / name) == 0o666 & ~mask


@pytest.mark.parametrize("old", [0o664, 0o600, 0o644])
def test_a_replaced_file_keeps_its_mode(tmp_path, umask, old):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    target.chmod(old)
    umask(0o077)
    write(target, b"new", overwrite=True)
    assert mode(target) == old


def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "a", tmp_path / "link"
    link.symlink_to(target)
    write(link, b"first")
    assert link.is_symlink()
    assert target.read_bytes() == b"first"
    with pytest.raises(OutputError, match="exists already"):
        write(link, b"second")
    write(link, b"second", overwrite=True)
    assert link.is_symlink()
    assert target.read_bytes() == b"second"
    assert os.listdir(tmp_path / "real") == ["a"]


def test_links_in_a_circle_are_refused(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OutputError, match="circle"):
        write(tmp_path / "a", b"x", overwrite=True)


def test_the_folder_that_is_named_as_missing_is_the_one_that_is(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "gone" / "a")
    with pytest.raises(OutputError, match=r"there is no folder '[^']*gone'"):
        write(tmp_path / "a", b"x", overwrite=True)
    with pytest.raises(OutputError, match="no file can be made in"), refusals(tmp_path / "b"):
        raise FileNotFoundError(errno.ENOENT, "")  # as of /proc


@needs_dev_full
def test_a_full_device_is_an_error_and_stays_a_device(tmp_path):
    for path in (Path("/dev/full"), tmp_path / "link"):
        if path.parent == tmp_path:
            path.symlink_to("/dev/full")
        with pytest.raises(OutputError, match="no space left"):
            write(path, b"x")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    write(Path(os.devnull), b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_pipe_is_written_straight(tmp_path):
    pipe, data = tmp_path / "pipe", bytes(1 << 18)
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write(pipe, data)
    reader.join()
    assert received == [data]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("check", [write, refuse_existing])
def test_what_cannot_be_a_target_is_refused_by_name(tmp_path, check):
    def refusal(path):
        with pytest.raises(OutputError) as caught:
            check(path, b"x", overwrite=True) if check is write else check(path, overwrite=True)
        assert "\n" not in caught.value.message
        assert repr(path.name)[1:20] in caught.value.message
        return caught.value.message

    (tmp_path / "file").write_bytes(b"")
    assert "folder" in refusal(tmp_path)
    assert "there is no folder" in refusal(tmp_path / "missing" / "a.png")
    assert "is a file" in refusal(tmp_path / "file" / "a.png")
    assert "name is too long" in refusal(tmp_path / ("x" * 300))
    assert "null" in refusal(tmp_path / "x\0y")
    assert left_behind(tmp_path) == []


def test_the_longest_name_that_the_system_takes_is_written(tmp_path):
    write(tmp_path / ("x" * 255), b"x")
    write(tmp_path / ("é" * 127), b"x")
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="drops privileges to test them")
def test_a_folder_without_permission_is_refused(tmp_path):
    program = """
import os, sys
from pathlib import Path
from smdae.errors import OutputError
from smdae.files.refusals import refusals, refuse_existing, refuse_making
from smdae.files.writing import write
os.setuid(65534)
for check in (lambda path: write(path, b"x"), lambda path: refuse_existing(path, overwrite=False)):
    try:
        check(Path("a"))
    except OutputError as error:
        print(error.message)
"""
    tmp_path.chmod(0o755)
    root = Path(writing.__file__).parents[2]
    # The folder is entered before privileges go, so that folders above it do not matter.
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "Error" in ran.stderr:
        pytest.skip("the interpreter is not readable without privileges")
    assert ran.stdout.splitlines() == ["cannot write 'a': permission denied"] * 2


@pytest.mark.parametrize("step", ["write", "fsync", "replace", "link"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EFBIG])
def test_a_failure_at_any_step_leaves_nothing(tmp_path, monkeypatch, step, code):
    target, overwrite = tmp_path / "a", step == "replace"
    if overwrite:
        target.write_bytes(b"old")
    monkeypatch.setattr(os, step, fail_with(code))
    with pytest.raises(OutputError) as caught:
        write(target, b"new", overwrite=overwrite)
    monkeypatch.undo()
    assert repr(str(target)) in caught.value.message
    assert os.listdir(tmp_path) == (["a"] if overwrite else [])
    assert not overwrite or target.read_bytes() == b"old"


@pytest.mark.parametrize("step", ["write", "fsync", "replace", "link", "chmod"])
def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch, step):
    target, overwrite = tmp_path / "a", step in ("replace", "chmod")
    if overwrite:
        target.write_bytes(b"old")

    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(target, b"new", overwrite=overwrite)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == (["a"] if overwrite else [])
    assert not overwrite or target.read_bytes() == b"old"


def test_short_writes_are_continued(tmp_path, monkeypatch):
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:7]))
    write(tmp_path / "a", bytes(range(100)))
    assert (tmp_path / "a").read_bytes() == bytes(range(100))


@pytest.mark.parametrize("linked", [True, False])
def test_of_two_racers_exactly_one_wins(tmp_path, monkeypatch, linked):
    if not linked:
        monkeypatch.setattr(os, "link", fail_with(errno.EOPNOTSUPP))
    # The check before the writing cannot see the other racer: only the last step decides.
    monkeypatch.setattr(writing, "refuse_existing", lambda path, *, overwrite: None)
    monkeypatch.setattr(writing, "status_of", lambda target: None)
    target, start, outcomes = tmp_path / "a", threading.Barrier(4), []

    def race(letter):
        start.wait()
        try:
            write(target, letter * 50_000)
            outcomes.append(letter)
        except OutputError as error:
            outcomes.append(error.message)

    racers = [threading.Thread(target=race, args=(letter,)) for letter in (b"a", b"b", b"c", b"d")]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
    outcomes.remove(winner)
    assert [message.endswith("it exists already") for message in outcomes] == [True] * 3
    assert target.read_bytes() == winner * 50_000
    assert os.listdir(tmp_path) == ["a"]


def test_without_links_a_failed_replacement_gives_the_name_back(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", fail_with(errno.EPERM))
    monkeypatch.setattr(os, "replace", fail_with(errno.EIO))
    with pytest.raises(OutputError):
        write(tmp_path / "a", b"x")
    assert os.listdir(tmp_path) == []


def test_a_file_size_limit_is_named(tmp_path):
    resource = pytest.importorskip("resource")
    program = f"""
import resource
from pathlib import Path
from smdae.errors import OutputError
from smdae.files.writing import write
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))
try:
    write(Path("a"), bytes(5000))
except OutputError as error:
    print(error.message)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(writing.__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stdout == "cannot write 'a': the file would be larger than the system allows\n"
    assert os.listdir(tmp_path) == []


def test_a_folder_to_be_made_needs_one_to_be_made_in(tmp_path):
    refuse_making(tmp_path / "a" / "b" / "c", tmp_path / "a")
    refuse_making(tmp_path, tmp_path)  # another may have made it by now
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="a part of its path is a file"):
        refuse_making(tmp_path / "file" / "b", tmp_path / "file")
    with pytest.raises(OutputError, match="there is no folder"):
        refuse_making(tmp_path / "a" / "b", tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


# What the killed leave


KILLED = """
import os, signal, sys
from pathlib import Path
from smdae.files.writing import whole
with whole(Path(sys.argv[1])) as put:
    put(b"half")
    print("begun", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_temporary_files_of_the_dead_are_cleared_and_those_of_the_living_stay(tmp_path):
    """Names that are alike are no matter: what is locked is alive."""
    root = str(Path(writing.__file__).parents[2])
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": {"PYTHONPATH": root}, "text": True}
    names = ("a.png", f"{'x' * 250}.tif", "line\nbreak.png")
    living, *dying = [
        subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / name)], **options) for name in ("b.png", *names)
    ]
    for process in (living, *dying):
        assert process.stdout.readline() == "begun\n"
    for process in dying:
        process.communicate("\n", timeout=60)
        assert process.returncode == -9
    others = {"a.part", ".hidden.part", ".a.1.part", "a.png.7.0123456789ab.part"}
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / ".link.png.1.0123456789ab.part").symlink_to(tmp_path / "victim")
    os.mkfifo(tmp_path / ".pipe.png.1.0123456789ab.part")
    (tmp_path / ".folder.zarr.1.0123456789ab.part" / "0").mkdir(parents=True)
    assert len([name for name in os.listdir(tmp_path) if name.endswith(".part")]) == 4 + 4 + 3
    writing.clear(tmp_path)
    left = {name for name in os.listdir(tmp_path) if name.endswith(".part")} - others
    assert {name.split(".")[1] for name in left} == {"b", "link", "pipe"}
    assert (tmp_path / "victim").read_bytes() == b"mine"
    living.communicate("\n", timeout=60)
    writing.clear(tmp_path)
    assert not list(tmp_path.glob(".b.png.*"))


def test_a_folder_that_is_missing_or_closed_has_nothing_to_clear(tmp_path):
    writing.clear(tmp_path / "missing")
    (tmp_path / "file").write_bytes(b"")
    writing.clear(tmp_path / "file")


def test_a_file_that_is_cleared_before_it_is_locked_is_begun_again(tmp_path, monkeypatch):
    """As if the one who clears came between the making of the file and its lock."""
    flock, cleared = writing.fcntl.flock, []

    def late(descriptor, operation):
        if not cleared:
            cleared.append(1)
            writing.clear(tmp_path)
            assert os.listdir(tmp_path) == []
        return flock(descriptor, operation)

    monkeypatch.setattr(writing.fcntl, "flock", late)
    write(tmp_path / "a", b"x")
    assert cleared
    assert os.listdir(tmp_path) == ["a"]
