"""`smdae fit --noise FILE`: kernels that are not white, what is fitted under them, and what does not go with them."""

import json

import numpy as np
import pytest
import torch

import smdae
from smdae import Noise
from smdae.cli.app import main
from smdae.noise import Affine
from tests.tiny import FLAGS, complaint, encoded, gray, photos

GRAIN = Noise((Affine(read=20.0),), white=255.0, grain=((1.0, 0.5), (0.5, 0.25)))
SHOT = Noise((Affine(gain=2.0, read=5.0),), white=255.0)


@pytest.fixture
def here(bare):
    photos(bare / "photos")
    (bare / "grain.yaml").write_text(GRAIN.to_yaml())
    (bare / "shot.yaml").write_text(SHOT.to_yaml())
    (bare / "noisy.png").write_bytes(encoded(gray(seed=3)))
    (bare / "few.yaml").write_text("parzen-patches: 50\n")
    return bare


def fit(*arguments: str) -> int:
    return main(["fit", "photos", *FLAGS, "-c", "few.yaml", *arguments])


@pytest.mark.parametrize("objective", ["dsm", "dae", "esm-parzen", "ism-parzen", "ssm", "ssm-vr", "fd-ssm"])
def test_correlated_noise_goes_with_every_objective_of_noisy_patches(here, objective, capsys):
    assert fit("--noise", "grain.yaml", "--objective", objective, "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["sigma"] == pytest.approx(20)
    assert Noise.from_yaml(card["settings"]["noise"]) == Noise.from_yaml(GRAIN.of_unit().to_yaml())
    model = smdae.load("model.safetensors")
    x = torch.rand(3, 16)
    torch.testing.assert_close(model.reconstruct(x), x + model.noise.covariance(model.score(x), x))
    assert main(["denoise", "noisy.png", "-m", "model.safetensors", "--noise", "white", "-s", "20"]) == 0


def test_a_score_of_varying_noise_is_fitted_and_does_not_denoise(here, capsys):
    for objective in ("dsm", "esm-parzen", "ism-parzen"):
        assert fit("--noise", "shot.yaml", "--objective", objective, "-y") == 0
        err = capsys.readouterr().err
        assert "depends on brightness" in err
        assert "held-out J" in err
    assert main(["denoise", "noisy.png", "-m", "model.safetensors"]) == 5
    assert "the clean picture does not follow" in complaint(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--noise", "missing.yaml"), "no such file"),
        (("--noise", "few.yaml"), "noise"),
        (("--noise", "grain.yaml", "-s", "30"), "leave sigma out"),
        (("--noise", "grain.yaml", "--model", "unet"), "models of patches"),
        (("--noise", "grain.yaml", "--objective", "ism"), "adds no noise to the images"),
        (("--noise", "grain.yaml", "--noisy"), "added to clean images"),
        (("--noise", "shot.yaml", "--objective", "dae"), "fixed covariance"),
        (("--noise", "grain.yaml", "--model", "tests.own_modules:Convolutional"), "takes images"),
    ],
)
def test_what_does_not_go_with_a_profile_is_refused(here, arguments, words, capsys):
    assert fit(*arguments) == 2
    assert words in complaint(capsys.readouterr().err)


def test_a_profile_is_a_setting_like_others(here, capsys):
    assert fit("--noise", "grain.yaml", "--print-config") == 0
    (here / "all.yaml").write_text(capsys.readouterr().out)
    assert main(["fit", "photos", "-c", "all.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fit"]["noise"] == GRAIN.of_unit().to_yaml()


def test_the_score_under_correlated_noise_is_that_of_the_sum_of_the_covariances():
    """Of N(0, D) and noise of covariance C it is -(D + C)^-1 y, and y + C psi(y) = D (D + C)^-1 y."""
    D = torch.tensor([[1.0, 0.3], [0.3, 0.6]], dtype=torch.float64)
    C = torch.tensor([[1.0, -0.6], [-0.6, 1.0]], dtype=torch.float64)
    noise = Noise((Affine(read=1.0),), channels=((1.0, -0.6), (-0.6, 1.0)))
    rows = np.random.default_rng(0).multivariate_normal([0, 0], D.numpy(), 4000).astype(np.float32)
    model = smdae.fit(rows, noise=noise, hidden=64, max_steps=300, batch=512)
    y = torch.from_numpy(np.random.default_rng(1).multivariate_normal([0, 0], (D + C).numpy(), 500))
    true = -y @ torch.linalg.inv(D + C)
    assert (model.score(y.float()) - true).square().mean() < 0.05 * true.square().mean()
    mean = y @ torch.linalg.inv(D + C) @ D
    assert (model.reconstruct(y.float()) - mean).square().mean() < 0.1 * mean.square().mean()
    white = smdae.fit(rows, sigma=1.0, hidden=64, max_steps=300, batch=512)
    assert (white.score(y.float()) - true).square().mean() > 0.1 * true.square().mean()
