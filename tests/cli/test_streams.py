"""Pipes and devices, which may never end: not looked for in folders, and read no farther than makes sense."""

import os
import signal
from pathlib import Path

import pytest

from smdae.cli.app import main
from smdae.files import images
from smdae.files.corpus import gather
from smdae.pipeline.places import sources
from tests.forked import start
from tests.tiny import complaint, encoded, gray, model_bytes


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    (bare / "model.safetensors").write_bytes(model_bytes())
    monkeypatch.setenv("SMDAE_MODEL", "model.safetensors")
    (bare / "in").mkdir()
    (bare / "in" / "a.png").write_bytes(encoded(gray()))
    os.mkfifo(bare / "in" / "pipe.png")
    return bare


def test_a_pipe_in_a_folder_is_no_picture():
    assert sources([Path("in")]) == [Path("in/a.png")]
    assert len(gather([Path("in")], 4).images) == 1


def test_a_pipe_in_a_folder_does_not_hold_a_batch_up(here):
    run = start("denoise", "in", "-o", "out/", "-s", "20")
    run.join(60)
    assert run.exitcode == 0
    assert os.listdir(here / "out") == ["a.png"]


def test_a_pipe_is_no_configuration(capsys):
    assert main(["fit", "in", "-c", "in/pipe.png"]) == 2
    assert "not a file" in complaint(capsys.readouterr().err)


@pytest.fixture
def alarm():
    """An end, instead of waiting for ever."""

    def ring(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("command", ["denoise", "info", "fit"])
@pytest.mark.parametrize("name", ["in/pipe.png", "in/pipe.npy", "zero"])
def test_a_pipe_or_a_device_by_name_is_no_picture(command, name, here, alarm, capsys):
    os.mkfifo(here / "in" / "pipe.npy")
    (here / "zero").symlink_to("/dev/zero")
    assert main([command, name]) == 3
    told = complaint(capsys.readouterr().err)
    assert f"'{name}'" in told
    assert "a pipe or a device" in told


def test_a_device_behind_a_picture_is_left_out_of_a_batch(here, alarm, capsys):
    (here / "zero").symlink_to("/dev/zero")
    assert main(["denoise", "in/a.png", "zero", "-s", "20"]) == 9
    assert "'zero'" in capsys.readouterr().err
    assert (here / "in" / "a_denoised.png").exists()


@pytest.mark.parametrize("strength", ["0", "1"])
def test_the_output_of_a_command_is_a_picture(strength, here, capsys):
    reader, writer = os.pipe()
    data = (here / "in" / "a.png").read_bytes()
    os.write(writer, data)
    os.close(writer)
    place = f"/dev/fd/{reader}"
    assert main(["denoise", place, "-o", "b.png", "-s", "20", "--strength", strength]) == 0
    os.close(reader)
    assert main(["denoise", "in/a.png", "-s", "20", "--strength", strength]) == 0
    assert (here / "b.png").read_bytes() == (here / "in" / "a_denoised.png").read_bytes()


def test_the_output_of_a_command_is_a_configuration(capsys):
    reader, writer = os.pipe()
    os.write(writer, b"max-steps: 17\n")
    os.close(writer)
    assert main(["fit", "in", "-c", f"/dev/fd/{reader}", "--print-config"]) == 0
    os.close(reader)
    assert "17" in capsys.readouterr().out


def test_a_stream_that_does_not_end_is_refused(here, monkeypatch):
    monkeypatch.setattr(images, "MAX_STREAM", 1 << 20)
    monkeypatch.setattr(images, "PIECE", 1 << 16)
    reader, writer = os.pipe()
    if not os.fork():
        try:
            os.close(reader)
            with os.fdopen(writer, "wb") as out:
                out.write((here / "in" / "a.png").read_bytes())
                while True:
                    out.write(bytes(1 << 16))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file, pytest.raises(images.InputError, match="goes on"):
        images.bounded(file, file.read(images.HEAD), "stdin")
    os.wait()
