"""Numbers that were fitted to features are read by name, and features beyond what was met count no more."""

import json

import numpy as np
import pytest

from smdae.estimation.feature_numbers import read_numbers, standardised


def test_numbers_are_read_by_name_and_those_of_other_features_are_refused(tmp_path):
    path = tmp_path / "numbers.json"
    path.write_text(json.dumps({"features": ["a", "b"], "weights": [[1, 2], [3, 4]], "constant": 0.5}))
    found = read_numbers(path, ("a", "b"))
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
