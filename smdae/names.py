"""The names of objectives, models and samplers, for what must not load torch, such as help.

Each belongs to a row of OBJECTIVES, MODELS or SAMPLERS, where it is implemented; a test compares the names.
"""

OBJECTIVE_NAMES = ["dsm", "dae", "esm", "ism", "ism-reg", "esm-parzen", "ism-parzen", "ssm", "ssm-vr", "fd-ssm"]
MODEL_NAMES = ["energy", "experts", "unet", "gradient-unet"]
SAMPLER_NAMES = ["tweedie", "ascent", "langevin", "ode", "coarse-to-fine"]
