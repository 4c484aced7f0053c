"""The noise that was found in a picture: with the picture as it is denoised, or its facts alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from smdae.denoising.preparation import Prepared
    from smdae.estimation.estimate import Estimate
    from smdae.noise import Noise

FEW_COUNTS = 4  # photons a pixel: below, rounding to whole ones adds as much error as the network leaves


@dataclass(frozen=True, eq=False)
class PictureNoise:
    """The noise of a picture.

    Attributes:
        prepared: The picture as it is denoised.
        estimate: Its noise, white being 1.
        described: The noise in words.
        levels: The level on the 0 to 255 scale, one or one for each channel; 0 where there is no noise.
        sigma: The root mean square of the levels in the unit of the words; 0 where there is no noise.
        seen: The level that the picture seems to have, on the 0 to 255 scale, where the model takes out its own level
            without a look at the picture; None elsewhere.
    """

    prepared: "Prepared"
    estimate: "Estimate"
    described: str = "none"
    levels: tuple[float, ...] = (0.0,)
    sigma: float = 0.0
    seen: float | None = None

    @property
    def noise(self) -> "Noise":
        """Return the noise, white being 1."""
        return self.estimate.noise

    @property
    def in_unit(self) -> "Noise":
        """Return the noise in the unit of the picture."""
        from smdae.denoising.pages import unscaled

        return unscaled(self.noise, self.prepared.scale)

    @property
    def repaired(self) -> int:
        """Return the number of pixels that were outliers, and were repaired."""
        outliers = self.prepared.outliers
        return 0 if outliers is None else int(outliers.mask.any(2).sum())

    def facts(self) -> "NoiseFacts":
        """Return the facts about the noise without the picture, which take little memory."""
        original, banded = self.prepared.original, self.prepared.is_banded
        lost = 0 if original.dtype.kind == "u" else int((~np.isfinite(np.atleast_3d(original))).any(2).sum())
        words = self.estimate, self.described, self.levels, self.sigma
        is_shot = original.dtype.kind == "u" and self.noise.kind == "shot"
        is_rounded = is_shot and float(original.mean()) < FEW_COUNTS
        return NoiseFacts(*words, lost, self.repaired, banded, self.seen, is_rounded)


@dataclass(frozen=True, eq=False)
class NoiseFacts:
    """The facts about the noise of a picture, without the picture; see also `PictureNoise`.

    Attributes:
        lost: The number of pixels that are NaN or infinite.
        repaired: The number of pixels that were outliers, and were repaired.
        is_banded: Whether rows or columns had offsets, which were subtracted.
        is_rounded: Whether it counts so few photons in whole numbers that rounding the result costs much of it.
    """

    estimate: "Estimate"
    described: str = "none"
    levels: tuple[float, ...] = (0.0,)
    sigma: float = 0.0
    lost: int = 0
    repaired: int = 0
    is_banded: bool = False
    seen: float | None = None
    is_rounded: bool = False


def without_noise() -> NoiseFacts:
    """Return the facts about a picture of which nothing is to be taken out."""
    from smdae.estimation.estimate import Estimate
    from smdae.noise import Noise

    return NoiseFacts(Estimate(Noise.gaussian(0.0), 0.0))
