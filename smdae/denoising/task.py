"""A task: one image with its noise, the model and the settings, checked before the first step is taken."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smdae.checked import whole
from smdae.denoising.conversion import as_pixels, as_tensor
from smdae.denoising.flat import flat_areas
from smdae.denoising.paths import Walk, by_channels, paths
from smdae.denoising.precision import check_precision, chosen_precision, with_precision
from smdae.denoising.preparation import Prepared, prepare
from smdae.denoising.request import checked_pixels, checked_sigma, checked_white, resolved_model, with_stride
from smdae.denoising.samplers import SAMPLERS, checked_steps, refuse_single_level
from smdae.denoising.self_ensemble import SelfEnsemble
from smdae.denoising.stabilised import Whitening
from smdae.denoising.strengths import Strengths
from smdae.denoising.treatment import Treatment, is_wide, noise_for, set_to_clipping, treatment_for
from smdae.errors import UsageError
from smdae.estimation.estimate import Kind
from smdae.estimation.scale import Scale, scale_of_integers
from smdae.noise import Noise
from smdae.protocols import posterior_mean, single_level

SEEDS = 1 << 63  # of a generator: from -SEEDS to 2 SEEDS - 1


@dataclass(frozen=True, eq=False)
class Task:
    """An image with everything that is needed to denoise it.

    Attributes:
        prepared: The image after the steps of `preparation`.
        loaded: The model as it was loaded.
        base: The loaded model with the stride asked for, and set to clipped pictures where the noise was clipped.
        treat: Turns the base, or another version of it, into the denoiser for the noise of this image.
        model: The denoiser, `treat(base)`.
        noise: The noise of the image, white being 1.
        levels: Sigma as passed to the denoiser, white being 1: one level, or one for each channel.
        strengths: How much of the noise is taken out.
        walk: How the image moves along the score.
        precision: A name of PRECISIONS.
        ends: The least and the largest value of the image, white being 1.
        level_error: Relative standard error of the estimated noise level; 0 if the level was given.
        one_pass: Whether a network that takes the noise takes grain in one pass instead of two.
    """

    prepared: Prepared
    loaded: Any
    base: Any
    treat: Treatment
    model: Any
    noise: Noise
    levels: tuple[float, ...]
    strengths: Strengths
    walk: Walk
    precision: str = "auto"
    ends: tuple[float, float] = (-math.inf, math.inf)
    level_error: float = 0.0
    one_pass: bool = False

    @classmethod
    def of(
        cls,
        image: Any,
        model: Any = None,
        sigma: float | Sequence[float] | None = None,
        *,
        noise: Kind | Noise | None = None,
        white: float | None = None,
        black: float | None = None,
        device: torch.device | str = "cpu",
        visible: np.ndarray | None = None,
        scale: Scale | None = None,
        jpeg: int | None = None,
        stored: str | None = None,
        **options: Any,
    ) -> "Task":
        """Return the task of denoising an image, (H, W) or (H, W, C), after checking every argument.

        `visible`, (H, W), says which pixels are not hidden, None for all. Where all pages of a stack share the meaning
        of their values, that is `scale`, else None. `jpeg` is the JPEG quality that the image was compressed at, if
        known, and `stored` the integer type that its floats stand for, such as uint32, or None. `options` are those of
        `for_noise`. All else is as for `denoise`, and so are the UsageError, InputError and ModelError that it raises.
        """
        pixels = checked_pixels(image)
        is_integer = pixels.dtype.kind == "u" or stored is not None
        top = checked_white(np.dtype(stored or pixels.dtype), white, black)
        model = resolved_model(model, pixels, visible, device)
        keep = sigma is not None or single_level(model) is not None
        if stored is not None and scale is None and white is None and black is None:
            scale = scale_of_integers(pixels, stored)
        prepared = prepare(pixels, white, black, visible, keep_scale=keep, share=model.channels != 3, scale=scale)
        unit = top / 255 if is_integer else 1.0
        given = None
        if sigma is not None:
            levels = checked_sigma(sigma, pixels, top, is_integer)
            given = tuple(level * unit / prepared.scale.span for level in levels)
            if prepared.is_shared:
                given = given[:1]
        if noise is None:  # other samplers than the first are for white noise
            noise = "auto" if options.get("sampler", "tweedie") == "tweedie" or sigma is None else "white"
        found = noise_for(prepared, model, noise, given, jpeg)
        return replace(cls.for_noise(prepared, model, found.noise, **options), level_error=found.error)

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
        sampler: str = "tweedie",
        steps: int | None = None,
        step_size: float | None = None,
        seed: int = 0,
        stride: int | None = None,
        ensemble: bool = False,
        precision: str = "auto",
        whitened: Sequence[Whitening] | None = None,
        one_pass: bool = False,
    ) -> "Task":
        """Return the task of taking known noise, white being 1, out of a prepared image with a loaded model.

        `whitened` are transforms that make shot noise white, None for those that follow from its levels. With
        `one_pass` a network that takes the noise takes grain in one pass, where more passes follow. All else is as for
        `denoise`, whose UsageError this raises.
        """
        channels = prepared.pixels.shape[2] if prepared.pixels.ndim == 3 else 1
        strengths = Strengths.of(strength, luma, chroma, in_colour=channels == 3)
        steps, step_size = checked_steps(sampler, steps, step_size)
        refuse_single_level(sampler, model)
        check_precision(precision, model)
        if sampler != "tweedie" and noise.kind != "white":
            raise UsageError(
                f"the sampler '{sampler}' is for white noise, and this is {noise.kind}",
                "treat the noise as white: --noise white",
            )
        base = with_stride(model, stride) if stride is not None else model
        base = set_to_clipping(base, noise, prepared)
        treat_once, levels = treatment_for(base, noise, prepared, channels, whitened, one_pass)
        treat = (lambda version: SelfEnsemble(treat_once(version))) if ensemble else treat_once
        return cls(
            prepared=prepared,
            loaded=model,
            base=base,
            treat=treat,
            model=treat(base),
            noise=noise,
            levels=levels,
            strengths=strengths,
            walk=Walk(sampler, steps, step_size, whole(seed, "seed", -SEEDS, 2 * SEEDS - 1)),
            precision=precision,
            ends=prepared.ends,
            one_pass=one_pass,
        )

    @property
    def pixels(self) -> np.ndarray:
        """Return the pixels of the prepared image, with shape (H, W) or (H, W, C)."""
        return self.prepared.pixels

    @property
    def scale(self) -> Scale:
        """Return the meaning of the image's values: black, white, and the range that they are clipped to."""
        return self.prepared.scale

    @property
    def white(self) -> float:
        """Return the value of white in the image."""
        return self.scale.white

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Return the least and the largest value that a result may have, white being 1; None for floats."""
        if not self.is_integer:
            return None
        limits = 0.0, float(np.iinfo(self.pixels.dtype).max)
        low, high = ((value - self.scale.black) / self.scale.span for value in limits)
        return low, high

    @property
    def planes(self) -> np.ndarray:
        """Return the pixels with shape (H, W, C)."""
        return self.pixels[:, :, None] if self.pixels.ndim == 2 else self.pixels

    @property
    def channel_levels(self) -> tuple[float, ...]:
        """Return the level of the noise of each channel, white being 1."""
        return self.levels * (self.planes.shape[2] if len(self.levels) == 1 else 1)

    @property
    def is_integer(self) -> bool:
        """Return whether the pixels are integers."""
        return self.pixels.dtype.kind == "u"

    @property
    def changes(self) -> bool:
        """Return whether the task changes the image: there is noise, and its strength is not 0."""
        return any(self.levels) and not self.strengths.is_none

    def noisy(self, part: tuple[slice, slice], where: torch.device) -> Tensor:
        """Return a part of the noisy image on a device, with shape (1, C, h, w), black being 0 and white 1."""
        return self.scaled(self.planes[part][None], where)

    def scaled(self, planes: np.ndarray, where: torch.device) -> Tensor:
        """Return pixels in the image's unit, (n, h, w, C), as a tensor where white is 1, (n, C, h, w), on a device."""
        return as_tensor(planes, self.scale, where)

    def base_on(self, where: torch.device) -> Any:
        """Return the base, or a copy, set to the precision of products chosen for a device; it is not moved there."""
        return with_precision(self.base, self.precision_on(where))

    def precision_on(self, where: torch.device) -> str:
        """Return the precision of the base's products on a device, a name of PRECISIONS other than auto."""
        pixels = math.prod(self.pixels.shape[:2])
        return chosen_precision(self.precision, self.base, where, self.is_integer, max(self.levels), pixels)

    @property
    def is_wide(self) -> bool:
        """Return whether the denoiser's halo is too wide for small tiles, so that the model inside it is tiled."""
        return is_wide(self.noise, self.base, self.one_pass)

    @property
    def is_one_step(self) -> bool:
        """Return whether the sampler takes one step, so that each tile can be denoised alone."""
        return SAMPLERS[self.walk.sampler].max_steps == 1

    def estimates(self, noisy: Tensor, model: Any) -> Iterator[Tensor]:
        """Return an iterator over all estimates, blended by the strengths, flat areas as they were; else as `paths`."""
        flat = flat_areas(noisy, self.ends)

        def combined(clean: Tensor) -> Tensor:
            mixed = self.strengths.combined(noisy, clean, self.bounds)
            return mixed if flat is None else torch.where(flat, noisy, mixed)

        return map(combined, paths(model, noisy, self.levels, self.walk))

    def estimate(self, noisy: Tensor, model: Any = None) -> Tensor:
        """Return the last of `estimates`; shape and errors are those of `paths`."""
        *_, last = self.estimates(noisy, self.model if model is None else model)
        return last

    def mean(self, noisy: Tensor, model: Any = None) -> Tensor:
        """Return the posterior mean, not clipped or blended, white being 1, with the shape of noisy, (1, C, h, w)."""
        model = self.model if model is None else model
        return by_channels(self.model, noisy, self.levels, lambda x, sigma: posterior_mean(model, x, sigma))

    def stored(self, estimate: Tensor) -> np.ndarray:
        """Return an estimate, (1, C, h, w), in the unit and dtype of the image, (h, w, C)."""
        return as_pixels(estimate, self.scale, self.pixels.dtype)
