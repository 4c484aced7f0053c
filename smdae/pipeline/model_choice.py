"""The choice of the model that a picture is denoised with."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from smdae.errors import ModelError, SmdaeError
from smdae.pipeline.card import CLEAN, VARYING
from smdae.pipeline.messages import Messages

if TYPE_CHECKING:
    import torch

    from smdae.files.picture import Picture

ModelFor = Callable[["Picture"], Any]  # returns the model that a picture is denoised with

VARIABLE = "SMDAE_MODEL"
FITTED = "model.safetensors"  # what `fit` writes by default


def choose(model: str | None, picture: "Picture", fast: bool = False) -> str:
    """Return the file or name of the model: the one given, else $SMDAE_MODEL, else the bundled one for the picture.

    With `fast` it is the small bundled one. A model that `fit` wrote to the working folder is not chosen unless it is
    named; otherwise results would depend on where a command is run.
    """
    from smdae.denoising.preparation import is_gray

    gray, color = _choices(model, fast)
    if gray == color:
        return gray
    visible = None if picture.alpha is None else picture.alpha > 0
    return gray if is_gray(picture.pixels, visible) else color


def _choices(model: str | None, fast: bool) -> tuple[str, str]:
    """Return the file or name of the model for gray pictures, and of that for colour."""
    given = model or os.environ.get(VARIABLE)
    if given and not fast:
        return given, given
    size = "-small" if fast else ""
    return f"natural-gray{size}", f"natural-color{size}"


def bytes_per_pixel(model: str | None, fast: bool, imports: Sequence[str] = ()) -> int | None:
    """Return how many bytes of memory a pixel takes: the most of all models that `choose` may return.

    Returns:
        None if one of these models is of patches, since it takes the same memory for a picture of any size. None, too,
        if one cannot be loaded: the error is raised later, with the first picture.
    """
    from smdae.files.model_file import load
    from smdae.models.patchwise import Patchwise

    names = set(_choices(model, fast))
    try:
        models = [load(name, imports) for name in names]
    except SmdaeError:
        return None
    if any(isinstance(each, Patchwise) for each in models):
        return None
    # A model of gray that is named takes colours as three pictures at once.
    at_once = 3 if len(names) == 1 and models[0].channels == 1 else 1
    return max(at_once * int(each.bytes_per_pixel) for each in models)


def mention_fitted(model: str | None, fast: bool, messages: Messages) -> None:
    """Say that there is a model in the working folder, and how to use it, if no model was named."""
    if not (model or fast or os.environ.get(VARIABLE)) and os.path.isfile(FITTED):
        messages.note(f"./{FITTED} exists: -m {FITTED} uses it", now=True)


@contextmanager
def telling_of_variable(model: str | None, fast: bool) -> Iterator[None]:
    """Let each ModelError of the `with` block begin with $SMDAE_MODEL, if that variable names the model."""
    try:
        yield
    except ModelError as error:
        if model or fast or not os.environ.get(VARIABLE):
            raise
        raise ModelError(f"{VARIABLE}: {error.message}", error.hint) from error


def load_denoiser(name: str, imports: Sequence[str], warn: Callable[[str], object]) -> Any:
    """Return a model that can denoise; warn if its card says that it made held-out images worse.

    A model file may name modules of the user's own; only those among `imports` are imported.

    Raises:
        ModelError: There is no such model, it is damaged, or its score is not one that denoises.
        UsageError: A module among the imports cannot be imported.
    """
    from smdae.files.model_file import load

    loaded = load(name, imports)
    if "rows" in loaded.card:
        raise ModelError(
            f"the model '{name}' was fitted to rows of numbers, not to pictures",
            "its score is for Python: smdae.load(FILE).score(rows)",
        )
    if loaded.card.get("score_of") == CLEAN:
        raise ModelError(
            f"the model '{name}' is a score of the clean density, so it cannot remove noise",
            "fit with --objective dsm, dae, esm-parzen or ism-parzen",
        )
    if loaded.card.get("score_of") == VARYING:
        raise ModelError(
            f"the model '{name}' was fitted to noise that depends on brightness: the clean picture does not follow",
            "denoise with a bundled network, which takes such noise",
        )
    figures = loaded.card.get("held_out_psnr")
    before, after = (figures.get(name) if isinstance(figures, dict) else None for name in ("noisy", "model"))
    if isinstance(before, int | float) and isinstance(after, int | float) and round(after, 2) < round(before, 2):
        became = f"{before:.2f} dB became {after:.2f}"
        warn(f"the model '{name}' made the images held out of its fit worse: {became}")
    return loaded


def placed(model: Any, where: "torch.device", many: bool) -> Any:
    """Move a model to a device, set it up for that device, and return it; the model itself is changed.

    On CUDA the weights are stored channels last, float32 products keep full precision (no TF32), and where there are
    many pictures, those of a size that recurs are denoised by recorded CUDA graphs.
    """
    if where.type != "cuda":
        return model.to(where)
    import torch

    from smdae.models.inference_graphs import InferenceGraphs
    from smdae.protocols import HasGraphs, offers

    # Here, for all threads: `exact` restores what it finds, and threads would restore different values.
    torch.backends.cudnn.allow_tf32 = False
    model.to(where, memory_format=torch.channels_last)
    if many and offers(model, HasGraphs):
        model.graphs = InferenceGraphs()
    return model
