"""A data engineer's pipeline: shards that make the whole, results that depend on no folder, gates and JSON."""

import json
import os
from pathlib import Path

import pytest

from smdae.cli.app import main
from tests.tiny import encoded, everything_below, gray, model_bytes, photos


@pytest.fixture
def data(bare) -> Path:
    (bare / "in").mkdir()
    for seed in range(6):
        (bare / "in" / f"{seed}.png").write_bytes(encoded(gray(seed=seed)))
    (bare / "other").mkdir()
    (bare / "other" / "model.safetensors").write_bytes(model_bytes())  # what a fit left there
    return bare


def test_four_shards_are_one_run(data, capsys):
    options = ["-m", "other/model.safetensors", "--json"]
    assert main(["denoise", "in", "-o", "whole", *options]) == 0
    whole = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    parts = []
    for shard in range(1, 5):
        assert main(["denoise", "in", "-o", "parts", "--shard", f"{shard}/4", *options]) == 0
        parts += [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert everything_below(Path("parts")) == everything_below(Path("whole"))
    assert sorted(record["input"] for record in parts) == [record["input"] for record in whole]
    by_input = {record["input"]: record for record in parts}
    for record in whole:
        assert by_input[record["input"]]["model"] == record["model"]


def test_the_result_is_the_same_from_any_folder(data, capsys):
    source = str(data / "in" / "0.png")
    results = []
    for folder in (data, data / "in", data / "other"):
        os.chdir(folder)
        assert main(["denoise", source, "-s", "20", "--fast", "-o", str(data / "r.png"), "-y", "--json"]) == 0
        record = json.loads(capsys.readouterr().out)
        results.append(((data / "r.png").read_bytes(), record["model"]["digest"]))
    assert results[0] == results[1] == results[2]


def test_the_same_by_a_file_of_options(data, monkeypatch):
    Path("job.yaml").write_text("model: other/model.safetensors\nsigma: 25\noutput: a/\n")
    assert main(["denoise", "in", "-c", "job.yaml"]) == 0
    monkeypatch.setenv("SMDAE_DENOISE_SIGMA", "25")
    monkeypatch.setenv("SMDAE_MODEL", "other/model.safetensors")
    assert main(["denoise", "in", "-o", "b/"]) == 0
    assert everything_below(Path("a")) == everything_below(Path("b"))


def test_a_pipeline_has_a_gate(data, capsys):
    photos(data / "clean", 1)
    assert main(["denoise", "in/1.png", "-m", "other/model.safetensors", "-o", "r.png"]) == 0
    assert main(["compare", "--reference", "clean/0.png", "clean/0.png", "--min-psnr", "99"]) == 0
    assert main(["compare", "--reference", "clean/0.png", "r.png", "--min-psnr", "99"]) == 11
    assert "below --min-psnr 99" in capsys.readouterr().err
