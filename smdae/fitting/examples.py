"""The examples of each objective: x, and the further arguments of its loss.

    data     x, clean patches; for `esm` samples of the density fitted to them, smoothed to the model's level
    parzen   x~ = x + sigma eps, and for `esm-parzen` the score of q_sigma at x~
    pairs    x~ and the x that it came from

Noisy images, y = x + sigma eps without x, serve as x~, each at its own level. Objectives of pairs get y in place of x,
and x~ = y + e eps, at the level sqrt(sigma^2 + e^2).

Objectives with probes v get k of them for each example, +-1 in each dimension; those with finite differences get a step
that is a share of sigma. A wide step along a normal probe is itself noise: it counts as a part of the level, and x~ has
the rest.

Networks get images (n, C, P, P) instead of flat patches, each at its own level, drawn uniformly from a range. Part of a
batch is clipped to [0, 1] after the noise is added, like stored pictures. Another part has the noise of real pictures
(see `corruption`) instead of white noise, and the network is conditioned on it. Over a range of levels the loss is
weighted by 2 sigma^3 / d, which is squared error over sigma, so that no level dominates.

If the model does not see means, densities whose score is a target are those of patches without their means. Their
estimate is better, as patches that differ only in brightness then coincide.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.densities import Density, Parzen
from smdae.divergence import normal_probes, probes
from smdae.fitting.colours import recoloured
from smdae.fitting.corruption import corrupted
from smdae.fitting.distributed import ALONE, Group
from smdae.fitting.draws import Batch, BatchPart, Draw, antithetic_noise
from smdae.fitting.settings import Settings
from smdae.objectives import Objective
from smdae.patch_noise import KernelParzen, PatchNoise

NARROW_STEP, WIDE_STEP = 0.1, 0.5  # of differences, in sigma; a wide step has less variance
EXTRA_NOISE = 0.5  # e, the noise added to noisy images to make pairs, in sigma


@dataclass(frozen=True, eq=False)
class Stage:
    """The patches of one size."""

    draw: Draw  # draws them; with a q_sigma, from the patches that make it up
    share: float = 1.0  # number of patches for each one that is asked for: fewer the larger they are
    prefetch: Callable[[int, Generator], object] | None = None  # begins to read the next draw; None if there is none
    real: Draw | None = None  # draws clean pictures that get the noise of real ones
    side: int = 0  # of the patches, P


@dataclass(frozen=True, eq=False)
class Examples:
    """The source of batches for one objective."""

    objective: Objective  # a row of OBJECTIVES
    needs: tuple[str, ...]  # names of the loss's further arguments
    settings: Settings  # the settings of the fit: levels, probes and shares of examples that are changed
    stages: tuple[Stage, ...]  # one for each size of patches, each for an equal part of a fit
    centre: Callable[[Tensor], Tensor]  # takes out the means that the model does not see; the identity for other models
    density: Density | None = None  # the density that `esm` draws from, or None
    parzen: Parzen | KernelParzen | None = None  # q_sigma for `esm-parzen`, or None
    rounding: float = 0.0  # width of the uniform noise added to clean data that was rounded, 0 for none
    channels: int | None = None  # C, if the model takes images; None if it takes flat patches
    kernel: PatchNoise | None = None  # the noise that is added, whose score is the target; None if it is white

    @property
    def sigma(self) -> float:
        """Return the highest level of the noise, white being 1."""
        return self.settings.levels[1]

    @property
    def noisy(self) -> bool:
        """Return whether the data are noisy themselves."""
        return self.settings.noisy

    def draw(self, n: int, generator: Generator | None = None, progress: float = 0.0, group: Group = ALONE) -> Batch:
        """Return n random examples, or fewer once the patches have grown, at a share of the fit from 0 to 1.

        Each process of the group, with a generator in the same state, makes its part of them.
        """
        if self.density is None:
            stage, n = self._wanted(n, progress)
            part = BatchPart(n, group.rows(n))
            data, levels = stage.draw(n, generator, part.rows)
            if levels is not None:
                return self.of_noisy(data, levels, generator, part)
            if self.settings.recoloured:
                data = recoloured(data, self.settings.recoloured, generator, part)
            batch = self.around(data, generator, part)
            return (
                batch.joined(self._real(stage, self._real_count(n), generator, group)) if self.settings.real else batch
            )
        x = self.centre(self.density.sample(n, generator, group.rows(n)))
        needs = {"target_score": self._shaped(self.density.score(x))}
        return Batch(self._shaped(x), needs, self.objective.scale(self.sigma, x.shape[1]), whole=n)

    def prefetch(self, n: int, generator: Generator, progress: float = 0.0) -> None:
        """Begin to read what the next `draw` with this generator will need, if it is on disk."""
        stage, n = self._wanted(n, progress)
        if stage.prefetch:
            stage.prefetch(n, generator)

    def _wanted(self, n: int, progress: float) -> tuple[Stage, int]:
        """Return the stage of growth, and the number of examples with white noise to draw."""
        stage = self.stages[self.stage(progress)]
        n = max(1, round(n * stage.share))
        return stage, max(1, n - round(self.settings.real * n))

    def _real_count(self, white: int) -> int:
        """Return the number of examples with the noise of real pictures, given the number with white noise."""
        return max(1, round(white * self.settings.real / (1 - self.settings.real)))

    def _real(self, stage: Stage, n: int, generator: Generator | None, group: Group) -> Batch:
        """Return n examples with the noise of real pictures; every process makes all of them and keeps its rows."""
        assert stage.real is not None
        flat, _ = stage.real(n, generator)
        if self.settings.recoloured:
            flat = recoloured(flat, self.settings.recoloured, generator)
        pairs = corrupted(self._shaped(flat), stage.side, generator)
        rows = group.rows(n)
        needs = {"clean": pairs.clean[rows], "sigma": pairs.sigma[rows]}
        scale = self._scale(pairs.sigma[rows], pairs.clean[0].numel())
        return Batch(pairs.noisy[rows], needs, scale, pairs.white[rows], n, pairs.conditioning.of_part(rows))

    def stage(self, progress: float) -> int:
        """Return the number of the patch size that is drawn after a share of the fit, 0 to 1, is done."""
        return min(int(progress * len(self.stages)), len(self.stages) - 1)

    def _shaped(self, flat: Tensor) -> Tensor:
        """Return flat patches, (n, d), in the shape that the model takes."""
        if self.channels is None:
            return flat
        side = math.isqrt(flat.shape[1] // self.channels)
        return flat.view(len(flat), self.channels, side, side)

    def _draw_levels(self, like: Tensor, generator: Generator | None, part: BatchPart) -> float | Tensor:
        """Draw the level of each example of a part, with the dtype of `like`: one number for all, or (m,)."""
        low, high = self.settings.levels
        if low == high:
            return high
        return low + (high - low) * part.of(
            torch.rand(part.n, generator=generator, dtype=like.dtype, device=like.device)
        )

    @property
    def implicit(self) -> bool:
        """Return whether J is taken at the clean data, where an implicit objective can overfit."""
        return self.objective.samples == "data" and self.density is None and not self.noisy

    def around(
        self,
        clean: Tensor,
        generator: Generator | None = None,
        part: BatchPart | None = None,
        noise: Tensor | None = None,
    ) -> Batch:
        """Return the examples made from clean flat patches, (m, d).

        `part` says which rows of a batch they are, None for all of one; `noise` is standard normal, with the shape of
        clean, and None to draw it.
        """
        part = part or BatchPart(len(clean))
        if self.density is not None or self.parzen is not None:
            clean = self.centre(clean)
        x, white = clean, None
        sigma = self._draw_levels(clean, generator, part)
        if self._wide:
            sigma = sigma / (1 + WIDE_STEP**2) ** 0.5
        if self.objective.samples != "data":
            noise = part.of(antithetic_noise(part.whole(clean), generator)) if noise is None else noise
            if self.kernel is not None:
                x = self.kernel.added(clean, noise)
            else:
                x = torch.addcmul(clean, noise, sigma[:, None]) if isinstance(sigma, Tensor) else clean + sigma * noise
        elif self.rounding:
            shape = part.whole(clean).shape
            offset = part.of(torch.rand(shape, generator=generator, dtype=clean.dtype, device=clean.device)) - 0.5
            x = torch.add(clean, offset, alpha=self.rounding)
        if self.settings.clipped:
            white = (part.of(torch.rand(part.n, generator=generator, device=x.device)) < self.settings.clipped).to(
                x.dtype
            )
            x = torch.where(white[:, None] > 0, x.clamp(0, 1), x)
        needs = self._needs(x, clean, sigma, generator, part)
        source = self.density or self.parzen
        if source is not None:
            x = self.centre(x)
            needs["target_score"] = self._shaped(source.score(x))
        return Batch(self._shaped(x), needs, self._scale(sigma, clean.shape[1]), white, part.n)

    def made_of(self, clean: Tensor, generator: Generator) -> Batch:
        """Return the examples made from clean patches, (m, d); of a known density as many new samples of that."""
        return self.around(clean, generator) if self.density is None else self.draw(len(clean), generator)

    def of_noisy(
        self, noisy: Tensor, levels: Tensor, generator: Generator | None = None, part: BatchPart | None = None
    ) -> Batch:
        """Return the batch made of noisy patches, (m, d), of levels (m,), which a fit at one level replaces by its own.

        `part` is as for `around`.
        """
        part = part or BatchPart(len(noisy))
        low, high = self.settings.levels
        sigma = high if low == high else levels
        if self.objective.samples != "pairs":
            needs = self._needs(noisy, noisy, sigma, generator, part)
            return Batch(self._shaped(noisy), needs, self._scale(sigma, noisy.shape[1]), whole=part.n)
        e = self.settings.extra_noise / 255 if self.settings.extra_noise else EXTRA_NOISE * sigma
        noise = part.of(antithetic_noise(part.whole(noisy), generator))
        x = torch.addcmul(noisy, noise, e[:, None]) if isinstance(e, Tensor) else noisy + e * noise
        level = (sigma**2 + e**2) ** 0.5
        needs = self._needs(x, noisy, e, generator, part) | {"level": level}
        return Batch(self._shaped(x), needs, self._scale(level, noisy.shape[1]), whole=part.n)

    @property
    def _wide(self) -> bool:
        """Return whether differences take a wide step, which is then a part of the noise; on clean data they do not."""
        if self.kernel is not None:
            return False
        return self.objective.wide and "step" in self.needs and (self.noisy or self.objective.samples != "data")

    def _needs(
        self, x: Tensor, clean: Tensor, sigma: float | Tensor, generator: Generator | None, part: BatchPart
    ) -> dict[str, Any]:
        """Return the further arguments of the loss for flat examples x, (m, d), except the target score."""
        step = (WIDE_STEP if self._wide else NARROW_STEP) * sigma
        has_kernel = self.kernel is not None and self.objective.samples == "pairs"
        noise: Any = self.kernel if has_kernel else sigma
        offered = {"clean": self._shaped(clean), "sigma": noise, "step": step, "reg_lambda": self.settings.reg_lambda}
        needs = {name: offered[name] for name in self.needs if name in offered}
        if "probes" in self.needs:
            draw = normal_probes if self._wide else probes
            needs["probes"] = draw(part.whole(self._shaped(x)), self.settings.probes, generator)[:, part.rows]
        return needs

    def _scale(self, sigma: float | Tensor, dim: int) -> float | Tensor:
        """Return the factor of the loss, a float or (m,); over a range of levels weighted by sigma."""
        scale = self.objective.scale(sigma, dim)
        return scale * (sigma / self.sigma) if isinstance(scale, Tensor) else scale
