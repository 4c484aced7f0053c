"""Images in a file that may be larger than memory, and square pieces of them, read as they are wanted.

Each image lies in strips, S columns wide, one after the other from left to right, the last as wide as what is left; in
a strip the rows follow each other, and in a row the channels, each of them w neighbouring pixels. So a patch is one
short read, or two where it lies across the border of two strips, however wide the image and whatever its channels:

    pixel (c, y, x) of a C x H x W image is number C H s S + (y C + c) w + x - s S,    s = x // S, w = min(S, W - s S)

From what was read a batch is gathered as in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from smdae.fitting.blocks import Blocks

__all__ = ["Stored", "in_strips"]

CPU = torch.device("cpu")
STRIP = 128  # columns, S
LARGEST = 8 << 20  # bytes read for a batch at once, unless a single piece has more


def in_strips(image: np.ndarray) -> Iterator[np.ndarray]:
    """The strips of an image with shape (H, W) or (H, W, C), from left to right, each with shape (H, C, w)."""
    planes = image[:, :, None] if image.ndim == 2 else image
    for left in range(0, image.shape[1], STRIP):
        yield np.ascontiguousarray(planes[:, left : left + STRIP].transpose(0, 2, 1))


@dataclass(frozen=True, eq=False)
class Stored(Sequence[np.ndarray]):
    """Images in a file; as a sequence each comes as an array, (H, W) or (H, W, C).

    Attributes:
        blocks: The file.
        dtype: uint8 or float32, that of all pixels.
        offsets: Where each image begins in the file, in pixels, with shape (n,).
        tall, wide: Rows and columns of each, with shape (n,).
        channels: C.
        part: Of a single image the rows and columns that are seen, from and to; None for all.
        device: Where pieces come out.
    """

    blocks: Blocks
    dtype: np.dtype
    offsets: np.ndarray
    tall: np.ndarray
    wide: np.ndarray
    channels: int
    part: tuple[slice, slice] | None = None
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def heights(self) -> Tensor:
        """H_i, with shape (n,)."""
        return torch.from_numpy(self.tall) if self.part is None else _length(self.part[0])

    @property
    def widths(self) -> Tensor:
        """W_i, with shape (n,)."""
        return torch.from_numpy(self.wide) if self.part is None else _length(self.part[1])

    @property
    def rounded(self) -> bool:
        """Whether pixels are whole numbers."""
        return self.dtype == np.uint8

    def to(self, device: torch.device | str) -> Self:
        """The same images, whose pieces come out on another device."""
        return replace(self, device=torch.device(device))

    def take(self, chosen: Sequence[int]) -> Self:
        """Those of the images."""
        index = np.array(chosen, np.int64)
        return replace(self, offsets=self.offsets[index], tall=self.tall[index], wide=self.wide[index])

    def parted(self, axis: int, at: int) -> tuple[Self, Self]:
        """A single image before and after a row (axis 0) or a column (axis 1)."""
        whole = (slice(0, int(self.tall[0])), slice(0, int(self.wide[0])))
        ends = (slice(0, at), slice(at, whole[axis].stop))
        first, last = ((end, whole[1]) if axis == 0 else (whole[0], end) for end in ends)
        return replace(self, part=first), replace(self, part=last)

    def __getitem__(self, i):  # type: ignore[no-untyped-def]
        planes = self.window(i, 0, 0, int(self.heights[i]), int(self.widths[i])).numpy()
        return planes[0] if self.channels == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0))

    def window(self, i: int, top: int, left: int, height: int, width: int) -> Tensor:
        """A part of the i-th image as stored, with shape (C, height, width), in memory."""
        if self.part is not None:
            top, left = top + self.part[0].start, left + self.part[1].start
        C, tall, wide = self.channels, int(self.tall[i]), int(self.wide[i])
        out = np.empty((C, height, width), self.dtype)
        for s in range(left // STRIP, (left + width - 1) // STRIP + 1):
            w = min(STRIP, wide - s * STRIP)
            begin = int(self.offsets[i]) + C * tall * STRIP * s + C * w * top
            data, places = self._read(np.array([begin]), C * w * height)
            rows = data[places[0] :][: C * w * height].reshape(height, C, w).transpose(1, 0, 2)
            here, there = max(0, left - s * STRIP), max(0, s * STRIP - left)
            some = rows[:, :, here : left + width - s * STRIP]
            out[:, :, there : there + some.shape[2]] = some
        return torch.from_numpy(out)

    def cut(self, image: Tensor, top: Tensor, left: Tensor, side: int, upside_down: Tensor | None = None) -> Tensor:
        """Square pieces as stored, with shape (B, C, side, side).

        Args:
            image, top, left: Which image, and the first row and column in it, with shape (B,).
            side: Rows and columns.
            upside_down: Which pieces have their rows in reverse, with shape (B,); None for none.
        """
        turned = torch.zeros_like(image, dtype=torch.bool) if upside_down is None else upside_down
        given = [t.cpu().numpy() for t in (image, top, left, turned)]
        if self.part is not None:
            given[1], given[2] = given[1] + self.part[0].start, given[2] + self.part[1].start
        out = np.empty((len(image), self.channels, side, side), self.dtype)
        strips = (side + STRIP - 2) // STRIP + 1  # at most
        few = max(1, LARGEST // (strips * self._reach(side) * self.dtype.itemsize))
        for k in range(0, len(out), few):
            self._fill(out[k : k + few], *(some[k : k + few] for some in given))
        return torch.from_numpy(out).to(self.device)

    def _reach(self, side: int) -> int:
        """Pixels from the first to the last of a piece, in a strip of full width."""
        return (side * self.channels - 1) * STRIP + side

    def _read(self, starts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """An array that holds so many pixels from each start on, and where in it they begin."""
        size = self.dtype.itemsize
        data, places = self.blocks.read(starts * size, length * size)
        return data.view(self.dtype), places // size

    def _fill(self, out: np.ndarray, image: np.ndarray, top: np.ndarray, left: np.ndarray, turned: np.ndarray) -> None:
        """Pieces for `out`, with shape (n, C, P, P)."""
        C, P = out.shape[1:3]
        strip = left // STRIP
        count = (left + P - 1) // STRIP - strip + 1  # strips that a piece lies in, one read each
        whole = count == 1
        piece = read = np.arange(len(out))
        if not whole.all():
            read = count.cumsum() - count  # the first of a piece
            piece = piece.repeat(count)
            strip = (strip - read)[piece] + np.arange(len(piece))
            image, top, left, turned = image[piece], top[piece], left[piece], turned[piece]
        width = np.minimum(STRIP, self.wide[image] - strip * STRIP)
        corner = np.maximum(left - strip * STRIP, 0) + C * top * width
        pixels, at = self._read(self.offsets[image] + C * STRIP * self.tall[image] * strip + corner, self._reach(P))

        step = np.where(turned, -C, C) * width
        first = at + turned * (P - 1) * C * width
        lines = first[:, None, None] + width[:, None, None] * np.arange(C)[:, None] + step[:, None, None] * np.arange(P)
        runs = torch.from_numpy(pixels).unfold(0, P, 1)
        if whole.all():
            torch.index_select(runs, 0, torch.from_numpy(lines.ravel()), out=torch.from_numpy(out.reshape(-1, P)))
            return
        starts = torch.from_numpy(lines[read[whole]].ravel())
        out[whole] = runs.index_select(0, starts).numpy().reshape(-1, C, P, P)
        column = left[read[~whole], None] + np.arange(P)  # (m, P), of pieces in several strips
        by = read[~whole, None] + column // STRIP - strip[read[~whole], None]
        across = column - np.maximum(strip[by] * STRIP, column[:, :1])
        out[~whole] = pixels[lines[by].transpose(0, 2, 3, 1) + across[:, None, None]]


def _length(some: slice) -> Tensor:
    return torch.tensor([some.stop - some.start])
