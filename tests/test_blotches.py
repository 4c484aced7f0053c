"""Blotches of colour: their parameters, samples, and what a `Noise` that has them tells."""

import math

import numpy as np
import pytest
import torch
from torch import Generator

from smdae import Noise
from smdae.blotches import Blotches, colour_of, difference_of
from smdae.curves import Affine
from smdae.errors import UsageError
from smdae.jpeg import LUMA
from smdae.noise_text import short

BLOTCHES = Blotches((6.0, 8.0), 5.0)
NOISE = Noise((Affine(read=3.0),), 255.0, blotches=BLOTCHES)


def test_differences_and_colours_are_inverse_and_colours_have_no_brightness():
    differences = torch.rand(2, 2, 5, 7, generator=Generator().manual_seed(0), dtype=torch.float64)
    colours = colour_of(differences)
    assert torch.allclose(difference_of(colours), differences)
    assert (colours * colours.new_tensor(LUMA)[:, None, None]).sum(1).abs().max() < 1e-12


def test_samples_have_the_levels_and_the_width_that_were_asked_for():
    n = BLOTCHES.sample(torch.zeros(1, 3, 400, 400, dtype=torch.float64), Generator().manual_seed(0))
    for measured, level in zip(difference_of(n).std((0, 2, 3)).tolist(), BLOTCHES.levels, strict=True):
        assert measured == pytest.approx(level, rel=0.05)
    assert n.std((0, 2, 3)).tolist() == pytest.approx(BLOTCHES.sds, rel=0.06)
    z = difference_of(n)[0, 0]
    assert ((z[3:] * z[:-3]).mean() / z.var()).item() == pytest.approx(BLOTCHES.grain[3][0], abs=0.03)
    assert NOISE.sd(n)[0, :, 0, 0].tolist() == pytest.approx([math.hypot(3, sd) for sd in BLOTCHES.sds])


def test_a_noise_tells_of_its_blotches():
    assert (NOISE.kind, NOISE.count) == ("grain", 3)
    assert not any((NOISE.is_white, NOISE.is_none, NOISE.is_gaussian))
    assert NOISE.sigma == pytest.approx(math.hypot(3, BLOTCHES.sigma))
    assert NOISE.describe() == f"white, sigma 3, blotches of colour, sigma {short(BLOTCHES.sigma)}, 5 px wide"
    alone = Noise((Affine(),), 255.0, blotches=BLOTCHES)
    assert not alone.is_none
    assert alone.describe() == f"blotches of colour, sigma {short(BLOTCHES.sigma)}, 5 px wide"


def test_a_profile_keeps_blotches_and_units_scale_them():
    assert Noise.from_yaml(NOISE.to_yaml()) == NOISE
    assert NOISE.scaled(2.0).blotches == BLOTCHES.scaled(2.0)
    assert NOISE.amplified(0.5).sigma == pytest.approx(NOISE.sigma / 2)
    assert NOISE.amplified(0.0).is_none
    assert NOISE.channel(1).blotches is None
    y = NOISE.sample(torch.full((1, 3, 64, 64), 100.0), Generator().manual_seed(0))
    assert y.std().item() == pytest.approx(NOISE.sigma, rel=0.25)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{levels: [6.0], size: 5.0}", "two levels"),
        ("{levels: [0.0, 0.0], size: 5.0}", "two levels"),
        ("{levels: [-1.0, 2.0], size: 5.0}", "two levels"),
        ("{levels: [1.0, 2.0], size: 0.5}", "from 1 to 24"),
        ("{levels: [1.0, 2.0], size: .nan}", "size of blotches"),
        ("{levels: [1.0, 2.0]}", "both levels and size"),
        ("{levels: [1.0, 2.0], size: 5.0, colour: 1}", "colour"),
        ("5", "mapping"),
    ],
)
def test_impossible_blotches_are_refused(entry, message):
    text = f"smdae: noise profile\nversion: 1\nwhite: 255.0\ncurves: [{{read: 1.0}}]\nblotches: {entry}\n"
    with pytest.raises(UsageError, match=message):
        Noise.from_yaml(text)


def test_blotches_are_for_pictures_of_three_channels():
    with pytest.raises(UsageError, match="three channels"):
        Noise((Affine(read=1.0),) * 2, blotches=BLOTCHES)
    with pytest.raises(UsageError, match="3 channels"):
        NOISE.sd(torch.zeros(1, 1, 4, 4))
    with pytest.raises(UsageError, match="blotches of colour"):
        NOISE.score(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    with pytest.raises(UsageError, match="three channels"):
        BLOTCHES.sample(torch.zeros(1, 12), Generator())


def test_arrays_are_told_the_sd_of_both():
    assert NOISE.sd_of(np.zeros((2, 2, 3)))[0, 0].tolist() == pytest.approx([math.hypot(3, sd) for sd in BLOTCHES.sds])
