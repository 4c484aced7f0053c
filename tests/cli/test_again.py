"""A batch that runs twice, at once or after it was broken off: each result is written once, and found again."""

import os
from pathlib import Path

import pytest

from smdae.cli.app import main
from smdae.pipeline import one_picture
from tests.forked import start
from tests.tiny import encoded, everything_below, gray, model_bytes

OPTIONS = ("-s", "20", "-m", "../model.safetensors", "--skip-existing")


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    (bare / "model.safetensors").write_bytes(model_bytes())
    (bare / "in" / "deep").mkdir(parents=True)
    for k in range(6):
        (bare / "in" / ("deep" if k % 2 else "") / f"{k}.png").write_bytes(encoded(gray(seed=k)))
    monkeypatch.chdir(bare / "in")
    return bare / "in"


@pytest.mark.parametrize("output", ["out/", "./out/", "deep/out/"])
def test_results_in_a_folder_inside_the_input_are_found_again(here, output, capsys):
    assert main(["denoise", ".", "-r", "-o", output, *OPTIONS]) == 0
    first = everything_below(here)
    assert len(list((here / output).rglob("*.png"))) == 6
    (here / output / "0.png").unlink()
    for counts in ("1 written, 5 skipped", "6 skipped"):
        assert main(["denoise", ".", "-r", "-o", output, *OPTIONS]) == 0
        assert capsys.readouterr().err.splitlines()[-1] == f"smdae: {counts}"
        assert everything_below(here) == first


def test_a_pattern_finds_no_results(here, capsys):
    for counts in ("6 written", "6 skipped"):
        assert main(["denoise", "**/*.png", "-o", "out/", *OPTIONS]) == 0
        assert capsys.readouterr().err.splitlines()[-1] == f"smdae: {counts}"


def test_results_in_the_very_folder_of_the_inputs_are_known_by_their_suffix(here, capsys):
    for counts in ("6 written", "6 skipped"):
        assert main(["denoise", ".", "-r", "-o", "./", "--suffix", "_x", *OPTIONS]) == 0
        assert capsys.readouterr().err.splitlines()[-1] == f"smdae: {counts}"


def test_results_in_a_folder_that_is_named_are_left_out_and_taken_where_they_are_named(here, capsys):
    assert main(["denoise", ".", "-r", "-o", "out/", *OPTIONS]) == 0
    assert main(["denoise", "out", "-o", "more/", *OPTIONS]) == 0
    assert "nothing to do, 3 skipped: 3 results of an earlier run" in capsys.readouterr().err
    assert not (here / "more").exists()
    assert main(["denoise", *map(str, (here / "out").glob("*.png")), "-o", "more/", *OPTIONS]) == 0
    assert len(list((here / "more").iterdir())) == 3
    assert main(["denoise", "out/*.png", "-o", "out", "--suffix", "_x", *OPTIONS]) == 0
    assert (here / "out" / "0_x.png").exists()


@pytest.mark.parametrize("name", [".", "0.png"])
def test_a_result_that_came_meanwhile_is_skipped(here, name, monkeypatch, capsys):
    denoised = one_picture.denoised

    def slow(*arguments, **options):
        (here / "out" / "0.png").write_bytes(b"theirs")
        return denoised(*arguments, **options)

    (here / "out").mkdir()
    monkeypatch.setattr(one_picture, "denoised", slow)
    assert main(["denoise", name, "-o", "out", *OPTIONS]) == 0
    assert "1 skipped" in capsys.readouterr().err.splitlines()[-1]
    assert (here / "out" / "0.png").read_bytes() == b"theirs"


def test_one_picture_that_fails_has_its_own_code(here, capsys):
    (here / "0.png").write_bytes(b"")
    assert main(["denoise", "0.png", "-o", "out/", *OPTIONS]) == 3
    assert capsys.readouterr().err.count("error") == 1
    assert not (here / "out").exists()


def test_many_runs_at_once_all_succeed_and_each_result_is_whole(here):
    assert main(["denoise", ".", "-r", "-o", "../once/", *OPTIONS]) == 0
    for _ in range(3):
        runs = [start("denoise", ".", "-r", "-o", "../out/", *OPTIONS) for _ in range(4)]
        for run in runs:
            run.join()
        assert [run.exitcode for run in runs] == [0] * 4
        assert everything_below(here.parent / "out") == everything_below(here.parent / "once")
        for path in sorted(Path("../out").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        os.rmdir("../out")


@pytest.mark.parametrize(("first", "second"), [((), ("--skip-existing",)), (("--in-place",), ("--in-place",))])
def test_a_folder_in_which_all_is_done_is_no_error(here, first, second, capsys):
    common = ("denoise", ".", "-s", "20", "-m", "../model.safetensors")
    assert main([*common, *first]) == 0
    for path in () if first else [p for p in here.glob("*.png") if "_denoised" not in p.name]:
        path.unlink()  # the originals went elsewhere, and the results stay
    there = everything_below(here)
    capsys.readouterr()
    assert main([*common, *second]) == 0
    assert main([*common, *second, "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "nothing to do, 3 skipped: 3 results of an earlier run" in said
    assert everything_below(here) == there
    assert main([*common, *second, "--shard", "1/2"]) == 0


def test_a_folder_of_results_alone_is_an_error_unless_they_may_be_skipped(here, capsys):
    assert main(["denoise", ".", "-o", "out/", *OPTIONS]) == 0
    assert main(["denoise", "out", "-s", "20"]) == 3
    assert "hint: name them to denoise them once more, or leave them with --skip-existing" in capsys.readouterr().err
    (here / "list").write_text("out\n0.png\n")
    assert main(["denoise", "--files-from", "list", "-o", "more/", *OPTIONS]) == 0
    assert [path.name for path in (here / "more").iterdir()] == ["0.png"]


def test_a_folder_without_any_picture_is_an_error_with_skip_existing_too(here, capsys):
    (here / "none").mkdir()
    (here / "none" / "a.pdf").write_bytes(b"%PDF-1.4")
    assert main(["denoise", "none", *OPTIONS]) == 3
    assert "no images found in 'none'" in capsys.readouterr().err
