"""Settings: what is out of range, unknown or misspelt is refused in one line that names it."""

import math

import pytest
from pydantic import ValidationError

from smdae.errors import UsageError
from smdae.fitting.settings import DEFAULT_SECONDS, DEFAULT_STEPS, Settings, check
from smdae.models import MODELS
from smdae.objectives import OBJECTIVES


def refused(**values):
    with pytest.raises(UsageError) as caught:
        check(values)
    assert caught.value.code == 2
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("name", ["sigma", "lr", "clip", "max_time"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, -math.inf, "x", None, [25]])
def test_what_must_be_positive_is(name, value):
    if (name, value) == ("max_time", None):
        assert check({name: value}).max_time is None
    else:
        assert refused(**{name: value}).message.startswith(name.replace("_", "-"))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("patch_size", [1, 0, -4, 257, 4.5, "x"]),
        ("growth", [[1], [1025], 3, ["x"]]),
        ("clipped", [-0.1, 1.1, math.nan]),
        ("recoloured", [-0.1, 1.1, math.nan]),
        ("activation", ["tanh"]),
        ("optimiser", ["sgd"]),
        ("precision", ["float8"]),
        ("hidden", [0, 65537, 10**30]),
        ("batch", [0, 1_000_001]),
        ("max_steps", [0, -1, 1.5]),
        ("warmup", [-1]),
        ("weight_decay", [-1, math.inf]),
        ("reg_lambda", [-1e-9, math.nan]),
        ("ema", [-0.1, 1, math.nan]),
        ("validations", [0]),
        ("patience", [0]),
        ("hold_out", [0, 1, math.nan]),
        ("seed", [-1, 2**63]),
        ("components", [0, 1001]),
        ("target", ["cauchy"]),
        ("color", ["perhaps"]),
    ],
)
def test_each_setting_has_its_limits(name, values):
    for value in values:
        assert refused(**{name: value}).message.startswith(name.replace("_", "-"))


@pytest.mark.parametrize(("kind", "table"), [("objective", OBJECTIVES), ("model", MODELS)])
def test_an_unknown_name_is_answered_with_those_there_are(kind, table):
    error = refused(**{kind: "nope"})
    assert f"unknown {kind} 'nope'" in error.message
    for name in table:
        assert name in error.message


def test_every_objective_and_model_is_taken():
    for objective in OBJECTIVES:
        assert check({"objective": objective}).objective == objective
    for model in MODELS:
        assert check({"model": model}).model == model


def test_an_unknown_setting_is_named_and_those_there_are_are_listed():
    error = refused(learning_rate=1)
    assert "'learning_rate'" in error.message
    assert "lr" in error.hint.split(", ")[1:]


def test_settings_do_not_change_once_made():
    with pytest.raises(ValidationError):
        Settings().sigma = 3


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({}, (DEFAULT_STEPS, DEFAULT_SECONDS)),
        ({"max_steps": 7}, (7, math.inf)),
        ({"max_time": 7}, (math.inf, 7)),
        ({"max_steps": 7, "max_time": 8}, (7, 8)),
    ],
)
def test_the_limit_not_given_is_none(given, limits):
    assert check(given).limits == limits


@pytest.mark.parametrize("sigma", [(60, 5), (5, 0), (5, 6, 7), ("x", 3), (5, math.inf)])
def test_levels_go_from_a_positive_number_up(sigma):
    assert "sigma" in refused(model="unet", sigma=sigma).message


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"sigma": (5, 50)}, "energy"),
        ({"clipped": 0.5}, "energy"),
        ({"growth": (24,)}, "energy"),
        ({"model": "unet", "size": "huge"}, "small, medium"),
        ({"model": "unet", "sigma": (5, 50), "objective": "ism"}, "ism"),
        ({"model": "unet", "sigma": (5, 50), "objective": "esm-parzen"}, "esm-parzen"),
        ({"model": "unet", "recoloured": 0.5}, "color"),
    ],
)
def test_what_does_not_go_together_is_refused(values, word):
    assert word in refused(**values).message


def test_a_network_has_defaults_of_its_own_and_what_is_given_goes_first():
    assert check({"model": "unet"}).sigma == (1, 60)
    assert check({"model": "unet"}).batch == 16
    assert check({"model": "unet", "batch": 3}).batch == 3
    assert check({}).batch == 512


def test_fits_are_judged_at_the_usual_levels_within_reach():
    assert check({"model": "unet"}).judged_levels == tuple(s / 255 for s in (15, 25, 50))
    assert check({"model": "unet", "sigma": (20, 30)}).judged_levels == (25 / 255,)
    assert check({"model": "unet", "sigma": (2, 4)}).judged_levels == (3 / 255,)
    assert check({"sigma": 7}).judged_levels == (7 / 255,)


def test_a_model_to_start_from_brings_its_kind_and_the_defaults_of_that():
    found = check({"init": "natural-gray", "noisy": True})
    assert (found.model, found.patch_size, found.objective) == ("unet", 64, "ism")
    assert check({"init": "natural-gray", "model": "energy"}).model == "energy"
    assert check({"init": "nowhere"}).model == "energy"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": "experts", "clipped": 0.5}, "clipped is for networks that take it as input"),
        ({"model": "gradient-unet", "clipped": 0.5}, "clipped is for networks that take it as input"),
        ({"model": "gradient-unet", "activation": "relu"}, "needs a smooth activation"),
        ({"model": "experts", "potential": "none"}, "unknown potential 'none'; there are softplus, pairs, student"),
    ],
)
def test_families_take_what_they_can(values, said):
    with pytest.raises(UsageError, match=said):
        check(values)
