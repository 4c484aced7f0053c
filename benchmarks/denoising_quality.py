"""How well does a fit denoise, beside the linear filter on the same patches?

Fits on the gray images of one folder and denoises those of another by one step, by the field's protocol: noise added in
float from a fixed seed, neither clipped nor rounded; PSNR of the estimate clipped to 0 to 255, averaged over images.

    python benchmarks/denoising_quality.py TRAIN VAL [setting=value]...

Settings are those of `smdae fit`, such as objective=dae sigma=25 max_time=120 hidden=1024 seed=1.
"""

import sys
from pathlib import Path

import torch
import yaml

from smdae.denoising.quality import psnr
from smdae.files.corpus import gather
from smdae.fitting import prepare
from smdae.fitting.settings import check
from smdae.memory import keep_freed_memory


def score_on(folder: Path, models: dict[str, object], sigma: float) -> dict[str, float]:
    """Mean PSNR in dB of one Tweedie step of each model, and of the noisy images."""
    corpus = gather([folder], 1)
    sums = dict.fromkeys(("noisy", *models), 0.0)
    for seed, image in enumerate(corpus.images):
        clean = torch.from_numpy(image).to(torch.float32)[None, None] / corpus.white
        noisy = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
        sums["noisy"] += psnr(noisy, clean, 1.0)
        for name, model in models.items():
            with torch.no_grad():
                sums[name] += psnr(noisy + sigma**2 * model.score(noisy, sigma), clean, 1.0)
    return {name: total / len(corpus.images) for name, total in sums.items()}


if __name__ == "__main__":
    keep_freed_memory()
    train, val = Path(sys.argv[1]), Path(sys.argv[2])
    settings = check({k: yaml.safe_load(v) for k, v in (argument.split("=") for argument in sys.argv[3:])})
    corpus = gather([train], settings.patch_size)
    prepared = prepare(corpus.images, corpus.white, settings)
    for report in prepared.run():
        if report.validation:
            print(
                f"{report.step:7} of {report.steps}  {report.seconds:6.1f} s  {report.rate / 1000:4.0f}k patches/s  "
                f"{report.validation.kind} {report.validation.value:.2f}",
                file=sys.stderr,
            )
    models = {"wiener": prepared.lift(prepared.wiener()), settings.objective: prepared.fitted()}
    figures = score_on(val, models, prepared.sigma)
    record = prepared.state.record
    print(f"{record['step']} steps, {record['seconds']:.0f} s of fitting; {val.name}, sigma {settings.sigma:g}:")
    for name, value in figures.items():
        print(f"{name:12}{value:7.2f} dB")
