"""Validation: what held-out examples a fit is judged by."""

import numpy as np

from smdae.fitting import prepare
from smdae.fitting.settings import check, for_rows
from smdae.fitting.validation import ROWS


def test_few_rows_that_are_held_out_get_noise_many_times():
    """Judged by one draw of noise, the best weights of a fit to 300 rows were those of a step early by chance."""
    rows = np.random.default_rng(0).standard_normal((1, 300, 2)).astype(np.float32)
    fit = prepare([rows], 1.0, for_rows(check({"sigma": 255.0, "max_steps": 1, "hidden": 8})))
    ((clean, noisy, sigma),) = fit.crops.pairs
    held = round(0.05 * 300)
    assert ROWS - held < clean.shape[3] <= ROWS
    assert (clean[..., :held] == clean[..., held : 2 * held]).all()
    noise = (noisy - clean) / sigma
    assert abs(noise.std().item() - 1) < 0.05
    assert (noise[..., :held] != noise[..., held : 2 * held]).all()
