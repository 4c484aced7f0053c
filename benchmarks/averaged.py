"""Is the mean of the weights of a network and of one that was trained further from it better than either?

    python -m benchmarks.averaged BEFORE AFTER OUT [--share 0.6] [--pictures FOLDER]

writes a network whose weights are (1 - share) those of BEFORE and share those of AFTER, with the card of AFTER
(Wortsman et al., *Model soups*, ICML 2022). With `--pictures`, a table has the PSNR of all three on white noise.
"""

import argparse
from pathlib import Path

import smdae
from benchmarks.markdown_table import head, row
from benchmarks.protocol import noisy_pairs, psnr_on
from smdae.files.model_file import encode, load

SIGMAS = (15, 25, 50)


def averaged(before: str, after: str, share: float) -> bytes:
    """Return the file of the network between two of the same shape.

    Args:
        before: A model file, or the name of a bundled one.
        after: Likewise; what the card says is of this one.
        share: Of its weights.
    """
    first, second = load(before), load(after)
    old = first.state_dict()
    second.load_state_dict({k: (1 - share) * old[k] + share * new for k, new in second.state_dict().items()})
    return encode(second, dict(second.card), half=True)


def main() -> None:
    """Write the network, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.6)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    options.out.write_bytes(averaged(options.before, options.after, options.share))
    if options.pictures is None:
        return
    print(head("", *(f"sigma {sigma}" for sigma in SIGMAS)))
    pairs = {sigma: noisy_pairs(options.pictures, sigma) for sigma in SIGMAS}
    for name in (options.before, options.after, str(options.out)):
        model = smdae.load(name)
        figures = (
            psnr_on(some, lambda noisy, sigma=sigma, model=model: smdae.denoise(noisy, model, sigma, white=255))
            for sigma, some in pairs.items()
        )
        print(row(Path(name).stem, *(f"{figure:.2f}" for figure in figures)))


if __name__ == "__main__":
    main()
