"""`smdae.fit`: a fit in one call, to arrays or files."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from smdae.denoising.arrays import as_python
from smdae.device import named
from smdae.errors import InputError, UsageError
from smdae.fitting import loop
from smdae.fitting.given import INTEGERS, gathered, images_of, level_for_rows, level_of, rows_of
from smdae.fitting.precision import denormals_flushed
from smdae.fitting.prepare import prepare
from smdae.fitting.settings import Settings, check, for_rows
from smdae.models.own_checked import made_by, name_of
from smdae.noise import Noise


def fit(
    patches: Any,
    objective: str = "dsm",
    model: str | nn.Module | Callable[[], nn.Module] = "energy",
    sigma: float | tuple[float, float] | None = None,
    *,
    axes: str | None = None,
    device: torch.device | str = "cpu",
    watch: Callable[[float, str], object] | None = None,
    **settings: Any,
) -> Any:
    """Fit a score model to patches or images and return it in eval mode.

    Args:
        patches: Images with shape (H, W) or (H, W, 3) in a list, or one array of them with shape (N, H, W) or
            (N, H, W, 3), of numpy, torch or Pillow; integers of 8, 16 or 32 bits, or floats. The last of three axes is
            that of colours if its length is 1 or 3. One array with shape (N, d), or a list of N rows, is N examples of
            d numbers, and one with shape (N,) N numbers. Or the path of a file or a folder, or a list of paths, whose
            images are read in gray unless `color=True` is set.
        objective: A name of OBJECTIVES.
        model: A name of MODELS; a module of your own with `score(x, sigma)` or `energy(x)`, which is copied; its
            class, or a function that makes it; or module:name of any of these.
        sigma: Level of the noise, or the lowest and the highest: white being 255 for integers of any depth, and in the
            images' own unit for floats. None for that of the command: 25 of 255, for a network 1 to 60, for noisy
            images as it is estimated, and for rows a third of their spread.
        axes: A letter for each axis of an array in another order: H or Y, W or X, C or S for colours, and N, T or Z
            for images, as for `denoise`.
        device: Where to compute: cpu, cuda, cuda:N, mps, or auto for what there is.
        watch: Called a few times a second with the share of the steps done, 0 to 1, and the figures as text.
        settings: Further settings, see `Settings`; `noise` may be a `Noise`, whose level replaces sigma.

    Raises:
        InputError: There is no usable image.
        UsageError: A setting is unknown or out of range, or sigma is larger than white.
        ModelError: The model that `init` names is missing, broken or of another kind.
        DeviceError: There is no such device.
        DivergedError: The fit diverged.
        MemoryLimitError: It takes more memory than there is.
    """
    device = named(device)
    if not isinstance(model, str | nn.Module) and not callable(model):
        raise UsageError(f"a model is a name, a module of yours or its class, not of type {type(model).__name__}")
    patches, sigma = gathered(patches), as_python(sigma)
    settings = {name: as_python(value) for name, value in settings.items()}
    module, name = _named_model(model, settings.get("seed", 0))
    if isinstance(settings.get("noise"), Noise):
        settings["noise"] = settings["noise"].of_unit().to_yaml()
    has_level = "noise" not in settings and sigma is not None
    if isinstance(patches, np.ndarray) and patches.ndim == 2 and axes is None:
        options = {"objective": objective, "model": name, **settings}
        return _fit_rows(patches, sigma if has_level else None, device, module, options, watch)
    found = images_of(patches, axes, bool(settings.get("color")))
    images, white = found.images, found.white
    of_level = {"sigma": level_of(sigma, found)} if has_level else {}
    given = {"objective": objective, "model": name, **of_level, **settings}
    chosen, smallest = check(given), min(min(image.shape[:2]) for image in images)
    if "patch_size" not in given and smallest < chosen.patch_size:  # small images are patches themselves
        chosen = check(given | {"patch_size": smallest})
    least = chosen.least_side
    if small := sum(min(image.shape[:2]) < least for image in images):
        needed = f"patch size {least}" if least == chosen.patch_size else f"{least} pixels a side that this fit needs"
        raise InputError(f"{small} images are smaller than the {needed}")
    return _run(images, white, chosen, device, module, watch)


def _named_model(model: Any, seed: Any) -> tuple[nn.Module | None, str]:
    """Return a module of the user's own, None for another, and the name of the model."""
    if isinstance(model, str):
        return None, model
    return (model, name_of(model)) if isinstance(model, nn.Module) else made_by(model, seed)


def _run(
    images: Sequence[np.ndarray],
    white: float,
    settings: Settings,
    device: torch.device | str,
    module: nn.Module | None,
    watch: Callable[[float, str], object] | None,
) -> Any:
    with denormals_flushed():
        prepared = prepare(images, white, settings, device, module=module)
        for report in prepared.run():
            if watch:
                share = min(1.0, report.step / report.steps) if report.steps else 0.0
                watch(share, f"step {report.step:,}, J {report.objective:.4g}, {report.seconds:.0f} s")
    model = prepared.fitted()
    record = prepared.state.record
    held_out = {"before": record["before"], "after": record["best"]}
    model.card = prepared.card(model, loop.ending(prepared.state)) | {"held_out": held_out}
    return model


def _fit_rows(
    rows: np.ndarray,
    sigma: float | tuple[float, float] | None,
    device: torch.device | str,
    module: nn.Module | None,
    options: dict[str, Any],
    watch: Callable[[float, str], object] | None,
) -> Any:
    """Return the model fitted to rows of numbers, (N, d); without sigma and without noise at a third of their spread.

    Raises:
        UsageError: As `fit`; or the spread is not that of numbers that a fit takes.
        InputError: No density can be fitted to them.
    """
    level: Any = sigma
    if sigma is not None and rows.dtype not in INTEGERS:  # sigma is in their own unit, of which white is 1
        level = tuple(255 * end for end in sigma) if isinstance(sigma, tuple) else 255 * sigma
    chosen = for_rows(check(options if level is None else options | {"sigma": level}))
    found = rows_of(rows, chosen.seed)
    if level is None and chosen.noise is None:
        white, level = level_for_rows(found.images[0], found.white)
        if white != found.white:
            raise UsageError(f"the rows vary by about {white:g}: too much or too little", f"divide them by {white:g}")
        chosen = chosen.model_copy(update={"sigma": level})
    return _run(found.images, found.white, chosen, device, module, watch)
