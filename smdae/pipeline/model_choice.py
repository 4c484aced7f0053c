"""Which model a picture is denoised with."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from smdae.errors import ModelError
from smdae.pipeline.card import CLEAN, VARYING
from smdae.pipeline.messages import Messages

if TYPE_CHECKING:
    import torch

    from smdae.files.picture import Picture

__all__ = ["choose", "load_denoiser", "placed", "tell_left"]

FITTED = "model.safetensors"  # what `fit` writes unless told otherwise


def choose(model: str | None, picture: "Picture", fast: bool = False) -> str:
    """Return the model's file or name: -m, else $SMDAE_MODEL, else the bundled one that fits.

    With `fast` it is the small bundled one that fits. What `fit` has left in the working folder is never taken unasked:
    results would depend on where a command is run.
    """
    if fast:
        return f"{_bundled(picture)}-small"
    if model or os.environ.get("SMDAE_MODEL"):
        return model or os.environ["SMDAE_MODEL"]
    return _bundled(picture)


def tell_left(model: str | None, fast: bool, messages: Messages) -> None:
    """Say how a model that lies in the working folder is taken, if none was named."""
    if not (model or fast or os.environ.get("SMDAE_MODEL")) and os.path.isfile(FITTED):
        messages.note(f"./{FITTED} is there: -m {FITTED} takes it", now=True)


def _bundled(picture: "Picture") -> str:
    """Return the name of the bundled model for a picture."""
    from smdae.denoising.preparation import is_gray

    visible = None if picture.alpha is None else picture.alpha > 0
    return "natural-gray" if is_gray(picture.pixels, visible) else "natural-color"


def load_denoiser(name: str, imports: Sequence[str], warn: Callable[[str], object]) -> Any:
    """Return the model, if it can denoise, and warn of one that its card says makes pictures worse.

    Modules of the user's own are imported if they are among the imports.
    """
    from smdae.files.model_file import load

    loaded = load(name, imports)
    if loaded.card.get("score_of") == CLEAN:
        raise ModelError(
            f"the model '{name}' is a score of the clean density: it knows no noise to remove",
            "fit with --objective dsm, dae, esm-parzen or ism-parzen",
        )
    if loaded.card.get("score_of") == VARYING:
        raise ModelError(
            f"the model '{name}' is a score of noise that depends on brightness, which does not tell the clean picture",
            "denoise with a bundled network, which takes such noise",
        )
    figures = loaded.card.get("held_out_psnr")
    before, after = (figures.get(name) if isinstance(figures, dict) else None for name in ("noisy", "model"))
    if isinstance(before, int | float) and isinstance(after, int | float) and after < before:
        became = f"{before:.2f} dB became {after:.2f}"
        warn(f"the model '{name}' made the images held out of its fit worse: {became}")
    return loaded


def placed(model: Any, where: "torch.device", many: bool) -> Any:
    """The model on a device, with what suits it there.

    On CUDA kernels lie in the order in which they are used, float32 has all of its digits, and of many pictures those
    of a size that comes again go by recorded passes.
    """
    if where.type != "cuda":
        return model.to(where)
    import torch

    from smdae.models.inference_graphs import InferenceGraphs
    from smdae.protocols import HasGraphs, offers

    torch.backends.cudnn.allow_tf32 = False  # for all threads: each would else put back what it found
    model.to(where, memory_format=torch.channels_last)
    if many and offers(model, HasGraphs):
        model.graphs = InferenceGraphs()
    return model
