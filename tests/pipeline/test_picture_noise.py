"""What is known of the noise of a picture."""

import numpy as np
import pytest

from smdae.denoising.preparation import prepare
from smdae.estimation.estimate import Estimate
from smdae.noise import Noise
from smdae.pipeline.picture_noise import PictureNoise


@pytest.mark.parametrize(
    ("mean", "dtype", "kind", "is_rounded"),
    [
        (0.3, np.uint16, "shot", True),
        (0.3, np.uint8, "shot", True),
        (0.3, np.float32, "shot", False),
        (0.3, np.uint16, "white", False),
        (20, np.uint16, "shot", False),
    ],
)
def test_a_few_photons_in_whole_numbers_are_rounded_away(mean, dtype, kind, is_rounded):
    counts = np.random.default_rng(0).poisson(mean, (64, 64)).astype(dtype)
    noise = Noise.poisson_gaussian(1.0, 0.0) if kind == "shot" else Noise.gaussian(0.5)
    assert noise.kind == kind
    assert PictureNoise(prepare(counts), Estimate(noise, 0.0)).facts().is_rounded is is_rounded
