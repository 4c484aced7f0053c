"""Fitting: from images to a model.

patches      images packed to draw patches from
examples     what each objective is shown
loop         the fit, a generator of reports
validation   how good it is on held-out images
state        what a resumed fit needs
prepare      puts these together; `fit` runs them
"""

from smdae.fitting.prepare import Prepared, fit, prepare
from smdae.fitting.settings import Settings

__all__ = ["Prepared", "Settings", "fit", "prepare"]
