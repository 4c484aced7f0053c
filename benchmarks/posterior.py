"""Is the uncertainty to be believed, and do samples behave as theory says?

    python benchmarks/posterior.py VAL [--sigmas 15,25,50] [--samples 16] [--model natural-gray]

Float noise, sigma given. Of all pixels of VAL: how many of the clean values lie within 1.96 predicted standard
deviations of the result, and the mean predicted variance over the mean squared error; the same in each fifth of the
pixels by predicted deviation, the surest first; and for each image the rank correlation between predicted deviation
and absolute error, both averaged over 8 x 8 pixels. Then, at 25, the PSNR of one sample of the posterior and of the
mean of some, beside theory: 3.01 dB and 10 log10(1 + 1/K) below the posterior mean; and the rank correlation between
the spread of the samples and the predicted deviation.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from markdown_table import head, row
from protocol import noisy_pairs
from scipy.stats import spearmanr  # comes with scikit-image

import smdae
from smdae.denoising.denoise import run_task
from smdae.denoising.judgement import judge
from smdae.denoising.samplers import checked_steps
from smdae.denoising.task import Task
from smdae.denoising.uncertainty import calibrated, variance

QUANTILE = 1.96
FIFTHS = 5


def boxed(values: np.ndarray) -> np.ndarray:
    """Return the means over all windows of 8 x 8 pixels, flat."""
    return F.avg_pool2d(torch.from_numpy(values.astype(np.float32))[None, None], 8, 1).flatten().numpy()


def rank(a: np.ndarray, b: np.ndarray) -> float:
    """Return the rank correlation of two images, averaged over 8 x 8 pixels."""
    return float(spearmanr(boxed(a), boxed(b))[0])


def calibration(found: np.ndarray, error: np.ndarray) -> str:
    """Return the coverage in per cent, and the mean variance over the mean squared error, as text."""
    covered = 100 * np.mean(np.abs(error) <= QUANTILE * np.sqrt(found))
    return f"{covered:.1f}, {found.mean() / np.square(error).mean():.2f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("val", type=Path)
    parser.add_argument("--sigmas", default="15,25,50")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--model", default="natural-gray")
    options = parser.parse_args()
    model = smdae.load(options.model)
    print(head("sigma", "all", "first fifth", "second", "third", "fourth", "last", "least rank correlation"))
    for sigma in map(float, options.sigmas.split(",")):
        spreads, errors, ranks = [], [], []
        for clean, noisy in noisy_pairs(options.val, sigma):
            task = Task.of(noisy / np.float32(255), model, sigma / 255)
            result = run_task(task)
            spreads.append(calibrated(variance(task), judge(task, result)))
            errors.append(result - clean / 255)
            ranks.append(rank(np.sqrt(spreads[-1]), np.abs(errors[-1])))
        spread, error = (np.concatenate([one.ravel() for one in part]) for part in (spreads, errors))
        fifths = np.array_split(np.argsort(spread), FIFTHS)
        parts = (calibration(spread[part], error[part]) for part in fifths)
        print(row(f"{sigma:g}", calibration(spread, error), *parts, f"{min(ranks):.2f}"), flush=True)
    if not options.samples:
        return
    steps, size = checked_steps("langevin")
    rows = []
    for clean, noisy in noisy_pairs(options.val, 25):
        task = Task.of(noisy / np.float32(255), model, 25 / 255)
        drawn = replace(task, sampler="langevin", steps=steps, step_size=size)
        samples = np.stack([run_task(replace(drawn, seed=k)) for k in range(options.samples)])

        def psnr(image: np.ndarray, clean: np.ndarray = clean) -> float:
            return 10 * np.log10(1 / np.mean(np.square(np.clip(image, 0, 1) - clean / 255)))

        one, mean = psnr(samples[0]), psnr(samples.mean(0))
        rows.append([psnr(run_task(task)), one, mean, rank(samples.std(0), np.sqrt(variance(task)))])
        print("".join(f"{value:8.2f}" for value in rows[-1]), flush=True)
    whole, one, mean, alike = np.mean(rows, 0)
    below = 10 * np.log10(1 + 1 / options.samples)
    print(f"mean PSNR: posterior mean {whole:.2f}, one sample {one:.2f} ({one - whole:+.2f}; theory -3.01),")
    print(f"mean of {options.samples} {mean:.2f} ({mean - whole:+.2f}; theory -{below:.2f}),")
    print(f"rank correlation of spread and predicted deviation {alike:.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
