"""Fitting: from images to a model.

patches      images packed to draw patches from
examples     what each objective is shown
prefetch     reading the next batch from a disk meanwhile
loop         the fit, a generator of reports
step_graph   its steps as CUDA graphs
distributed  several processes that fit one model
noisy        what noise there is in images that are not clean
validation   how good it is on held-out images
state        what a resumed fit needs
given        what `smdae.fit` is given: arrays, lists and paths
prepare      puts these together; `fit` runs them
adaptation   a network adapted to the one image that it is to denoise
transform_spline  the transform of shot noise, learnt from the one image
spline       increasing functions of pixels
held_out     what of an image is learnt from, and what is held out
"""

from smdae.fitting.fit import fit
from smdae.fitting.prepare import Prepared, prepare
from smdae.fitting.settings import Settings

__all__ = ["Prepared", "Settings", "fit", "prepare"]
