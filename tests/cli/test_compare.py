"""`smdae compare`: what it prints and writes, what it refuses and in which order."""

import json
import signal
import subprocess
import sys
import time

import pytest

from smdae.cli.app import main
from tests.tiny import ENVIRONMENT, FLAGS, complaint, everything_below, photos

QUICK = (*FLAGS, "--patches", "100")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos")
    return tmp_path


def compare(*arguments):
    return main(["compare", *QUICK, *map(str, arguments)])


def test_report_holds_a_page_of_figures_and_pictures(here, capsys):
    assert compare("photos", "--objective", "ism-parzen", "--objective", "dsm") == 0
    told = capsys.readouterr()
    names = {"results.json", "curves.png", "filters-dsm.png", "filters-ism-parzen.png"}
    assert everything_below(here / "comparison").keys() == names
    record = json.loads((here / "comparison/results.json").read_text())
    assert [c["objective"] for c in record["contestants"]] == ["ism-parzen", "dsm"]
    assert record["settings"]["patches"] == 100
    assert f"{record['baselines']['wiener']:.2f}" in told.out
    assert max(map(len, told.out.splitlines())) <= 80
    assert told.err.splitlines()[-1].startswith("smdae: the report is in 'comparison'")


def test_all_objectives_in_one_json_object(here, capsys):
    assert compare("photos", "--json", "-o", "report") == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == json.loads((here / "report/results.json").read_text())
    assert len(json.loads(told.out)["contestants"]) == 7


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--objective", "nope", "photos"), 2, "esm-parzen"),
        (("--patches", "9", "photos"), 2, "--patches"),
        (("--lr", "0", "photos"), 2, "lr"),
        (("-s", "nan", "photos"), 2, "sigma"),
        (("--white", "0", "photos"), 2, "--white"),
        (("-d", "toaster", "photos"), 2, "toaster"),
        (("nowhere", "-o", "full"), 3, "nowhere"),
        (("empty", "-o", "full"), 3, "no images"),
        (("photos", "--patch-size", "40"), 3, "patch size"),
        (("photos", "-o", "full", "-d", "cuda:99"), 4, "-y"),
        (("photos", "-o", "full/note.txt", "-y"), 4, "not a folder"),
        (("photos", "-o", "no/where"), 4, "no folder"),
        (("photos", "-d", "cuda:99"), 8, "cuda:99"),
    ],
)
def test_refusals_come_before_any_work(here, capsys, arguments, code, words):
    (here / "empty").mkdir()
    (here / "full").mkdir()
    (here / "full/note.txt").write_text("mine")
    before = everything_below(here)
    assert compare(*arguments) == code
    told = capsys.readouterr()
    assert words in complaint(told.err)
    assert told.out == ""
    assert everything_below(here) == before


def test_overwriting_spares_what_is_not_ours(here, capsys):
    (here / "full").mkdir()
    (here / "full/note.txt").write_text("mine")
    (here / "full/results.json").write_text("old")
    assert compare("photos", "--objective", "dsm", "-o", "full", "-y") == 0
    assert (here / "full/note.txt").read_text() == "mine"
    assert json.loads((here / "full/results.json").read_text())["version"] == 1


def test_an_empty_folder_is_taken(here):
    (here / "fresh").mkdir()
    assert compare("photos", "--objective", "dsm", "-o", "fresh") == 0


def test_divergence_is_part_of_a_batch_that_failed(here, capsys):
    assert compare("photos", "--objective", "dsm", "--objective", "dae", "--lr", "1e38") == 9
    told = capsys.readouterr()
    assert "2 of 2 fits diverged" in told.err
    assert "diverged" in told.out
    record = json.loads((here / "comparison/results.json").read_text())
    assert {c["outcome"] for c in record["contestants"]} == {"diverged"}
    assert not list((here / "comparison").glob("filters-*"))


def test_degeneration_is_a_result(here, capsys):
    import numpy as np

    np.save(here / "flat.npy", np.full((3, 20, 20), 77, np.uint8))
    assert compare("flat.npy", "--objective", "ism") == 0
    assert "degenerated" in capsys.readouterr().out


def test_few_different_patches_are_told_of(here, capsys):
    import numpy as np

    np.save(here / "small.npy", np.random.default_rng(0).integers(0, 255, (6, 6), np.uint8))
    assert compare("small.npy", "--objective", "dsm") == 0
    told = capsys.readouterr().err
    assert "nothing is held out" in told
    assert "9 different patches" in told


def test_interrupt_leaves_nothing(here):
    import numpy as np

    np.save(here / "small.npy", np.random.default_rng(0).integers(0, 255, (6, 6), np.uint8))
    command = [sys.executable, "-m", "smdae", "compare", *QUICK, "small.npy", "--max-steps", "1000000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True)
    try:
        # Of so few patches it warns, just before the first fit.
        assert "nothing is held out" in process.stderr.readline()
        assert "different patches" in process.stderr.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    # Python itself ends by the signal if it came within an exec, as when a library makes classes; a shell sees 130 too.
    assert process.returncode in (130, -signal.SIGINT)
    assert (out, err) == ("", "smdae: interrupted\n")
    assert not (here / "comparison").exists()
