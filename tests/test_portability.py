"""What happens on Windows and macOS, simulated: calls that only POSIX has are taken away one by one.

No test here has run on these systems; each shows that the way round a call works where the call is missing.
"""

import ast
import ctypes
import errno
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile

from smdae import memory
from smdae.cli import interrupts
from smdae.cli.app import main
from smdae.errors import OutputError
from smdae.files import cache_folder, dressing, piece_reader, refusals, writing
from smdae.pipeline import fit_files, replacing
from tests.tiny import encoded, gray, model_bytes, python

SOURCE = Path(__file__).parent.parent / "smdae"
# What Python has on POSIX alone, and the test below that takes it away. A new name here needs a guard and a test.
GUARDED = {
    "fcntl": "test_without_locks",
    "resource": "test_all_modules_and_commands_work_without_posix",
    "os.sched_getaffinity": "test_all_modules_and_commands_work_without_posix",
    "os.pread": "test_a_cache_is_refused_without_locks",
    "os.pwrite": "test_a_cache_is_refused_without_locks",
    "os.posix_fadvise": "test_the_disk_is_not_told_of_what_comes",
    "os.POSIX_FADV_RANDOM": "test_the_disk_is_not_told_of_what_comes",
    "os.POSIX_FADV_WILLNEED": "test_the_disk_is_not_told_of_what_comes",
    "os.getegid": "test_all_modules_and_commands_work_without_posix",
    "os.chown": "test_owners_and_attributes_are_not_asked_for",
    "os.getxattr": "test_owners_and_attributes_are_not_asked_for",
    "os.listxattr": "test_owners_and_attributes_are_not_asked_for",
    "os.setxattr": "test_owners_and_attributes_are_not_asked_for",
    "os.O_NOFOLLOW": "test_without_locks",  # where a dead writer's file is removed, which needs locks
    "os.O_NONBLOCK": "test_without_locks",
    "os.sysconf": "test_memory_without_proc",
}
POSIX = {
    "os": """
        chown fchown lchown fchmod getegid geteuid getgid getuid getgroups setsid setpgid killpg fork forkpty
        mkfifo mknod pread pwrite preadv pwritev posix_fadvise posix_fallocate sched_getaffinity
        sched_setaffinity memfd_create getxattr setxattr listxattr removexattr sysconf statvfs fstatvfs
        O_NOFOLLOW O_NONBLOCK O_DIRECTORY O_CLOEXEC O_TMPFILE sendfile copy_file_range nice getloadavg uname
        openpty fchdir chroot sync fdatasync eventfd splice register_at_fork POSIX_FADV_WILLNEED
        POSIX_FADV_RANDOM POSIX_FADV_SEQUENTIAL POSIX_FADV_DONTNEED
    """,
    "signal": """
        SIGHUP SIGPIPE SIGKILL SIGALRM SIGUSR1 SIGUSR2 SIGCHLD SIGQUIT SIGTSTP SIGCONT setitimer alarm
        pthread_sigmask sigwait pause pthread_kill siginterrupt
    """,
}
MODULES = ("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog")
# A Python of Windows, as far as smdae looks: neither the modules nor the names are there.
WITHOUT = f"""
import os, signal, sys
for name in {MODULES!r}:
    sys.modules[name] = None
# Others use these on Linux.
kept = ("uname", "register_at_fork", "sysconf", "fork", "O_CLOEXEC", "getuid", "statvfs", "O_NONBLOCK")
for module, names in ((os, {POSIX["os"]!r}), (signal, "SIGHUP SIGPIPE SIGALRM SIGUSR1 SIGUSR2 SIGQUIT")):
    for name in names.split():
        if name not in kept and hasattr(module, name):
            delattr(module, name)
"""


@pytest.fixture
def here(bare, monkeypatch):
    """A folder with a model and a picture."""
    (bare / "model.safetensors").write_bytes(model_bytes())
    monkeypatch.setenv("SMDAE_MODEL", "model.safetensors")
    (bare / "a.png").write_bytes(encoded(gray()))
    return bare


@pytest.fixture
def windows(monkeypatch):
    """The writer and its like, as they are on Windows: no locks, and no file is replaced that is open."""
    for module in (writing, replacing, cache_folder, fit_files):
        monkeypatch.setattr(module, "fcntl", None)
    for module in (writing, refusals):
        monkeypatch.setattr(module, "WINDOWS", True)
    monkeypatch.setattr(writing, "PATIENCE", (0.0, 0.0))
    replace = os.replace

    def strict(source, target):
        held = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
        if {os.path.realpath(source), os.path.realpath(target)} & held:
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        replace(source, target)

    monkeypatch.setattr(os, "replace", strict)


def posix_names() -> set[str]:
    """Return what smdae uses that only POSIX has."""
    lists = {module: set(names.split()) for module, names in POSIX.items()}
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id in MODULES:
                    found.add(node.value.id)
                elif node.attr in lists.get(node.value.id, ()):
                    found.add(f"{node.value.id}.{node.attr}")
    return found


def test_every_call_of_posix_is_known_and_has_its_test():
    assert posix_names() == set(GUARDED)
    assert set(GUARDED.values()) <= set(globals())


def test_all_modules_and_commands_work_without_posix(here):
    code = f"""{WITHOUT}
import importlib, pkgutil, types
import smdae
for module in pkgutil.walk_packages(smdae.__path__, "smdae."):
    if module.name != "smdae.__main__":
        importlib.import_module(module.name)
from smdae.cli import interrupts
from smdae.cli.app import main
from smdae.files import dressing
assert interrupts.HANG_UP is None and len(interrupts.STOPS) == 2
dressing.sys = types.SimpleNamespace(platform="win32")
for line in ("denoise a.png", "denoise a.png -y -j 2", "denoise a.png --in-place"):
    assert main([*line.split(), "-s", "20", "-m", "model.safetensors"]) == 0, line
assert main(["fit", "a.png", "--cache", "kept"]) == 2
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert "--cache needs file locks, which this system does not have" in done.stderr
    assert sorted(os.listdir()) == ["a.png", "a_denoised.png", "model.safetensors"]


def test_without_locks(here, windows):
    before = (here / "a.png").read_bytes()
    assert main(["denoise", "a.png", "-s", "20"]) == 0
    assert main(["denoise", "a.png", "-s", "20"]) == 4
    assert main(["denoise", "a.png", "-s", "20", "-y", "-j", "2"]) == 0
    assert main(["denoise", "a.png", "-s", "20", "--in-place"]) == 0
    assert (here / "a.png").read_bytes() != before
    writing.clear(here)  # nothing can be told of the dead
    assert not list(here.glob(".*.part"))


def test_a_cache_is_refused_without_locks(here, windows, capfd):
    assert main(["fit", "a.png", "--cache", "kept"]) == 2
    assert "--cache needs file locks" in capfd.readouterr().err


def test_a_stack_replaces_itself(here, windows):
    """What is read page by page is closed before it is replaced."""
    tifffile.imwrite(here / "stack.tif", np.stack([gray(seed=k) for k in range(3)]), photometric="minisblack")
    before = (here / "stack.tif").read_bytes()
    assert main(["denoise", "stack.tif", "-s", "20", "--in-place"]) == 0
    assert (here / "stack.tif").read_bytes() != before


def test_a_file_that_another_has_open_stays(here, windows, capfd):
    (here / "a_denoised.png").write_bytes(b"old")
    with open("a_denoised.png", "rb"):
        assert main(["denoise", "a.png", "-s", "20", "-y"]) == 4
    assert "cannot write 'a_denoised.png': permission denied" in capfd.readouterr().err
    assert (here / "a_denoised.png").read_bytes() == b"old"
    assert not list(here.glob(".*.part"))


def test_a_file_that_is_open_for_a_moment_is_waited_for(here, windows, monkeypatch):
    (here / "a_denoised.png").write_bytes(b"old")
    reader = open("a_denoised.png", "rb")  # noqa: SIM115
    monkeypatch.setattr(writing.time, "sleep", lambda _: reader.close())
    assert main(["denoise", "a.png", "-s", "20", "-y"]) == 0
    assert (here / "a_denoised.png").read_bytes() != b"old"


def test_a_number_that_is_another_files_by_now_is_not_closed(here, windows):
    """Once closed for the renaming, the number of a file may be given to another one at once."""
    taken = []
    link = os.link

    def meanwhile(*names):
        taken.append(os.open(os.devnull, os.O_RDONLY))
        link(*names)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "link", meanwhile)
        writing.write(here / "b.bin", b"new")
    os.close(taken[0])  # would raise OSError if it had been closed


@pytest.mark.parametrize("name", ["con.png", "NUL.tif", "com1.png", "lpt9", "a:b.png", "what?.png", "end.", "end "])
def test_names_that_windows_has_not_are_refused_before_any_work(here, windows, name):
    with pytest.raises(OutputError, match="windows has no file of that name"):
        refusals.refuse_existing(here / name, overwrite=True)


@pytest.mark.parametrize("name", ["console.png", "com10.png", "nullable.tif", "a b.png", "häuser.png", ".hidden"])
def test_names_that_it_has_are_taken(here, windows, name):
    refusals.refuse_existing(here / name, overwrite=True)


def test_owners_and_attributes_are_not_asked_for(here, windows, monkeypatch):
    for name in ("chown", "getxattr", "setxattr", "listxattr"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(dressing.sys, "platform", "win32")
    (here / "b.bin").write_bytes(b"old")
    writing.write(here / "b.bin", b"new", overwrite=True)
    monkeypatch.undo()
    assert (here / "b.bin").read_bytes() == b"new"


def test_macos_has_owners_and_no_attributes(here, monkeypatch):
    for name in ("getxattr", "setxattr", "listxattr"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(dressing.sys, "platform", "darwin")
    (here / "b.bin").write_bytes(b"old")
    writing.write(here / "b.bin", b"new", overwrite=True)
    monkeypatch.undo()
    assert (here / "b.bin").read_bytes() == b"new"


def test_the_disk_is_not_told_of_what_comes(tmp_path, monkeypatch):
    for name in ("posix_fadvise", "POSIX_FADV_RANDOM", "POSIX_FADV_WILLNEED"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(piece_reader, "MAX_HELD", 0)
    monkeypatch.setattr(piece_reader, "resource", None)
    data = bytes(range(256)) * 1024
    (tmp_path / "file").write_bytes(data)
    file = piece_reader.Pieces(tmp_path / "file", len(data), slice(0, len(data)))
    found, at = file.read(np.array([5, 70_000]), 8)
    assert [bytes(found[k : k + 8]) for k in at] == [data[5:13], data[70_000:70_008]]


def test_memory_without_proc(tmp_path, monkeypatch):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 21}  # 8 GB
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert memory.left(tmp_path) == 4 << 30
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 19}.__getitem__)
    assert memory.left(tmp_path) == 1 << 30
    monkeypatch.delattr(os, "sysconf")
    assert memory.left(tmp_path) == memory.UNKNOWN


def test_memory_on_windows():
    class Kernel:
        answers = True

        def GlobalMemoryStatusEx(self, status):
            found = ctypes.cast(status, ctypes.POINTER(memory._MemoryStatus)).contents
            assert found.length == 64
            found.available = 3 << 30
            return self.answers

    assert memory._left_on_windows(Kernel()) == 3 << 30
    Kernel.answers = False
    assert memory._left_on_windows(Kernel()) == memory.UNKNOWN


def test_without_sighup_ctrl_c_and_sigterm_are_heeded(monkeypatch):
    monkeypatch.setattr(interrupts, "HANG_UP", None)
    monkeypatch.setattr(interrupts, "STOPS", (signal.SIGINT, signal.SIGTERM))
    with interrupts.stoppable("stopping") as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop
        assert stop.code == 143
