"""What objectives are shown: noise, targets, dequantised data."""

import numpy as np
import pytest
import torch
from torch import Generator

from smdae.errors import DegenerateError, DivergedError, UsageError
from smdae.fitting import Settings, prepare
from smdae.fitting.draws import antithetic_noise
from smdae.fitting.settings import check
from smdae.objectives import OBJECTIVES


def images(count: int = 3, side: int = 40) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    rows = np.add.outer(np.arange(side) / 4, np.arange(side) / 7)
    return [
        (128 + 60 * np.sin(rows + i) + 10 * rng.standard_normal((side, side))).astype(np.uint8) for i in range(count)
    ]


def examples(objective: str, **more):
    settings = {"objective": objective, "patch_size": 4, "hidden": 8, "parzen_patches": 200, "max_steps": 2} | more
    return prepare(images(), 255.0, Settings(**settings)).examples


def test_noise_comes_in_pairs_of_opposite_sign_and_is_normal():
    for n in (1, 2, 7, 100_000):
        noise = antithetic_noise(torch.empty(n, 3), Generator().manual_seed(0))
        half = -(-n // 2)
        assert torch.equal(noise[half:], -noise[: n - half])
    assert abs(noise.std().item() - 1) < 0.01
    assert abs((noise**4).mean().item() - 3) < 0.1


def test_pairs_differ_by_noise_at_the_level():
    batch = examples("dsm").draw(50_000, Generator().manual_seed(0))
    noise = batch.x - batch.needs["clean"]
    assert noise.std().item() == pytest.approx(25 / 255, rel=0.01)
    assert batch.needs["sigma"] == pytest.approx(25 / 255)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_gets_what_it_needs_and_no_more(name):
    row = OBJECTIVES[name]
    shown = examples(name)
    batch = shown.draw(16, Generator().manual_seed(0))
    assert set(batch.needs) == set(row.needs)
    assert batch.x.shape == (16, 16)
    held = shown.around(torch.rand(5, 16), Generator().manual_seed(0))
    assert set(held.needs) == set(row.needs)


def test_targets_are_the_scores_of_the_densities_that_x_comes_from():
    parzen = examples("esm-parzen")
    batch = parzen.draw(8, Generator().manual_seed(0))
    torch.testing.assert_close(batch.needs["target_score"], parzen.parzen.score(batch.x))
    known = examples("esm", target="gaussian")
    batch = known.draw(8, Generator().manual_seed(0))
    torch.testing.assert_close(batch.needs["target_score"], known.density.score(batch.x))
    # Smoothed to the level, no direction is narrower than the noise, but for the free mean that is not there.
    assert torch.linalg.eigvalsh(known.density.covariance).min() >= 0.99 * (25 / 255) ** 2


def test_targets_have_no_free_mean():
    for name in ("esm", "esm-parzen"):
        target = examples(name).draw(64, Generator().manual_seed(0)).needs["target_score"]
        assert target.mean(1).abs().max() < 1e-3 * target.abs().max()


def test_rounded_data_are_dequantised_within_half_a_step():
    shown = examples("ism")
    clean = shown.stages[0].draw(64, Generator().manual_seed(0))[0]
    moved = (shown.around(clean, Generator().manual_seed(1)).x - clean) * 255
    assert moved.abs().max() <= 0.5 + 1e-4
    assert moved.std().item() == pytest.approx(12**-0.5, rel=0.1)


def test_float_data_are_left_as_they_are():
    floats = [image.astype(np.float32) / 255 for image in images()]
    shown = prepare(floats, 1.0, Settings(objective="ism", patch_size=4, hidden=8, max_steps=2)).examples
    clean = shown.stages[0].draw(8, Generator().manual_seed(0))[0]
    assert torch.equal(shown.around(clean, Generator().manual_seed(0)).x, clean)


def test_implicit_fit_of_data_that_are_all_alike_degenerates_and_says_so():
    flat = [np.full((40, 40), 128, np.uint8) + (np.arange(40) % 2).astype(np.uint8) for _ in range(3)]
    settings = Settings(objective="ism", patch_size=4, hidden=8, max_steps=400, validations=1)
    with pytest.raises(DegenerateError, match="within 5 % of its floor"):
        list(prepare(flat, 255.0, settings).run())


def test_objective_that_is_no_number_stops_the_fit():
    prepared = prepare(images(), 255.0, Settings(patch_size=4, hidden=8, max_steps=50, validations=1))
    with torch.no_grad():
        prepared.state.model.W[0, 0] = float("nan")
    with pytest.raises(DivergedError, match="NaN or infinite"):
        list(prepared.run())


def network_examples(**more):
    settings = {"model": "unet", "patch_size": 8, "batch": 4, "max_steps": 2} | more
    chosen = check(settings)
    pictures = [np.dstack([image] * 3) for image in images()] if chosen.color else images()
    return prepare(pictures, 255.0, chosen).examples


def test_networks_see_images_each_at_a_level_of_its_own():
    batch = network_examples(sigma=(10, 50)).draw(4000, Generator().manual_seed(0))
    assert batch.x.shape == (4000, 1, 8, 8)
    sigma = batch.needs["sigma"]
    assert sigma.min() >= 10 / 255
    assert sigma.max() <= 50 / 255
    assert (255 * sigma).mean().item() == pytest.approx(30, rel=0.02)
    noise = (batch.x - batch.needs["clean"]).flatten(1)
    torch.testing.assert_close((noise / sigma[:, None]).std(), torch.tensor(1.0), atol=0.01, rtol=0)
    strong = sigma > 40 / 255
    assert noise[strong].std().item() == pytest.approx(45 / 255, rel=0.05)


def test_the_weight_makes_it_squared_error_over_sigma():
    shown = network_examples(sigma=(10, 50))
    batch = shown.draw(16, Generator().manual_seed(0))
    sigma = batch.needs["sigma"]

    class Still:
        def score(self, x, sigma):
            return torch.zeros_like(x)

    error = (batch.x - batch.needs["clean"]).flatten(1).square().mean(1)
    weighted = batch.losses(shown.objective, Still()) * batch.scale
    torch.testing.assert_close(weighted, error / sigma / (50 / 255))


def test_a_part_of_the_examples_is_clipped_and_says_so():
    batch = network_examples(sigma=50, clipped=0.25).draw(4000, Generator().manual_seed(0))
    assert batch.white.mean().item() == pytest.approx(0.25, abs=0.03)
    lowest, highest = batch.x.flatten(1).amin(1), batch.x.flatten(1).amax(1)
    cut = batch.white == 1
    assert lowest[cut].min() >= 0
    assert highest[cut].max() <= 1
    assert lowest[~cut].min() < -0.1
    assert network_examples(sigma=50).draw(4, Generator().manual_seed(0)).white is None


def test_crops_grow_by_parts_of_a_fit_and_batches_keep_their_pixels():
    shown = network_examples(growth=[16, 24], batch=32)
    for progress, shape in ((0, (32, 1, 8, 8)), (0.34, (8, 1, 16, 16)), (0.7, (4, 1, 24, 24)), (1, (4, 1, 24, 24))):
        assert shown.draw(32, Generator().manual_seed(0), progress).x.shape == shape


def test_colours_change_in_the_part_asked_for():
    plain = network_examples(color=True).draw(200, Generator().manual_seed(0)).needs["clean"]
    assert (plain[:, 0] == plain[:, 1]).all()
    assert network_examples(color=True, recoloured=1).draw(200, Generator().manual_seed(0)).x.shape[1] == 3


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "ism-reg"])
def test_networks_are_fitted_by_every_objective_that_applies(name, activation):
    settings = {"objective": name, "sigma": 25, "activation": activation, "parzen_patches": 100, "components": 2}
    shown = network_examples(**settings)
    batch = shown.draw(4, Generator().manual_seed(0))
    assert set(batch.needs) == set(shown.needs)
    assert ("step" in batch.needs) is (
        name == "fd-ssm" or (activation == "relu" and "step" in OBJECTIVES[name].options)
    )
    if "probes" in batch.needs:
        assert batch.needs["probes"].shape == (1, *batch.x.shape)
    chosen = check({"model": "unet", "patch_size": 8, "batch": 4, "max_steps": 2} | settings)
    prepared = prepare(images(), 255.0, chosen)
    before = [p.clone() for p in prepared.state.model.parameters()]
    list(prepared.run())
    moved = [not torch.equal(p, q) for p, q in zip(prepared.state.model.parameters(), before, strict=True)]
    assert all(moved)


def test_an_objective_that_a_network_cannot_have_is_refused():
    with pytest.raises(UsageError, match="'ism-reg' is not for 'unet'"):
        check({"model": "unet", "sigma": 25, "objective": "ism-reg"})


def test_many_levels_have_steps_and_probes_of_their_own():
    batch = network_examples(objective="fd-ssm", sigma=(10, 50), probes=3).draw(6, Generator().manual_seed(0))
    torch.testing.assert_close(batch.needs["step"], 0.1 * batch.needs["sigma"])
    assert batch.needs["probes"].shape == (3, 6, 1, 8, 8)
    assert set(batch.needs["probes"].unique().tolist()) == {-1.0, 1.0}


def test_differences_are_wide_only_where_the_data_have_noise_and_are_then_a_part_of_the_level():
    clean = network_examples(objective="ism", sigma=25).draw(6, Generator().manual_seed(0))
    assert clean.needs["step"] == pytest.approx(0.1 * 25 / 255)
    smoothed = network_examples(objective="ism-parzen", sigma=25).draw(6, Generator().manual_seed(0))
    sigma, step = smoothed.needs["sigma"], smoothed.needs["step"]
    assert step == pytest.approx(0.5 * sigma)
    assert (sigma**2 + step**2) ** 0.5 == pytest.approx(25 / 255)


def test_noise_can_be_given():
    clean, noise = (torch.randn(8, 16, generator=Generator().manual_seed(seed)) for seed in (0, 1))
    for name in ("dsm", "ism-parzen", "ssm"):
        shown = examples(name).around(clean, Generator().manual_seed(2), noise=noise)
        torch.testing.assert_close(shown.x, clean + 25 / 255 * noise)
