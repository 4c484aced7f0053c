"""`smdae.adapt`: a network adapted to one array, which `denoise` takes; kept only if it helps."""

import numpy as np
import pytest
from skimage import data

import smdae
from smdae.errors import UsageError
from smdae.fitting import adaptation

SIGMA = 25
BRICK = data.brick()[:160, :160].astype(np.float32)
NOISY = BRICK + SIGMA * np.random.default_rng(0).standard_normal(BRICK.shape, np.float32)  # white 255, not clipped
SMALL = "natural-gray-small"


@pytest.fixture(scope="module")
def model():
    return smdae.load(SMALL)


def test_the_model_denoises_better_and_says_by_how_much(model, monkeypatch):
    monkeypatch.setattr(adaptation, "MIN_GAIN_ERRORS", 0.0)  # few steps on a small image are no sure gain
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    done = []
    better = smdae.adapt(NOISY, model, SIGMA, white=255, steps=30, watch=lambda step, of: done.append((step, of)))
    assert done[-1] == (30, 30)
    assert better is not model
    assert all((tensor == before[name]).all() for name, tensor in model.state_dict().items())
    assert better.card["gain"] > 0
    assert better.identity.name == "natural-gray-small@2, adapted"
    assert "gain" not in model.card
    errors = [np.square(smdae.denoise(NOISY, one, SIGMA, white=255) - BRICK).mean() for one in (model, better)]
    assert errors[1] < errors[0]
    assert smdae.denoise_image(NOISY, better, SIGMA, white=255).model == better.identity


def test_without_a_gain_or_without_noise_the_model_is_the_one_given(model):
    flat = (128 + SIGMA * np.random.default_rng(0).standard_normal((48, 48))).clip(0, 255).astype(np.uint8)
    assert smdae.adapt(flat, model, SIGMA, steps=10) is model
    assert smdae.adapt(np.full((64, 64), 255, np.uint8), model) is model
    assert smdae.adapt(np.full((64, 64), 255, np.uint8), SMALL).channels == 1


def test_what_cannot_be_adapted_to_is_refused(model):
    image = NOISY.clip(0, 255).astype(np.uint8)
    with pytest.raises(UsageError, match="that of this image is shot"):
        smdae.adapt(image, model, noise=smdae.Noise.poisson_gaussian(1.0, 2.0))
    energy = smdae.fit([image], patch_size=4, hidden=8, max_steps=3, batch=16)
    with pytest.raises(UsageError, match="networks can be adapted, and this model is not one"):
        smdae.adapt(image, energy)
    with pytest.raises(UsageError, match="adapt takes one image, not 8"):
        smdae.adapt(np.stack([image] * 8), model)
    with pytest.raises(UsageError, match="steps is 1 or more, not 0"):
        smdae.adapt(image, model, SIGMA, steps=0)
