"""What was learned, in pictures: of the models, and of the toys."""

from collections.abc import Mapping

import torch

from smdae.comparing.learned import fields, filters, samples, toy_pictures
from smdae.comparing.part import Bench, Tables
from smdae.objectives import OBJECTIVES

__all__ = ["draw"]

KINDS = ("dsm", "ism-parzen", "esm", "ism")  # of which one each is shown, if they are there
MOST = 4


def chosen(bench: Bench) -> list[str]:
    """Return at most four of the fitted objectives, one of each kind, those of noisy patches first."""
    fitted = [name for name in bench.names if name in bench.fitted]
    names = sorted(fitted, key=lambda name: KINDS.index(name) if name in KINDS else len(KINDS))[:MOST]
    return sorted(names, key=lambda name: OBJECTIVES[name].samples == "data")


@torch.no_grad()
def draw(tables: Tables, bench: Bench) -> Mapping[str, bytes]:
    """Return the pictures as PNG files: toys always, the rest where there is a fit."""
    contest, names = bench.contest, chosen(bench)
    made: dict[str, bytes | None] = {
        "toy-1d": toy_pictures.lines(tables["thetas"]),
        "toy-2d": toy_pictures.planes(tables["thetas"]),
    }
    if names:
        bad = {row.objective for row in tables["units"] if row.outcome == "degenerated"}
        called = {name: f"{name} (degenerated)" if name in bad else name for name in names}
        ends = dict.fromkeys((names[0], names[-1]))
        everything = {name: bench.fitted[name] for name in bench.names if name in bench.fitted}
        made |= {
            "filters": filters.filters(contest, {called[name]: bench.fitted[name] for name in names}),
            "responses": filters.responses(contest, names[0], everything),
            "samples": samples.samples(contest, {called[name]: bench.fitted[name] for name in ends}, bench.quick),
            "field": fields.field(contest, called[names[0]], bench.fitted[names[0]], bench.quick),
        }
    return {name: data for name, data in made.items() if data is not None}
