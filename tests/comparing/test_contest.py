"""What contestants have in common, and what their courses tell."""

import numpy as np
import pytest
import torch

from smdae.comparing.contest import Contest, applicable
from smdae.comparing.contestants import Course, Point, fit, measured_steps, near_best_point
from smdae.comparing.evaluation import FISHER
from smdae.densities import Gaussian, Parzen
from smdae.fitting.settings import check
from smdae.objectives import OBJECTIVES
from tests.measuring import contest
from tests.tiny import SETTINGS, gray


def course(name="dsm", **settings) -> Course:
    *_, last = fit(contest(**settings), name)
    return last


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_noisy_patches_are_the_same_for_all():
    common = contest()
    centre = common.origin.centre
    drawn = {
        name: common.examples(name).draw(32, common.generator(9)).x for name in ("esm-parzen", "ism-parzen", "dsm")
    }
    held = {name: common.held_out_batch(name).x for name in ("esm-parzen", "ism-parzen", "dsm", "dae")}
    for shown in (drawn, held):
        for x in shown.values():
            torch.testing.assert_close(centre(x), centre(shown["dsm"]))


def test_densities_are_made_of_the_same_patches():
    common = contest()
    assert common.patches.shape == (300, 16)
    assert torch.equal(common.examples("esm-parzen").parzen.patches, common.patches)
    assert torch.allclose(common.patches.mean(1), torch.zeros(300), atol=1e-6)


def test_fits_start_alike_and_leave_the_start_as_it_was():
    common = contest()
    before = weights(common.origin)
    for name in applicable():
        first = next(iter(fit(common, name)))
        assert torch.equal(weights(first.model), before)
        assert first.points[0].step == 0
        for _ in fit(common, name):
            pass
    assert torch.equal(weights(common.origin), before)


def test_dsm_and_dae_are_one_fit():
    a, b = course("dsm", max_steps=40), course("dae", max_steps=40)
    torch.testing.assert_close(weights(a.model), weights(b.model), rtol=1e-3, atol=1e-4)


def test_a_course_is_repeatable_but_for_its_time():
    a, b = course("ism-parzen", max_steps=20), course("ism-parzen", max_steps=20)
    assert [(p.step, p.values, p.psnr) for p in a.points] == [(p.step, p.values, p.psnr) for p in b.points]
    assert [p.step for p in a.points] == [0, *measured_steps(20)]
    assert [p.seconds for p in a.points] == sorted(p.seconds for p in a.points)


def test_equivalent_objectives_land_together():
    common = contest(max_steps=300, batch=64, lr=0.02)
    ends = {}
    for name in ("esm-parzen", "ism-parzen", "dsm"):
        *_, last = fit(common, name)
        ends[name] = last.points[-1].psnr
    assert max(ends.values()) - min(ends.values()) < 0.3, ends


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 60, 3000])
def test_marks_end_at_the_last_step(steps):
    found = measured_steps(steps)
    assert found == sorted(set(found))
    assert (found[0] >= 1, found[-1]) == (True, steps)
    assert len(found) <= 15


def made(name, *quality, outcome="done") -> Course:
    points = tuple(Point(10 * i, float(i), {}, q) for i, q in enumerate(quality))
    return Course(name, 0, None, 10 * len(quality), points, outcome)


def test_arrival_is_the_first_point_within_reach_of_the_best_end():
    good, slow, never = made("a", 20, 24.8, 25), made("b", 20, 24.6, 24.9), made("c", 20, 21, 22)
    clean, gone = made("d", None, None), made("e", 20, 26, outcome="diverged")
    courses = (good, slow, never, clean, gone)
    assert [getattr(near_best_point(c, courses), "step", None) for c in courses] == [10, 20, None, None, None]


def test_implicit_score_matching_degenerates_on_flat_images_and_says_so():
    found = course("ism", images=[np.full((30, 30), 90, np.uint8)] * 3)
    assert found.outcome == "degenerated"
    assert "floor" in found.reason


def test_a_fit_that_runs_away_is_told_from_one_that_degenerates():
    found = course("dsm", lr=1e38)
    assert found.outcome == "diverged"
    assert not found.denoises


@pytest.mark.parametrize("shape", [(24, 6), (5, 5), (4, 4)])
def test_one_image_will_do_and_one_patch(shape):
    common = contest(images=[gray(*shape)], patches=100)
    assert common.images == ((1, 1) if shape[0] > 20 else (1, 0))
    *_, course = fit(common, "dsm", applicable())
    assert course.outcome == "done"
    assert course.points[-1].values.keys() == {*applicable(), FISHER}


def test_seeds_start_elsewhere_on_the_same_patches():
    common = contest()
    first, second, again = (weights(common.model(seed)) for seed in (0, 1, 1))
    assert torch.equal(second, again)
    assert not torch.allclose(first, second)
    ends = [[*fit(common, "dsm", seed=seed)][-1] for seed in (0, 1)]
    assert ends[0].seed == 0
    assert ends[1].seed == 1
    assert not torch.allclose(weights(ends[0].model), weights(ends[1].model))


def test_a_course_is_judged_by_the_functions_themselves():
    """J under each objective is the mean of the pure function on the held-out examples, and F that of esm-parzen."""
    common = contest()
    *_, course = fit(common, "dsm", ("ism-parzen", "dae"))
    values = course.points[-1].values
    assert values.keys() == {"dsm", "ism-parzen", "dae", FISHER}
    for name in ("dsm", "ism-parzen", "dae"):
        batch = common.held_out_batch(name)
        losses = OBJECTIVES[name].loss(course.model, batch.x, **batch.needs).detach().double()
        assert values[name].mean == pytest.approx(losses.mean().item(), rel=1e-6)
        assert values[name].error == pytest.approx(losses.std().item() / len(losses) ** 0.5, rel=1e-6)
    x = common.smoothed.x
    score = Parzen(common.patches, common.sigma).score(x)
    apart = 0.5 * (course.model.score(x) - score).square().sum(1).detach()
    assert values[FISHER].mean == pytest.approx(apart.mean().item(), rel=1e-4)


def test_examples_may_come_from_a_density():
    q = Gaussian(torch.tensor([0.2, -0.1, 0.3]), torch.diag(torch.tensor([0.5, 0.2, 0.1])))
    settings = check({**SETTINGS, "sigma": 0.3 * 255})
    common = Contest.of_density(q, settings, 300)
    assert common.patches.shape == (300, 3)
    assert common.known is q
    assert common.crops is None
    for name in applicable():
        *_, course = fit(common, name, applicable())
        assert course.outcome == "done", name
        assert course.points[-1].psnr is None
