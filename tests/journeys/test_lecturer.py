"""A lecturer's notebook: the snippets of the guide to teaching, wrong units told, own targets and models."""

import re

import numpy as np
import pytest
import torch

import smdae
from smdae.errors import UsageError
from tests.docs.blocks import ROOT, blocks_of
from tests.tiny import gray

GUIDE = ROOT / "docs" / "guides" / "teaching.md"
CLEAN = gray(64, 64).astype(float)
NOISY = np.clip(CLEAN + 25 * np.random.default_rng(0).standard_normal(CLEAN.shape), 0, 255)


def test_the_snippets_of_the_guide_are_python_and_take_what_is_public():
    cells = [block.text for block in blocks_of(GUIDE) if block.language == "python"]
    assert len(cells) >= 4
    assert any("objectives." in cell for cell in cells)
    for cell in cells:
        compile(cell, GUIDE.name, "exec")
        for name in re.findall(r"(?<!from )\bsmdae\.(\w+)", cell) + re.findall(r"^from smdae import (\w+)", cell, re.M):
            assert name in smdae.__all__


def test_cells_of_a_notebook():
    model = smdae.fit([CLEAN.astype(np.uint8)], sigma=25, patch_size=4, hidden=8, max_steps=20, batch=32)
    image = NOISY.round().astype(np.uint8)
    result = smdae.denoise(image, model)
    assert result.shape == image.shape
    found = smdae.denoise_image(image, "natural-gray-small", sigma=25)
    assert found.model.name.startswith("natural-gray-small@")
    assert found.noise.sigma == pytest.approx(25)
    estimate = smdae.estimate_noise(image)
    assert estimate.sigma >= 0


def test_the_other_unit_is_told():
    """It gave 1.98 dB without a word."""
    with pytest.raises(UsageError, match=r"did you mean 0\.098"):
        smdae.denoise(NOISY / 255, sigma=25)
    by_floats = smdae.denoise(NOISY / 255, "natural-gray-small", sigma=25 / 255)
    by_values = smdae.denoise(NOISY, "natural-gray-small", sigma=25)
    assert np.square(by_floats * 255 - CLEAN).mean() < np.square(NOISY - CLEAN).mean()
    assert np.square(by_values - CLEAN).mean() < np.square(NOISY - CLEAN).mean()


class Ring:
    """A density in the plane as a student writes it: no generator, no log_prob."""

    def sample(self, n):
        angle = 6.2832 * torch.rand(n)
        return torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(n, 2)

    def score(self, x):
        radius = x.norm(dim=1, keepdim=True)
        return -(radius - 1) / 0.01 * x / radius


def test_a_target_without_a_generator_is_sampled():
    from smdae.comparing.target import Target

    target = Target("toy:ring", Ring())
    x = target.sample(20, torch.Generator())
    assert x.shape == target.score(x).shape == (20, 2)
