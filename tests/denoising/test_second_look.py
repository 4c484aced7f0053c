"""What a network takes out of a picture for noise tells whether that is grain or texture."""

import numpy as np
import pytest

from smdae.denoising.second_look import (
    DOWNWARD,
    FEATURES,
    MAX_FACTORS,
    NETWORK,
    OTHER_LEVELS,
    SecondLook,
    features_of,
    second_look,
)
from smdae.estimation.feature_numbers import Perceptron
from smdae.estimation.scale import Scale, scale_of
from smdae.files.model_file import load
from smdae.noise import Affine, Noise
from tests.estimation.pictures import GRAIN, in_colour, sampled, scene

GRAINY = Noise((Affine(read=12.0),), 255.0, grain=GRAIN)


def looked_at(pixels: np.ndarray, noise: Noise = GRAINY, valid: np.ndarray | None = None) -> dict[str, float] | None:
    planes = np.atleast_3d(pixels)
    found = features_of(planes, scale_of(pixels, None), valid, noise.scaled(1 / 255), 1.5, None, load(NETWORK))
    return None if found is None else dict(zip(FEATURES, found.tolist(), strict=True))


def predicting(value: float = 0.0, slope: float = 0.0) -> Perceptron:
    """Return a perceptron that is value + tanh(slope times the sum of the features)."""
    return Perceptron(np.full((1, len(FEATURES)), slope), np.zeros(1), np.ones(1), value)


def numbers(odds: Perceptron | None = None, level: Perceptron | None = None) -> SecondLook:
    n = len(FEATURES)
    edges = np.zeros(n), np.full(n, 2.0), np.full(n, -2.0), np.full(n, 2.0)  # mean, deviation, lowest and highest
    return SecondLook(*edges, odds or predicting(), level or predicting())


def woven() -> np.ndarray:
    """Return fabric: threads of changing strength that cross, without noise."""
    rows, columns = np.mgrid[:200, :300]
    threads = np.sin(1.1 * rows + 0.02 * columns) * np.cos(0.05 * rows + 0.9 * columns)
    return np.rint(128 + (14 + 10 * np.sin(rows / 23) * np.cos(columns / 31)) * threads).astype(np.uint8)


@pytest.mark.parametrize("clean", [scene(), in_colour()], ids=["gray", "colour"])
def test_of_grain_all_is_taken_out_as_predicting(clean):
    found = looked_at(sampled(GRAINY, clean))
    assert found is not None
    assert found["balance"] == pytest.approx(-0.15, abs=0.15)  # a little of it may be structure
    assert found["excess correlation"] == pytest.approx(0, abs=0.06)
    assert found["tails"] < 0.3
    assert found["first odds"] == 1.5
    assert found["log level"] == pytest.approx(np.log(12))
    assert found["correlation"] == pytest.approx(0.6)
    assert found["colour"] == (clean.ndim == 3)


def test_where_there_is_less_noise_than_told_less_is_taken_out():
    faint = looked_at(sampled(Noise((Affine(read=4.0),), 255.0, grain=GRAIN), scene()))
    assert faint is not None
    assert faint["balance"] < -1


def test_told_other_levels_the_network_takes_out_little_more_of_grain_and_more_of_texture():
    grain = looked_at(sampled(GRAINY, scene()))
    texture = looked_at(woven())
    assert grain is not None
    assert texture is not None
    assert grain["energy if told less"] < -0.7
    assert grain["energy if told more"] < 0.4
    assert texture["energy if told more"] > grain["energy if told more"] + 0.1


def test_channels_that_share_noise_share_what_is_taken_out():
    shared = tuple(tuple(1.0 if i == j else 0.8 for i in range(3)) for j in range(3))
    alike = Noise((Affine(read=12.0),), 255.0, grain=GRAIN, channels=shared)
    together, apart = looked_at(sampled(alike, in_colour()), alike), looked_at(sampled(GRAINY, in_colour()))
    assert together is not None
    assert apart is not None
    assert together["correlation of channels"] > 0.5 > apart["correlation of channels"] + 0.3
    assert (together["channels as told"], apart["channels as told"]) == (pytest.approx(0.8), 0.0)


def test_pixels_that_do_not_count_are_in_no_cell_and_few_cells_tell_nothing():
    y = sampled(GRAINY, scene())
    valid = np.zeros(y.shape, bool)
    valid[:80, :80] = True
    assert looked_at(y, valid=valid) is not None
    valid[:, 40:] = False
    assert looked_at(y, valid=valid) is None
    assert looked_at(y[:40, :40]) is None
    assert looked_at(y[:7]) is None


@pytest.mark.parametrize("around", ["hidden", "bars"])
def test_what_is_hidden_and_bars_change_nothing(around):
    y = sampled(GRAINY, in_colour())
    framed = np.full((480, 520, 3), 30, np.uint8)
    framed[80:400, 80:440] = y
    valid = np.zeros(framed.shape[:2], bool)
    valid[80:400, 80:440] = True
    alone, found = looked_at(y), looked_at(framed, valid=valid if around == "hidden" else None)
    assert alone is not None
    assert found is not None
    for name in ("balance", "unevenness", "strongest", "excess correlation", "tails", "coarseness"):
        assert found[name] == pytest.approx(alone[name], abs=0.1), name
    assert second_look().log_odds(np.array([*found.values()])) > 0


def test_two_or_more_channels_that_are_no_colours_are_looked_at_by_the_middle_one():
    gray = sampled(GRAINY, scene())
    network = load(NETWORK)
    pair = features_of(
        np.dstack([255 - gray, gray]), Scale(0.0, 255.0), None, GRAINY.scaled(1 / 255), 0.0, None, network
    )
    assert pair is not None
    assert np.isfinite(pair).all()


def test_large_pictures_are_looked_at_in_parts():
    y = sampled(GRAINY, np.tile(scene(), (2, 3)))
    passes = []
    network = load(NETWORK)

    class Counting:
        def conditioned(self, told):
            passes.append(1)
            return network.conditioned(told)

    found = features_of(y[:, :, None], scale_of(y, None), None, GRAINY.scaled(1 / 255), 0.0, None, Counting())
    assert found is not None
    looks = 1 + len(OTHER_LEVELS)
    assert 4 * looks <= len(passes) <= 9 * looks


def test_odds_are_those_of_standardised_features_and_of_no_more_than_was_met():
    f = np.linspace(-1, 1.5, len(FEATURES))
    found = numbers(odds=predicting(-0.5, slope=0.01))
    assert found.log_odds(f) == pytest.approx(-0.5 + np.tanh(0.01 * f.sum() / 2))
    assert found.log_odds(100 * f) == pytest.approx(-0.5 + np.tanh(0.01 * np.clip(100 * f, -2, 2).sum() / 2))


def test_the_level_is_corrected_within_bounds_and_downwards_by_half():
    f = np.zeros(len(FEATURES))
    assert numbers(level=predicting(0.2)).level_factor(f) == pytest.approx(np.exp(0.2))
    assert numbers(level=predicting(-0.2)).level_factor(f) == pytest.approx(np.exp(-0.2 * DOWNWARD))
    assert numbers(level=predicting(9.0)).level_factor(f) == MAX_FACTORS[1]
    assert numbers(level=predicting(-9.0)).level_factor(f) == MAX_FACTORS[0]


def test_the_numbers_that_come_with_smdae_are_whole():
    found = second_look()
    for name in ("mean", "deviation", "lowest", "highest"):
        assert getattr(found, name).shape == (len(FEATURES),)
    for perceptron in (found.odds, found.level):
        units = len(perceptron.shift)
        assert perceptron.inner.shape == (units, len(FEATURES))
        assert perceptron.outer.shape == (units,)
        assert all(np.isfinite(values).all() for values in vars(perceptron).values())
    assert (found.lowest <= found.highest).all()
