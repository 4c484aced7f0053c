"""The plan of a comparison: names of objectives, parts and baselines, checked before any work, and models."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from smdae.comparing.comparison import Plan
from smdae.comparing.contest import applicable
from smdae.comparing.denoising.baselines import check
from smdae.comparing.parts import PARTS
from smdae.comparing.record import LeftOut
from smdae.errors import ModelError, UsageError
from smdae.objectives import OBJECTIVES


def planned(
    objectives: Sequence[str] | None,
    parts: Sequence[str] | None,
    baselines: Sequence[str] | None,
    seeds: int,
    quick: bool,
) -> tuple[Plan, list[LeftOut]]:
    """Return the plan of a comparison, each name once, and what is left out of it.

    Objectives and parts come in the order of their tables, and none of them stands for all; baselines come as they are
    given. `seeds` is not checked.

    Raises:
        UsageError: A name is unknown, none of the objectives can be fitted, or the package of a baseline is missing.
    """
    for what, names, known in (("objective", objectives, OBJECTIVES), ("part", parts, PARTS)):
        unknown = [name for name in names or () if name not in known]
        if unknown:
            raise UsageError(f"unknown {what} {unknown[0]!r:.60}; there are {', '.join(known)}")
    check(baselines or ())
    wanted = [name for name in OBJECTIVES if not objectives or name in objectives]
    chosen = tuple(name for name in wanted if name in applicable())
    left_out = [
        LeftOut(f"objective {name}", f"the model lacks one of {', '.join(OBJECTIVES[name].requires)}")
        for name in wanted
        if name not in chosen
    ]
    if not chosen:
        raise UsageError(f"none of the objectives can be fitted: {left_out[0].reason}")
    wanted_parts = tuple(part for part in PARTS if not parts or part in parts)
    return Plan(chosen, seeds, wanted_parts, {}, tuple(dict.fromkeys(baselines or ())), quick), left_out


def refuse_models(models: Sequence[str], examples: str) -> None:
    """Raise UsageError if there are models, by name, to compare on examples that are not images.

    `examples` says in words what they are, and is empty for images.
    """
    if models and examples:
        raise UsageError(
            f"cannot compare '{models[0]}': models are compared on images, and these are {examples}",
            "leave it out; info shows how a model did on what was held out of its fit",
        )


def with_models(plan: Plan, models: Mapping[str, Any]) -> tuple[Plan, list[LeftOut]]:
    """Return the plan with the models of gray images in its `files`, and a `LeftOut` for each model of colour images.

    ModelError if there are models and none is of gray images.
    """
    gray = {name: model for name, model in models.items() if model.channels == 1}
    colours = [
        LeftOut(f"model {name}", f"it takes {model.channels} channels, and the images compared on are gray")
        for name, model in models.items()
        if name not in gray
    ]
    if colours and not gray:
        raise ModelError(f"cannot compare '{next(iter(models))}': {colours[0].reason}", "name a model of gray images")
    return replace(plan, files=gray), colours
