"""What a network takes out of a picture for noise tells whether that is grain or texture."""

import numpy as np
import pytest
import torch

from smdae.denoising.second_look import (
    DOWNWARD,
    FEATURES,
    MAX_FACTORS,
    NETWORK,
    SecondLook,
    features_of,
    second_look,
)
from smdae.estimation.scale import Scale, scale_of
from smdae.files.model_file import load
from smdae.noise import Affine, Noise
from tests.estimation.pictures import GRAIN, in_colour, sampled, scene

GRAINY = Noise((Affine(read=12.0),), 255.0, grain=GRAIN)


def looked_at(pixels: np.ndarray, noise: Noise = GRAINY, valid: np.ndarray | None = None) -> dict[str, float] | None:
    planes = np.atleast_3d(pixels)
    found = features_of(planes, scale_of(pixels, None), valid, noise.scaled(1 / 255), 1.5, None, load(NETWORK))
    return None if found is None else dict(zip(FEATURES, found.tolist(), strict=True))


def numbers(**changed: object) -> SecondLook:
    n = len(FEATURES)
    plain = {
        "mean": np.zeros(n),
        "deviation": np.ones(n),
        "lowest": np.full(n, -2.0),
        "highest": np.full(n, 2.0),
        "weights": np.zeros((2, n)),
        "at_mean": np.zeros(2),
        "factor": np.zeros((2, n)),
        "factor_at_mean": np.zeros(2),
    }
    return SecondLook(**(plain | changed))


@pytest.mark.parametrize("clean", [scene(), in_colour()], ids=["gray", "colour"])
def test_of_grain_all_is_taken_out_as_told(clean):
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
    assert 4 <= len(passes) <= 9


def test_odds_are_linear_within_what_was_met_and_of_what_was_compressed_have_weights_of_their_own():
    weights = torch.randn(2, len(FEATURES), generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    found = numbers(weights=weights, at_mean=np.array([0.5, -1.0]), deviation=np.full(len(FEATURES), 2.0))
    f = np.linspace(-1, 1, len(FEATURES))
    for compressed in (0, 1):
        f[FEATURES.index("compressed")] = compressed
        assert found.log_odds(f) == pytest.approx((0.5, -1.0)[compressed] + weights[compressed] @ f / 2)
    far = 100 * f
    far[FEATURES.index("compressed")] = 1
    assert found.log_odds(far) == pytest.approx(-1.0 + weights[1] @ np.clip(far, -2, 2) / 2)


def test_the_level_is_corrected_within_bounds():
    f = np.linspace(-1, 1, len(FEATURES))
    f[FEATURES.index("compressed")] = 1
    factor = np.stack([np.zeros(len(FEATURES)), np.full(len(FEATURES), 0.01)])
    found = numbers(factor=factor, factor_at_mean=np.array([9.0, 0.2]))
    assert found.level_factor(f) == pytest.approx(np.exp(0.2 + 0.01 * f.sum()))
    less = numbers(factor=factor, factor_at_mean=np.array([0.0, -0.2]))
    assert less.level_factor(f) == pytest.approx(np.exp(DOWNWARD * (-0.2 + 0.01 * f.sum())))
    f[FEATURES.index("compressed")] = 0
    assert found.level_factor(f) == MAX_FACTORS[1]
    assert numbers(factor_at_mean=np.array([-9.0, 0.0])).level_factor(f) == MAX_FACTORS[0]


def test_the_numbers_that_come_with_smdae_are_whole():
    found = second_look()
    for name in ("mean", "deviation", "lowest", "highest"):
        assert getattr(found, name).shape == (len(FEATURES),)
    assert found.weights.shape == found.factor.shape == (2, len(FEATURES))
    assert found.at_mean.shape == found.factor_at_mean.shape == (2,)
    assert all(np.isfinite(values).all() for values in vars(found).values())
    assert (found.lowest <= found.highest).all()
