"""Numbers that were fitted to features are read by name, and features beyond what was met count no more."""

import json

import numpy as np
import pytest

from smdae.estimation.feature_numbers import Perceptron, read_numbers, standardised


def test_numbers_are_read_by_name_and_those_of_other_features_are_refused(tmp_path):
    path = tmp_path / "numbers.json"
    odds = {"inner": [[1.0, 0.0]], "shift": [0.2], "outer": [2.0], "constant": 1.5}
    path.write_text(json.dumps({"features": ["a", "b"], "weights": [[1, 2], [3, 4]], "constant": 0.5, "odds": odds}))
    found = read_numbers(path, ("a", "b"))
    assert found.pop("odds")(np.array([0.5, 0.5])) == pytest.approx(1.5 + 2 * np.tanh(0.7))
    assert found.pop("weights").tolist() == [[1, 2], [3, 4]]
    assert found == {"constant": 0.5}
    with pytest.raises(ValueError, match=r"numbers\.json is for other features"):
        read_numbers(path, ("b", "a"))


def test_features_are_in_units_of_their_deviations_within_what_was_met():
    f = np.array([[-9.0, 0.5], [1.0, 9.0]])
    found = standardised(
        f, lowest=np.full(2, -2.0), highest=np.full(2, 2.0), mean=np.ones(2), deviation=np.full(2, 0.5)
    )
    assert found.tolist() == [[-6.0, -1.0], [0.0, 2.0]]


def test_a_perceptron_is_one_hidden_layer_for_one_picture_or_many():
    draws = np.random.default_rng(0)
    inner, shift, outer = draws.normal(size=(3, 2)), draws.normal(size=3), draws.normal(size=3)
    found = Perceptron(inner, shift, outer, 0.5)
    z = draws.normal(size=(4, 2))
    expected = [
        0.5 + sum(outer[k] * np.tanh(inner[k, 0] * a + inner[k, 1] * b + shift[k]) for k in range(3)) for a, b in z
    ]
    assert found(z) == pytest.approx(np.array(expected))
    assert found(z[1]) == pytest.approx(expected[1])
