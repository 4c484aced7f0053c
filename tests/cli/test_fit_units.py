"""`smdae fit` and `compare` on floats whose white is not 1: told before any work, unless it was given."""

import numpy as np
import pytest

from smdae.cli.app import main
from tests.tiny import FLAGS, complaint, everything_below, gray


@pytest.fixture(autouse=True)
def here(bare):
    np.save(bare / "stack.npy", np.stack([gray(seed=seed) for seed in range(3)]).astype(np.float32))
    return bare


@pytest.mark.parametrize("command", ["fit", "compare"])
@pytest.mark.parametrize(("factor", "white"), [(1, 255), (257, 65535)])
def test_floats_of_another_unit_are_refused_with_the_white_they_may_have(here, command, factor, white, capsys):
    np.save(here / "stack.npy", np.load(here / "stack.npy") * factor)
    before = everything_below(here)
    assert main([command, "stack.npy"]) == 2
    said = complaint(capsys.readouterr().err)
    assert "'stack.npy' reach" in said
    assert f"did you mean --white {white}?" in said
    assert everything_below(here) == before


@pytest.mark.parametrize("white", ["255", "1"])
def test_a_white_that_is_given_is_believed(white):
    assert main(["fit", "stack.npy", *FLAGS, "--white", white]) == 0


def test_floats_a_little_beyond_white_are_as_they_are(here):
    np.save(here / "stack.npy", np.load(here / "stack.npy") / 100)
    assert main(["fit", "stack.npy", *FLAGS]) == 0


def test_a_sigma_that_does_not_go_with_rows_is_warned_of(here, capsys):
    rows = np.random.default_rng(0).standard_normal((100, 3))
    np.save(here / "rows.npy", 1000 * rows)
    assert main(["fit", "rows.npy", *FLAGS, "-s", "25"]) == 0
    assert "a column varies by" in capsys.readouterr().err
    assert main(["fit", "rows.npy", *FLAGS, "-y", "-s", "25", "--white", "10000"]) == 0
    assert "a column varies by" not in capsys.readouterr().err
