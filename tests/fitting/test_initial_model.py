"""The model that a fit starts from, and what is said where it does not go with the fit."""

import pytest

from smdae.errors import ModelError
from smdae.fitting.initial_model import started_from
from smdae.fitting.settings import Settings


@pytest.mark.parametrize(
    ("init", "channels", "model", "hint"),
    [
        ("natural-color-small", 1, "unet", "add --color"),
        ("natural-gray-small", 3, "unet", "leave --color out"),
        ("natural-color-small", 1, "energy", "fit with its model, channels and patch size"),
        ("natural-color-small", 4, "unet", "fit with its model, channels and patch size"),
    ],
)
def test_a_model_of_another_shape_is_refused_with_what_to_do(init, channels, model, hint):
    with pytest.raises(ModelError, match=f"cannot start from '{init}'") as refused:
        started_from(init, channels, Settings(model=model))
    assert refused.value.hint == hint
