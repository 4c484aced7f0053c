"""The figures and the page: one source, 80 columns, JSON without NaN."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from smdae.comparing import applicable, compare, plots
from smdae.comparing.contest import Contest
from smdae.comparing.page import grid, page
from smdae.comparing.report import results
from smdae.fitting.settings import check
from tests.tiny import SETTINGS, gray


@pytest.fixture(scope="module")
def outcome():
    settings = check({**SETTINGS, "max_steps": 30, "hold_out": 0.2})
    contest = Contest.of([gray(seed=seed) for seed in range(3)], 255.0, settings, 300)
    *_, found = compare(contest, applicable()[:7], draws=64)
    return contest, found


@pytest.fixture(scope="module")
def record(outcome):
    return results(*outcome)


def test_shares_never_fall(outcome):
    contest, _ = outcome
    shares = [found.share for found in compare(contest, ("dsm", "esm-parzen"), draws=16)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


def test_no_line_is_wider_than_80_columns(record):
    lines = page(record).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)


def row(text: str, name: str, after: str) -> list[str]:
    """The words of the row of that name, below the line that starts so."""
    lines = text[text.index(after) :].splitlines()
    return next(line for line in lines if line.startswith(name + " ")).removeprefix(name).split()


def test_page_tells_what_the_figures_tell(record):
    text = page(record)
    for c in record["contestants"]:
        cells = row(text, c["objective"], "objective ")
        assert cells[0] == ("-" if c["psnr"] is None else f"{c['psnr']:.2f}")
        assert cells[-2:] == [f"{c['gradient_noise_start']:.2f}", f"{c['gradient_noise_end']:.2f}"]
        entries = [e for e in record["matrix"] if e["model"] == c["objective"]]
        assert row(text, c["objective"], "fitted with") == [f"{e['scaled']:.4f}" for e in entries]
    for pair in record["gradients"]:
        after = (
            "at the start" if pair["at"] == "start" else f"at the end of {record['settings']['gradients_at_end_of']}"
        )
        cells = row(text, f"{pair['first']}, {pair['second']}", after)
        assert f"{pair['cosine']:.4f}" in cells
    assert row(text, "linear filter", "objective ") == [f"{record['baselines']['wiener']:.2f}"]


def test_figures_hold_together(record):
    scaled = {(e["model"], e["objective"]): e for e in record["matrix"]}
    names = [c["objective"] for c in record["contestants"]]
    assert len(scaled) == len(names) ** 2
    sigma = record["settings"]["sigma"] / 255
    for c in record["contestants"]:
        assert c["curve"][-1]["objective"] == pytest.approx(scaled[c["objective"], c["objective"]]["scaled"], rel=1e-6)
        dsm, dae = scaled[c["objective"], "dsm"], scaled[c["objective"], "dae"]
        assert dae["value"] == pytest.approx(2 * sigma**4 * dsm["value"], rel=1e-4)
        assert dae["scaled"] == pytest.approx(dsm["scaled"], rel=1e-4)


def test_columns_of_equivalent_objectives_differ_by_a_constant(record):
    scaled = {(e["model"], e["objective"]): e["scaled"] for e in record["matrix"]}
    names = [c["objective"] for c in record["contestants"]]
    models = np.array([[scaled[name, column] for column in ("esm-parzen", "ism-parzen", "dsm")] for name in names])
    gaps = models[:, 1:] - models[:, :1]
    assert np.ptp(gaps, axis=0).max() < 0.3 * np.ptp(models[:, 0])


def test_what_is_no_number_is_null(outcome, record):
    contest, found = outcome
    bad = replace(found.matrix[0], value=math.nan, scaled=math.inf)
    broken = results(contest, replace(found, matrix=(bad, *found.matrix[1:])))
    assert broken["matrix"][0]["value"] is None
    for text in (json.dumps(record, allow_nan=False), json.dumps(broken, allow_nan=False)):
        assert json.loads(text)["format"] == "smdae-comparison"
    assert page(broken)


def test_a_wide_table_is_cut_into_blocks():
    header = ("name", *(f"column\n{i}" for i in range(20)))
    lines = grid(header, [("row", *(str(i) for i in range(20)))])
    assert max(map(len, lines)) <= 80
    assert [word for line in lines if line.startswith("row") for word in line.split()[1:]] == [*map(str, range(20))]


def test_pictures_are_pictures(record):
    for data in (plots.curves(record), plots.filters(torch.randn(7, 16), 4, "seven")):
        assert data.startswith(b"\x89PNG")
        assert len(data) > 1000


@pytest.mark.parametrize("hidden", [1, 7, 64, 512])
def test_every_filter_has_its_tile_on_gray(hidden):
    W = torch.randn(hidden, 16, generator=torch.Generator().manual_seed(0))
    sheet = plots.mosaic(W, 4)
    shown = min(hidden, plots.TILES)
    assert sheet.min() >= 0
    assert sheet.max() <= 1
    assert (sheet[0] == 0.5).all()
    # Each tile reaches black or white, and only tiles differ from the ground.
    assert 16 * shown - 8 < (sheet != 0.5).sum() <= 16 * shown
    assert ((sheet == 0) | (sheet == 1)).sum() >= shown


def test_curves_of_contestants_that_never_started_are_left_out(record):
    gone = {**record["contestants"][0], "curve": [], "outcome": "diverged", "psnr": None}
    assert plots.curves({**record, "contestants": [gone]}).startswith(b"\x89PNG")
