"""Kernels that are not white, under which the theorem is shown as well, and fails if another one is assumed.

    grain   correlated, of one level: pixels j rows and k columns apart by 2^-(j + k), up to 7 of each, and so are
            numbers of a row that are not pixels
    shot    sd(x)^2 = gain max(x - black, 0) + read^2, black the mean of the patches

Both have the level sigma: of `shot` it is the root mean square over the patches. Patches lie around 0, as their means
are taken out, and most of them are flat: with a black below all of them, `shot` would hardly differ from white noise.
Noise of the user's own, which depends on brightness, takes them to lie around the middle between black and white.
"""

from collections.abc import Mapping

from torch import Tensor

from smdae.comparing.contest import Contest
from smdae.noise import Affine, Noise
from smdae.patch_noise import PatchNoise

GRAIN, SHOT = "grain", "shot"
RHO = 0.5  # correlation of neighbours
# Pixels whose correlation is modelled. Cut off after one, it has hardly an inverse, and C^-1 makes all uncertain.
LAGS = 8
READ = 0.5  # part of the variance of `shot` that does not depend on x
MIDDLE = 0.5  # brightness that a patch without its mean is taken to have
MAX_CHANNELS = 256  # numbers in a row, up to which their correlation is modelled


def kernels_of(contest: Contest) -> Mapping[str, PatchNoise]:
    """Return the kernels by name: the user's own, or else those of this file that such examples can have.

    It raises UsageError if the user's own noise does not suit the patches.
    """
    channels, size = (1, contest.settings.patch_size) if contest.held_out_images is not None else (contest.dim, 1)
    if contest.noise is not None:
        noise = contest.noise if contest.held_out_images is None else contest.noise.shifted(-MIDDLE)
        return {noise.kind: PatchNoise(noise, channels, size)}
    made = {SHOT: _shot(contest.patches, contest.sigma)}
    level = (Affine(read=contest.sigma),)
    if size > 1:
        made[GRAIN] = Noise(level, grain=tuple(tuple(RHO ** (j + k) for k in range(LAGS)) for j in range(LAGS)))
    elif 1 < channels <= MAX_CHANNELS:
        rows = tuple(tuple(RHO ** abs(i - j) for j in range(channels)) for i in range(channels))
        made[GRAIN] = Noise(level, channels=rows)
    return {name: PatchNoise(made[name], channels, size) for name in (GRAIN, SHOT) if name in made}


def _shot(patches: Tensor, sigma: float) -> Noise:
    black = patches.mean().item()
    gain = (1 - READ) * sigma**2 / max((patches - black).clamp(min=0).mean().item(), 1e-12)
    return Noise((Affine(gain, black, READ**0.5 * sigma),))
