"""Images in a file that may be larger than memory, and square pieces of them, read as they are wanted.

Each image lies in strips, from left to right. One begins every S columns and goes on O columns into the next, so that a
piece of no more than O + 1 columns is always whole in one: a single short read, however wide the image. In a strip the
rows follow each other, in a row the channels, in a channel w neighbouring pixels. The last strip is wider than O unless
it is the only one, so that all before it have S + O columns:

    pixel (c, y, x) of C x H x W is number  C H (S + O) s + (y C + c) w + x - s S,    w = min(S + O, W - s S),

where s = x / S rounded down, but no more than that of the last strip. From what was read a batch is gathered as it is
in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from smdae.files.piece_reader import Pieces

T = TypeVar("T", int, np.ndarray)
CPU = torch.device("cpu")
STRIP, OVERLAP = 240, 16  # columns, S and O
FULL = STRIP + OVERLAP
MAX_READ = 8 << 20  # bytes read for a batch at once, unless a single piece has more


def in_strips(image: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the strips of an image, (H, W) or (H, W, C), from left to right, each with shape (H, C, w).

    Each but the last has w = STRIP + OVERLAP columns, of which the last OVERLAP begin the next strip too.
    """
    planes = image[:, :, None] if image.ndim == 2 else image
    for s in range(_last(image.shape[1]) + 1):
        yield np.ascontiguousarray(planes[:, s * STRIP : s * STRIP + FULL].transpose(0, 2, 1))


def numbers_of(channels: int, height: T, width: T) -> T:
    """Return the number of values that an image of that size takes in strips."""
    found: T = channels * height * (width + OVERLAP * _last(width))
    return found


def _last(width: T) -> T:
    """Return the number of the last strip, from 0, of images of a width."""
    beyond = width - OVERLAP - 1
    return (beyond.clip(0) if isinstance(beyond, np.ndarray) else max(beyond, 0)) // STRIP


@dataclass(frozen=True, eq=False)
class Stored(Sequence[np.ndarray]):
    """Images in a file; as a sequence each comes as an array, (H, W) or (H, W, C).

    Attributes:
        pieces: The file.
        dtype: uint8 or float32, that of all pixels.
        offsets: Where each image begins in the file, in pixels, with shape (n,).
        tall, wide: Rows and columns of each, with shape (n,).
        channels: C.
        part: The first and last row and column of the part of a single image that is used; None for all.
        device: Where pieces come out.
    """

    pieces: Pieces
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
        """Return the rows of each image, or of the part of it that is used, int64, with shape (n,)."""
        return torch.from_numpy(self.tall) if self.part is None else _length(self.part[0])

    @property
    def widths(self) -> Tensor:
        """Return the columns of each image, or of the part of it that is used, int64, with shape (n,)."""
        return torch.from_numpy(self.wide) if self.part is None else _length(self.part[1])

    @property
    def rounded(self) -> bool:
        """Return whether pixels are kept as uint8, as whole numbers."""
        return self.dtype == np.uint8

    @property
    def slow(self) -> bool:
        """Return whether reading pieces ahead saves time: they are not kept in memory."""
        return not self.pieces.held

    def to(self, device: torch.device | str) -> Self:
        """Return the same images, whose pieces come out on another device."""
        return replace(self, device=torch.device(device))

    def take(self, chosen: Sequence[int]) -> Self:
        """Return the images with the given numbers, without reading them."""
        index = np.array(chosen, np.int64)
        return replace(self, offsets=self.offsets[index], tall=self.tall[index], wide=self.wide[index])

    def parted(self, axis: int, at: int) -> tuple[Self, Self]:
        """Return the parts of a single image before and after a row (axis 0) or a column (axis 1)."""
        whole = (slice(0, int(self.tall[0])), slice(0, int(self.wide[0])))
        ends = (slice(0, at), slice(at, whole[axis].stop))
        first, last = ((end, whole[1]) if axis == 0 else (whole[0], end) for end in ends)
        return replace(self, part=first), replace(self, part=last)

    def __getitem__(self, i):  # type: ignore[no-untyped-def]
        planes = self.window(i, 0, 0, int(self.heights[i]), int(self.widths[i])).numpy()
        return planes[0] if self.channels == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0))

    def window(self, i: int, top: int, left: int, height: int, width: int) -> Tensor:
        """Return a part of the i-th image as stored, with shape (C, height, width), in memory."""
        if self.part is not None:
            top, left = top + self.part[0].start, left + self.part[1].start
        C, tall, wide = self.channels, int(self.tall[i]), int(self.wide[i])
        out = np.empty((C, height, width), self.dtype)
        last = _last(wide)
        for s in range(min(left // STRIP, last), min((left + width - 1) // STRIP, last) + 1):
            w = min(FULL, wide - s * STRIP)
            begin = int(self.offsets[i]) + C * (tall * FULL * s + w * top)
            data, places = self._read(np.array([begin]), C * w * height)
            rows = data[places[0] :][: C * w * height].reshape(height, C, w).transpose(1, 0, 2)
            here, there = max(0, left - s * STRIP), max(0, s * STRIP - left)
            some = rows[:, :, here : left + width - s * STRIP]
            out[:, :, there : there + some.shape[2]] = some
        return torch.from_numpy(out)

    def cut(self, image: Tensor, top: Tensor, left: Tensor, side: int, upside_down: Tensor | None = None) -> Tensor:
        """Return square pieces as stored, with shape (B, C, side, side).

        Args:
            image: Which image, with shape (B,).
            top: The first row in it, with shape (B,).
            left: The first column in it, with shape (B,).
            side: Rows and columns.
            upside_down: Which pieces have their rows in reverse, with shape (B,); None for none.
        """
        turned = torch.zeros_like(image, dtype=torch.bool) if upside_down is None else upside_down
        given = [t.cpu().numpy() for t in (image, top, left, turned)]
        if self.part is not None:
            given[1], given[2] = given[1] + self.part[0].start, given[2] + self.part[1].start
        out = np.empty((len(image), self.channels, side, side), self.dtype)
        few = max(1, MAX_READ // (self._reach(side) * self.dtype.itemsize))
        for k in range(0, len(out), few):
            self._fill(out[k : k + few], *(some[k : k + few] for some in given))
        return torch.from_numpy(out).to(self.device)

    def _fill(self, out: np.ndarray, *pieces: np.ndarray) -> None:
        """Fill `out`, (n, C, P, P), with pieces: image, top, left and whether upside down, with shape (n,)."""
        if out.shape[3] <= OVERLAP + 1:
            self._fill_from_one(out, *pieces)
            return
        image, _, left, _ = pieces
        strip = np.minimum(left // STRIP, _last(self.wide[image]))
        whole = left + out.shape[3] <= np.minimum(strip * STRIP + FULL, self.wide[image])
        for which, fill in ((whole, self._fill_from_one), (~whole, self._fill_from_several)):
            some = np.empty((which.sum(), *out.shape[1:]), out.dtype)
            if len(some):
                fill(some, *(values[which] for values in pieces))
                out[which] = some

    def _reach(self, side: int) -> int:
        """Return how many pixels there are from the first to the last of a piece, in a strip of full width."""
        return (side * self.channels - 1) * FULL + side

    def _read(self, starts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an array with `length` pixels from each of `starts` on, and the index of the first pixel of each."""
        size = self.dtype.itemsize
        data, places = self.pieces.read(starts * size, length * size)
        return data.view(self.dtype), places // size

    def _fill_from_one(
        self, out: np.ndarray, image: np.ndarray, top: np.ndarray, left: np.ndarray, turned: np.ndarray
    ) -> None:
        """Fill in pieces each of which lies in one strip."""
        C, P = out.shape[1:3]
        tall, wide = self.tall[image], self.wide[image]
        strip = np.minimum(left // STRIP, _last(wide))
        width = np.minimum(FULL, wide - strip * STRIP)
        begin = self.offsets[image] + C * (tall * FULL * strip + top * width) + left - strip * STRIP
        pixels, at = self._read(begin, self._reach(P))
        step = np.where(turned, -C, C) * width
        first = at + turned * (P - 1) * C * width
        lines = first[:, None, None] + width[:, None, None] * np.arange(C)[:, None] + step[:, None, None] * np.arange(P)
        runs = torch.from_numpy(pixels).unfold(0, P, 1)
        torch.index_select(runs, 0, torch.from_numpy(lines.ravel()), out=torch.from_numpy(out).view(-1, P))

    def _fill_from_several(
        self, out: np.ndarray, image: np.ndarray, top: np.ndarray, left: np.ndarray, turned: np.ndarray
    ) -> None:
        """Fill in pieces put together from what lies in strips side by side, read one by one."""
        C, P = out.shape[1:3]
        last = _last(self.wide[image])
        first = np.minimum(left // STRIP, last)
        count = np.minimum((left + P - 1) // STRIP, last) - first + 1
        read = count.cumsum() - count  # the first of a piece
        piece = np.arange(len(out)).repeat(count)
        strip = first[piece] + np.arange(len(piece)) - read[piece]
        tall, wide = self.tall[image][piece], self.wide[image][piece]
        width = np.minimum(FULL, wide - strip * STRIP)
        skip = np.maximum(left[piece] - strip * STRIP, 0)
        begin = self.offsets[image][piece] + C * (tall * FULL * strip + top[piece] * width) + skip
        pixels, at = self._read(begin, self._reach(P))
        column = left[:, None] + np.arange(P)  # (n, P)
        by = read[:, None] + np.minimum(column // STRIP, last[:, None]) - first[:, None]
        across = at[by] + column - strip[by] * STRIP - skip[by]
        row = np.where(turned[:, None], np.arange(P)[::-1], np.arange(P))
        line = row[:, None] * C + np.arange(C)[:, None]  # (n, C, P)
        out[...] = pixels[across[:, None, None] + line[..., None] * width[by][:, None, None]]


def _length(some: slice) -> Tensor:
    return torch.tensor([some.stop - some.start])
