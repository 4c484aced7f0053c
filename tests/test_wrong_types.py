"""Calls of the Python interface with values of the wrong type: one of our own errors, in words of the caller."""

import numpy as np
import pytest
import torch

import smdae
from smdae import densities, objectives
from smdae.errors import DeviceError, UsageError
from smdae.models import EnergyModel

IMAGE = np.random.default_rng(0).integers(60, 190, (32, 32)).astype(np.uint8)
MODEL = "natural-gray-small"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sigma": "15"}, "sigma must be a number, not '15'"),
        ({"sigma": "auto"}, "None to find it"),
        ({"sigma": True}, "sigma must be a number"),
        ({"sigma": np.full(IMAGE.shape, 15.0)}, "sigma must be a number"),
        ({"sigma": [1, 2, 3]}, "sigma has 3 values, and the image has 1 channel"),
        ({"strength": "1"}, "strength must be a number"),
        ({"white": "255"}, "white must be a number"),
        ({"tile": "auto", "sigma": 15}, "tile must be a number"),
        ({"device": "gpu"}, "device 'gpu' is not a device"),
        ({"device": 0}, "a device is given by its name"),
        ({"model": 3}, "a score model has score"),
        ({"noise": "blue"}, "unknown noise 'blue'; there are auto, white, shot, grain, or a Noise"),
        ({"model": torch.nn.Conv2d(1, 1, 3)}, "a score model has score"),
    ],
    ids=str,
)
def test_denoise_says_what_an_argument_should_be(given, words):
    with pytest.raises(UsageError, match=words):
        smdae.denoise(IMAGE, **({"model": MODEL} | given))


def test_a_noise_profile_that_is_named_is_told_how_to_read():
    with pytest.raises(UsageError, match="unknown noise 'camera") as caught:
        smdae.denoise(IMAGE, noise="camera.yaml", model=MODEL)
    assert "smdae.Noise.from_yaml(open('camera.yaml').read())" in caught.value.hint


@pytest.mark.parametrize("image", [None, 3, b"PNG"], ids=str)
def test_an_image_of_another_type_is_told_by_its_type(image):
    with pytest.raises(UsageError, match=f"not of type {type(image).__name__}"):
        smdae.denoise(image, MODEL)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: smdae.fit(None), "patches are arrays or paths, not of type NoneType"),
        (lambda: smdae.fit(IMAGE, model=3), "not of type int"),
        (lambda: smdae.fit(IMAGE, device="gpu"), "'gpu' is not a device"),
        (lambda: smdae.adapt(IMAGE, MODEL, 15, steps="9"), "steps must be a number"),
        (lambda: smdae.load(3), "not of type int"),
    ],
)
def test_other_calls_say_what_an_argument_should_be(call, words):
    with pytest.raises(UsageError, match=words):
        call()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("device", ["cuda", torch.device("cuda")], ids=str)
def test_a_device_that_is_not_there_is_told(device):
    for call in (smdae.denoise, smdae.denoise_image, smdae.estimate_psnr, smdae.posterior_variance, smdae.adapt):
        with pytest.raises(DeviceError, match="no device 'cuda'"):
            call(IMAGE, MODEL, 15, device=device)
    with pytest.raises(DeviceError, match="no device 'cuda'"):
        smdae.fit(IMAGE, device=device)
    with pytest.raises(DeviceError, match="no device 'cuda'"):
        smdae.compare([IMAGE], device=device)


def test_one_level_for_each_channel_may_be_an_array():
    colours = np.dstack([IMAGE, IMAGE[::-1], IMAGE.T])
    listed = smdae.denoise(colours, MODEL, sigma=[10, 20, 30], noise="white")
    assert np.array_equal(smdae.denoise(colours, MODEL, sigma=np.array([10, 20, 30]), noise="white"), listed)


def test_what_is_printed_of_a_result_leaves_its_pixels_out():
    result = smdae.denoise_image(IMAGE, MODEL, 15)
    assert "natural-gray-small" in repr(result)
    assert len(repr(result)) < 1000


X = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
ENERGY = EnergyModel(2, 3, 0.5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: objectives.explicit(ENERGY, X, X[:, :1]), r"target_score must have shape \(6, 2\).* is \(6, 1\)"),
        (lambda: objectives.explicit(ENERGY, X[:, 0], X), "target_score must have shape"),
        (lambda: objectives.denoising(ENERGY, X, X[:1], 0.5), r"clean must have shape \(6, 2\), as noisy has"),
        (lambda: objectives.autoencoding(ENERGY, X, X[:1]), "clean must have shape"),
        (lambda: objectives.implicit(ENERGY, X, probes=X), r"probes must have shape \(k, 6, 2\), as x has"),
        (lambda: objectives.implicit(ENERGY, X, probes=X, step=0.1), "probes must have shape"),
        (lambda: objectives.sliced(ENERGY, X, X), "probes must have shape"),
        (lambda: objectives.differenced(ENERGY, X, X, 0.1), "probes must have shape"),
        (lambda: objectives.sliced(ENERGY, X, [1.0]), "is of type list"),
        (lambda: densities.Parzen(X.numpy(), 0.1), "patches must be a tensor of floats, not of ndarray"),
        (lambda: densities.Parzen(X.long(), 0.1), "patches must be a tensor of floats, not of int64"),
        (lambda: densities.Gaussian(X.numpy()[0], torch.eye(2)), "mean must be a tensor of floats"),
        (lambda: smdae.Noise.gaussian(9.7).sd(torch.ones(2, 2, dtype=torch.uint8)), "of floats, not of uint8"),
        (lambda: smdae.Noise.gaussian(9.7).sd(5.0), "of floats, not of float"),
        (lambda: smdae.denoise(IMAGE, MODEL, 15, seed="a"), "seed must be a whole number"),
    ],
)
def test_tensors_that_do_not_belong_together_are_not_spread_out_to_fit(call, words):
    with pytest.raises(UsageError, match=words):
        call()


@pytest.mark.parametrize("number", [np.int64(2), np.array(2), torch.tensor(2)], ids=["int64", "0-d", "tensor"])
def test_numbers_of_numpy_and_torch_are_numbers(number):
    assert np.array_equal(smdae.denoise(IMAGE, MODEL, 15, seed=number), smdae.denoise(IMAGE, MODEL, 15, seed=2))
    assert smdae.fit(IMAGE, sigma=20, max_steps=number, hidden=4).card["steps"] == 2
