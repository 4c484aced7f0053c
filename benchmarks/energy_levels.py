"""How good is the energy at little and at much noise?

    python benchmarks/energy_levels.py [FOLDER] [seconds=120] [sigma=0.5,1,2,5,10,25,50,100]

Fits the paper's energy to the pictures of FOLDER, sample_data/patches by default, at one level after the
other, and prints as a table the PSNR of held-out pictures: noisy, by the Wiener filter of the same patches, and by the
energy. The exit code is 1 if the energy is anywhere not above noisy, or more than 0.05 dB below the filter.
"""

import sys
from pathlib import Path

from smdae.files.corpus import gather
from smdae.fitting import prepare
from smdae.fitting.precision import denormals_flushed
from smdae.fitting.settings import check
from smdae.pipeline.card import MAX_BELOW_WIENER

SAMPLES = Path(__file__).parent.parent / "sample_data" / "patches"
LEVELS = "0.5,1,2,5,10,25,50,100"


def figures(corpus, sigma: float, seconds: float) -> tuple[float, float, float, int]:
    """Return the PSNR of held-out crops in dB: noisy, by the Wiener filter, by the energy; and the steps of its fit."""
    prepared = prepare(corpus.images, corpus.white, check({"sigma": sigma, "max_time": seconds}))
    filter_ = prepared.wiener()
    for _ in prepared.run():
        pass
    noisy, wiener, fitted = (prepared.crops.psnr(model) for model in (None, filter_, prepared.fitted()))
    return noisy, wiener, fitted, prepared.state.record["step"]


def main() -> int:
    given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    folders = [Path(word) for word in sys.argv[1:] if "=" not in word] or [SAMPLES]
    seconds = float(given.get("seconds", 120))
    corpus = gather(folders, 12)
    below = 0
    print("| sigma | noisy | Wiener | energy | steps |\n| ---: | ---: | ---: | ---: | ---: |")
    with denormals_flushed():
        for sigma in map(float, given.get("sigma", LEVELS).split(",")):
            noisy, wiener, fitted, steps = figures(corpus, sigma, seconds)
            below += fitted <= noisy or fitted < wiener - MAX_BELOW_WIENER
            print(f"| {sigma:g} | {noisy:.2f} | {wiener:.2f} | {fitted:.2f} | {steps:,} |", flush=True)
    return int(below > 0)


if __name__ == "__main__":
    raise SystemExit(main())
