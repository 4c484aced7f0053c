"""`smdae fit` on a thousand rows of densities that are known: how far the score is from the true one."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

import smdae
from smdae.cli.app import main
from smdae.densities import GaussianMixture

SIGMA = 0.5
SPEC = importlib.util.spec_from_file_location("fields", Path(__file__).parents[2] / "examples" / "fields.py")
fields = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fields)


def bimodal(sigma: float) -> GaussianMixture:
    """Two hills on a line, smoothed by sigma."""
    weights, means = torch.tensor([0.4, 0.6]).double(), torch.tensor([[-2.0], [1.5]]).double()
    spread = torch.tensor([0.5, 0.7]).double().square() + sigma**2
    return GaussianMixture(weights, means, spread[:, None, None])


def fisher(q: GaussianMixture) -> float:
    """E|psi - grad log q_sigma|^2 as a share of E|grad log q_sigma|^2, of the model in the working folder."""
    y: Tensor = q.sample(20_000, Generator().manual_seed(7))
    true = q.score(y)
    found = smdae.load("model.safetensors").score(y.float())
    return ((found - true).square().sum() / true.square().sum()).item()


def bimodal_rows() -> np.ndarray:
    return bimodal(1e-3).sample(1000, Generator().manual_seed(0)).numpy()


DENSITIES = [(bimodal_rows, bimodal), (lambda: fields.ring(1000), fields.truth)]
QUICK = ("--max-steps", "1200", "--hidden", "64", "-b", "256")


@pytest.mark.parametrize(("rows", "smoothed"), DENSITIES, ids=["bimodal", "ring"])
@pytest.mark.parametrize(
    "how", [QUICK, pytest.param(("--max-time", "20s"), marks=pytest.mark.slow)], ids=["quick", "20s"]
)
def test_the_score_of_a_thousand_rows_is_within_five_per_cent(bare, rows, smoothed, how):
    np.savetxt("rows.csv", rows(), delimiter=",")
    assert main(["fit", "rows.csv", "-s", str(255 * SIGMA), *how]) == 0
    assert fisher(smoothed(SIGMA)) < 0.05


@pytest.mark.parametrize(("rows", "smoothed"), DENSITIES, ids=["bimodal", "ring"])
def test_compare_takes_rows(bare, rows, smoothed, capsys):
    table = rows()
    head = ",".join(("east", "north")[: table.shape[1]])
    np.savetxt("rows.csv", table, delimiter=",", header=head, comments="")
    small = ["--quick", "--patches", "500", "--hidden", "16", "--max-steps", "5", "-b", "32"]
    parts = ["--only", "learning", "--only", "learned", "--objective", "dsm", "--objective", "ism-parzen"]
    assert main(["compare", "rows.csv", "-s", str(255 * SIGMA), *small, *parts]) == 0
    out, err = capsys.readouterr()
    assert "rows of" in out
    assert f"1,000 rows of {table.shape[1]} number" in err
    assert "(east" in err
    assert "sigma is 0.5 in their unit" in err
    for name in ("field", "samples"):
        assert list(bare.glob(f"comparison/**/*{name}*.png")), name
