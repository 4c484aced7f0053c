"""A fit by several processes is that of one: the same examples to the last bit, the same steps to rounding."""

import copy
import math
from dataclasses import dataclass, field
from itertools import chain

import pytest
import torch
from torch import Generator

from smdae.errors import DivergedError, InputError, LostError
from smdae.fitting import loop, prepare
from smdae.fitting.distributed import ALONE, Group
from smdae.fitting.settings import check
from tests.ranks import each
from tests.tiny import SETTINGS, colour, gray

IMAGES = [gray(seed=seed) for seed in range(3)]
LARGE = [gray(40, 44, seed) for seed in range(3)]
NETWORK = {"model": "unet", "patch_size": 16, "batch": 5, "lr": 0.003}


def prepared(images=IMAGES, group=ALONE, **settings):
    return prepare(images, 255.0, check(SETTINGS | settings), group=group)


# The parts of a batch


@pytest.mark.parametrize(
    "settings",
    [
        *({"objective": name} for name in ("dsm", "dae", "ism", "ism-reg", "ism-parzen", "ssm", "ssm-vr")),
        {"objective": "esm-parzen", "parzen_patches": 50},
        {"objective": "esm", "target": "gaussian"},
        {"objective": "esm", "target": "gmm", "components": 2},
        *({"objective": name, "noisy": True, "sigma": 25.0} for name in ("ism", "dsm", "ssm", "fd-ssm")),
        NETWORK | {"clipped": 0.5, "growth": (24,)},
        NETWORK | {"objective": "fd-ssm", "sigma": 25.0},
        NETWORK | {"color": True, "recoloured": 0.5},
        {"model": "experts", "patch_size": 16, "filters": 3, "window": 3},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def test_the_parts_of_a_batch_are_the_batch(settings):
    """To the last bit, but for what products of matrices make, whose rounding is that of their shape."""
    images = [colour(40, 44)] * 3 if settings.get("color") else LARGE
    shown = prepared(images, **settings).examples
    for n, progress in ((13, 0.0), (12, 0.9)):
        whole = shown.draw(n, Generator().manual_seed(3), progress)
        for size in (2, 3, 4):
            ends = [Generator().manual_seed(3) for _ in range(size)]
            parts = [shown.draw(n, ends[rank], progress, Group(rank, size)) for rank in range(size)]
            assert {part.n for part in parts} == {whole.n}
            torch.testing.assert_close(torch.cat([part.x for part in parts]), whole.x, rtol=1e-5, atol=1e-6)
            assert shown.density or torch.equal(torch.cat([part.x for part in parts]), whole.x)
            for name, needed in whole.needs.items():
                if isinstance(needed, torch.Tensor):
                    joined = torch.cat([part.needs[name] for part in parts], dim=1 if name == "probes" else 0)
                    torch.testing.assert_close(joined, needed, rtol=1e-5, atol=1e-4)
                    assert name == "target_score" or torch.equal(joined, needed)
            if whole.white is not None:
                assert torch.equal(torch.cat([part.white for part in parts]), whole.white)
            assert all(torch.equal(end.get_state(), ends[0].get_state()) for end in ends)


@pytest.mark.parametrize("n", [1, 2, 7, 512])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_each_row_is_the_part_of_one_process(n, size):
    rows = [list(range(n))[Group(rank, size).rows(n)] for rank in range(size)]
    assert [*chain(*rows)] == list(range(n))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


# What processes say to each other


def exchanged(group):
    a, b = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).mT * (group.rank + 1), torch.tensor(10.0 * group.rank)
    group.all_reduce_([a, b])
    followed = torch.full((2, 2), float(group.rank + 5))
    group.broadcast_([followed])
    return {
        "sums": (a, b),
        "asked": group.map(lambda i: [i, group.rank, math.pi], range(5), width=3),
        "heard": group.broadcast([10**12 + group.rank, 0.1 + group.rank]),
        "largest": group.largest(15 if group.rank == 1 else 2),
        "bytes": group.broadcast_bytes(lambda: bytes(range(256)) * 40),
        "followed": followed,
        "alike": (
            group.all_equal([torch.arange(3)]),
            group.all_equal([torch.arange(3), torch.tensor(1.0 + group.rank)]),
        ),
    }


@pytest.mark.parametrize("size", [2, 3, 4])
def test_what_is_said_is_heard_by_all(tmp_path, size):
    for found in each(size, exchanged, folder=tmp_path):
        total = size * (size + 1) / 2
        assert torch.equal(found["sums"][0], total * torch.tensor([[1.0, 3.0], [2.0, 4.0]]))
        assert found["sums"][1] == 10 * size * (size - 1) / 2
        assert found["asked"] == [[i, i % size, math.pi] for i in range(5)]
        assert found["heard"] == [10**12, 0.1]
        assert found["largest"] == 15
        assert found["bytes"] == bytes(range(256)) * 40
        assert (found["followed"] == 5).all()
        assert found["alike"] == (True, False)


def test_a_process_alone_hears_itself():
    found = exchanged(ALONE)
    assert found["asked"] == [[i, 0, math.pi] for i in range(5)]
    assert found["heard"] == [10**12, 0.1]
    assert found["alike"] == (True, True)


# The fit


def course(group, settings, images, dtype):
    """A fit: its weights, J of each step, and held-out figures."""
    torch.set_default_dtype(dtype)
    step, objective = loop.step, []
    loop.step = lambda *given, **named: objective.append(step(*given, **named)) or objective[-1]
    fit = prepared(images, group, **settings)
    reports = list(fit.run())
    return {
        "weights": fit.state.model.state_dict(),
        "best": fit.state.best,
        "objective": torch.stack(objective),
        "held out": {report.step: report.validation.value for report in reports if report.validation},
        "record": fit.state.record,
        "chance": fit.state.generator.get_state(),
    }


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize(
    ("settings", "images", "dtype"),
    [
        ({"batch": 13, "max_steps": 60, "hidden": 12, "warmup": 5}, IMAGES, torch.float64),
        (NETWORK | {"max_steps": 6, "warmup": 2, "growth": (18,), "optimiser": "muon"}, LARGE, torch.float64),
        ({"batch": 9, "max_steps": 10, "objective": "ism"}, IMAGES, torch.float64),
        ({"batch": 9, "max_steps": 10, "objective": "ism", "noisy": True, "sigma": 20.0}, IMAGES, torch.float32),
    ],
    ids=["energy", "unet", "clean", "noisy"],
)
def test_a_fit_by_many_is_that_of_one(tmp_path, settings, images, dtype, size):
    """Batches that processes cannot share evenly, clipped gradients, averages, held-out figures: all to rounding."""
    rtol = 1e-9 if dtype == torch.float64 else 1e-4
    (one,) = each(1, course, settings | {"clip": 0.05}, images, dtype, folder=tmp_path)
    many = each(size, course, settings | {"clip": 0.05}, images, dtype, folder=tmp_path)
    assert one["record"]["step"] == settings["max_steps"]
    for found in many:
        for part in ("weights", "best"):
            for name, tensor in one[part].items():
                torch.testing.assert_close(found[part][name], tensor, rtol=rtol, atol=rtol / 10)
                assert torch.equal(found[part][name], many[0][part][name])
        torch.testing.assert_close(found["objective"], one["objective"], rtol=rtol, atol=rtol)
        assert found["held out"] == pytest.approx(one["held out"], rel=rtol)
        assert found["chance"].equal(one["chance"])
        for key in ("step", "steps", "stale"):
            assert found["record"][key] == one["record"][key]


def timed(group):
    if group.rank == 1:
        loop.REPORT_SECONDS = loop.TIMED_SHARE = 1e9  # a clock that would never decide anything
    fit = prepared(IMAGES, group, max_steps=None, max_time=0.6, validations=3)
    steps = [(report.step, report.steps) for report in fit.run()]
    return steps, fit.state.record["seconds"]


def test_the_clock_of_the_first_decides_how_many_steps_a_time_is(tmp_path):
    (first, seconds), (second, _) = each(2, timed, folder=tmp_path)
    assert first == second
    assert first[-1][0] == first[-1][1]
    assert 0.1 < seconds < 6


def parted(group):
    fit = prepared(IMAGES, group, max_steps=40)
    try:
        for report in fit.run():
            if report.step >= 10 and group.rank == 1:
                next(iter(fit.state.model.parameters())).data += 1e-7
    except DivergedError as error:
        return error.message
    return None


def test_weights_that_part_end_the_fit(tmp_path):
    assert each(2, parted, folder=tmp_path) == ["the weights of the processes differ"] * 2


def elsewhere(group):
    try:
        prepared(IMAGES[group.rank :], group)
    except InputError as error:
        return error.message
    return None


def test_processes_that_see_other_images_are_refused(tmp_path):
    assert each(2, elsewhere, folder=tmp_path) == ["the processes do not see the same images"] * 2


# A process that is lost


@dataclass(frozen=True)
class Failing(Group):
    """A group of one that does as if of two, and breaks at the n-th sum or question."""

    size: int = 2
    says: list = field(default_factory=list)
    breaks: dict = field(default_factory=dict)

    def _now(self, what):
        self.says.append(what)
        if self.says.count(what) == self.breaks.get(what):
            raise LostError("the connection to the other processes broke")

    def rows(self, n):
        return slice(0, n)

    def all_reduce_(self, tensors):
        self._now("all_reduce_")

    def map(self, function, items, width=1):
        self._now("map")
        return ALONE.map(function, items, width)

    def broadcast(self, numbers):
        return list(numbers)

    def all_equal(self, tensors):
        return True


@pytest.mark.parametrize("breaks", [{"all_reduce_": 1}, {"all_reduce_": 11}, {"map": 1}, {"map": 2}, {"map": 21}])
def test_what_is_left_of_a_broken_fit_goes_on_to_the_same_weights(breaks):
    """Whether it broke at a step, at the first or last validation, or between: the state is whole."""
    settings = {"max_steps": 20, "validations": 20, "patience": 99}
    whole = prepared(**settings)
    list(whole.run())
    fit = prepared(**settings)
    with pytest.raises(LostError):
        list(loop.run(fit.state, fit.examples, fit.validate, Failing(breaks=breaks)))
    rest = prepared(**settings)
    rest.state.restore(copy.deepcopy(fit.state).to_bytes(), "the state")
    list(rest.run())
    for part in ("model", "average"):
        for name, tensor in getattr(whole.state, part).state_dict().items():
            assert torch.equal(getattr(rest.state, part).state_dict()[name], tensor)
    assert all(torch.equal(rest.state.best[name], tensor) for name, tensor in whole.state.best.items())
    assert rest.state.record | {"seconds": 0} == whole.state.record | {"seconds": 0}
