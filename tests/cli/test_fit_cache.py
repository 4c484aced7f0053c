"""`smdae fit --cache`: the same fit to the last bit, with the images on the disk."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from smdae.cli.app import main
from smdae.files import piece_reader
from smdae.files.model_file import read
from smdae.fitting import Prepared
from tests.forked import at_report
from tests.tiny import FLAGS, complaint, encoded, everything_below, gray, photos

FIT = ("fit", *FLAGS, "--max-steps", "12")


@pytest.fixture(autouse=True)
def here(bare):
    photos(bare / "photos")
    return bare


@pytest.fixture(params=["kept", "read"])
def kept(request, monkeypatch):
    """Whether what was read of the cache stays in memory, as it does if it is small."""
    monkeypatch.setattr(piece_reader, "MAX_HELD", 1 << 30 if request.param == "kept" else 0)


def fit(*arguments):
    return main([*FIT, *map(str, arguments)])


def weights(path):
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}


def figures(path):
    """The log without what a clock says."""
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "patches_per_second")} for line in lines]


def card(path):
    return {name: value for name, value in read(path)[0].items() if name != "seconds"}


def noisy(folder):
    folder.mkdir()
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(0, 0.1, (80, 150))
        np.save(folder / f"{seed}.npy", (gray(80, 150, seed) / 255 + noise).astype(np.float32))


@pytest.mark.parametrize(
    "arguments",
    [
        ("photos",),
        ("photos/0.png",),
        ("photos", "--color"),
        ("photos", "--objective", "esm-parzen"),
        ("photos", "--objective", "ism"),
        ("photos", "--model", "unet", "--patch-size", 16),
        ("noisy", "--noisy", "--sigma", "auto"),
        ("noisy", "photos"),
    ],
    ids=lambda arguments: "-".join(map(str, arguments)).replace("/", "-"),
)
def test_the_fit_is_the_same_to_the_last_bit(here, kept, arguments):
    noisy(here / "noisy")
    (here / "c.yaml").write_text("parzen-patches: 50\n")
    common = (*arguments, "-c", "c.yaml")
    assert fit(*common, "-o", "memory.safetensors") == 0
    for name in ("made", "found"):
        assert fit(*common, "-o", f"{name}.safetensors", "--cache", "cache") == 0
        assert weights(f"{name}.safetensors") == weights("memory.safetensors")
        assert figures(f"{name}.metrics.jsonl") == figures("memory.metrics.jsonl")
        assert card(f"{name}.safetensors") == card("memory.safetensors")


@pytest.mark.parametrize(("before", "after"), [((), ("--cache", "cache")), (("--cache", "cache"), ())])
def test_a_fit_goes_on_with_the_cache_or_without(here, monkeypatch, before, after):
    assert fit("photos", "-o", "whole.safetensors") == 0
    with monkeypatch.context() as patch:
        patch.setattr(Prepared, "run", at_report(4, lambda: os.kill(os.getpid(), signal.SIGINT)))
        assert fit("photos", *before) == 130
    assert fit("photos", "--resume", *after) == 0
    assert weights("model.safetensors") == weights("whole.safetensors")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("photos", "--cache", "photos"), 4, "'photos' as a cache: it holds other files"),
        (("photos", "--cache", "photos/0.png"), 4, "it is not a folder"),
        (("photos", "--cache", "no/cache"), 4, "there is no folder 'no'"),
        (("missing", "--cache", "photos"), 3, "'missing'"),
        (("photos", "--cache", "photos", "--lr", "0"), 2, "lr"),
    ],
)
def test_what_will_not_do_is_refused_in_order_and_leaves_nothing(here, arguments, code, said, capsys):
    before = everything_below(here)
    assert fit(*arguments) == code
    assert said in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


def test_files_that_cannot_be_used_are_told_of_each_time(here, capsys):
    (here / "photos" / "bad.png").write_bytes(encoded(gray())[:99])
    for name in "ab":
        assert fit("photos", "-o", f"{name}.safetensors", "--cache", "cache") == 0
        assert "1 file skipped: 1 PNG: cannot read 'photos/bad.png'" in capsys.readouterr().err
