"""How well does a fit denoise, beside the linear filter on the same patches?

Fits on the gray images of one folder and denoises those of another by one step, by the protocol of `protocol.py`.

    python benchmarks/denoising_quality.py TRAIN VAL [setting=value]...

Settings are those of `smdae fit`, such as objective=dae sigma=25 max_time=120 hidden=1024 seed=1.
"""

import sys
from pathlib import Path

import yaml
from protocol import noisy_pairs, psnr_on

from smdae.denoising import denoise
from smdae.files.corpus import gather
from smdae.fitting import prepare
from smdae.fitting.settings import check
from smdae.memory import keep_freed_memory

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
    sigma = 255 * settings.levels[1]
    pairs = noisy_pairs(val, sigma)
    figures = {name: psnr_on(pairs, lambda y, m=m: denoise(y, m, sigma, white=255)) for name, m in models.items()}
    record = prepared.state.record
    figures = {"noisy": psnr_on(pairs, lambda y: y)} | figures
    print(f"{record['step']} steps, {record['seconds']:.0f} s of fitting; {val.name}, sigma {sigma:g}:")
    for name, value in figures.items():
        print(f"{name:12}{value:7.2f} dB")
