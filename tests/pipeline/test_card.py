"""What the card of a fit says against its model."""

import pytest

from smdae.pipeline.card import shortfalls


@pytest.mark.parametrize(
    ("noisy", "wiener", "model", "words"),
    [
        (20.0, 24.0, 25.0, []),
        (20.0, 24.0, 23.96, []),
        (20.0, None, 21.0, []),
        (19.712, None, 19.708, []),  # both are told as 19.71
        (19.718, None, 19.708, ["held-out images worse"]),
        (20.0, 24.0, 23.0, ["Wiener"]),
        (30.0, 29.0, 29.5, ["held-out images worse"]),
        (30.0, 29.0, 22.0, ["held-out images worse", "Wiener"]),
    ],
)
def test_a_model_falls_short_of_the_noisy_images_and_of_the_linear_filter(noisy, wiener, model, words):
    found = shortfalls({"noisy": noisy, "wiener": wiener, "model": model})
    assert len(found) == len(words)
    for text, word in zip(found, words, strict=True):
        assert word in text


def test_rows_are_called_rows():
    worse, linear = shortfalls({"noisy": 20.0, "wiener": 21.0, "model": 19.0}, "rows")
    assert worse == "it makes held-out rows worse: their squared error is 125.9 % of sigma^2"
    assert linear.endswith("its squared error is 79.4 % of sigma^2, that of the model 125.9 %")
