"""What `denoise --dry-run` says, and how close pictures are to a clean one, as plain values."""

from pathlib import Path

import pytest

from smdae.errors import InputError
from smdae.pipeline.measured import measured
from smdae.pipeline.places import STREAM, Job
from smdae.pipeline.replacing import rehearsed
from tests.tiny import encoded, gray


@pytest.fixture(autouse=True)
def here(bare):
    for name, picture in (("a.png", gray()), ("b.png", gray(seed=1)), ("small.png", gray(8, 8))):
        (bare / name).write_bytes(encoded(picture))


def test_each_picture_is_told_with_what_becomes_of_its_result():
    a, b, new = Path("a.png"), Path("b.png"), Path("new.png")
    jobs = [Job(a, new), Job(a, b), Job(a, b, skipped=True), Job(Path("none.png"), new), Job(STREAM, STREAM)]
    kept = [record["would"] for record, _ in rehearsed(jobs, False, [])]
    assert kept == ["write", "refuse", "skip", "fail", "write"]
    records, lines = zip(*rehearsed(jobs, True, [Path("map.png")]), strict=True)
    assert [record["would"] for record in records] == ["write", "replace", "skip", "fail", "write", "write"]
    assert lines[0] == "a.png -> new.png"
    assert lines[1] == "a.png -> b.png (replaces what is there)"
    assert lines[4] == "stdin -> stdout"
    assert lines[5] == "-> map.png"


def test_pictures_are_measured_one_by_one_and_those_that_cannot_be_say_why():
    files = [Path("a.png"), Path("small.png"), Path("b.png")]
    (_, same), (_, failed), (_, other) = measured(files, Path("a.png"), None)
    assert same == (float("inf"), 1.0)
    assert isinstance(failed, InputError)
    assert "8 x 8" in failed.message
    assert 5 < other[0] < 15
