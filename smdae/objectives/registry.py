"""The table of the objectives: what each needs, and the factor that makes it comparable with the others in a fit.

That factor turns each into squared error per dimension over sigma^2: 2 sigma^2 / d for 1/2 |error of the score|^2, and
1/d for `dae`, a squared error over pixels that the row marks by `squares`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor

from smdae.objectives.projections import differenced, sliced
from smdae.objectives.scores import autoencoding, denoising, explicit, implicit, regularised
from smdae.protocols import has


@dataclass(frozen=True)
class Objective:
    """A row of the table.

    Attributes:
        loss: The function above, called as loss(model, x, **needs).
        samples: Where x comes from: the data, the Parzen density, or pairs of clean and noisy.
        needs: Names of the loss's further arguments.
        options: Names of those that are not always needed: probes where the divergence has no closed form, a step of
            differences where psi has kinks, the level where the data are noisy themselves.
        requires: Methods that the model must have.
        paper: The name in the paper.
        squares: True if J is |error|^2 itself, false if it is |error|^2 / (2 sigma^4).
        wide: Whether differences along normal probes are the objective itself at a higher level, whatever the step.
    """

    loss: Callable[..., Tensor]
    samples: Literal["data", "parzen", "pairs"]
    needs: tuple[str, ...]
    paper: str
    options: tuple[str, ...] = ()
    requires: tuple[str, ...] = ("score",)
    squares: bool = False
    wide: bool = False

    @property
    def on_noisy(self) -> bool:
        """Return whether the objective can be fitted to noisy data alone, without clean ones."""
        return "target_score" not in self.needs and ("clean" not in self.needs or "level" in self.options)

    def lacking(self, model: object) -> list[str]:
        """Return the methods that a model, or the class of one, would need and has not."""
        return [name for name in self.requires if not has(model, name)]

    def scale(self, sigma: float | Tensor, dim: int) -> Any:
        """Return the factor of J in a fit, by which every objective is squared error per dimension over sigma^2.

        A float, or (B,) like sigma.
        """
        return 1 / (dim * sigma**2) if self.squares else 2 * sigma**2 / dim


PROBED = ("probes", "step")

OBJECTIVES: dict[str, Objective] = {
    "esm": Objective(explicit, "data", ("target_score",), "J_ESMq"),
    "ism": Objective(implicit, "data", (), "J_ISMq", PROBED, wide=True),
    "ism-reg": Objective(regularised, "data", ("reg_lambda",), "J_ISMreg", requires=("score", "score_and_diagonal")),
    "esm-parzen": Objective(explicit, "parzen", ("target_score", "sigma"), "J_ESMq_sigma"),
    "ism-parzen": Objective(implicit, "parzen", ("sigma",), "J_ISMq_sigma", PROBED, wide=True),
    "dsm": Objective(denoising, "pairs", ("clean", "sigma"), "J_DSMq_sigma", ("level",)),
    "dae": Objective(autoencoding, "pairs", ("clean", "sigma"), "J_DAE_sigma", (), ("score", "reconstruct"), True),
    "ssm": Objective(sliced, "parzen", ("probes", "sigma"), "J_SSMq_sigma", ("step",)),
    "ssm-vr": Objective(partial(sliced, reduced=True), "parzen", ("probes", "sigma"), "J_SSM-VRq_sigma", ("step",)),
    "fd-ssm": Objective(differenced, "parzen", ("probes", "step", "sigma"), "J_FD-SSMq_sigma"),
}
