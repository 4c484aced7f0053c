"""What a notebook shows of a model."""

import numpy as np

import smdae
from smdae.models import MODELS
from smdae.models.own import OwnModel
from smdae.models.shown import as_html


def test_a_fitted_model_is_a_table_of_what_it_was_fitted_with():
    rows = np.random.default_rng(0).standard_normal((60, 2))
    model = smdae.fit(rows, sigma=0.5, hidden=4, max_steps=2, batch=8)
    shown = model._repr_html_()
    assert shown.startswith("<table>")
    for cell in ("dsm", "127.5", "2", "steps", "57"):
        assert f"<td>{cell}</td>" in shown or f"<th>{cell}</th>" in shown, cell
    assert smdae.load("natural-gray-small")._repr_html_().count("<tr>") > 5


def test_what_a_card_says_is_escaped_and_models_without_one_have_an_empty_table():
    assert "<script>" not in as_html(
        "<b>", {"model": "<script>", "sigma": [5.0, 50.0], "held_out": {"a": None, "b": 1.5}}
    )
    assert as_html("Patchwise", None) == "<table><caption>Patchwise</caption></table>"
    kinds = [row.fits for name, row in MODELS.items() if name != "energy"]  # the energy is shown as what lifts it
    assert all(hasattr(kind, "_repr_html_") for kind in [*kinds, OwnModel])
