"""Steps that can be recorded: with rates in tensors they are those with numbers; on a CPU nothing is recorded."""

import numpy as np
import pytest
import torch

from smdae.fitting import loop, prepare
from smdae.fitting.settings import check
from smdae.fitting.step_graph import StepGraph
from tests.tiny import gray

NETWORK = {"model": "unet", "patch_size": 16, "batch": 4, "precision": "float32"}


def prepared(**values):
    return prepare([gray(40, 48, seed) for seed in range(3)], 255.0, check({"max_steps": 8, **values}))


def after(steps, one, **values):
    """Parameters and averages after some steps, and J at each."""
    ready = prepared(**values)
    told = []
    for k in range(steps):
        batch = ready.examples.draw(ready.state.settings.batch, ready.state.generator, k / steps)
        told.append(one(ready.state, batch, ready.examples))
    state = ready.state
    return [torch.cat([p.detach().flatten() for p in part]) for part in (state.parameters, state.averages)], told


@pytest.mark.parametrize("values", [NETWORK, {"hidden": 8, "patch_size": 4, "batch": 16}])
def test_rates_in_tensors_lead_where_numbers_do(values):
    def numbers(state, batch, examples):
        return loop.step(state, batch, examples, 0.01)

    def tensors(state, batch, examples):
        return loop.step(state, batch, examples, torch.tensor(0.01), torch.tensor(loop.share(state)))

    (one, one_told), (other, other_told) = after(8, numbers, **values), after(8, tensors, **values)
    for a, b in zip([*one, *one_told], [*other, *other_told], strict=True):
        assert (a - b).norm() < 1e-3 * a.norm()


def test_the_average_takes_less_the_older_it_is():
    ready = prepared(hidden=8, patch_size=4, batch=16, ema=0.9)
    shares = []
    for step in (0, 10, 1000):
        ready.state.record["step"] = step
        shares.append(loop.share(ready.state))
    assert shares == pytest.approx([0.9, 9 / 20, 0.1])


def test_a_cpu_records_nothing():
    ready = prepared(hidden=8, patch_size=4, batch=16)
    assert StepGraph.of(ready.state, ready.examples, loop.step) is None


def test_patches_grow_in_equal_parts_of_a_fit():
    examples = prepared(**NETWORK, growth=(20, 24)).examples
    assert [examples.stage(p) for p in (0.0, 0.33, 0.34, 0.7, 1.0)] == [0, 0, 1, 2, 2]
    sides = [examples.draw(4, torch.Generator().manual_seed(0), p).x.shape[-1] for p in (0.0, 0.34, 0.99)]
    assert np.array_equal(sides, [16, 20, 24])
