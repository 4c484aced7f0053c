"""smdae: fit the score of image patches, and denoise along it.

Vincent, "A Connection Between Score Matching and Denoising Autoencoders", Neural Computation 23(7), 2011.

Names resolve when first used, so that `import smdae` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from smdae import densities, divergence, models, objectives
    from smdae.denoising.denoise import denoise
    from smdae.denoising.denoised import Denoised, denoise_image
    from smdae.denoising.estimated import estimate_psnr, posterior_variance
    from smdae.denoising.judgement import Judgement
    from smdae.denoising.noise_search import estimate_noise
    from smdae.files.model_file import load
    from smdae.fitting.adaptation import adapt
    from smdae.fitting.fit import fit
    from smdae.noise import Noise
    from smdae.pipeline.compare import Compared, compare

# Public name: the module that holds it; a module's own name stands for itself.
_HOME = {
    "Compared": "smdae.pipeline.compare",
    "Denoised": "smdae.denoising",
    "Judgement": "smdae.denoising.judgement",
    "Noise": "smdae.noise",
    "adapt": "smdae.fitting.adaptation",
    "compare": "smdae.pipeline.compare",
    "densities": "smdae.densities",
    "denoise": "smdae.denoising",
    "denoise_image": "smdae.denoising",
    "divergence": "smdae.divergence",
    "estimate_noise": "smdae.denoising.noise_search",
    "estimate_psnr": "smdae.denoising.estimated",
    "fit": "smdae.fitting",
    "load": "smdae.files.model_file",
    "models": "smdae.models",
    "objectives": "smdae.objectives",
    "posterior_variance": "smdae.denoising.estimated",
}

__all__ = [
    "Compared",
    "Denoised",
    "Judgement",
    "Noise",
    "__version__",
    "adapt",
    "compare",
    "denoise",
    "denoise_image",
    "densities",
    "divergence",
    "estimate_noise",
    "estimate_psnr",
    "fit",
    "load",
    "models",
    "objectives",
    "posterior_variance",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'smdae' has no attribute {name!r}")
    module = import_module(_HOME[name])
    return module if _HOME[name] == f"smdae.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
