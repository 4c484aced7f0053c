"""Fitting: from images to a model.

settings     the settings of a fit, with their limits and defaults
setting_rules  which of them go together
patches      images packed to draw patches from
examples     batches of examples for an objective
example_setup  what these are made of: data, arguments of the loss, densities
prefetch     reading the next batch from a disk meanwhile
loop         the fit, a generator of reports
step_graph   its steps as CUDA graphs
distributed  several processes that fit one model
noisy        the noise of images that are not clean
redrawn      a network fitted on to such images, with noise drawn anew on what it makes of them
validation   how good it is on held-out images
state        what a resumed fit needs
initial_model  the model that a fit starts from, where it is another one
prepare      puts these together
given        what `smdae.fit` is given: arrays, lists and paths
fit          `smdae.fit`: a fit in one call
adaptation   a network adapted to the one image that it is to denoise
transform_spline  the transform of shot noise, learnt from the one image
spline       increasing functions of pixels
held_out     what of an image is learnt from, and what is held out
"""

from smdae.fitting.fit import fit
from smdae.fitting.prepare import Prepared, prepare
from smdae.fitting.settings import Settings

__all__ = ["Prepared", "Settings", "fit", "prepare"]
