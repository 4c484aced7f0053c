"""Every model of the registry keeps what the protocols promise."""

import pytest
import torch

from smdae.errors import UsageError
from smdae.models import MODELS
from smdae.protocols import HasEnergy, completed, offers
from tests.models import conformance

HOMOGENEOUS = ("energy", "experts", "gradient-unet", "unet")  # models that claim it, where they are of one level


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_model_conforms(check, name):
    check(name)


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_model_is_homogeneous(name):
    conformance.is_homogeneous(name)


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODELS)
def test_model_gives_the_same_on_cuda(name):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    conformance.is_the_same_on_cuda(name)


class Blocks:
    """The mean of each block of 2 x 2 pixels, which commutes with shifts by 2 alone."""

    def score(self, x, sigma):
        mean = torch.nn.functional.avg_pool2d(x, 2)
        return (mean.repeat_interleave(2, 2).repeat_interleave(2, 3) - x) / sigma**2


def test_model_with_a_halo_and_no_shift_multiple_is_refused():
    """Tiles that began at odd pixels would show other blocks at their seams."""
    model = Blocks()
    model.halo = 1
    with pytest.raises(UsageError, match="has a halo and no shift_multiple"):
        completed(model)
    model.shift_multiple = 2
    assert completed(model).shift_multiple == 2


def test_model_with_a_score_alone_is_taken_to_see_the_whole_image_at_any_level():
    model = completed(Blocks())
    assert (model.channels, model.halo, model.shift_multiple) == (None, None, 1)
    assert model.noise_range == (0.0, float("inf"))
    assert not offers(model, HasEnergy)
    with pytest.raises(UsageError, match="has none"):
        completed(object())
