"""The model that a fit starts from, if that is another fitted model or a network of the user's own."""

from collections.abc import Mapping
from typing import Any

from smdae.errors import ModelError, UsageError
from smdae.files.model_file import load
from smdae.fitting.patches import Patches
from smdae.fitting.settings import Settings
from smdae.models import Patchwise, family, takes_patches
from smdae.models.own import OwnModel
from smdae.named import is_named
from smdae.objectives import Objective
from smdae.protocols import HasDivergence, HasKinks, offers

MAX_EXACT = 4096  # dimensions, up to which an exact divergence is computed one derivative at a time


def started_from(init: str, channels: int, settings: Settings) -> Any:
    """Return a model to fit with the weights of another one, which is in the file `init` or bundled under that name.

    Raises:
        ModelError: The other model is missing, broken, or of another kind.
        UsageError: It is a module of the user's own, and cannot be imported or built.
    """
    # The user named this module as the model to fit, so its code may run.
    image_model = load(init, imports=[settings.model] if is_named(settings.model) else ())
    model = image_model.patch if isinstance(image_model, Patchwise) else image_model
    row = family(settings.model)
    kind: Any = row.fits
    own = {"channels": channels} | ({"size": settings.patch_size} if takes_patches(model) else {})
    theirs = {name: image_model.settings().get(name) for name in own}
    if not isinstance(model, kind) or theirs != own:
        shape = ", ".join(f"{name} {value}" for name, value in theirs.items())
        raise ModelError(
            f"cannot start from '{init}', a '{image_model.card.get('model')}' of {shape}: this fit is of a "
            f"'{settings.model}' of {', '.join(f'{name} {value}' for name, value in own.items())}",
            _hint(isinstance(model, kind), theirs, own),
        )
    if settings.clipped and not model.clips:
        raise ModelError(f"cannot start from '{init}': it was fitted without clipped pictures", "leave clipped out")
    if settings.real and not model.takes_noise:
        raise ModelError(f"cannot start from '{init}': it was fitted to white noise alone", "leave real out")
    if isinstance(model, OwnModel):
        started = OwnModel(model.module, model.name, channels, settings.patch_size, model.flat, settings.levels)
        return started.train().requires_grad_(True)
    described = model.settings()
    levels = {"levels": settings.levels} if "levels" in described else {"level": settings.levels[1]}
    started = kind(**(described | levels))
    started.load_state_dict(model.state_dict())
    return started


def notes_on_cost(model: Any, objective: Objective, settings: Settings, patches: Patches) -> list[str]:
    """Return notes on how a network of the user's own is called, and on the cost of exact divergences.

    Raises:
        UsageError: An exact divergence would take too many derivatives, or be wrong at kinks; or the network does not
            take what growth or noise need, images or patches.
    """
    notes = []
    if isinstance(model, OwnModel):
        if model.flat and settings.growth:
            raise UsageError(f"growth is for networks that take images, and '{model.name}' takes flat patches")
        inputs = f"flat patches of {patches.dim:,} numbers" if model.flat else "images"
        if settings.noise is not None and not model.flat:
            raise UsageError(f"noise is for models of patches, and '{model.name}' takes images")
        notes.append(f"'{model.name}' takes {'rows' if model.flat and patches.size == 1 else inputs}")
    by_probes = "probes" in objective.options and settings.probes == 0 and not offers(model, HasDivergence)
    by_entries = "reg_lambda" in objective.needs and isinstance(model, OwnModel)
    if not (by_probes or by_entries):
        return notes
    if offers(model, HasKinks) and model.kinked:
        raise UsageError(
            f"the exact divergence of '{settings.model}' misses the kinks of its ReLUs",
            "give it smooth layers, such as SiLU, or --probes 1, which takes differences",
        )
    if patches.dim > MAX_EXACT:
        raise UsageError(
            f"an exact divergence in {patches.dim:,} dimensions takes {patches.dim:,} derivatives an example, and at "
            f"most {MAX_EXACT:,} are taken",
            "take ssm-vr instead" if by_entries else "--probes 1 takes one, with some variance",
        )
    instead = "" if by_entries else "; --probes 1 takes one"
    return [*notes, f"the exact divergence takes {patches.dim:,} derivatives an example{instead}"]


def _hint(is_kind: bool, theirs: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """Return what makes a fit go with the model to start from.

    `is_kind` says whether that is of the kind that is fitted; the rest is its number of channels and, if it has one,
    its patch size, by name, and those of the fit.
    """
    others = [name for name in own if theirs[name] != own[name]]
    if is_kind and others == ["channels"] and {theirs["channels"], own["channels"]} == {1, 3}:
        return "add --color" if theirs["channels"] == 3 else "leave --color out"
    return "fit with its model, channels and patch size"
