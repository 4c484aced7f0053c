"""Noise as a chart of plain text."""

import numpy as np
import pytest

from smdae.pipeline.noise_chart import chart


@pytest.mark.parametrize("scale", [1e-5, 0.37, 1.0, 42.0, 3e6])
def test_the_stars_of_a_chart_are_its_values(scale):
    x = np.linspace(0, 255, 48)
    y = scale * (0.2 + 0.8 * (x / 255) ** 2)
    lines = chart(x.tolist(), y.tolist())
    *rows, rule, axis = lines
    top, zero = (float(row.split("|")[0]) for row in (rows[0], rows[-1]))
    assert zero == 0
    assert y.max() <= top <= 1.5 * y.max()
    drawn = np.array([list(row.split("|")[1].ljust(48)) for row in reversed(rows)]) == "*"
    assert (drawn.sum(0) == 1).all()
    step = top / (len(rows) - 1)
    np.testing.assert_allclose(step * drawn.argmax(0), y, atol=0.501 * step)
    assert axis.split() == ["0", "128", "255"]
    assert len(axis) == len(rule) == max(map(len, lines))


def test_a_chart_of_nothing_lies_on_its_axis():
    rows = chart([0.0, 1.0, 2.0], [0.0, 0.0, 0.0])[:-2]
    assert rows[-1].endswith("0 |***")
