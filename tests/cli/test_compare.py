"""`smdae compare`: what it prints and writes, what it refuses and in which order, and how it goes on."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.torch import load as load_tensors

import smdae
from smdae.cli.app import main
from tests.tiny import ENVIRONMENT, FLAGS, complaint, everything_below, model_bytes, photos

QUICK = (*FLAGS, "--patches", "100", "--quick")
LEARNING = ("--only", "learning")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos")
    return tmp_path


def compare(*arguments):
    return main(["compare", *QUICK, *map(str, arguments)])


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_report_holds_figures_pictures_and_models(here, capsys):
    assert compare("photos", "--objective", "ism-parzen", "--objective", "dsm", *LEARNING) == 0
    told = capsys.readouterr()
    assert everything_below(here / "comparison").keys() == {
        "results.json", "schema.json", "report.html", "learning-curves.png", "learning-matrix.png", "models",
        "learning-ends.csv", "learning-values.csv", "learning-quality.csv", "learning-baselines.csv",
        "models/dsm-0.safetensors", "models/ism-parzen-0.safetensors",
    }  # fmt: skip
    record = results(here / "comparison")
    assert record["settings"]["objectives"] == ["ism-parzen", "dsm"]
    assert record["settings"]["patches"] == 100
    assert record["complete"]
    ends = record["parts"]["learning"]["tables"]["ends"]
    assert f"{ends[1]['psnr']:.2f}" in told.out
    assert max(map(len, told.out.splitlines())) <= 80
    assert told.err.splitlines()[-1] == "smdae: the report is 'comparison/report.html'"


def test_white_is_not_for_pictures_of_integers(here):
    """It is the value of white in floats; 8-bit pictures have their own."""
    for folder, more in (("plain", ()), ("given", ("--white", "100"))):
        assert compare("photos", "--objective", "dsm", *LEARNING, "-o", folder, *more) == 0
    plain, given = (results(here / folder)["parts"]["learning"]["tables"]["ends"] for folder in ("plain", "given"))
    assert [end["psnr"] for end in given] == [end["psnr"] for end in plain]


def test_everything_at_once(here, capsys):
    arguments = ("--seeds", "2", "-m", "natural-gray", "--baseline", "tv", "--json", "-o", "report")
    assert compare("photos", *arguments) == 0
    told = capsys.readouterr()
    record = json.loads(told.out)
    assert record == results(here / "report")
    assert record["parts"].keys() == {"equivalence", "estimator", "cost", "learning", "denoising", "learned"}
    assert len(record["settings"]["objectives"]) == 10
    ends = record["parts"]["learning"]["tables"]["ends"]
    assert [end["fits"] for end in ends] == [2] * 10
    assert (here / "report/report.html").stat().st_size < 5_000_000
    names = {row["contestant"] for row in record["parts"]["denoising"]["tables"]["quality"]}
    assert {"noisy", "linear filter", "dsm", "natural-gray", "tv"} <= names
    assert list((here / "report").glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--objective", "nope", "photos"), 2, "esm-parzen"),
        (("--only", "nope", "photos"), 2, "equivalence"),
        (("--baseline", "nope", "photos"), 2, "nlm"),
        (("--patches", "9", "photos"), 2, "--patches"),
        (("--seeds", "0", "photos"), 2, "--seeds"),
        (("--lr", "0", "photos"), 2, "lr"),
        (("-s", "nan", "photos"), 2, "sigma"),
        (("--white", "0", "photos"), 2, "--white"),
        (("-d", "toaster", "photos"), 2, "toaster"),
        ((), 2, "nothing to compare"),
        (("photos", "--target", "mine:density"), 2, "two kinds"),
        (("--target", "mine:density"), 2, "cannot import 'mine'"),
        (("--target", "mine:density", "-m", "natural-gray"), 2, "on images, and these are samples of a density"),
        (("nowhere", "-o", "full"), 3, "nowhere"),
        (("empty", "-o", "full"), 3, "no images"),
        (("photos", "--patch-size", "40"), 3, "patch size"),
        (("photos", "-o", "full", "-d", "cuda:99"), 4, "--resume"),
        (("photos", "-o", "full/note.txt", "-y"), 4, "not a folder"),
        (("photos", "-o", "no/where"), 4, "no folder"),
        (("photos", "-o", "new", "--resume"), 4, "cannot resume"),
        (("photos", "-o", "full", "--resume"), 4, "results.json"),
        (("photos", "-d", "cuda:99"), 8, "cuda:99"),
        (("photos", "-m", "gone"), 5, "gone"),
        (("photos", "-m", "photos/0.png"), 5, "photos/0.png"),
        (("photos", "-m", "natural-color"), 5, "3 channels"),
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


def test_a_model_of_colours_is_left_out_with_the_reason(here, capsys):
    (here / "mine.safetensors").write_bytes(model_bytes())
    models = ("-m", "natural-color", "-m", "mine.safetensors")
    assert compare("photos", *models, "--objective", "dsm", "--only", "denoising") == 0
    left = results(here / "comparison")["left_out"]
    assert [row["what"] for row in left] == ["model natural-color"]
    assert "3 channels" in left[0]["reason"]
    assert "Left out: model natural-color" in capsys.readouterr().out


def test_models_are_not_compared_on_rows(here, capsys):
    np.save("points.npy", np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32))
    assert compare("points.npy", "-m", "natural-gray") == 2
    told = capsys.readouterr().err
    assert "cannot compare 'natural-gray': models are compared on images, and these are rows of 2 numbers" in told
    assert not (here / "comparison").exists()
    assert compare("points.npy", "--objective", "dsm", "--only", "denoising") == 0
    assert "Left out: all: examples are rows of numbers, there are no images to denoise" in capsys.readouterr().out


def test_without_a_sigma_that_of_rows_goes_with_their_spread(here, capsys):
    rows = 400 * np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    np.save("points.npy", rows)
    assert compare("points.npy", "--objective", "dsm", *LEARNING) == 0
    assert results(here / "comparison")["settings"]["sigma"] == pytest.approx(255 * rows.std(0).mean() / 3, rel=0.01)
    said = capsys.readouterr().err
    assert "a third of their spread (-s sets it)" in said
    assert "warning" not in said
    found = smdae.compare(rows, objectives=["dsm"], parts=["learning"], quick=True, max_steps=5)
    assert found.settings["sigma"] == results(here / "comparison")["settings"]["sigma"]


def test_replacing_spares_what_is_not_ours(here):
    assert compare("photos", "--objective", "dsm", "--only", "equivalence", "-o", "full") == 0
    (here / "full/note.txt").write_text("mine")
    assert compare("photos", "--objective", "ism", *LEARNING, "-o", "full", "-y") == 0
    left = everything_below(here / "full")
    assert left["note.txt"] == b"mine"
    assert not [name for name in left if name.startswith("equivalence") or "dsm" in name]
    assert results(here / "full")["parts"].keys() == {"learning"}


def test_an_empty_folder_is_taken(here):
    (here / "fresh").mkdir()
    assert compare("photos", "--objective", "dsm", *LEARNING, "-o", "fresh") == 0


def test_divergence_is_part_of_a_batch_that_failed(here, capsys, monkeypatch):
    """One contestant diverges, the others go on."""
    from smdae.comparing import contestants

    def step(state, batch, examples, lr, real=contestants.step):
        if examples.objective.paper == "J_DAE_sigma":
            with_nan = next(iter(state.model.parameters()))
            with_nan.data.fill_(float("nan"))
        return real(state, batch, examples, lr)

    monkeypatch.setattr(contestants, "step", step)
    names = ("--objective", "dsm", "--objective", "dae", "--objective", "ism-parzen")
    assert compare("photos", *names) == 9
    told = capsys.readouterr()
    assert "1 of 3 fits diverged: dae" in told.err
    ends = {end["objective"]: end for end in results(here / "comparison")["parts"]["learning"]["tables"]["ends"]}
    assert [ends[name]["outcome"] for name in ("dsm", "dae", "ism-parzen")] == ["done", "diverged", "done"]
    assert ends["dsm"]["psnr"] is not None
    assert "diverged" in told.out
    assert not (here / "comparison/models/dae-0.safetensors").exists()


def test_when_all_diverge_there_is_a_report_all_the_same(here, capsys):
    assert compare("photos", "--objective", "dsm", "--objective", "dae", "--lr", "1e38") == 9
    assert "2 of 2 fits diverged" in capsys.readouterr().err
    assert (here / "comparison/report.html").exists()


def test_degeneration_is_a_result(here, capsys):
    np.save(here / "flat.npy", np.full((3, 20, 20), 77, np.uint8))
    assert compare("flat.npy") == 0
    told = capsys.readouterr()
    assert "degenerated" in told.out
    assert "all patches are the same" in told.err


@pytest.mark.parametrize("shape", [(4, 4), (6, 6)])
def test_one_patch_and_few_are_told_of(here, capsys, shape):
    np.save(here / "small.npy", np.random.default_rng(0).integers(0, 255, shape, np.uint8))
    assert compare("small.npy", "--as", "images", "--objective", "dsm", "--objective", "esm-parzen", "-b", "128") == 0
    told = capsys.readouterr().err
    assert "nothing is held out" in told
    assert f"{(shape[0] - 3) ** 2} different patches" in told
    assert "a batch of 128 is more than all 100 patches" in told


def test_a_density_of_ones_own(here, capsys):
    (here / "ring.py").write_text(
        "import torch\nfrom smdae.densities import GaussianMixture\n"
        "angles = torch.arange(8) * torch.pi / 4\n"
        "means = torch.stack([angles.cos(), angles.sin()], 1)\n"
        "density = GaussianMixture(torch.ones(8), means, 0.01 * torch.eye(2).expand(8, 2, 2))\n"
    )
    try:
        assert compare("--target", "ring:density", "-s", "51") == 0
    finally:
        sys.modules.pop("ring", None)
    record = results(here / "comparison")
    assert record["settings"]["target"] == "ring:density"
    assert record["settings"]["dim"] == 2
    verdicts = record["parts"]["equivalence"]["tables"]["verdicts"]
    assert ("esm", "ism at q") in {(v["first"], v["second"]) for v in verdicts}
    assert "samples of ring:density" in capsys.readouterr().out


def test_a_broken_run_goes_on_with_what_was_finished(here, capsys, monkeypatch):
    from smdae.comparing import contestants

    arguments = ("photos", "--objective", "dsm", "--objective", "ism-parzen", "--objective", "dae")
    assert compare(*arguments, *LEARNING, "--only", "equivalence", "-o", "whole") == 0

    fitted = []

    def fit(contest, name, *rest, real=contestants.fit):
        if name == "dae" and fitted is not None and len(fitted) == 2:
            raise KeyboardInterrupt
        fitted.append(name)
        yield from real(contest, name, *rest)

    monkeypatch.setattr(contestants, "fit", fit)
    capsys.readouterr()
    assert compare(*arguments, *LEARNING, "--only", "equivalence", "-o", "broken") == 130
    assert "--resume" in capsys.readouterr().err
    assert fitted == ["ism-parzen", "dsm"]
    assert not results(here / "broken")["complete"]
    assert not (here / "broken/report.html").exists()

    fitted.append("go on")
    assert compare(*arguments, *LEARNING, "--only", "equivalence", "-o", "broken", "--resume") == 0
    assert "2 of 3 fits and 0 parts are finished already" in capsys.readouterr().err
    assert fitted == ["ism-parzen", "dsm", "go on", "dae"]
    whole, resumed = results(here / "whole"), results(here / "broken")
    assert resumed["complete"]
    assert untimed(resumed) == untimed(whole)

    # Nothing is left to do, and nothing is done; another part is added to what there is.
    assert compare(*arguments, "--only", "equivalence", "-o", "broken", "--resume") == 0
    assert len(fitted) == 4
    assert results(here / "broken")["parts"].keys() == {"equivalence", "learning"}


def untimed(value):
    if isinstance(value, dict):
        return {key: untimed(item) for key, item in value.items() if "seconds" not in key}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def test_a_run_on_other_data_or_settings_does_not_go_on(here, capsys):
    arguments = ("--objective", "dsm", *LEARNING)
    assert compare("photos", *arguments) == 0
    before = everything_below(here / "comparison")
    (here / "others").mkdir()
    shutil.copy(here / "photos/0.png", here / "others/0.png")
    capsys.readouterr()
    for changed, words in ((("photos", "-s", "50"), "sigma was 25"), (("others",), "the examples are others")):
        assert compare(*changed, *arguments, "--resume") == 4
        assert words in capsys.readouterr().err.splitlines()[-2]
    (here / "comparison/results.json").write_text("{")
    assert compare("photos", *arguments, "--resume") == 4
    (here / "comparison/results.json").write_bytes(before["results.json"])
    assert everything_below(here / "comparison") == before


def test_a_damaged_fit_is_fitted_again(here, capsys):
    arguments = ("photos", "--objective", "dsm", *LEARNING)
    assert compare(*arguments) == 0
    file = here / "comparison/models/dsm-0.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    (here / "comparison/results.json").write_text(
        json.dumps(results(here / "comparison") | {"parts": {}, "complete": False})
    )
    assert compare(*arguments, "--resume") == 0
    assert "0 of 1 fits" in capsys.readouterr().err
    again, before = load_tensors(file.read_bytes()), load_tensors(whole)
    assert again.keys() == before.keys()
    assert all(again[name].equal(tensor) for name, tensor in before.items())


def test_a_fit_is_a_model_file_as_any(here):
    assert compare("photos", "--objective", "dsm", *LEARNING) == 0
    assert main(["denoise", "photos/0.png", "-s", "25", "-m", "comparison/models/dsm-0.safetensors"]) == 0


def test_an_interrupt_before_anything_is_found_leaves_nothing(here):
    np.save(here / "small.npy", np.random.default_rng(0).integers(0, 255, (6, 6), np.uint8))
    command = [
        sys.executable,
        "-m",
        "smdae",
        "compare",
        *QUICK,
        "small.npy",
        "--as",
        "images",
        "--max-steps",
        "1000000",
    ]
    command += ["--objective", "dsm", *LEARNING]
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


def test_escapes_in_the_name_of_a_model_reach_no_output(here, capsys):
    name = "=x\x1b[31m\x07.safetensors"
    (here / name).write_bytes(model_bytes())
    assert compare("photos", "-m", name, "-m", "natural-color", "--objective", "dsm", "--only", "denoising") == 0
    captured = capsys.readouterr()
    for text in (captured.out, captured.err, *(path.read_text() for path in (here / "comparison").glob("*.[chj]*"))):
        assert "\x1b" not in text
        assert "\x07" not in text
        assert not any(line.startswith("=") for line in text.splitlines() if ",," in line)
    assert "\\x1b" in captured.out
