"""Animations: how frames make the pictures that are seen, and how denoised pictures go back into the frames.

A frame is a rectangle of the canvas. It replaces what is there, or is laid over it, and when its time is over it stays,
is cleared, or gives way to what was there before. What is seen is denoised, with all that surrounds a frame; of the
result each frame gets back its own rectangle. So frames, times, loops and the way in which they follow each other stay
as they are, and what a frame does not draw stays what the one before has drawn. Pixels of a frame that are half
transparent, and laid over others, are left alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from smdae.errors import InputError
from smdae.files.marks import marked
from smdae.files.parts import Rewriting
from smdae.files.picture import Picture, check_size
from smdae.files.room import refuse_huge

KEEP, CLEAR, RESTORE = "keep", "clear", "restore"
# Returns the whole file with other pixels in its frames: (height, width, 4), None to keep.
Rewriter = Callable[[Sequence[np.ndarray | None], Rewriting], bytes]
MAX_FRAMES = 100_000


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes:
        corner: The column and row of its upper left pixel on the canvas.
        decode: Returns its pixels, (height, width, 4), uint8.
        disposal: What becomes of it when its time is over: "keep", "clear" or "restore".
        over: Whether it is laid over what is there, by its alpha; otherwise it replaces that.
    """

    corner: tuple[int, int]
    size: tuple[int, int]
    decode: Callable[[], np.ndarray]
    disposal: str = KEEP
    over: bool = True

    @property
    def place(self) -> tuple[slice, slice]:
        """Return its rows and columns on the canvas."""
        (left, top), (width, height) = self.corner, self.size
        return slice(top, top + height), slice(left, left + width)


@dataclass(frozen=True, eq=False)
class Animation:
    """The frames of an animation, as they are seen.

    Attributes:
        format: The name of its format in the table of formats.
        lossless: Whether its pixels are compressed without loss.
    """

    data: bytes
    format: str
    size: tuple[int, int]
    frames: tuple[Frame, ...]
    rewrite: Rewriter
    lossless: bool = True
    piece = "frame"
    alike = True

    def __post_init__(self) -> None:
        """Raise InputError or MemoryLimitError for what cannot be held or makes no sense."""
        width, height = self.size
        check_size(width, height)
        if not 0 < len(self.frames) <= MAX_FRAMES:
            raise InputError(f"it has {len(self.frames):,} frames")
        for frame in self.frames:
            (left, top), (across, down) = frame.corner, frame.size
            if across < 1 or down < 1 or left + across > width or top + down > height:
                raise InputError("the file is damaged: a frame lies outside of the picture")
        refuse_huge(width * height, 4 * width * height * len(self.frames), len(self.data))

    @property
    def called(self) -> str:
        """Return what messages call the whole file, such as "an animation of 7 frames"."""
        return f"an animation of {len(self.frames)} frames"

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Picture]:
        return (self._picture(seen) for _, seen in self._seen())

    def encoded(self, pictures: Sequence[Picture | None], how: Rewriting) -> bytes:
        """Return the animation file with `pictures` as its frames; where `pictures` has None, the old frame stays."""
        made: list[np.ndarray | None] = []
        for frame, picture in zip(self.frames, pictures, strict=True):
            made.append(None if picture is None else _back(frame, frame.decode(), picture))
        whole = self.rewrite(made, how)
        return whole if how.words is None else marked(whole, self.format, how.words)

    def _picture(self, seen: np.ndarray) -> Picture:
        alpha = None if (seen[..., 3] == 255).all() else seen[..., 3].copy()
        pixels = np.ascontiguousarray(seen[..., :3])
        return Picture(pixels, 255.0, self.format, alpha, lossless=self.lossless)

    def _seen(self) -> Iterator[tuple[Frame, np.ndarray]]:
        """Yield each frame and the canvas, (H, W, 4), when it is seen."""
        width, height = self.size
        canvas = np.zeros((height, width, 4), np.uint8)
        for number, frame in enumerate(self.frames):
            before = canvas.copy() if frame.disposal == RESTORE else None
            pixels = frame.decode()
            canvas[frame.place] = _over(canvas[frame.place], pixels) if frame.over else pixels
            yield frame, canvas.copy()
            if before is not None and number:  # before the first there is nothing to restore
                canvas = before
            elif frame.disposal != KEEP:
                canvas[frame.place] = 0


def refuse_animation(frames: int) -> None:
    """Raise InputError for an animation where a single picture is wanted."""
    if frames > 1:
        raise InputError(f"it is an animation of {frames} frames", "save the frame that you want as a PNG")


def rgba(picture: Picture) -> np.ndarray:
    """Return the samples of a uint8 picture as red, green, blue and alpha, (H, W, 4)."""
    colours = picture.pixels if picture.pixels.ndim == 3 else np.repeat(picture.pixels[..., None], 3, axis=2)
    alpha = np.full(colours.shape[:2], 255, np.uint8) if picture.alpha is None else picture.alpha
    return np.dstack([colours, alpha])


def _over(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Return the pixels that are seen where some are laid over others, both (h, w, 4), not premultiplied."""
    result = np.where(above[..., 3:] == 0, below, above)
    half = (above[..., 3] > 0) & (above[..., 3] < 255) & (below[..., 3] > 0)
    if half.any():
        front, back = above[half].astype(np.float64) / 255, below[half].astype(np.float64) / 255
        share = back[:, 3:] * (1 - front[:, 3:])
        alpha = front[:, 3:] + share
        colours = (front[:, :3] * front[:, 3:] + back[:, :3] * share) / alpha
        result[half] = np.rint(255 * np.hstack([colours, alpha])).astype(np.uint8)
    return result


def _back(frame: Frame, pixels: np.ndarray, picture: Picture) -> np.ndarray:
    """Return the pixels of a frame, (h, w, 4), with the colours of a denoised picture of the canvas."""
    alpha = None if picture.alpha is None else picture.alpha[frame.place]
    seen = rgba(replace(picture, pixels=picture.pixels[frame.place], alpha=alpha))
    drawn = pixels[..., 3:] == 255 if frame.over else pixels[..., 3:] > 0
    return np.dstack([np.where(drawn, seen[..., :3], pixels[..., :3]), pixels[..., 3]])
