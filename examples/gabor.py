"""What the units of the paper's energy look like on whitened patches: edges of every place, direction and width.

    python examples/gabor.py [FOLDER] [--out gabor.png] [--quick]

Patches of photographs are whitened, so that all directions have one variance and what is left to learn is not in the
covariance: a linear model would learn nothing. The energy is fitted to them as rows of numbers by denoising score
matching, and the rows W_j of its encoder are shown, the largest first, as they look on pixels.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

import smdae

SAMPLES = Path(__file__).parent.parent / "sample_data" / "patches"
SIDE, KEPT = 12, 0.95  # of a patch; of its variance, that is kept, as the rest is noise of the camera


def patches(folder: Path, count: int, seed: int = 0) -> np.ndarray:
    """Patches at random places of the pictures of a folder, with mean 0 each, with shape (count, SIDE^2)."""
    chance = np.random.default_rng(seed)
    pictures = [np.asarray(Image.open(file).convert("L")) / 255.0 for file in sorted(folder.iterdir())]
    rows = []
    for picture in (pictures[i] for i in chance.integers(len(pictures), size=count)):
        top, left = (chance.integers(side - SIDE + 1) for side in picture.shape)
        rows.append(picture[top : top + SIDE, left : left + SIDE].ravel())
    x = np.array(rows)
    return x - x.mean(1, keepdims=True)


def main(arguments: list[str] | None = None) -> torch.Tensor:
    """Fit, draw, and return the filters, with shape (hidden, SIDE^2)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=SAMPLES)
    parser.add_argument("--out", default="gabor.png")
    parser.add_argument("--quick", action="store_true", help="few patches and steps")
    given = parser.parse_args(arguments)
    x = patches(given.folder, 3000 if given.quick else 100_000)
    variance, axes = np.linalg.eigh(x.T @ x / len(x))
    kept = variance.cumsum() > (1 - KEPT) * variance.sum()  # all but the least, which come first
    to_white, to_pixels = axes[:, kept] / np.sqrt(variance[kept]), axes[:, kept] * np.sqrt(variance[kept])
    white = (x @ to_white).astype(np.float32)
    print(f"{len(x):,} patches, {kept.sum()} of {SIDE**2} directions")
    model = smdae.fit(white, sigma=1.0, hidden=196, max_steps=100 if given.quick else 6000, batch=512)
    W = model.patch.W.detach().double() @ torch.from_numpy(to_pixels).T  # (hidden, SIDE^2)
    W = W[W.norm(dim=1).argsort(descending=True)]

    sheet = np.ones((14 * (SIDE + 1) + 1, 14 * (SIDE + 1) + 1))
    for i, tile in enumerate((0.5 + 0.5 * W / W.abs().amax(1, keepdim=True)).reshape(-1, SIDE, SIDE).numpy()):
        top, left = (1 + place * (SIDE + 1) for place in divmod(i, 14))
        sheet[top : top + SIDE, left : left + SIDE] = tile
    drawn = Figure(figsize=(8, 8.2), layout="constrained")
    panel = drawn.subplots()
    panel.imshow(sheet, cmap="gray", vmin=0, vmax=1)
    panel.set_axis_off()
    panel.set_title("rows of W, the largest first, on pixels", loc="left")
    drawn.savefig(given.out, dpi=100)
    return W


if __name__ == "__main__":
    main()
