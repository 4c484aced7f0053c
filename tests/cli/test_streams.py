"""Pipes and devices, which may never end: not looked for in folders, and read no farther than makes sense."""

import os
from pathlib import Path

import pytest

from smdae.cli.app import main
from smdae.cli.places import sources
from smdae.files import images
from smdae.files.corpus import gather
from tests.forked import start
from tests.tiny import complaint, encoded, gray, model_bytes


@pytest.fixture(autouse=True)
def here(bare):
    (bare / "model.safetensors").write_bytes(model_bytes())
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
