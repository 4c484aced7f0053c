"""Comparing: the same fit with every objective, and what comes of it.

contest        what all contestants have in common
contestants    the fits
evaluation     every model under every objective
gradients      how parallel the objectives' gradients are, and how noisy
comparison     these in turn
report         the figures
page           the figures as a person reads them
plots          the pictures
"""

from smdae.comparing.comparison import Findings, compare
from smdae.comparing.contest import Contest, applicable

__all__ = ["Contest", "Findings", "applicable", "compare"]
