"""How good are the bundled models, and how fast, beside what people use now?

    python benchmarks/bundled.py VAL...          the tables of quality, VAL being folders such as Set12 and McMaster
    python benchmarks/bundled.py                 the table of speed

Quality: one model for all levels, sigma given, no ensemble; on float noise and, after the slash, on the same noise
clipped and rounded to 8 bits. Beside them what was published, non-local means (scikit-image, h = 0.8 sigma) and, if
installed, BM3D. Published figures are those of Zhang, Zuo and Zhang, "FFDNet: Toward a Fast and Flexible Solution for
CNN-Based Image Denoising", IEEE Transactions on Image Processing 27(9), 2018, in its tables of Set12 and McMaster.

Speed: what each takes in turn in one run, at 481 x 321 and 1024 x 1024, as a ratio to a stack of DnCNN's shape, 17
layers of 64 channels in the same framework; and the multiplications a second as a share of one large convolution's.
"""

import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from markdown_table import head, row
from protocol import is_colour, noisy_pairs, psnr_on
from timing import in_turn, median, ratio
from torch import nn

import smdae
from smdae.memory import keep_freed_memory
from smdae.models.unet import SIZES, UNet

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.counting import multiplications

LEVELS = (15, 25, 50)
PUBLISHED = {
    "Set12": {
        "BM3D, as published": ("32.37", "29.97", "26.72"),
        "FFDNet, as published, fitted on eleven times the images": ("32.75 / 32.73", "30.43 / 30.34", "27.32 / 26.65"),
    },
    "McMaster": {
        "CBM3D, as published": ("34.06", "31.66", "28.51"),
        "CDnCNN, as published": ("33.45", "31.52", "28.62"),
    },
}


def nlm(noisy: np.ndarray, sigma: float) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    axis = -1 if noisy.ndim == 3 else None
    scaled = noisy.astype(np.float32) / 255
    result = denoise_nl_means(scaled, 7, 11, 0.8 * sigma / 255, sigma=sigma / 255, fast_mode=True, channel_axis=axis)
    return 255 * result


def bm3d(noisy: np.ndarray, sigma: float) -> np.ndarray:
    import bm3d as package

    return 255 * (package.bm3d_rgb if noisy.ndim == 3 else package.bm3d)(noisy.astype(np.float64) / 255, sigma / 255)


def with_model(model: object) -> object:
    return lambda noisy, sigma: smdae.denoise(noisy, model, sigma, white=255)


def quality(folder: Path) -> None:
    """Print rows of PSNR by method and level."""
    kind = "color" if is_colour(folder) else "gray"
    names = [p.stem for p in sorted(Path(smdae.__file__).parent.glob(f"weights/natural-{kind}*.safetensors"))]
    methods = {"noisy": lambda noisy, sigma: noisy}
    methods |= {f"`{name}`": with_model(smdae.load(name)) for name in names} | {"non-local means": nlm}
    if find_spec("bm3d"):
        methods["BM3D"] = bm3d
    pairs = {(sigma, stored): noisy_pairs(folder, sigma, stored) for sigma in LEVELS for stored in (False, True)}
    for name, method in methods.items():
        values = [
            " / ".join(f"{psnr_on(pairs[sigma, stored], partial(method, sigma=sigma)):.2f}" for stored in (False, True))
            for sigma in LEVELS
        ]
        print(row(f"{folder.name}: {name}", *values), flush=True)
    for name, published in PUBLISHED.get(folder.name, {}).items():
        print(row(f"{folder.name}: {name}", *published))


def dncnn() -> nn.Module:
    """Return a network of 17 layers of 64 channels, as DnCNN has when its normalisation is folded into them."""
    layers = [nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(inplace=True)]
    for _ in range(15):
        layers += [nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(64, 1, 3, padding=1)).eval().to(memory_format=torch.channels_last)


def speed(height: int, width: int, rounds: int = 7) -> None:
    """Print rows of seconds, ratios and shares of the rate of one large convolution."""
    y = torch.rand(1, 1, height, width)
    models = {"DnCNN's shape": dncnn()}
    runs = {"DnCNN's shape": lambda: models["DnCNN's shape"](y)}
    for size, shape in SIZES.items():
        model = UNet(1, **vars(shape), levels=(1 / 255, 60 / 255)).eval()
        models[size], runs[size] = model, lambda m=model: m.score(y, 0.1)
    large = nn.Conv2d(128, 128, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    input_ = torch.rand(1, 128, 256, 256).contiguous(memory_format=torch.channels_last)
    models["large"], runs["large"] = large, lambda: large(input_)
    with torch.inference_mode():
        counts = {name: multiplications(models[name], run) for name, run in runs.items()}
        seconds = in_turn(runs, rounds)
    for name in runs:
        if name != "large":
            share = ratio(seconds["large"], seconds[name]) * counts[name] / counts["large"]
            faster = ratio(seconds["DnCNN's shape"], seconds[name])
            label = f"{width} x {height}: {name}"
            print(row(label, f"{median(seconds[name]):.3f}", f"{faster:.2g}", f"{share:.0%}"), flush=True)


if __name__ == "__main__":
    keep_freed_memory()
    if len(sys.argv) > 1:
        print(head("", f"sigma {LEVELS[0]}", *LEVELS[1:]))
        for folder in map(Path, sys.argv[1:]):
            quality(folder)
    else:
        print(head("", "seconds", "DnCNN's shape / it", "rate of one large 3 x 3 convolution"))
        for height, width in ((321, 481), (1024, 1024)):
            speed(height, width)
