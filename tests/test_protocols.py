"""What models have is looked up in one place, and each lookup says what it is after."""

import ast
from pathlib import Path

import pytest
import torch

import smdae
from smdae.models import EnergyModel, Patchwise
from smdae.protocols import (
    CanClip,
    HasDivergence,
    HasEnergy,
    HasPosteriorVariance,
    HasStride,
    offers,
    posterior_mean,
    single_level,
    widened,
)
from tests.conftest import random_energy, random_network

SYSTEM = {"os", "signal", "sys", "error", "event", "raised", "density"}  # what differs by platform, and errors


def lookups(path: Path) -> list[str]:
    """Return what a file looks up with a silent default, as source."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) == 3):
            subject = ast.unparse(node.args[0]).partition(".")[0]
            if subject not in SYSTEM:
                found.append(f"{path.name}: {ast.unparse(node)}")
    return found


def test_models_are_asked_for_attributes_in_one_file():
    root = Path(smdae.__file__).parent
    assert lookups(root / "protocols.py")
    assert [line for path in sorted(root.rglob("*.py")) if path.name != "protocols.py" for line in lookups(path)] == []


def test_capabilities_are_told_of_models_and_of_their_classes():
    energy = random_energy(9, 4, sigma=1.0, level=0.1)
    for model in (energy, EnergyModel):
        assert offers(model, HasEnergy)
        assert offers(model, HasDivergence)
        assert not offers(model, CanClip)
    assert offers(random_network(), CanClip)
    lifted = Patchwise(energy, 1, 3)
    assert offers(lifted, HasPosteriorVariance)
    assert offers(lifted, HasStride)
    assert not offers(Patchwise(random_network(), 1, 3), HasPosteriorVariance)


@pytest.mark.parametrize("sigma", [0.3, torch.tensor(0.3), torch.tensor([0.1, 0.3])])
def test_posterior_mean_is_the_reconstruction(sigma):
    model, x = random_energy(9, 4, sigma=1.0, level=0.2), torch.rand(2, 9, dtype=torch.float64)
    torch.testing.assert_close(posterior_mean(model, x, sigma), model.reconstruct(x, sigma))


def test_a_range_of_one_level_is_a_level():
    assert single_level(random_network(levels=(0.1, 0.1))) == 0.1
    assert single_level(random_network(levels=(0.1, 0.2))) is None


def test_a_halo_of_the_whole_image_stays_one():
    assert widened(None, 2, 5, 8) is None
    assert widened(10, 2, 1, 8) == 24
