"""How far behind a fit on clean images is the same fit on noisy images alone?

    python benchmarks/noisy_fits.py TRAIN VAL [--model unet] [--sigma 25] [--seeds 3] [--device cpu] [SETTING=VALUE...]

The noise on the images of TRAIN is drawn once and stays, and no clean image is used: implicit score matching on those,
denoising score matching on the clean ones, everything else alike. For each seed the PSNR on VAL of both;
and how much longer a step takes, timed in turn.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from protocol import noisy_pairs, psnr_on
from timing import in_turn, ratio

from smdae.denoising.denoise import denoise
from smdae.files.corpus import gather
from smdae.fitting.loop import step
from smdae.fitting.precision import denormals_flushed
from smdae.fitting.prepare import prepare
from smdae.fitting.settings import check

SETTINGS = {"max_steps": 6000, "patience": 10_000, "validations": 4}
ROUNDS, TIMED_STEPS = 5, 30


def with_noise(images: list[np.ndarray], sigma: float) -> list[np.ndarray]:
    """Return 8-bit images with noise of level sigma that never changes, float32 with white 1."""
    noise = [np.random.default_rng([9, i]).standard_normal(image.shape) for i, image in enumerate(images)]
    return [((image + sigma * n) / 255).astype(np.float32) for image, n in zip(images, noise, strict=True)]


def fitted(images: list[np.ndarray], white: float, settings: dict, device: str) -> object:
    """Return a model fitted to images, in eval mode, on the CPU."""
    with denormals_flushed():
        prepared = prepare(images, white, check(settings), device)
        for _ in prepared.run():
            pass
    return prepared.fitted().cpu()


def steps(images: list[np.ndarray], white: float, settings: dict, device: str) -> Callable[[], None]:
    """Return a function that makes some steps of the same fit, to be timed."""
    prepared = prepare(images, white, check(settings), device)

    def run() -> None:
        for _ in range(TIMED_STEPS):
            batch = prepared.examples.draw(prepared.state.settings.batch, prepared.state.generator)
            step(prepared.state, batch, prepared.examples, 1e-4)
        if device != "cpu":
            torch.cuda.synchronize()

    return run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--model", default="unet")
    parser.add_argument("--sigma", type=float, default=25)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("settings", nargs="*")
    options = parser.parse_intermixed_args()
    clean = gather([options.train], 64, color=False).images
    noisy = with_noise(clean, options.sigma)
    pairs = noisy_pairs(options.val, options.sigma)
    given = {name: yaml.safe_load(value) for name, value in (setting.split("=") for setting in options.settings)}

    def quality(model: object) -> float:
        return psnr_on(pairs, lambda image: denoise(image / np.float32(255), model, options.sigma / 255) * 255)

    print(f"{options.model}, sigma {options.sigma:g}, {SETTINGS | given}")
    alike = {"model": options.model, "sigma": options.sigma, **SETTINGS, **given}
    alone = noisy, 1.0, alike | {"objective": "ism", "noisy": True}
    informed = clean, 255.0, alike | {"objective": "dsm"}
    times = in_turn({name: steps(*fit, options.device) for name, fit in (("ism", alone), ("dsm", informed))}, ROUNDS)
    print(f"a step of ism takes {ratio(times['ism'], times['dsm']):.2f} times as long as one of dsm")
    print(f"{'seed':>4}{'noisy alone':>13}{'clean':>8}{'behind':>8}", flush=True)
    behind = []
    for seed in range(options.seeds):
        ours, theirs = (
            quality(fitted(images, white, settings | {"seed": seed}, options.device))
            for images, white, settings in (alone, informed)
        )
        behind.append(theirs - ours)
        print(f"{seed:4}{ours:13.2f}{theirs:8.2f}{behind[-1]:8.2f}", flush=True)
    print(f"mean{np.mean(behind):29.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
