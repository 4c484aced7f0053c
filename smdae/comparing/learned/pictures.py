"""Pictures of what was learned: of the models, and of the toys."""

from collections.abc import Mapping

import torch

from smdae.comparing.learned import fields, filters, samples, toy_pictures
from smdae.comparing.part import Context, Tables
from smdae.objectives import OBJECTIVES

PREFERRED = ("dsm", "ism-parzen", "esm", "ism")  # of which one each is shown, if they are there
MAX_MODELS = 4


def chosen(context: Context) -> list[str]:
    """Return at most four of the fitted objectives, one of each kind, those of noisy patches first."""
    fitted = [name for name in context.names if name in context.fitted]
    names = sorted(fitted, key=lambda name: PREFERRED.index(name) if name in PREFERRED else len(PREFERRED))[:MAX_MODELS]
    return sorted(names, key=lambda name: OBJECTIVES[name].samples == "data")


@torch.no_grad()
def draw(tables: Tables, context: Context) -> Mapping[str, bytes]:
    """Return the pictures as PNG files by name: those of toys always, the rest where there is a fit."""
    contest, names = context.contest, chosen(context)
    made: dict[str, bytes | None] = {
        "toy-1d": toy_pictures.lines(tables["thetas"]),
        "toy-2d": toy_pictures.planes(tables["thetas"]),
    }
    if names:
        bad = {row.objective for row in tables["units"] if row.outcome == "degenerated"}
        called = {name: f"{name} (degenerated)" if name in bad else name for name in names}
        ends = dict.fromkeys((names[0], names[-1]))
        everything = {name: context.fitted[name] for name in context.names if name in context.fitted}
        made |= {
            "filters": filters.filters(contest, {called[name]: context.fitted[name] for name in names}),
            "responses": filters.responses(contest, names[0], everything),
            "samples": samples.samples(contest, {called[name]: context.fitted[name] for name in ends}, context.quick),
            "field": fields.field(contest, called[names[0]], context.fitted[names[0]], context.quick),
        }
    return {name: data for name, data in made.items() if data is not None}
