"""A picture among many is told in one line, which fits on a terminal and is whole elsewhere."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from smdae.cli import console
from smdae.estimation.estimate import Estimate
from smdae.noise import Noise
from smdae.pipeline.found_noise import NoiseFacts
from smdae.pipeline.options import Options
from smdae.pipeline.places import Job
from smdae.pipeline.summary import summarise

WORDS = (
    "grain, sigma 5.9 (5 in shadows, 7 in highlights), 6.8 / 5.4 / 5.3 by channel, grain size 2.6 px, JPEG quality 92"
)


@pytest.fixture
def told(monkeypatch):
    """Return what is said of a picture with that name and noise, on a terminal and else."""

    def say(name: str, words: str, noise: Noise, reason: str | None = None) -> tuple[str, str]:
        facts = NoiseFacts(Estimate(noise, 0.0, reason=reason), words, (5.9,), 5.9, 0, 0, False)
        options = Options(many=True, messages=console)
        with console.held() as lines:
            summarise(
                {"": [facts]},
                [None],
                SimpleNamespace(level=None, noise_range=(0.0, 1.0)),
                Job(Path(name), Path("x")),
                options,
            )
        assert [kind for kind, _ in lines] == ["short", "long"]
        return lines[0][1], lines[1][1]

    return say


def test_details_go_before_the_name_does(told):
    noise = Noise.gaussian(5.9 / 255)
    short, whole = told("Urlaub 2024/IMG_0000.JPG", WORDS, noise)
    assert whole == f"smdae: 'Urlaub 2024/IMG_0000.JPG': {WORDS}, estimated"
    assert short == "smdae: 'Urlaub 2024/IMG_0000.JPG': grain, sigma 5.9, estimated"
    assert (
        told("a.jpg", WORDS, noise)[0] == "smdae: 'a.jpg': grain, sigma 5.9 (5 in shadows, 7 in highlights), estimated"
    )
    assert told("a.jpg", "white, sigma 5.9", noise) == ("smdae: 'a.jpg': white, sigma 5.9, estimated",) * 2


def test_a_long_name_is_cut_to_its_end_only_in_the_short_form(told):
    name = f"{'folder/' * 12}picture.png"
    short, whole = told(name, WORDS, Noise.gaussian(5.9 / 255))
    assert len(short) == 80
    assert short.startswith("smdae: '...")
    assert short.endswith("folder/picture.png': grain, sigma 5.9, estimated")
    assert name in whole


def test_so_is_a_picture_without_noise(told):
    short, whole = told("Urlaub 2024/IMG_0000.JPG", "none", Noise.gaussian(0.0), "what there is looks like texture")
    assert whole.endswith("no noise found: left as it is (what there is looks like texture)")
    assert short == "smdae: 'Urlaub 2024/IMG_0000.JPG': no noise found: left as it is"


@pytest.mark.parametrize(
    ("depth", "may_be_floats", "is_told"), [(None, True, 1), ("float32", True, 0), (None, False, 0)]
)
def test_counts_that_rounding_loses_are_told_where_floats_would_keep_them(depth, may_be_floats, is_told):
    facts = NoiseFacts(Estimate(Noise.poisson_gaussian(1.0, 0.0), 0.0), "shot, sigma 0.5", is_rounded=True)
    model = SimpleNamespace(level=None, noise_range=(0.0, 1.0))
    options = Options(depth=depth, messages=console)
    with console.held() as lines:
        summarise({"": [facts]}, [None], model, Job(Path("a.tif"), Path("x")), options, may_be_floats=may_be_floats)
    assert sum("--bit-depth 32f" in text for _, text in lines) == is_told
