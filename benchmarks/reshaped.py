"""What does a network lose that is given other channel counts, and planes for the noise model?

    python benchmarks/reshaped.py MODEL SIZE START PICTURES

MODEL is a network of version 0.1, SIZE a name of SIZES with the same blocks; START, which is written, is a start
for `smdae fit --init`. New input planes have weights of zero, and the plane of sigma becomes the mean of the channels'.
Channels that are added have random weights into them and none out of them, so that nothing changes; of those that are
too many, the ones that carry least are left out: the norm of what goes in times that of what comes out. The table has
the PSNR on PICTURES (white noise, float) before and after.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

import smdae
from smdae.files.model_file import encode
from smdae.models.conditioning import plane_count
from smdae.models.unet import SIZES, UNet

SEED = 0
SIGMAS = (15, 25, 50)


def importance(into: Tensor, out: Tensor) -> Tensor:
    """Return how much each channel carries: kernels into it, (n, ...), and out of it, (m, n, ...); with shape (n,)."""
    return into.flatten(1).norm(dim=1) * out.transpose(0, 1).flatten(1).norm(dim=1)


class Reshaping:
    """The weights of a network on their way to other channel counts.

    Args:
        weights: By name; changed in place.
        before: Channels at each scale.
        after: Those that are wanted.
    """

    def __init__(self, weights: dict[str, Tensor], before: tuple[int, ...], after: tuple[int, ...]) -> None:
        self.weights, self.before, self.after = weights, before, after
        self.generator = Generator().manual_seed(SEED)
        self.kept = {k: self._kept(k) for k, (old, new) in enumerate(zip(before, after, strict=True)) if new < old}

    def _kept(self, k: int) -> Tensor:
        """Return the channels of the coarsest scale k that stay."""
        if k != len(self.before) - 1:
            raise SystemExit("only the coarsest scale can lose channels")
        into = self.weights[f"shrink.{k - 1}.weight"]
        carried = importance(into, self.weights[f"grow.{k - 1}.weight"])
        return carried.argsort(descending=True)[: self.after[k]].sort().values

    def rows(self, name: str, k: int, times: int = 1, zero: bool = False) -> None:
        """Give a kernel the channels of scale k for its output, `times` of each."""
        self._resize(name, 0, k, times, zero)

    def columns(self, name: str, k: int) -> None:
        """Give a kernel the channels of scale k for its input; what is added counts for nothing."""
        self._resize(name, 1, k, 1, zero=True)

    def _resize(self, name: str, axis: int, k: int, times: int, zero: bool) -> None:
        weight, new = self.weights[name], self.after[k]
        missing = times * new - weight.shape[axis]
        if missing < 0:
            weight = weight.index_select(axis, self.kept[k])
        elif missing > 0:
            shape = list(weight.shape)
            shape[axis] = missing
            bound = 0.0 if zero else weight[0].numel() ** -0.5
            extra = torch.empty(shape).uniform_(-bound, bound, generator=self.generator)
            weight = torch.cat([weight, extra], axis)
        self.weights[name] = weight

    def block(self, name: str, k: int) -> None:
        """Give a residual block at scale k its channels."""
        first, second = f"{name}.first.weight", f"{name}.second.weight"
        if k in self.kept:
            a, b = self.weights[first], self.weights[second]
            inner = importance(a, b).argsort(descending=True)[: self.after[k]].sort().values
            self.weights[first], self.weights[second] = a.index_select(0, inner), b.index_select(1, inner)
            self.columns(first, k)
            self.rows(second, k)
            return
        self.columns(first, k)
        self.rows(first, k)
        self.columns(second, k)
        self.rows(second, k, zero=True)


def reshaped(old: UNet, size: str) -> UNet:
    """Return a network of a size that takes the noise model, and does nearly what another does."""
    shape, channels = SIZES[size], old.channels
    new = UNet(channels, **vars(shape), levels=old.noise_range, clips=True, takes_noise=True)
    weights = {name: tensor.clone() for name, tensor in old.state_dict().items()}
    stem = weights["stem.weight"]
    planes = stem.new_zeros(len(stem), 4 * channels + plane_count(channels) + 1, 3, 3)
    planes[:, : 4 * channels] = stem[:, : 4 * channels]
    planes[:, 4 * channels : 5 * channels] = stem[:, 4 * channels : 4 * channels + 1] / channels
    planes[:, -1] = stem[:, 4 * channels + 1]
    weights["stem.weight"] = planes
    reshaping = Reshaping(weights, old.shape.widths, shape.widths)
    reshaping.rows("stem.weight", 0)
    reshaping.columns("head.weight", 0)
    for name in [name.removesuffix(".first.weight") for name in weights if name.endswith(".first.weight")]:
        reshaping.block(name, int(name.split(".")[1]))
    for k in range(len(shape.widths) - 1):
        reshaping.rows(f"shrink.{k}.weight", k + 1)
        reshaping.columns(f"shrink.{k}.weight", k)
        reshaping.columns(f"grow.{k}.weight", k + 1)
        reshaping.rows(f"grow.{k}.weight", k, times=4, zero=True)
    new.load_state_dict(weights)
    return new.eval()


@torch.inference_mode()
def psnr(model: UNet, pictures: list[Tensor], sigma: float) -> float:
    """Return the mean PSNR in dB of pictures, (1, C, H, W) with white 1, denoised at a level on the 0 to 255 scale."""
    values = []
    for i, clean in enumerate(pictures):
        noisy = clean + sigma / 255 * torch.randn(clean.shape, generator=Generator().manual_seed(i))
        error = (model.reconstruct(noisy, sigma / 255).clamp(0, 1) - clean).square().mean()
        values.append(-10 * float(error.log10()))
    return float(np.mean(values))


def main() -> None:
    """Write the start and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("start", type=Path)
    parser.add_argument("pictures", type=Path)
    given = parser.parse_args()
    old = smdae.load(given.model)
    new = reshaped(old, given.size)
    card = {**old.card, "settings": new.settings()}
    given.start.write_bytes(encode(new, card))
    mode = "RGB" if old.channels == 3 else "L"
    arrays = [np.asarray(Image.open(path).convert(mode), np.float32) / 255 for path in sorted(given.pictures.iterdir())]
    pictures = [torch.from_numpy(a.reshape(*a.shape[:2], -1)).permute(2, 0, 1)[None] for a in arrays]
    print("| sigma | before | after |\n| --- | --- | --- |")
    for sigma in SIGMAS:
        print(f"| {sigma} | {psnr(old, pictures, sigma):.2f} | {psnr(new, pictures, sigma):.2f} |")


if __name__ == "__main__":
    main()
