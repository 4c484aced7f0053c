"""The state of a fit: it comes back bit for bit, belongs to one set of settings, and nothing else is taken for it."""

import json
import math
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from smdae.errors import ModelError
from smdae.files import tensor_file
from smdae.fitting import prepare
from smdae.fitting.settings import check
from tests.tiny import SETTINGS, gray, with_header

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
    return with_header(data, lambda header: header["__metadata__"].update(changes))


def with_tensors(data, change):
    """The file with other tensors, and the checksum that belongs to them."""
    header = tensor_file.header(data)
    tensors = load_tensors(data)
    change(tensors)
    return tensor_file.with_checksum(save_tensors(tensors, header.metadata))


def with_record(data, **changes):
    """The file with other entries in its record."""
    state = json.loads(tensor_file.header(data).metadata["state"])
    state["record"] |= changes
    return changed(data, state=json.dumps(state))


def refused(data, *words):
    with pytest.raises(ModelError) as caught:
        prepared().state.restore(data, NAME)
    assert NAME in caught.value.message
    assert "\n" not in caught.value.message
    for word in words:
        assert word in caught.value.message


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
    refused(broken)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update({"optimiser.0.exp_avg": torch.zeros(3)}),
        lambda t: t.update({"optimiser.0.exp_avg": torch.zeros(())}),
        lambda t: t.update({"optimiser.0.exp_avg": t["optimiser.0.exp_avg"].double()}),
        lambda t: t.update({"optimiser.1.step": torch.zeros(5)}),
        lambda t: t.update({"optimiser.999.exp_avg": torch.zeros(3)}),
        lambda t: t.update({"optimiser.-1.exp_avg": torch.zeros(3)}),
        lambda t: t.update({"optimiser.0.more": torch.zeros(3)}),
        lambda t: t.update({"best.W": torch.zeros(3)}),
        lambda t: t.update({"average.b": torch.zeros(8, dtype=torch.int64)}),
        lambda t: t.update({"generator": torch.zeros(3, dtype=torch.uint8)}),
        lambda t: t.update({"generator": torch.zeros(5056, dtype=torch.uint8)}),
        lambda t: t.update({"model.W": torch.full_like(t["model.W"], torch.nan)}),
        lambda t: t.pop("optimiser.2.exp_avg_sq"),
        lambda t: t.pop("best.W"),
    ],
)
def test_tensors_that_are_not_those_of_this_fit_are_refused(data, change):
    """A slot of another shape would be written beyond its end."""
    refused(with_tensors(data, change))


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_slots_of_a_network_have_their_shapes_too(optimiser):
    settings = check({"model": "unet", "patch_size": 8, "batch": 8, "max_steps": 6, "optimiser": optimiser})
    fits = [prepare([gray(seed=seed) for seed in range(3)], 255.0, settings) for _ in range(2)]
    next(iter(fits[0].run()))
    data = fits[0].state.to_bytes()
    for name, tensor in load_tensors(data).items():
        if name.startswith("optimiser."):
            other = tensor[None].clone()
            with pytest.raises(ModelError, match="does not belong"):
                fits[1].state.restore(with_tensors(data, lambda t, n=name, o=other: t.update({n: o})), NAME)
    fits[1].state.restore(data, NAME)


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "2"},
        {"step": 2.5},
        {"step": True},
        {"step": -1},
        {"step": None},
        {"steps": "many"},
        {"steps": 10**30},
        {"seconds": "1"},
        {"seconds": None},
        {"seconds": math.nan},
        {"seconds": -1.0},
        {"best": [1]},
        {"best": math.inf},
        {"best": None},
        {"before": None},
        {"before": {}},
        {"stale": 1.5},
        {"stale": None},
    ],
    ids=str,
)
def test_a_record_of_other_types_is_refused_by_the_name_of_the_entry(data, changes):
    refused(with_record(data, **changes), "the file is damaged", *changes)


def test_a_setting_of_two_lines_is_refused_in_one(data):
    settled = json.dumps({**json.loads(SETTLED), "objective": "dsm\n\x1b[31mand more"})
    crafted = changed(data, state=f'{{"settings": {settled}, "record": {{}}}}')
    refused(crafted, "objective was 'dsm\\n\\x1b[31mand more'")


def test_each_bit_that_flips_is_noticed(data):
    chance = np.random.default_rng(0)
    for at in chance.integers(len(data) // 2, len(data), 20):
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(chance.integers(8))
        refused(bytes(flipped), "checksum")
    refused(data.replace(b'\\"step\\":2', b'\\"step\\":3').replace(b'\\"step\\": 2', b'\\"step\\": 3'), "checksum")


@pytest.mark.parametrize(
    "images",
    [
        [gray(seed=seed) for seed in (0, 1, 3)],
        [gray(seed=seed) for seed in range(4)],
        [gray(seed=seed)[:, 1:] for seed in range(3)],
    ],
    ids=["others", "more", "smaller"],
)
def test_a_state_of_other_images_is_refused(data, images):
    with pytest.raises(ModelError, match=f"'{NAME}': it is of a fit to other images"):
        prepare(images, 255.0, check(SETTINGS)).state.restore(data, NAME)


def test_a_state_that_does_not_say_of_which_images_it_is_is_taken_over(data, fitted):
    header = tensor_file.header(data)
    record = json.loads(header.metadata["state"])
    del record["images"]
    older = save_tensors(load_tensors(data), header.metadata | {"state": json.dumps(record)})
    fit = prepared()
    fit.state.restore(older, NAME)
    assert weights(fit.state) == weights(fitted.state)


def test_a_state_without_a_checksum_is_taken_over(data, fitted):
    other = prepared()
    other.state.restore(changed(data), NAME)
    assert weights(other.state) == weights(fitted.state)


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
