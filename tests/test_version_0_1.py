"""Model files, a configuration and the README's commands of version 0.1 work as they did.

The folder `version_0_1` holds models that version 0.1 (8b6f779) wrote, a noisy picture, and what it made of that.
"""

import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import smdae
from smdae.cli.app import main
from tests.tiny import photos

THERE = Path(__file__).parent / "version_0_1"
RESULTS = np.load(THERE / "denoised.npz")
COMMANDS = """
denoise noisy.png -s 25
denoise noisy.png --strength 0.7
denoise noisy.png --ensemble
denoise photos/ -r -o clean/ -j 2
denoise noisy.png --bit-depth 32f --format tif
denoise noisy.png --adapt
denoise noisy.png --reference clean.png
denoise noisy.png --uncertainty map.png
denoise noisy.png --samples 4
denoise noisy.png --blend 0.3
denoise noisy.png --modes 3
denoise noisy.png --stepper ode --save-steps film.gif
denoise photos/ -o clean/ -d cpu --precision float16
fit photos/ --model unet --max-time 1h
fit photos/
fit photos/ --noisy --model unet
fit noisy.png --noisy --init natural-gray
fit photos/ --objective ism-parzen
fit photos/ --cache decoded/
compare photos/ --quick
compare photos/ --only equivalence --seeds 3 --baseline nlm -m natural-gray --resume
"""


@pytest.mark.parametrize("name", RESULTS.files)
def test_models_denoise_as_they_did(name):
    noisy = np.asarray(Image.open(THERE / "noisy.png"), np.float32) / 255
    result = smdae.denoise(noisy, smdae.load(THERE / f"{name}.safetensors"), 25 / 255)
    np.testing.assert_allclose(result, RESULTS[name], atol=1e-5)


def test_a_configuration_means_what_it_meant(bare, capsys):
    folder = photos(bare / "photos")
    assert main(["fit", str(folder), "-c", str(THERE / "fit.yaml"), "--print-config"]) == 0
    before, now = yaml.safe_load((THERE / "fit.yaml").read_text()), yaml.safe_load(capsys.readouterr().out)
    before["reg-lambda"] = before.pop("strength")
    assert {name: now[name] for name in before} == before


@pytest.mark.parametrize("command", COMMANDS.strip().splitlines())
def test_commands_are_understood(bare, command, capsys):
    photos(bare / "photos")
    for name in ("noisy.png", "clean.png"):
        Path(name).write_bytes((THERE / "noisy.png").read_bytes())
    plan = "--dry-run" if command.startswith("denoise") else "--print-config"
    assert main([*shlex.split(command), plan]) == 0
    assert capsys.readouterr().out
