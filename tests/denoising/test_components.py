"""The principal components of the posterior, against a density whose posterior is known."""

import math

import pytest
import torch

from smdae.denoising.components import ends_of, principal_components
from smdae.errors import UsageError
from tests.denoising.test_samplers import Normal
from tests.denoising.test_uncertainty import SIGMA, picture, task


def test_principal_components_are_the_eigenvectors_of_the_covariance():
    variances = torch.full((6, 6), 1e-4)
    variances[2, 3], variances[4, 1] = 0.05, 0.02
    image = picture(6, 6)
    first, second = principal_components(task(image, Normal(variances)), 2)
    for component, (row, column) in ((first, (2, 3)), (second, (4, 1))):
        v = variances[row, column].item()
        assert component.deviation == pytest.approx(math.sqrt(v * SIGMA**2 / (v + SIGMA**2)), rel=1e-3)
        assert abs(component.direction[row, column, 0]) == pytest.approx(1, abs=1e-3)
    low, high = ends_of(task(image, Normal(variances)), image, first)
    assert abs(high[2, 3] - low[2, 3]) == pytest.approx(4 * first.deviation, rel=1e-3)


def test_there_are_no_more_components_than_pixels():
    with pytest.raises(UsageError, match="an image of 4 numbers has at most that many"):
        principal_components(task(picture(2, 2), Normal()), 5)
