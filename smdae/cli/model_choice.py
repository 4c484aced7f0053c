"""Which model a picture is denoised with, and what is said of it and of the level."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smdae.cli import console
from smdae.cli.fitted import CLEAN, VARYING
from smdae.errors import ModelError

if TYPE_CHECKING:
    import torch

    from smdae.cli.outcome import Found, Noted
    from smdae.denoising.judgement import Judgement
    from smdae.files.picture import Picture

__all__ = ["choose", "load_denoiser", "placed", "tell_left", "tell_noise", "tell_quality"]

MAX_DOUBTS = 3  # that are told; each page of a stack may have its own
FITTED = "model.safetensors"  # what `fit` writes unless told otherwise
APART = 0.2  # how far sigma may be from the model's level without a word


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


def tell_left(model: str | None, fast: bool) -> None:
    """Say how a model that lies in the working folder is taken, if none was named."""
    if not (model or fast or os.environ.get("SMDAE_MODEL")) and os.path.isfile(FITTED):
        console.note(f"./{FITTED} is there: -m {FITTED} takes it", now=True)


def _bundled(picture: "Picture") -> str:
    """Return the name of the bundled model for a picture."""
    from smdae.denoising.preparation import is_gray

    visible = None if picture.alpha is None else picture.alpha > 0
    return "natural-gray" if is_gray(picture.pixels, visible) else "natural-color"


def load_denoiser(name: str, imports: Sequence[str] = ()) -> Any:
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
        console.warn(f"the model '{name}' made the images held out of its fit worse: {became}")
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


def tell_noise(
    pages: "Sequence[Found | Noted]", model: Any, found: bool, source: Path | None = None, part: str = ""
) -> None:
    """Say which noise was found, what was repaired, and if the model was fitted for other levels.

    Args:
        pages: What was found in each page.
        model: What it was taken out by.
        found: Whether it was estimated.
        source: The picture, if it must be named.
        part: Of it, which is told, such as `channel 2: `.
    """
    name = (f"'{source}': " if source else "") + part
    first = next((page for page in pages if not page.estimate.noise.is_none), pages[0])
    of_pages = f" on {len(pages)} pages" if len(pages) > 1 else ""
    if found and first.estimate.noise.is_none:
        reason = first.estimate.reason
        console.note(f"{name}no noise found: left as it is" + (f" ({reason})" if reason else ""))
    elif found:
        console.note(f"{name}noise: {first.described}, estimated{of_pages}")
    repaired = sum(page.repaired for page in pages)
    if repaired:
        were = "pixel was an outlier" if repaired == 1 else "pixels were outliers"
        console.note(f"{name}{repaired:,} {were}, and repaired")
    lost = sum(page.lost for page in pages)
    if lost:
        console.note(f"{name}{lost:,} {'pixel is' if lost == 1 else 'pixels are'} NaN or infinite, and left as it was")
    if any(page.is_banded for page in pages):
        console.note(f"{name}rows or columns had offsets, and are levelled")
    if first.estimate.noise.kind == "white":
        for level in first.estimate.noise.levels:
            if level:
                _warn_of_level(model, 255 * level, name)


def tell_quality(judgements: "Sequence[Judgement | None]", source: Path | None = None) -> None:
    """Say how good the results are, as estimated, and what speaks against believing it.

    Args:
        judgements: Of each page; None for one that was left as it is.
        source: The picture, if it must be named.
    """
    name = f"'{source}': " if source else ""
    judged = [judgement for judgement in judgements if judgement is not None]
    trusted = [judgement for judgement in judged if judgement.is_trusted]
    if len(trusted) == 1:
        console.note(f"{name}PSNR {trusted[0].text}, estimated")
    elif trusted:
        low, high = (end(one.psnr for one in trusted) for end in (min, max))
        console.note(f"{name}PSNR {low:.1f} to {high:.1f} dB on {len(trusted)} pages, estimated")
    gains = [one.gain for one in judged if one.gain is not None]
    if gains:
        best = max(gains)
        console.note(name + (f"adapted: +{best:.2f} dB, estimated" if best else "adapting gains nothing here"))
    shares = [one.transform for one in judged if one.transform is not None]
    if shares:
        best = 100 * max(shares)
        better = f"adapted: the transform of the noise alone, which foretells hidden pixels {best:.2g} % better"
        console.note(name + (better if best else "adapting gains nothing here: the transform stays that of the noise"))
    doubts = [*dict.fromkeys(doubt for one in judged for doubt in one.doubts)]
    if doubts:
        left = len(judged) - len(trusted)
        of_pages = "" if len(judged) == 1 else " of one page" if left == 1 else f" of {left} pages"
        more = [f"{len(doubts) - MAX_DOUBTS:,} more reasons"] if len(doubts) > MAX_DOUBTS + 1 else []
        told = doubts[:MAX_DOUBTS] if more else doubts
        console.note(f"{name}PSNR{of_pages} not estimated" + ("" if console.is_verbose() else " (-v says why)"))
        console.detail(f"{name}why it is not: {'; '.join([*told, *more])}")


def _warn_of_level(model: Any, sigma: float, name: str) -> None:
    """Say so if the model was fitted for other noise."""
    if model.level is not None:
        own = 255 * model.level
        if abs(sigma / own - 1) > APART:
            console.warn(f"{name}the result may be poor: sigma {sigma:.3g} is far from {own:g}, the model's level")
            console.detail(f"{name}a model of one level is good up to {100 * APART:.0f} % from it; networks take many")
        return
    low, high = (255 * level for level in model.noise_range)
    if not low <= round(sigma, 6) <= high:
        console.warn(f"{name}the result may be poor: sigma {sigma:.3g} is not from {low:g} to {high:g}")
        console.detail(f"{name}the model was fitted for these levels, white being 255; --white tells a smaller white")
