"""The pipeline without a terminal: a picture from file to file, from Python, and who hears what is said of it."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from smdae.errors import BatchError, InputError
from smdae.files.images import read
from smdae.models.energy import EnergyModel
from smdae.pipeline.batch import Batch
from smdae.pipeline.extras import Extras
from smdae.pipeline.one_picture import worker
from smdae.pipeline.options import Options
from smdae.pipeline.places import STREAM, Job
from tests.tiny import encoded, everything_below, gray, model_bytes

HOW = {"sampler": "tweedie", "ensemble": False, "precision": "auto"}


class Heard:
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def note(self, text, now=False, short=None):
        self.lines.append(("note", text))

    def detail(self, text):
        self.lines.append(("detail", text))

    def warn(self, text):
        self.lines.append(("warning", text))

    def failure(self, error):
        self.lines.append(("error", error.message))

    def is_verbose(self):
        return True

    @contextmanager
    def held(self):
        yield []

    overheard = held

    def say(self, lines):
        self.lines += lines


@pytest.fixture(autouse=True)
def here(bare):
    (bare / "m.safetensors").write_bytes(model_bytes())
    (bare / "a.png").write_bytes(encoded(gray()))
    return bare


def test_a_picture_goes_from_file_to_file_without_a_word(here, capfd):
    record = worker(Options(model="m.safetensors", levels=(25.0,), task_options=HOW))(Job(Path("a.png"), Path("b.png")))
    assert record["sigma"] == 25
    assert record["output"] == "b.png"
    assert np.abs(read(here / "b.png", "b").pixels.astype(int) - gray()).max() > 2
    assert capfd.readouterr() == ("", "")


def test_what_is_said_is_heard_by_whoever_was_given_and_bytes_go_where_they_are_to(capfd):
    heard, taken = Heard(), []
    options = Options(
        model="m.safetensors", levels=(60.0,), noise="white", task_options=HOW, messages=heard, stdout=taken.append
    )
    worker(options)(Job(Path("a.png"), STREAM))
    assert read(b"".join(taken), "taken").pixels.shape == gray().shape
    assert any(kind == "warning" and "far from 25" in text for kind, text in heard.lines)
    assert capfd.readouterr() == ("", "")


def test_of_many_the_failures_are_heard_and_raised_at_the_end(here):
    (here / "bad.png").write_bytes(b"nonsense")
    jobs = [Job(Path(name), Path(f"{name}.out.png")) for name in ("bad.png", "a.png")]
    heard, told = Heard(), []
    options = Options(model="m.safetensors", levels=(25.0,), task_options=HOW)
    with pytest.raises(BatchError, match="1 of 2 pictures"):
        Batch(jobs, worker(options), told.append, messages=heard).run()
    assert [kind for kind, _ in heard.lines] == ["error", "note"]
    assert heard.lines[1] == ("note", "1 written, 1 failed")
    assert "error" in told[0]
    assert "error" not in told[1]


def test_a_failure_leaves_nothing(here):
    (here / "bad.png").write_bytes(b"nonsense")
    before = everything_below(here)
    with pytest.raises(InputError, match=r"bad\.png"):
        worker(Options(model="m.safetensors", task_options=HOW))(Job(Path("bad.png"), Path("new/b.png")))
    assert everything_below(here) == before


@pytest.mark.parametrize("steps", [None, Path("steps.gif")])
def test_convolutions_on_cuda_keep_all_digits_whether_or_not_steps_are_saved(here, monkeypatch, steps):
    allowed = []
    score = EnergyModel.score
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(
        EnergyModel, "score", lambda *a, **k: (allowed.append(torch.backends.cudnn.allow_tf32), score(*a, **k))[1]
    )
    options = Options(model="m.safetensors", levels=(25.0,), task_options=HOW, extras=Extras(steps=steps))
    worker(options)(Job(Path("a.png"), Path("b.png")))
    assert allowed
    assert not any(allowed)
