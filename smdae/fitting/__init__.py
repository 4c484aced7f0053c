"""Fitting: from images to a model.

What is fitted to:

given            what `smdae.fit` gets: arrays, lists and paths
splitting        images to fit on and images held out, with texture
noisy            the noise of images that are not clean
patches, packed  images in memory or in a file, and random patches of them
colours          augmentation of colours
corruption       the noise of real pictures, simulated
draws            batches, their sources, and the part of each process
examples         batches for an objective, set up by example_setup

The fit:

fit              `smdae.fit`: a fit in one call
settings         the settings, with their limits and defaults; setting_rules, which of them go together
prepare          puts everything together
initial_model    the model to start from, if it is another one
loop             the fit, a generator of reports
step_graph       its steps as CUDA graphs
optimisers, precision, degeneration
                 the table of optimisers, the precision of products, checks that the fit still learns
distributed      several processes that fit one model
validation       the figure of a model on held-out images
state            what a resumed fit needs

Networks fitted further to noisy pictures:

refinement       to many, by iterative data refinement, with refinement_batches
adaptation       to the one picture to denoise: `smdae.adapt`
transform_spline  the transform of shot noise learnt from one picture, with spline
held_out         the parts of one picture to learn from and to hold out
"""

from smdae.fitting.fit import fit
from smdae.fitting.prepare import prepare
from smdae.fitting.prepared import Prepared
from smdae.fitting.settings import Settings

__all__ = ["Prepared", "Settings", "fit", "prepare"]
