"""What `smdae fit` says at its end: what stopped it, and whether the model is worth anything."""

import json
import signal

import pytest

from smdae.cli.app import main
from smdae.files.model_file import read
from tests.cli.test_fit import stop_at
from tests.tiny import encoded, gray, model_bytes, photos, rewritten

TINY = ("--patch-size", "4", "--hidden", "8", "-b", "16")


@pytest.fixture(autouse=True)
def here(bare):
    photos(bare / "photos")
    return bare


def told(capsys):
    """What the fit said stopped it, and what its card says."""
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.strip().startswith("stopped by"))
    return line.split("stopped by")[1].strip(), read("model.safetensors")[0]["stopped_by"]


def test_a_fit_that_did_all_its_steps_says_so(capsys):
    assert main(["fit", "photos", *TINY, "--max-steps", "3"]) == 0
    assert told(capsys) == ("all 3 steps done", "steps")


def test_a_fit_that_gained_nothing_names_its_patience(here, capsys):
    (here / "c.yaml").write_text("patience: 2\nlr: 1e-12\nmax-steps: 30\nvalidations: 10\n")
    assert main(["fit", "photos", *TINY, "-c", "c.yaml", "-s", "2"]) == 0
    said, card = told(capsys)
    assert said.startswith("patience: no gain in 2 validations, at step ")
    assert said.endswith(" of 30")
    assert card == "patience"


def test_a_fit_that_ran_out_of_time_says_so(capsys):
    assert main(["fit", "photos", *TINY, "--max-time", "0.3s", "--lr", "0.001"]) == 0
    said, card = told(capsys)
    assert card == "time"
    assert said.startswith("time, after ")


def test_a_fit_that_a_signal_stopped_names_it(monkeypatch, capsys):
    stop_at(monkeypatch, 2, signal.SIGTERM)
    assert main(["fit", "photos", *TINY, "--max-steps", "30"]) == 143
    said, card = told(capsys)
    assert said.startswith("SIGTERM, at step ")
    assert card == "SIGTERM"


def test_a_model_that_harms_is_told_of_at_the_end_in_its_card_and_by_denoise(here, capsys):
    """Eight units cannot follow patches of 15 directions."""
    assert main(["fit", "photos", *TINY, "--max-steps", "3", "-s", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[-2].startswith("smdae: warning: the model falls short: it makes held-out images worse: ")
    assert len(json.loads(out)["shortfalls"]) == 2
    (here / "a.png").write_bytes(encoded(gray()))
    assert main(["denoise", "a.png", "-m", "model.safetensors", "-s", "2"]) == 0
    assert "made the images held out of its fit worse" in capsys.readouterr().err


@pytest.mark.parametrize("figures", [None, [], {}, {"noisy": "x", "model": 1}, {"noisy": 20.0, "model": 25.0}])
def test_a_card_without_such_figures_is_no_reason_to_warn(here, figures, capsys):
    (here / "m.safetensors").write_bytes(rewritten(model_bytes(), held_out_psnr=figures))
    (here / "a.png").write_bytes(encoded(gray()))
    assert main(["denoise", "a.png", "-m", "m.safetensors", "-s", "25"]) == 0
    assert "worse" not in capsys.readouterr().err
