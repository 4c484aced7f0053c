"""The state of a fit: it comes back bit for bit, belongs to one set of settings, and nothing else is taken for it."""

import json
import pickle

import pytest
import torch

from smdae.errors import ModelError
from smdae.fitting import prepare
from smdae.fitting.settings import check
from tests.tiny import SETTINGS, gray

NAME = "m.state"


def prepared(**more):
    return prepare([gray(seed=seed) for seed in range(3)], 255.0, check(SETTINGS | more))


def advanced(steps=2):
    """A fit some steps on; reports come at validations, and every step is one."""
    fit = prepared()
    for report in fit.run():
        if report.step == steps:
            break
    return fit


@pytest.fixture(scope="module")
def fitted():
    return advanced()


@pytest.fixture(scope="module")
def data(fitted):
    return fitted.state.to_bytes()


def weights(state):
    """All weights that a state holds, as bytes by name."""
    parts = {"model": state.model.state_dict(), "average": state.average.state_dict(), "best": state.best}
    return {(part, name): t.numpy().tobytes() for part, tensors in parts.items() for name, t in tensors.items()}


def test_a_state_comes_back_bit_for_bit(fitted, data):
    other = prepared()
    assert weights(other.state) != weights(fitted.state)
    other.state.restore(data, NAME)
    assert weights(other.state) == weights(fitted.state)
    assert other.state.record == fitted.state.record
    assert torch.equal(other.state.generator.get_state(), fitted.state.generator.get_state())
    before, after = (fit.state.optimiser.state_dict()["state"] for fit in (fitted, other))
    assert before.keys() == after.keys() != set()
    for index, slots in before.items():
        assert all(torch.equal(slots[name], after[index][name]) for name in slots)


@pytest.mark.parametrize(("name", "value"), [("lr", 0.1), ("max_steps", 9), ("objective", "dae"), ("seed", 1)])
def test_a_state_of_other_settings_is_refused_by_the_name_that_differs(data, name, value):
    with pytest.raises(ModelError) as caught:
        prepared(**{name: value}).state.restore(data, NAME)
    then = check(SETTINGS).model_dump()[name]
    assert f"{name.replace('_', '-')} was {then}, now it is {value}" in caught.value.message
    assert NAME in caught.value.message


def changed(data, **changes):
    """The file with other metadata."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] |= changes
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


SETTLED = json.dumps(check(SETTINGS).model_dump(mode="json"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[:100],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: pickle.dumps({"state": 1}),
        lambda data: (1 << 40).to_bytes(8, "little") + data[8:],
        lambda data: changed(data, format="smdae-model"),
        lambda data: changed(data, version="2"),
        lambda data: changed(data, state="null"),
        lambda data: changed(data, state="[]"),
        lambda data: changed(data, state="{}"),
        lambda data: changed(data, state="[" * 100_000),
        lambda data: changed(data, state='{"settings": 3, "record": 4}'),
        lambda data: changed(data, state=f'{{"settings": {SETTLED}, "record": {{}}}}'),
        lambda data: data.replace(b'"model.W"', b'"model.V"'),
        lambda data: data.replace(b'"generator"', b'"Generator"'),
        lambda data: data.replace(b'"optimiser.0.', b'"optimiser.x.'),
    ],
)
def test_a_damaged_state_is_refused_in_one_line(data, damage):
    broken = damage(data)
    assert broken != data
    with pytest.raises(ModelError) as caught:
        prepared().state.restore(broken, NAME)
    assert NAME in caught.value.message
    assert "\n" not in caught.value.message


def test_a_state_of_images_with_other_channels_is_refused(data):
    colours = prepare([gray()[:, :, None].repeat(3, 2)] * 2, 255.0, check(SETTINGS))
    with pytest.raises(ModelError, match="does not belong"):
        colours.state.restore(data, NAME)


@pytest.mark.parametrize("objective", ["dsm", "ism-parzen", "esm-parzen", "esm"])
def test_a_fit_broken_off_and_resumed_ends_with_the_same_weights(objective):
    """The unbroken fit, and one that is stopped after two steps and goes on in another process's objects."""
    more = {"objective": objective, "max_steps": 5, "parzen_patches": 50, "components": 2}
    whole = prepared(**more)
    for _ in whole.run():
        pass
    first, second = prepared(**more), prepared(**more)
    for report in first.run():
        if report.step == 2:
            break
    second.state.restore(first.state.to_bytes(), NAME)
    for _ in second.run():
        pass
    assert second.state.record["step"] == whole.state.record["step"] == 5
    assert weights(second.state) == weights(whole.state)


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_network_too_is_resumed_bit_for_bit(optimiser):
    settings = check(
        {
            "model": "unet",
            "patch_size": 8,
            "growth": [16],
            "batch": 8,
            "max_steps": 6,
            "clipped": 0.5,
            "optimiser": optimiser,
        }
    )

    def fresh():
        return prepare([gray(seed=seed) for seed in range(3)], 255.0, settings)

    whole, first, second = fresh(), fresh(), fresh()
    list(whole.run())
    for report in first.run():
        if report.step == 2:
            break
    second.state.restore(first.state.to_bytes(), NAME)
    list(second.run())
    assert second.state.record["step"] == whole.state.record["step"] == 6
    assert weights(second.state) == weights(whole.state)
