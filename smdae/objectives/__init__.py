"""Objectives J(theta): per-example losses of a score model, and the one table of their names.

With psi(x) = grad log p(x; theta), a clean example x and a noisy one x~ = x + sigma eps (Vincent 2011, sections 3, 4):

    explicit       1/2 |psi(x) - t(x)|^2                    t the score of the density that x comes from
    implicit       1/2 |psi(x)|^2 + tr(d psi/dx)            Hyvarinen (2005)
    regularised    implicit + lambda sum_i (d psi_i/dx_i)^2                     Kingma and LeCun (2010)
    sliced         v'(d psi/dx)v + 1/2 (v'psi)^2, or 1/2 |psi|^2 when reduced   Song et al. (2019)
    differenced    sliced, by differences of log p or of psi along v            Pang et al. (2020)
    denoising      1/2 |psi(x~) - (x - x~)/sigma^2|^2
    autoencoding   |r(x~) - x|^2,  r(x~) = x~ + sigma^2 psi(x~)

Any kernel q(x~|x) whose score is known may stand for the Gaussian one of level sigma, such as a `Noise`: `denoising`
then fits the score of the data smoothed by it (section 4.2). With a fixed covariance C and r(x~) = x~ + C psi(x~),
`autoencoding` is |C (psi - grad log q(x~|x))|^2, another weighting of the errors than `denoising` unless C = sigma^2 I.
If C depends on x, the clean mean does not follow from a fitted score. The implicit and the sliced objectives depend on
the noise through their samples alone, and hold for any.

Every function returns one value an example, with shape (B,), draws no noise, keeps no state and changes no argument;
examples have shape (B, ...) and sums run over all that follows B. In expectation over q_sigma, `denoising` is
`explicit` on the Parzen density plus a constant free of theta, and `autoencoding` is 2 sigma^4 `denoising`; `implicit`
is `explicit` plus a constant wherever both are taken at samples of the same density.

To add an objective, write its function and its row of OBJECTIVES (`registry`): a fit draws what the row `needs`.
"""

from smdae.objectives.projections import differenced, sliced
from smdae.objectives.registry import OBJECTIVES, Objective
from smdae.objectives.scores import (
    Kernel,
    autoencoding,
    denoising,
    explicit,
    implicit,
    kernel_score,
    regularised,
    stein,
)

__all__ = [
    "OBJECTIVES",
    "Kernel",
    "Objective",
    "autoencoding",
    "denoising",
    "differenced",
    "explicit",
    "implicit",
    "kernel_score",
    "regularised",
    "sliced",
    "stein",
]
