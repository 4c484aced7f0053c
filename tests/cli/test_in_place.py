"""`smdae denoise --in-place`: what replaces a picture is as it was, but for its pixels; and who may read a result."""

import os
import stat
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile

from smdae.cli import denoise_run
from smdae.cli.app import main
from smdae.files import writing
from smdae.pipeline import one_picture, stacked
from smdae.pipeline.replacing import claimed
from tests.forked import start
from tests.tiny import complaint, encoded, everything_below, gray, model_bytes
from tests.volumes import volume

needs_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to others")


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    before = os.umask(0o022)
    (bare / "model.safetensors").write_bytes(model_bytes())
    monkeypatch.setenv("SMDAE_MODEL", "model.safetensors")
    (bare / "a.png").write_bytes(encoded(gray()))
    tifffile.imwrite(bare / "s.tif", np.stack([gray(seed=seed) for seed in range(3)]), photometric="minisblack")
    yield bare
    os.umask(before)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@needs_root
@pytest.mark.parametrize("name", ["a.png", "s.tif"])
def test_owner_attributes_and_mode_are_kept(name):
    os.chown(name, 1234, 1235)
    os.chmod(name, 0o640)
    try:
        os.setxattr(name, "user.tag", b"holiday")
    except OSError:
        pytest.skip("no extended attributes here")
    before = Path(name).read_bytes()
    assert main(["denoise", name, "--in-place", "-s", "20"]) == 0
    status = os.stat(name)
    assert Path(name).read_bytes() != before
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 1235, 0o640)
    assert os.getxattr(name, "user.tag") == b"holiday"


@needs_root
def test_an_owner_that_cannot_be_kept_is_told_and_no_one_may_read_more(monkeypatch, capsys):
    os.chown("a.png", 1234, 1235)
    os.chmod("a.png", 0o660)

    def refused(*_arguments):
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "chown", refused)
    assert main(["denoise", "a.png", "--in-place", "-s", "20"]) == 0
    assert "warning: 'a.png' is replaced, but its owner could not be kept" in capsys.readouterr().err
    assert mode("a.png") == 0o600


@pytest.mark.parametrize("name", ["a.png", "s.tif"])
@pytest.mark.parametrize("given", [0o600, 0o640, 0o644, 0o400])
def test_a_result_is_no_more_readable_than_its_input(name, given):
    os.chmod(name, given)
    assert main(["denoise", name, "-s", "20"]) == 0
    result = f"{Path(name).stem}_denoised{Path(name).suffix}"
    assert mode(result) == (given | 0o200)
    os.chmod(result, 0o644)
    assert main(["denoise", name, "-s", "20", "-y"]) == 0
    assert mode(result) & 0o444 == given & 0o444


def test_what_is_written_beside_the_result_is_no_more_readable_either():
    os.chmod("a.png", 0o600)
    assert main(["denoise", "a.png", "-s", "20", "--uncertainty", "u.npy", "--save-steps", "steps/"]) == 0
    assert mode("u.npy") == 0o600
    assert {mode(path) for path in Path("steps").iterdir()} == {0o600}


@needs_root
def test_members_of_another_group_may_not_read_what_only_that_of_the_input_may():
    os.chown("a.png", 1234, 1235)
    os.chmod("a.png", 0o640)
    assert main(["denoise", "a.png", "-s", "20"]) == 0
    assert mode("a_denoised.png") == 0o600


@pytest.mark.parametrize("where", [["--in-place"], ["-o", "t.tif"]])
def test_a_result_that_grows_is_no_more_readable_than_its_input(here, where, monkeypatch):
    os.chmod("s.tif", 0o600)
    seen = []

    def watched(path, descriptor):
        put = writer(path, descriptor)

        def put_and_look(data):
            put(data)
            seen.extend(mode(part) for part in here.glob(".*.part"))

        return put_and_look

    writer = writing._writer
    monkeypatch.setattr(writing, "_writer", watched)
    assert main(["denoise", "s.tif", *where, "-s", "20"]) == 0
    assert len(seen) > 3
    assert set(seen) == {0o600}


# Two at once


@pytest.mark.parametrize("name", ["a.png", "s.tif"])
def test_a_newer_version_that_came_meanwhile_is_kept(here, name, monkeypatch, capsys):
    newer = encoded(gray(seed=7), "PNG" if name == "a.png" else "TIFF")
    module = one_picture if name == "a.png" else stacked
    look = module.denoised

    def slow(*arguments, **options):
        (here / "newer").write_bytes(newer)
        os.replace(here / "newer", here / name)
        return look(*arguments, **options)

    monkeypatch.setattr(module, "denoised", slow)
    assert main(["denoise", name, "--in-place", "-s", "20"]) == 4
    assert f"'{name}'" in capsys.readouterr().err
    assert (here / name).read_bytes() == newer
    assert not list(here.glob(".*"))


def test_what_changed_before_its_turn_is_left_alone(here, monkeypatch, capsys):
    """As another run does that is faster."""
    (here / "in").mkdir()
    for k in range(2):
        (here / "in" / f"{k}.png").write_bytes(encoded(gray(seed=k)))
    look, calls = one_picture.denoised, []

    def first(*arguments, **options):
        calls.append(1)
        (here / "in" / "1.png").write_bytes(encoded(gray(seed=9)))
        return look(*arguments, **options)

    monkeypatch.setattr(one_picture, "denoised", first)
    assert main(["denoise", "in", "--in-place", "-s", "20", "-j", "1"]) == 9
    assert len(calls) == 1
    assert "1 written, 1 failed" in capsys.readouterr().err
    assert (here / "in" / "1.png").read_bytes() == encoded(gray(seed=9))


def test_no_two_runs_replace_the_pictures_of_one_folder(here, capsys):
    (here / "in" / "deep").mkdir(parents=True)
    (here / "in" / "deep" / "b.png").write_bytes(encoded(gray()))
    before = everything_below(here)
    with claimed({here / "in" / "deep": True}):
        for inputs in (["in", "-r"], ["in/deep"], ["in/deep/b.png"]):
            assert main(["denoise", *inputs, "--in-place", "-s", "20"]) == 4
            assert "another run" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before
    with claimed({here: False}):  # as of one that was given another file of the folder
        assert main(["denoise", "a.png", "--in-place", "-s", "20"]) == 0
    assert main(["denoise", "in", "-r", "--in-place", "-s", "20"]) == 0


def test_a_run_planned_while_another_replaced_pictures_changes_nothing(here, monkeypatch, capsys):
    """The other run ends, and with it its claim, after this one has looked at the folder and before it claims it."""
    (here / "in").mkdir()
    for k in range(3):
        (here / "in" / f"{k}.png").write_bytes(encoded(gray(seed=k)))

    @contextmanager
    def late(folders):
        (here / "new.png").write_bytes(encoded(gray(seed=9)))
        os.replace(here / "new.png", here / "in" / "1.png")
        with claimed(folders):
            yield

    monkeypatch.setattr(denoise_run, "claimed", late)
    before = everything_below(here / "in")
    assert main(["denoise", "in", "--in-place", "-s", "20"]) == 4
    assert "'in/1.png'" in complaint(capsys.readouterr().err)
    after = everything_below(here / "in")
    assert {name for name in before if before[name] != after[name]} == {"1.png"}


def test_of_many_runs_at_once_each_picture_is_denoised_once(here):
    (here / "in").mkdir()
    for k in range(12):
        (here / "in" / f"{k}.png").write_bytes(encoded(gray(seed=k)))
    assert main(["denoise", "in", "-o", "once/", "-s", "20"]) == 0
    runs = [start("denoise", "in", "--in-place", "-s", "20") for _ in range(4)]
    for run in runs:
        run.join()
    codes = [run.exitcode for run in runs]
    assert 0 in codes
    assert set(codes) <= {0, 4, 9}
    for _ in range(codes.count(0) - 1):  # those that began when another had ended
        assert main(["denoise", "once", "--in-place", "-s", "20"]) == 0
    assert everything_below(here / "in") == everything_below(here / "once")


def test_results_that_will_not_be_known_as_such_are_told_of(here, capsys):
    (here / "in").mkdir()
    for name, format in (("a.png", "PNG"), ("b.bmp", "BMP"), ("c.bmp", "BMP"), ("d.pgm", "PPM")):
        (here / "in" / name).write_bytes(encoded(gray(), format))
    np.save(here / "in" / "e.npy", gray())
    warning = "smdae: warning: results will not be known as such in "
    again = ": another run over them takes noise out twice\n"
    assert main(["denoise", "in", "-o", "out", "-s", "20"]) == 0
    assert warning not in capsys.readouterr().err
    assert main(["denoise", "in", "--in-place", "--strip-metadata", "--dry-run"]) == 0
    assert warning not in capsys.readouterr().err
    assert main(["denoise", "in", "--in-place", "-s", "20"]) == 0
    assert f"{warning}2 BMP, 1 NPY{again}" in capsys.readouterr().err
    for name, format in (("a.png", "PNG"), ("d.pgm", "PPM")):
        (here / "in" / name).write_bytes(encoded(gray(), format))
    assert main(["denoise", "in", "--in-place", "-s", "20", "--strip-metadata"]) == 0
    assert f"{warning}2 BMP, 1 NPY, 1 PGM, 1 PNG{again}" in capsys.readouterr().err


# Links


def test_links_in_a_folder_are_left_alone(here, capsys):
    """One leads elsewhere, one to a picture beside it, and one nowhere."""
    (here / "in").mkdir()
    (here / "in" / "b.png").write_bytes(encoded(gray(seed=3)))
    for name, place in (("out.png", "../a.png"), ("twice.png", "b.png"), ("broken.tif", "gone.tif")):
        (here / "in" / name).symlink_to(place)
    before = (here / "a.png").read_bytes()
    assert main(["denoise", "in", "--in-place", "-s", "20"]) == 0
    assert "3 skipped: 3 symbolic links\n" in capsys.readouterr().err
    (here / "in" / "folder").symlink_to(here)
    assert main(["denoise", "in", "-r", "--in-place", "-s", "20"]) == 0
    assert "5 skipped: 4 symbolic links, 1 result of an earlier run\n" in capsys.readouterr().err
    assert (here / "a.png").read_bytes() == before
    assert main(["denoise", "in/out.png", "--in-place", "-s", "20"]) == 0  # it is named
    assert (here / "a.png").read_bytes() != before
    assert (here / "in" / "out.png").is_symlink()


def test_links_under_the_name_of_a_result_are_not_followed_unless_named(here, capsys):
    """They may lead elsewhere, or to an input, whatever has put them into the folder of the results."""
    (here / "in").mkdir()
    (here / "out").mkdir()
    (here / "in" / "a.png").write_bytes(encoded(gray()))
    before = (here / "in" / "a.png").read_bytes()
    for place in ("../in/a.png", "../elsewhere.png"):
        (here / "out" / "a.png").unlink(missing_ok=True)
        (here / "out" / "a.png").symlink_to(place)
        for more in ((), ("-y",)):
            for command in (("in", "-o", "out"), ("in/a.png", "-o", "out/")):
                assert main(["denoise", *command, "-s", "20", *more]) == 4
                words = "it is a symbolic link" if "in/" not in place else "the input itself" if more else "it exists"
                assert words in capsys.readouterr().err
                assert main(["denoise", *command, "-s", "20", *more, "--dry-run"]) == 0
                assert "refused: it is " in capsys.readouterr().out
    (here / "b_denoised.png").symlink_to("elsewhere.png")
    (here / "in" / "a.png").rename(here / "b.png")
    assert main(["denoise", "b.png", "-s", "20"]) == 4
    assert not (here / "elsewhere.png").exists()
    assert (here / "b.png").read_bytes() == before
    assert main(["denoise", "b.png", "-s", "20", "-o", "b_denoised.png"]) == 0  # it is named
    assert (here / "elsewhere.png").exists()
    assert main(["denoise", "b.png", "-s", "20", "--skip-existing"]) == 0


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.tif", "a.fits", "a.y4m"])
def test_an_input_of_any_kind_is_not_replaced_by_way_of_a_link(here, name, capsys):
    (here / "in").mkdir()
    (here / "out").mkdir()
    file = here / "in" / name
    if name == "a.fits":
        pytest.importorskip("astropy.io.fits").PrimaryHDU(gray().astype("f4")).writeto(file)
    elif name == "a.y4m":
        file.write_bytes(b"YUV4MPEG2 W32 H24 F1:1 Cmono\nFRAME\n" + gray().tobytes())
    elif name == "a.npy":
        np.save(file, gray())
    elif name == "a.tif":
        tifffile.imwrite(file, np.stack([gray(), gray(seed=1)]), photometric="minisblack")
    else:
        file.write_bytes(encoded(gray()))
    (here / "out" / name).symlink_to(file)
    before = everything_below(here)
    assert main(["denoise", str(file), "-o", "out/", "-y", "-s", "20"]) == 4
    said = capsys.readouterr().err
    assert "it is the input itself" in said
    assert "hint: --in-place replaces inputs" in said
    assert everything_below(here) == before


def test_a_volume_is_not_replaced_by_way_of_a_link(here, capsys):
    pytest.importorskip("zarr")
    (here / "out").mkdir()
    volume(here / "a.ome.zarr")
    (here / "out" / "a.ome.zarr").symlink_to(here / "a.ome.zarr")
    before = everything_below(here)
    assert main(["denoise", "a.ome.zarr", "-o", "out/", "-y", "-s", "20"]) == 4
    assert "it is the input itself" in capsys.readouterr().err
    assert everything_below(here) == before


def test_an_input_that_is_named_as_the_result_is_replaced_with_leave(here):
    assert main(["denoise", "a.png", "-o", "a.png", "-s", "20"]) == 4
    assert main(["denoise", "a.png", "-o", "a.png", "-s", "20", "-y"]) == 0
