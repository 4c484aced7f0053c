"""What is known of the noise of a picture."""

import numpy as np
import pytest

from smdae.denoising.preparation import prepare
from smdae.errors import UsageError
from smdae.estimation.estimate import Estimate
from smdae.files.picture import Picture
from smdae.noise import Noise
from smdae.pipeline.found_noise import PictureNoise
from smdae.pipeline.options import Options
from smdae.pipeline.picture_noise import refuse_unit


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


COUNTS = np.random.default_rng(0).integers(100, 1100, (64, 64)).astype(np.uint16)


@pytest.mark.parametrize(
    ("picture", "own", "meant"),
    [
        (Picture(COUNTS, 65535, "TIFF"), "2.184e+04", "0.331"),
        (Picture(COUNTS - np.float32(800), 32767, "TIFF", stored="int16"), "1.092e+04", "0.661"),
    ],
)
def test_a_level_larger_than_the_range_of_the_values_is_refused(picture, own, meant):
    with pytest.raises(UsageError) as refused:
        refuse_unit(picture, Options(levels=(85.0,)), "a.tif")
    assert f"--sigma 85 is {own} in 'a.tif'" in refused.value.message
    assert f"did you mean --sigma {meant}?" in refused.value.hint


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (COUNTS, Options(levels=(0.33,))),
        (COUNTS, Options(levels=(85.0,), white=65535)),
        (COUNTS, Options(levels=(85.0,), black=0)),
        (COUNTS, Options()),
        (np.full((64, 64), 7, np.uint16), Options(levels=(85.0,))),
        ((COUNTS // 5).astype(np.uint8), Options(levels=(85.0,))),
    ],
)
def test_other_levels_are_taken(pixels, options):
    assert refuse_unit(Picture(pixels, np.iinfo(pixels.dtype).max, "TIFF"), options, "a.tif") is None
