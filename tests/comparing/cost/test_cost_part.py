"""What a step takes: the counter of bytes against torch's profiler, slopes against powers, and what is left out."""

import dataclasses

import pytest
import torch
from torch import Generator

from smdae.comparing.contest import Contest, applicable
from smdae.comparing.cost import measure as part
from smdae.comparing.part import Context
from smdae.comparing.parts import PARTS
from smdae.comparing.profiling import peak_bytes, seconds
from smdae.densities import Gaussian
from smdae.fitting.settings import check
from smdae.models import EnergyModel
from tests.conftest import random_energy
from tests.measuring import contest, measured
from tests.tiny import SETTINGS


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(contest(batch=64), applicable(), quick=True)


@pytest.fixture(scope="module")
def found(context):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, "QUICK_SIDES", (4, 8, 16, 24))
        patch.setattr(part, "QUICK_COUNTS", (500, 1000, 2000))
        patch.setattr(part, "QUICK_MAX_SECONDS", 60.0)
        patch.setattr(part, "QUICK_ROUNDS", 3)
        return measured(part.COST, context)


def profiled(run) -> int:
    """The same count by every allocation and release that the profiler of torch sees."""
    with torch.autograd.profiler.profile(profile_memory=True, use_kineto=False) as profile:
        run()
    events = [e for e in profile.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize("name", [*applicable(), part.EXACT])
def test_bytes_are_those_of_the_profiler(name):
    run = part._step(part._of_side(contest(), 12), name, 256)
    run()
    counted, seen = peak_bytes(run), profiled(run)
    # The rules of forward mode are run in other steps while they are watched; attention has a buffer inside.
    inside = 200_000 * torch.get_num_threads() if name == "esm-parzen" else 0
    assert 0.99 * seen - inside < counted < (1.1 if name == part.EXACT else 1.01) * seen


def test_bytes_are_of_what_is_held_at_once():
    there = torch.zeros(1000)

    def one_after_another():
        for _ in range(3):
            torch.ones(1000)

    def together():
        kept = [torch.ones(1000) for _ in range(3)]
        return len(kept)

    def in_place_and_views():
        there.add_(1).view(10, 100).T[:5]

    assert peak_bytes(one_after_another) == 4000
    assert peak_bytes(together) == 12_000
    assert peak_bytes(in_place_and_views) == 0


def test_seconds_are_the_middle_of_rounds_in_turn():
    calls: list[str] = []
    taken = seconds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 5)
    assert calls == ["a", "b"] * 6
    assert set(taken) == {"a", "b"}
    assert all(0 < value < 0.1 for value in taken.values())


def test_what_takes_long_is_timed_three_times():
    calls: list[str] = []
    seconds({"a": lambda: calls.append("a")}, 9, longest=0.0)
    assert len(calls) == 1 + 3


def test_slopes_are_powers_of_the_upper_half():
    rows = [
        part.Step("dsm", "d", size, 8, 8, 1.0 if size < 8 else size**1.5, size**2) for size in (1, 2, 4, 8, 16, 32, 64)
    ]
    [slope] = part._slopes(rows)
    assert slope.seconds_slope == pytest.approx(1.5)
    assert slope.bytes_slope == pytest.approx(2)
    assert slope.sizes == 7
    [single] = part._slopes(rows[:1])
    assert single.seconds_slope is None
    [two] = part._slopes(rows[3:5])
    assert two.seconds_slope == pytest.approx(1.5)


def test_directions_come_to_the_closed_form():
    model = random_energy(6, 5, sigma=1.0, level=0.4)
    x = torch.randn(7, 6, generator=Generator().manual_seed(0), dtype=torch.float64)
    loss = contest().examples("ism-parzen").objective.loss
    torch.testing.assert_close(loss(part._Bare(model), x, sigma=0.3), loss(model, x, sigma=0.3))
    assert not hasattr(part._Bare(model), "score_and_divergence")


def test_steps_are_those_asked_for(found, context):
    shares, tables = found
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, pytest.approx(1))
    by_d = {(s.objective, s.size) for s in tables["steps"] if s.against == "d"}
    assert by_d == {(name, d) for name in (*applicable(), part.EXACT) for d in (16, 64, 256, 576)}
    by_n = {(s.objective, s.size) for s in tables["steps"] if s.against == "n"}
    assert by_n == {(name, n) for name in ("dsm", "esm-parzen") for n in (500, 1000, 2000)}
    assert all(s.batch == (4 if s.objective == part.EXACT else 64) and s.hidden == 8 for s in tables["steps"])
    assert all(s.seconds > 0 and s.bytes > 0 for s in tables["steps"])


def test_bytes_grow_as_expected(found):
    """Bytes are the same in every run; with few units d is soon the greater part of them."""
    for slope in found[1]["slopes"]:
        assert slope.bytes_slope == pytest.approx(slope.bytes_expected, abs=0.35), slope
        assert (slope.seconds_expected, slope.bytes_expected) == {
            (part.EXACT, "d"): (2, 2),
            ("esm", "d"): (2, 1),
            ("esm-parzen", "n"): (1, 0),
            ("dsm", "n"): (0, 0),
        }.get((slope.objective, slope.against), (1, 1))
    steps = {(s.objective, s.size): s for s in found[1]["steps"] if s.against == "d"}
    exact, closed = steps[part.EXACT, 576], steps["ism-parzen", 576]
    assert exact.bytes / exact.batch > 10 * closed.bytes / closed.batch


def test_what_would_take_too_long_is_left_out(monkeypatch):
    monkeypatch.setattr(part, "QUICK_SIDES", (4, 8))
    monkeypatch.setattr(part, "QUICK_MAX_SECONDS", 0.0)
    _, tables = measured(part.COST, Context(contest(), ("dsm",), quick=True))
    assert [step.size for step in tables["steps"]] == [16]
    assert tables["slopes"][0].seconds_slope is None
    assert all(len(line) <= 80 for line in part.summarise(tables))
    assert part.COST.draw(tables, Context(contest(), ("dsm",)))["cost"].startswith(b"\x89PNG")


def test_what_would_not_fit_is_left_out(monkeypatch):
    step = part.Step("dsm", "d", 16, 8, 8, 1e-4, 1000)
    assert part._affordable([step], "dsm", 64, 1.0, torch.device("cpu"))
    monkeypatch.setattr(part, "available", lambda device: 32_000)
    assert not part._affordable([step], "dsm", 64, 1.0, torch.device("cpu"))
    assert part._affordable([step], "ism", 64, 1.0, torch.device("cpu"))


def test_synthetic_contests_are_alike_but_for_the_size():
    common = contest()
    there = part._of_side(common, 3)
    assert there.dim == 9
    assert isinstance(there.origin, EnergyModel)
    assert (there.origin.hidden, there.origin.level, there.origin.free_means) == (8, common.origin.level, 1)
    assert there.patches.std().item() == pytest.approx(common.patches.std().item(), rel=0.1)
    assert there.patches.mean(1).abs().max() < 1e-6
    assert there.known.dim == 9
    many = part._of_count(common, 700)
    assert many.patches.shape == (700, 16)
    assert many.origin is common.origin
    assert dataclasses.replace(common, _batches={}).digest == common.digest


def test_pictures_and_lines(context, found):
    shown = PARTS["cost"]
    assert set(found[1]) == set(shown.rows)
    for table, rows in found[1].items():
        assert all(isinstance(row, shown.rows[table]) for row in rows)
    drawn = shown.draw(found[1], context)
    assert set(drawn) == set(shown.pictures)
    assert drawn["cost"].startswith(b"\x89PNG")
    lines = shown.summarise(found[1])
    assert max(map(len, lines)) <= 80
    assert "At d = 576 an example whose divergence goes through all directions" in " ".join(lines)


@pytest.mark.parametrize(
    ("names", "objectives"),
    [
        (("dae",), {"dae"}),
        (("esm-parzen",), {"esm-parzen"}),
        (("ism-parzen",), {"ism-parzen", part.EXACT}),
        ((), set()),
    ],
)
def test_only_what_is_asked_for(monkeypatch, names, objectives):
    monkeypatch.setattr(part, "QUICK_SIDES", (3, 4))
    monkeypatch.setattr(part, "QUICK_COUNTS", (50, 60))
    monkeypatch.setattr(part, "QUICK_ROUNDS", 3)
    asked = Context(contest(), names, quick=True)
    _, tables = measured(part.COST, asked)
    assert {step.objective for step in tables["steps"]} == objectives
    varied = {"d", "n"} if "esm-parzen" in names else {"d"} if names else set()
    assert {step.against for step in tables["steps"]} == varied
    assert all(len(line) <= 80 for line in part.summarise(tables))
    assert bool(part.COST.draw(tables, asked)) == bool(objectives)


def test_a_density_will_do(monkeypatch):
    monkeypatch.setattr(part, "QUICK_SIDES", (2, 3))
    monkeypatch.setattr(part, "QUICK_COUNTS", (50, 60))
    monkeypatch.setattr(part, "QUICK_ROUNDS", 3)
    common = Contest.of_density(Gaussian(torch.zeros(5), torch.eye(5)), check(SETTINGS), 200)
    _, tables = measured(part.COST, Context(common, applicable(), quick=True))
    assert {s.size for s in tables["steps"] if s.against == "d"} == {4, 9}
    assert {s.objective for s in tables["steps"]} == {*applicable(), part.EXACT}
