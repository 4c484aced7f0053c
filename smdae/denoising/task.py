"""What is to be done with one image: all that is decided before the first pixel moves."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.denoising.finish import Strengths
from smdae.denoising.flat import flat_grounds
from smdae.denoising.precision import check_precision, chosen, lowered
from smdae.denoising.preparation import Prepared, is_gray, prepare
from smdae.denoising.samplers import SAMPLERS, SamplerSettings, checked, refuse_single_level, sample
from smdae.denoising.stabilised import Whitening
from smdae.denoising.symmetries import Symmetric
from smdae.denoising.treatment import Form, form_for, is_cut, noise_for, takes_noise
from smdae.errors import ModelError, UsageError
from smdae.estimation.estimate import Kind
from smdae.estimation.scale import Scale
from smdae.noise import Noise
from smdae.protocols import CanClip, HasStride, completed, offers, posterior_mean, single_level
from smdae.theirs import TheirModel, is_theirs

__all__ = ["Task", "bundled_for", "checked_pixels", "moves"]

SEED_STRIDE = 2**40  # between the seeds of channels


@dataclass(frozen=True, eq=False)
class Task:
    """An image, and all that is decided about how it is denoised.

    Attributes:
        prepared: The image, as it is denoised.
        loaded: The model.
        base: The model with another stride, or told of clipping.
        form: Makes of the base, or of another form of it, what takes out this image's noise.
        model: What it makes of the base.
        noise: Of the image, white being 1.
        levels: What the model is told, white being 1: one level, or one for each channel.
        strengths: How much of the way to the estimate.
        stepper: A name of SAMPLERS.
        steps: How many.
        step_size: What the stepper takes it to be.
        seed: Of the noise that it draws, if any.
        precision: A name of PRECISIONS.
        ends: The least and the largest value of the image, white being 1.
        level_error: Relative standard error of the level of its noise; 0 if it was given.
    """

    prepared: Prepared
    loaded: Any
    base: Any
    form: Form
    model: Any
    noise: Noise
    levels: tuple[float, ...]
    strengths: Strengths
    stepper: str
    steps: int
    step_size: float
    seed: int
    precision: str = "auto"
    ends: tuple[float, float] = (-math.inf, math.inf)
    level_error: float = 0.0

    @classmethod
    def of(
        cls,
        image: Any,
        model: Any = None,
        sigma: float | Sequence[float] | None = None,
        *,
        noise: Kind | Noise | None = None,
        strength: float = 1.0,
        luma: float = 1.0,
        chroma: float = 1.0,
        stepper: str = "tweedie",
        steps: int | None = None,
        step_size: float | None = None,
        seed: int = 0,
        stride: int | None = None,
        ensemble: bool = False,
        white: float | None = None,
        black: float | None = None,
        precision: str = "auto",
        device: torch.device | str = "cpu",
        visible: np.ndarray | None = None,
        scale: Scale | None = None,
        jpeg: int | None = None,
    ) -> "Task":
        """Return the task, checked; arguments and errors as those of `denoise`, and those of how an image was stored.

        Args:
            image: With shape (H, W) or (H, W, C).
            visible: Which pixels are not hidden, with shape (H, W); None for all.
            scale: What its values mean, as of all pages of a stack; None to find out.
            jpeg: The quality that it was compressed at, if that is known.
        """
        from smdae.files.model_file import load

        pixels = checked_pixels(image)
        whole = pixels.dtype.kind == "u"
        limit = float(np.iinfo(pixels.dtype).max) if whole else 1.0
        for name, value in (("white", white), ("black", black)):
            if value is not None and not np.isfinite(value):
                raise UsageError(f"{name} is a finite number, not {value}")
        top, bottom = limit if white is None else white, black or 0.0
        if top <= bottom:
            raise UsageError(f"white is above black, and {top:g} is not above {bottom:g}")
        if model is None:
            model = bundled_for(pixels, visible)
        if isinstance(model, str | Path):
            model = load(model).to(device)
        elif is_theirs(model):
            model = TheirModel(model)
        model = completed(model)
        keep = sigma is not None or single_level(model) is not None
        prepared = prepare(pixels, white, black, visible, keep, model.channels != 3, scale)
        unit = top / 255 if whole else 1.0
        given = None
        if sigma is not None:
            given = tuple(level * unit / prepared.scale.span for level in _checked(sigma, pixels, top))
            if prepared.is_shared:
                given = given[:1]
        if noise is None:  # other samplers than the first are for white noise
            noise = "auto" if stepper == "tweedie" or sigma is None else "white"
        found = noise_for(prepared, model, noise, given, jpeg)
        task = cls.for_noise(
            prepared,
            model,
            found.noise,
            strength=strength,
            luma=luma,
            chroma=chroma,
            stepper=stepper,
            steps=steps,
            step_size=step_size,
            seed=seed,
            stride=stride,
            ensemble=ensemble,
            precision=precision,
        )
        return replace(task, level_error=found.error)

    @classmethod
    def for_noise(
        cls,
        prepared: Prepared,
        model: Any,
        noise: Noise,
        *,
        strength: float = 1.0,
        luma: float = 1.0,
        chroma: float = 1.0,
        stepper: str = "tweedie",
        steps: int | None = None,
        step_size: float | None = None,
        seed: int = 0,
        stride: int | None = None,
        ensemble: bool = False,
        precision: str = "auto",
        whitened: Sequence[Whitening] | None = None,
    ) -> "Task":
        """Return the task of taking some noise, white being 1, out of a prepared image with a loaded model.

        `whitened` are the transforms of shot noise, None for those that its levels give.
        """
        for name, value in (("strength", strength), ("luma", luma), ("chroma", chroma)):
            if not 0 <= value <= 1:
                raise UsageError(f"{name} is between 0 and 1, not {value}")
        steps, step_size = checked(stepper, steps, step_size)
        refuse_single_level(stepper, model)
        check_precision(precision, model)
        if stepper != "tweedie" and noise.kind != "white":
            raise UsageError(
                f"the sampler '{stepper}' is for white noise, and this is {noise.kind}",
                "take the noise for white: --noise white",
            )
        base = _with_stride(model, stride) if stride is not None else model
        channels = prepared.pixels.shape[2] if prepared.pixels.ndim == 3 else 1
        is_clipped = prepared.scale.clip is not None and prepared.scale.standard
        if offers(base, CanClip) and is_clipped and (noise.kind == "white" or is_cut(prepared)):
            # Of correlated noise what clipping does is not what models of white noise were fitted to.
            base = base.clipped(1.0) if noise.kind != "grain" or takes_noise(base) else base
        form, levels = form_for(base, noise, prepared, channels, whitened)
        finished = (lambda inner: Symmetric(form(inner))) if ensemble else form
        strengths = Strengths(strength * luma, strength * chroma if channels == 3 else strength * luma)
        return cls(
            prepared,
            model,
            base,
            finished,
            finished(base),
            noise,
            levels,
            strengths,
            stepper,
            steps,
            step_size,
            seed,
            precision,
            _ends(prepared),
        )

    @property
    def pixels(self) -> np.ndarray:
        """The image as it is denoised, with shape (H, W) or (H, W, C)."""
        return self.prepared.pixels

    @property
    def scale(self) -> Scale:
        """Return what the values of the image mean."""
        return self.prepared.scale

    @property
    def white(self) -> float:
        """The value of white in the image."""
        return self.scale.white

    @property
    def is_clipped(self) -> bool:
        """Whether black and white may have cut the noise off."""
        return self.scale.clip is not None and self.scale.standard

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The least and largest value of a result, black being 0 and white 1; None for floats."""
        if not self.whole:
            return None
        limits = 0.0, float(np.iinfo(self.pixels.dtype).max)
        low, high = ((value - self.scale.black) / self.scale.span for value in limits)
        return low, high

    @property
    def planes(self) -> np.ndarray:
        """The pixels with shape (H, W, C)."""
        return self.pixels[:, :, None] if self.pixels.ndim == 2 else self.pixels

    @property
    def channel_levels(self) -> tuple[float, ...]:
        """The level of each channel."""
        return self.levels * (self.planes.shape[2] if len(self.levels) == 1 else 1)

    @property
    def whole(self) -> bool:
        """Whether pixels are integers."""
        return self.pixels.dtype.kind == "u"

    @property
    def changes(self) -> bool:
        """Whether there is noise that could be seen, and that should be taken out."""
        return any(self.levels) and not self.strengths.is_none

    def noisy(self, part: tuple[slice, slice], where: torch.device) -> Tensor:
        """A part of the image, white being 1, with shape (1, C, h, w)."""
        return self.scaled(self.planes[part][None], where)

    def scaled(self, planes: np.ndarray, where: torch.device) -> Tensor:
        """Pixels like the image's, with shape (n, h, w, C), white being 1, with shape (n, C, h, w)."""
        planes = planes.transpose(0, 3, 1, 2)
        if planes.dtype == np.uint8:  # a quarter of what floats are to move
            values = torch.from_numpy(np.array(planes, order="C")).to(where).float()
        else:
            if planes.dtype.itemsize > 4:  # whose values may differ by less than single precision tells apart
                return torch.from_numpy(np.ascontiguousarray(self.scale.to_unit(planes))).to(where)
            with np.errstate(over="ignore"):  # what is too large for float32 has no finite answer, and `moves` says so
                values = torch.from_numpy(np.array(planes, np.float32, order="C")).to(where)
        return (values - self.scale.black if self.scale.black else values) / self.scale.span

    def quick(self, where: torch.device) -> Any:
        """The base as it denoises on that device: its products of the precision asked for."""
        return lowered(self.base, self.precision_on(where))

    def precision_on(self, where: torch.device) -> str:
        """Return the precision that the base's products have on a device, a name of PRECISIONS other than auto."""
        height, width = self.pixels.shape[:2]
        return chosen(self.precision, self.base, where, self.whole, max(self.levels), height * width)

    @property
    def is_wide(self) -> bool:
        """Whether what takes out the noise looks so far around that the base is tiled, and not it."""
        return self.noise.kind == "grain"

    @property
    def single(self) -> bool:
        """Whether it is done in one step, so that tiles need not know of each other."""
        return SAMPLERS[self.stepper].max_steps == 1

    def estimates(self, noisy: Tensor, model: Any) -> Iterator[Tensor]:
        """The clean images after each step that belong to noisy ones like this, white being 1, (B, C, h, w)."""
        flat = flat_grounds(noisy, self.ends)
        for clean in _paths(model, noisy, self):
            combined = self.strengths.combined(noisy, clean, self.bounds)
            yield combined if flat is None else torch.where(flat, noisy, combined)

    def estimate(self, noisy: Tensor, model: Any = None) -> Tensor:
        """The last of them, by the model as it is used or by another."""
        *_, last = self.estimates(noisy, self.model if model is None else model)
        return last

    def by_channels(self, noisy: Tensor, of: Callable[[Tensor, float], Tensor]) -> Tensor:
        """What `of` makes of images that the model takes and their level, with the shape of noisy, (1, C, h, w)."""
        if self.model.channels == 1 and noisy.shape[1] > 1:
            planes = zip(noisy.split(1, 1), self.channel_levels, strict=True)
            return torch.cat([of(plane, level) if level else torch.zeros_like(plane) for plane, level in planes], 1)
        if len(set(self.levels)) == 1:
            return of(noisy, self.levels[0])
        parts = [
            of(noisy, level)[:, c : c + 1] if level else torch.zeros_like(noisy[:, c : c + 1])
            for c, level in enumerate(self.levels)
        ]
        return torch.cat(parts, 1)

    def mean(self, noisy: Tensor, model: Any = None) -> Tensor:
        """The posterior mean by one step, neither clipped nor blended, with the shape of noisy, (1, C, h, w)."""
        model = self.model if model is None else model
        return self.by_channels(noisy, lambda x, sigma: posterior_mean(model, x, sigma))

    def stored(self, estimate: Tensor) -> np.ndarray:
        """An estimate, (1, C, h, w), as it is stored, with shape (h, w, C)."""
        if self.pixels.dtype.itemsize > 4:
            values = estimate[0].permute(1, 2, 0).cpu().double().numpy()
            return (values * self.scale.span + self.scale.black).astype(self.pixels.dtype)
        result = (estimate[0] * self.scale.span).permute(1, 2, 0)
        if self.scale.black:
            result = result + self.scale.black
        if self.pixels.dtype == np.uint8:
            return result.round().to(torch.uint8).cpu().numpy()
        values = result.cpu().numpy()
        if self.pixels.dtype == np.float16:  # whose largest value is soon passed
            values = values.clip(float(np.finfo(np.float16).min), float(np.finfo(np.float16).max))
        return (np.rint(values) if self.whole else values).astype(self.pixels.dtype)


def _ends(prepared: Prepared) -> tuple[float, float]:
    """Return the least and the largest value of an image, white being 1."""
    low, high = prepared.scale.to_unit(np.array([prepared.pixels.min(), prepared.pixels.max()]))
    return float(low), float(high)


def checked_pixels(image: Any) -> np.ndarray:
    """Return an image as an array, or raise UsageError for a shape or dtype that cannot be denoised."""
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise UsageError(f"an image has shape (H, W) or (H, W, C), not {pixels.shape}")
    if pixels.dtype.newbyteorder("=") not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise UsageError(f"an image is uint8, uint16 or float, not {pixels.dtype}")
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def bundled_for(pixels: np.ndarray, visible: np.ndarray | None = None) -> str:
    """Return the name of the bundled model for an image, of which some pixels may be hidden."""
    in_colour = pixels.shape[2:] == (3,) and not is_gray(pixels, visible)
    return "natural-color" if in_colour else "natural-gray"


def _checked(sigma: float | Sequence[float], pixels: np.ndarray, white: float) -> tuple[float, ...]:
    """Return sigma as it was given, one number or one for each channel; white is the image's."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    values = tuple(sigma) if isinstance(sigma, Sequence) else (sigma,)
    if len(values) not in (1, channels):
        raise UsageError(f"sigma has {len(values)} values, the image has {channels} channels")
    if not all(0 <= value < math.inf for value in values) or sigma == 0:
        raise UsageError(f"sigma is a positive number, not {sigma}")
    _refuse_other_unit(max(values), pixels, white)
    return tuple(float(value) for value in values)


def _refuse_other_unit(sigma: float, pixels: np.ndarray, white: float) -> None:
    """Raise UsageError for a level that no image has: it is told in another unit than its image's."""
    whole = pixels.dtype.kind == "u"
    most = 255.0 if whole else white
    meant = sigma * 255 / white if whole else sigma * white / 255
    if sigma <= most:
        return
    if not whole:
        finite = pixels[np.isfinite(pixels)]
        if finite.size and sigma <= float(np.abs(finite).max()):  # of counts, say, with no white told
            return
    unit = "integers of any depth have white 255" if whole else "that of floats is in their own unit"
    did_you = f": did you mean {meant:.4g}?" if meant < most else ""
    raise UsageError(f"sigma {sigma:.4g} is larger than white, {most:g}{did_you} ({unit})")


def _with_stride(model: Any, stride: int) -> Any:
    if not offers(model, HasStride):
        raise UsageError("--stride is for models of patches, and this model is none")
    try:
        return model.with_stride(stride)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _paths(model: Any, noisy: Tensor, task: Task) -> Iterator[Tensor]:
    """`moves`, where channels may have levels of their own: each is that of the image moved at its level."""
    levels = task.levels
    if len(set(levels)) == 1:
        yield from moves(model, noisy, levels[0], task, task.seed)
        return
    alone = model.channels == 1

    def channel(c: int, level: float) -> Iterator[Tensor]:
        if level == 0:
            return
        if alone:
            # Far from the seeds of other samples, which follow each other.
            yield from moves(model, noisy[:, c : c + 1], level, task, (task.seed + c * SEED_STRIDE) % 2**63)
        else:
            yield from (image[:, c : c + 1] for image in moves(model, noisy, level, task, task.seed))

    paths = [channel(c, level) for c, level in enumerate(levels)]
    planes = [*noisy.split(1, 1)]
    while True:  # a channel whose path has ended waits for the others
        moved = [next(path, None) for path in paths]
        if all(plane is None for plane in moved):
            return
        planes = [old if new is None else new for old, new in zip(planes, moved, strict=True)]
        yield torch.cat(planes, 1)


def moves(model: Any, noisy: Tensor, sigma: float, task: Task, seed: int) -> Iterator[Tensor]:
    """The estimates of a task's stepper, finite, with the shape of noisy, (B, C, h, w); of each channel by gray models.

    Raises:
        ModelError: The model takes another number of channels.
        SmdaeError: An estimate is not finite.
    """
    channels = noisy.shape[1] if model.channels is None else model.channels
    if channels not in (1, noisy.shape[1]):
        raise ModelError(
            f"the model takes {channels} channels, the image has {noisy.shape[1]}",
            "a gray model takes any image channel by channel",
        )
    images = noisy if channels == noisy.shape[1] else noisy.flatten(0, 1)[:, None]
    settings = SamplerSettings(task.steps, task.step_size, Generator().manual_seed(seed))
    walk = sample(model, images, sigma, task.stepper, settings)
    while True:
        with torch.inference_mode():  # not around a yield, where it would leak to whoever drives
            estimate = next(walk, None)
        if estimate is None:
            return
        yield estimate.reshape(noisy.shape)
