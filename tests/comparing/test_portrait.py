"""Pictures of models of one and two numbers."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import smdae
from smdae.cli.app import main
from smdae.comparing.portrait import portrait
from tests.own_modules import Dense, Energetic
from tests.tiny import complaint


class OfLine(Dense):
    def __init__(self) -> None:
        super().__init__(1, 8)

    def score(self, x, sigma):
        return self.layers(x / sigma) / sigma - x


@pytest.mark.parametrize(
    ("model", "dim"), [("energy", 1), ("energy", 2), (Energetic(), 2), (Dense(2, 8), 2), (OfLine(), 1)]
)
def test_models_with_and_without_an_energy_are_drawn(model, dim):
    rows = np.random.default_rng(0).standard_normal((100, dim)).astype(np.float32)
    fitted = smdae.fit(rows, model=model, sigma=0.5, max_steps=3)
    with Image.open(io.BytesIO(portrait(fitted, torch.from_numpy(rows), 0.5, 10.0))) as image:
        assert image.width > 1000


def test_fit_draws_rows_of_one_or_two_numbers_and_nothing_else(bare, capsys):
    np.savetxt("a.csv", np.random.default_rng(0).standard_normal((60, 2)), delimiter=",")
    np.save("b.npy", np.random.default_rng(0).standard_normal((60, 3)))
    few = ["--hidden", "8", "--max-steps", "3", "-s", "100", "--plot"]
    assert main(["fit", "a.csv", *few]) == 0
    assert "drawn in 'model.png'" in capsys.readouterr().err
    assert (bare / "model.png").read_bytes().startswith(b"\x89PNG")
    (bare / "model.safetensors").unlink()
    (bare / "model.metrics.jsonl").unlink()
    assert main(["fit", "a.csv", *few]) == 4
    assert "model.png" in complaint(capsys.readouterr().err.split("\n", 1)[1])
    assert main(["fit", "b.npy", *few]) == 2
    assert "one or two numbers" in complaint(capsys.readouterr().err.split("\n", 1)[1])
