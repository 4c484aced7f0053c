"""The table of the parts of a comparison, in the order of the report."""

from smdae.comparing.cost.measure import COST
from smdae.comparing.denoising.measure import DENOISING
from smdae.comparing.equivalence.measure import EQUIVALENCE
from smdae.comparing.estimator.measure import ESTIMATOR
from smdae.comparing.learned.measure import LEARNED
from smdae.comparing.learning.measure import LEARNING
from smdae.comparing.part import Part

PARTS: dict[str, Part] = {
    "equivalence": EQUIVALENCE,
    "estimator": ESTIMATOR,
    "cost": COST,
    "learning": LEARNING,
    "denoising": DENOISING,
    "learned": LEARNED,
}
