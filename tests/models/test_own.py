"""Networks of the user's own: seen as they are, fitted by every objective, kept without their code, refused clearly."""

import copy
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

import smdae
from smdae import objectives
from smdae.cli.app import main
from smdae.errors import ModelError, UsageError
from smdae.files.model_file import encode, load
from smdae.models.own import OwnModel
from smdae.models.own_checked import made
from smdae.objectives import OBJECTIVES
from tests.own_modules import (
    Backward,
    BackwardEnergy,
    Branching,
    Convolutional,
    Dense,
    Detached,
    DetachedGradient,
    Differentiating,
    Double,
    Energetic,
    Kinked,
    Lazy,
    Rows,
    Told,
)
from tests.tiny import complaint, everything_below, gray, photos

PAGE = Path(__file__).parents[2] / "docs" / "own-models.md"
OWN = "tests.own_modules"
LEVELS = (0.1, 0.1)
FEW = {"patch_size": 4, "max_steps": 3, "batch": 16}


def own(module, size=4, channels=1, levels=LEVELS) -> OwnModel:
    return made(module, channels, size, levels)


def test_what_a_module_takes_is_found_out():
    assert own(Dense()).flat
    assert not own(Convolutional()).flat
    assert own(Energetic(), size=1, channels=2).flat
    assert own(f"{OWN}:Convolutional").name == f"{OWN}:Convolutional"


def test_the_score_of_an_energy_is_its_gradient_and_follows_the_noise_units():
    module = Energetic().double()
    model = OwnModel(module, "mine:E", 2, 1, True, LEVELS)
    x = torch.randn(5, 2, generator=Generator().manual_seed(0), dtype=torch.float64)
    y = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(module.energy(y).sum(), y)
    torch.testing.assert_close(model.score(x), -slope)
    torch.testing.assert_close(model.score(x, 0.1), -slope)
    torch.testing.assert_close(model.score(2 * x, torch.full((5,), 0.2, dtype=torch.float64)), -slope / 2)
    with torch.inference_mode():
        torch.testing.assert_close(model.score(x), -slope.detach())
    told = OwnModel(Told().double(), "mine:T", 2, 1, True, (0.1, 0.3))
    assert told.score(x, 0.2).shape == x.shape
    with pytest.raises(UsageError, match="takes no sigma"):
        OwnModel(module, "mine:E", 2, 1, True, (0.1, 0.2))


def test_the_diagonal_and_the_reconstruction_are_those_of_the_score():
    model = own(Dense()).double()
    x = torch.rand(3, 16, generator=Generator().manual_seed(0), dtype=torch.float64)
    psi, entries = model.score_and_diagonal(x, 0.1)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda y: model.score(y[None], 0.1)[0]))(x)
    torch.testing.assert_close(entries, jacobian.diagonal(dim1=1, dim2=2))
    torch.testing.assert_close(model.reconstruct(x), x + 0.01 * psi)


@pytest.mark.parametrize("module", [Rows, Branching, Backward, Differentiating, BackwardEnergy])
def test_derivatives_are_taken_of_code_that_torch_func_cannot_transform(module):
    torch.manual_seed(0)
    model = OwnModel(module().double(), "mine:M", 2, 1, True, (0.5, 0.5))
    x = torch.randn(7, 2, generator=Generator().manual_seed(1), dtype=torch.float64)
    h = 1e-5
    moved = [(model.score(x + h * e) - model.score(x - h * e)).detach() / (2 * h) for e in torch.eye(2, dtype=x.dtype)]
    jacobian = torch.stack(moved, 2)  # (B, i, j)
    assert model.reverse == (module not in (Rows, Branching))
    psi, entries = model.score_and_diagonal(x)
    torch.testing.assert_close(entries.detach(), jacobian.diagonal(dim1=1, dim2=2), atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(psi, model.score(x))
    v = torch.randn(1, 7, 2, generator=Generator().manual_seed(2), dtype=torch.float64)
    bend = torch.einsum("bi,bij,bj->b", v[0], jacobian, v[0])
    slices = bend + 0.5 * (v[0] * psi).sum(1).square()
    torch.testing.assert_close(objectives.sliced(model, x, v).detach(), slices.detach(), atol=1e-6, rtol=1e-6)
    loss = objectives.implicit(model, x, probes=v)
    assert torch.autograd.grad(loss.sum(), model.module.inner.weight)[0].abs().sum() > 0
    with torch.inference_mode():
        again = objectives.implicit(model, x, probes=v)
    torch.testing.assert_close(again.clone(), loss.detach())
    assert not again.requires_grad


@pytest.mark.parametrize("module", [Detached, DetachedGradient])
def test_a_score_without_a_derivative_in_x_is_refused_where_one_is_needed(module):
    rows = np.random.default_rng(0).standard_normal((200, 2)).astype(np.float32)
    assert smdae.fit(rows, "dsm", module(), 0.5, max_steps=2).channels == 2
    for objective in ("ism-parzen", "ssm"):
        with pytest.raises(UsageError, match=r"derivative .*in x") as refused:
            smdae.fit(rows, objective, module(), 0.5, max_steps=2)
        assert "detach" in str(refused.value.hint)


def test_layers_of_relus_are_recognised():
    assert own(Kinked()).kinked
    assert not own(Convolutional()).kinked
    said = Convolutional()
    said.kinked = True
    assert own(said).kinked


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Summed", "the score of x with shape (4, 1, 4, 4) is (4,)"),
        ("Undefined", "has NaN"),
        ("Meddling", "changes its input"),
        ("Random", "two scores for the same input"),
        ("Mixing", "depends on the others in its batch"),
        ("Fixed", "does not depend on its parameters"),
        ("Failing", "RuntimeError: no such layer"),
        ("OfGpu", "cuda"),
        ("Normed", "BatchNorm2d"),
        ("Empty", "no parameters"),
        ("Idle", "no score and no energy"),
        ("Needy", "missing 1 required positional argument"),
        ("number", "not a torch module"),
        ("nothing", "there is no 'nothing'"),
    ],
)
def test_a_module_that_will_not_do_is_refused_in_one_line_that_names_it(name, words):
    with pytest.raises(UsageError) as refused:
        own(f"{OWN}:{name}")
    assert words.lower() in refused.value.message.lower()
    assert "\n" not in refused.value.message
    assert name in refused.value.message


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("module", [Dense(), Convolutional(), Kinked()], ids=lambda module: type(module).__name__)
def test_every_objective_fits_modules_of_either_kind(module, objective):
    if objective == "ism-reg" and isinstance(module, Kinked):
        with pytest.raises(UsageError, match="kinks"):
            smdae.fit([gray()], objective, module, **FEW)
        return
    before = copy.deepcopy(module.state_dict())
    model = smdae.fit([gray()], objective, module, components=2, parzen_patches=50, **FEW)
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())  # it is copied
    assert smdae.denoise(gray(seed=1), model, 25.0).shape == (24, 32)


def test_many_levels_rows_and_exact_divergences(capsys):
    model = smdae.fit([gray()], "dsm", Convolutional(), (5.0, 50.0), **FEW)
    assert model.noise_range == (5 / 255, 50 / 255)
    rows = np.random.default_rng(0).standard_normal((200, 2)).astype(np.float32)
    for module in (Energetic(), Dense(2)):
        for objective in ("dsm", "ism-parzen", "ism"):
            fitted = smdae.fit(rows, objective, module, 0.5, max_steps=3, probes=0)
            assert fitted.score(torch.zeros(5, 2)).shape == (5, 2)
    with pytest.raises(UsageError, match="at most 4,096 are taken"):
        smdae.fit([gray(80, 80)], "ism-parzen", Convolutional(), patch_size=65, max_steps=1, probes=0)
    with pytest.raises(UsageError, match="needs probes"):
        smdae.fit([gray()], "ssm", Convolutional(), probes=0, **FEW)
    with pytest.raises(UsageError, match="kinks"):
        smdae.fit([gray()], "ism-parzen", Kinked(), probes=0, **FEW)


@pytest.mark.parametrize("module", [Lazy, Double])
def test_lazy_layers_and_weights_of_float64_come_back_from_their_file(bare, module):
    rows = np.random.default_rng(0).standard_normal((200, 2)).astype(np.float32)
    models = []
    for seed in (1, 2):  # of torch, which must have no influence
        torch.manual_seed(seed)
        np.save("rows.npy", rows)
        name = f"{OWN}:{module.__name__}"
        assert main(["fit", "rows.npy", "--model", name, "-s", "100", "--max-steps", "3", "-y"]) == 0
        models.append(smdae.load("model.safetensors", imports=[name]))
    x = torch.from_numpy(rows[:5])
    assert models[0].score(x, 0.4).shape == x.shape
    torch.testing.assert_close(models[0].score(x, 0.4), models[1].score(x, 0.4))
    assert {t.dtype for t in models[0].parameters()} == {torch.float64 if module is Double else torch.float32}


def test_a_file_has_no_code_and_is_loaded_only_where_its_module_is_named(bare):
    model = smdae.fit([gray()], model=Dense(hidden=8), **FEW)
    card = {"model": f"{OWN}:Dense", "settings": model.settings(), "sigma": 25.0, "channels": 1, "patch_size": 4}
    assert card["settings"]["arguments"] == {"dim": 16, "hidden": 8}
    Path("m.safetensors").write_bytes(encode(model, card))
    with pytest.raises(ModelError, match=f"'{OWN}:Dense', which is imported only if you ask for it"):
        load("m.safetensors")
    with pytest.raises(ModelError, match="imported only if you ask"):
        load("m.safetensors", imports=[f"{OWN}:Convolutional"])
    again = smdae.load("m.safetensors", imports=[f"{OWN}:Dense"])
    x = torch.rand(2, 1, 9, 7)
    torch.testing.assert_close(again.score(x), model.score(x))


@pytest.fixture
def no_mine():
    """No module `mine`, before or after."""
    sys.modules.pop("mine", None)
    yield
    sys.modules.pop("mine", None)


def test_the_page_works_as_it_is_written(bare, capsys, no_mine):
    """The example, its commands on small pictures, and what is said where --import is missing."""
    text = PAGE.read_text()
    source = re.search(r"```python\n(.*?)```", text, re.S)[1]
    assert len(source.splitlines()) <= 32
    Path("mine.py").write_text(source)
    photos(bare / "photos")
    Path("noisy.png").write_bytes((bare / "photos" / "0.png").read_bytes())
    commands = re.search(r"```sh\n(.*?)```", text, re.S)[1].splitlines()
    short = {
        "fit": ["--max-steps", "3", "--patch-size", "8", "-b", "8"],
        "denoise": [],
        "compare": [
            "--quick",
            "--only",
            "denoising",
            "--objective",
            "dsm",
            "--patches",
            "200",
            "--patch-size",
            "4",
            "--hidden",
            "8",
            "--max-steps",
            "2",
        ],
    }
    for line in commands:
        _, *words = line.split()
        assert main([*words, *short[words[0]]]) == 0, capsys.readouterr().err
    assert "own.safetensors" in Path("comparison/results.json").read_text()
    capsys.readouterr()
    before = everything_below(bare)
    assert main(["denoise", "photos/1.png", "-m", "own.safetensors"]) == 5
    said = complaint(capsys.readouterr().err)
    assert "'mine:Score'" in said
    assert "--import mine:Score" in said
    assert everything_below(bare) == before
    card = load("own.safetensors", imports=["mine:Score"]).card
    assert card["model"] == "mine:Score"
    assert card["settings"]["arguments"] == {"channels": 1, "width": 32}


def test_a_fit_of_a_module_goes_on_and_starts_from_another(bare, capsys):
    photos(bare / "photos")
    (bare / "c.yaml").write_text(f"model: {OWN}:Convolutional\n")
    fit = ["fit", "photos", "--patch-size", "4", "--max-steps", "3", "-b", "8"]
    assert main([*fit, "-c", "c.yaml"]) == 5
    assert "--import" in complaint(capsys.readouterr().err)
    assert main([*fit, "-c", "c.yaml", "--import", f"{OWN}:Convolutional", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == f"{OWN}:Convolutional"
    own_again = ["--model", f"{OWN}:Convolutional", "--init", "model.safetensors", "-o", "b.safetensors"]
    assert main([*fit, *own_again]) == 0
    capsys.readouterr()
    assert main([*fit, "--model", "nowhere:Net", "-o", "c.safetensors"]) == 2
    assert "cannot import 'nowhere'" in complaint(capsys.readouterr().err)
    assert main([*fit, "--model", f"{OWN}:Meddling", "-o", "c.safetensors"]) == 2
    assert "changes its input" in complaint(capsys.readouterr().err)
    assert not [*bare.glob("c.safetensors"), *bare.glob("c.metrics*")]


def held_out_error(model, sigma=25 / 255):
    clean = torch.from_numpy(gray(64, 64, seed=5)).float()[None, None] / 255
    noisy = clean + sigma * torch.randn(clean.shape, generator=Generator().manual_seed(1))
    return (noisy + sigma**2 * model.score(noisy, sigma) - clean).square().mean().item()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "objective", "room"),
    [
        *((Dense(), name, 1.05) for name in ("ism-parzen", "esm-parzen", "dae")),
        *((Convolutional(), name, 1.2) for name in ("ism-parzen", "ssm", "ssm-vr", "fd-ssm", "dae")),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_objectives_of_one_density_end_alike(module, objective, room):
    torch.manual_seed(0)
    images = [gray(64, 64, seed=seed) for seed in range(1, 4)]
    common = {"patch_size": 4 if isinstance(module, Dense) else 12, "max_steps": 600, "batch": 64, "validations": 4}
    exact = {"probes": 0} if objective == "ism-parzen" and isinstance(module, Dense) else {}
    reference = held_out_error(smdae.fit(images, "dsm", module, **common))
    assert reference < 0.6 * (25 / 255) ** 2
    assert held_out_error(smdae.fit(images, objective, module, **common, **exact)) < room * reference


class ByName(Rows):
    """Takes sigma by its name alone."""

    def score(self, x, *, sigma):
        return super().score(x, sigma)


def test_a_score_may_take_sigma_by_its_name_alone():
    own(ByName(), size=1, channels=2)
    rows = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    assert smdae.fit(rows, model=ByName(), sigma=0.5, objective="ism-parzen", max_steps=2).card["steps"] == 2


@pytest.mark.parametrize(
    ("maker", "name"),
    [(Rows, f"{OWN}:Rows"), (lambda: Rows(), f"{OWN}:Rows"), (ByName, f"{__name__}:ByName")],
    ids=["class", "lambda", "class here"],
)
def test_a_fit_takes_the_class_of_a_module_or_what_makes_one(maker, name):
    rows = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    model = smdae.fit(rows, model=maker, sigma=0.5, max_steps=2)
    assert model.card["model"] == name
    assert torch.equal(
        smdae.fit(rows, model=maker, sigma=0.5, max_steps=2).score(torch.ones(1, 2)), model.score(torch.ones(1, 2))
    )


@pytest.mark.parametrize(
    ("maker", "words"),
    [(lambda: 3, "of type int, not a torch module"), (lambda x: x, "cannot make"), (dict, "of type dict")],
    ids=["number", "argument", "dict"],
)
def test_what_makes_no_module_is_told(maker, words):
    with pytest.raises(UsageError, match=words):
        smdae.fit(np.zeros((40, 2), np.float32), model=maker)
