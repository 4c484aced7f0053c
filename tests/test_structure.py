"""The code is easy to follow: short files, few calls from a picture to the network and from a patch to its loss."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import smdae
from smdae.cli.app import main
from smdae.fitting import loop
from smdae.fitting.draws import Batch
from smdae.fitting.prepare import prepare
from smdae.fitting.settings import check
from tests.conftest import random_network
from tests.tiny import encoded, gray

PACKAGE = Path(smdae.__file__).parent


def file_of(frame):
    """The file of smdae that a frame is in; None for others."""
    path = Path(frame.f_code.co_filename)
    return path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else None


def test_no_file_is_longer_than_300_lines():
    lengths = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert len(lengths) > 200
    assert {path: count for path, count in lengths.items() if count > 300} == {}


@pytest.fixture
def stacks(monkeypatch):
    """Return a list that gets, for each convolution of a network, the files of smdae whose functions are under way."""
    found = []
    convolution = torch.nn.functional.conv2d

    def watched(*arguments, **more):
        frame, files = sys._getframe(1), []
        while frame:
            files += [file] if (file := file_of(frame)) else []
            frame = frame.f_back
        if Path("models/unet.py") in files:
            found.append(files)
        return convolution(*arguments, **more)

    monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
    return found


def test_the_first_convolution_is_few_calls_below_denoise(stacks):
    smdae.denoise(np.zeros((16, 16), np.float32), random_network().float(), 0.1)
    assert len(stacks[0]) <= 8
    assert len(set(stacks[0])) <= 5


def test_the_first_convolution_is_few_calls_below_the_command_line(stacks, bare):
    (bare / "noisy.png").write_bytes(encoded(gray()))
    assert main(["denoise", "noisy.png", "--sigma", "20", "--fast"]) == 0
    assert len(stacks[0]) <= 12
    assert len(set(stacks[0])) <= 9


def test_a_patch_passes_few_files_from_the_store_to_its_loss():
    """Counted are the files with a function that is given the patches of a step, and returns tensors made of them."""
    given = {"model": "energy", "hidden": 16, "patch_size": 8, "batch": 32, "max_steps": 1}
    images = [np.arange(i, i + 24 * 24, dtype=np.uint8).reshape(24, 24) for i in range(3)]
    prepared = prepare(images, 255.0, check(given), torch.device("cpu"))
    least = 32 * 64  # numbers in a batch

    def holds(value):
        several = value if isinstance(value, tuple) else (value,)
        return any(
            isinstance(one, Batch) or (isinstance(one, torch.Tensor) and one.numel() >= least) for one in several
        )

    passed, stack = [], []

    def trace(frame, event, result):
        if event == "call":
            stack.append(any(map(holds, frame.f_locals.values())))
        elif event == "return" and stack:
            has_taken = stack.pop()
            made = isinstance(result, torch.Tensor | Batch | tuple)
            if (has_taken or holds(result)) and made and (file := file_of(frame)):
                passed.append(file)

    state, examples = prepared.state, prepared.examples
    sys.setprofile(trace)
    try:
        loop.step(state, examples.draw(32, state.generator), examples, 1e-3)
    finally:
        sys.setprofile(None)
    store = {Path("fitting/packed.py")}
    assert len(set(passed) - store) <= 6, set(passed)
    assert set(passed) >= store | {Path("fitting/loop.py"), Path("objectives/scores.py"), Path("models/energy.py")}
