"""Classes of others: called with what they declare, and what goes wrong in them is told as theirs."""

import numpy as np
import pytest
import torch

import smdae
from smdae.comparing.target import Target
from smdae.errors import InputError, UsageError
from smdae.theirs import called, is_theirs
from tests.tiny import gray


def one(n):
    return (n,)


def two(n, generator):
    return n, generator


def optional(n, g=None):
    return n, g


def named(n, *, generator):
    return n, generator


def another(n, scale=2.0):
    return n, scale


def anything(*values):
    return values


def by_name(n, **more):
    return n, more


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (one, (3,)),
        (two, (3, "g")),
        (optional, (3, "g")),
        (named, (3, "g")),
        (another, (3, 2.0)),
        (anything, (3, "g")),
        (by_name, (3, {"generator": "g"})),
    ],
)
def test_functions_get_what_they_declare(function, expected):
    assert called(function, "f", {"n": 3, "generator": "g"}) == expected


def test_a_function_that_takes_too_little_is_told():
    with pytest.raises(UsageError, match=r"f takes 0 arguments, and is called with 1"):
        called(lambda: 1, "f", {"n": 3})


def test_what_they_raise_is_theirs_with_its_place():
    def bad(n):
        raise KeyError("sigma\nmore")

    with pytest.raises(UsageError, match=r"'mine\.sample' failed: KeyError: 'sigma.*\(test_theirs\.py, line \d+\)"):
        called(bad, "'mine.sample'", {"n": 3})
    with pytest.raises(InputError):
        called(lambda n: (_ for _ in ()).throw(InputError("ours")), "f", {"n": 3})
    with pytest.raises(MemoryError):
        called(lambda n: (_ for _ in ()).throw(MemoryError()), "f", {"n": 3})


class Ring:
    """A target as a student writes one."""

    def sample(self, n):
        angle = torch.rand(n) * 6.28
        return torch.stack([angle.cos(), angle.sin()], 1)

    def score(self, x):
        return -x


def test_a_target_may_draw_by_its_own_chance():
    target = Target("mine:ring", Ring())
    assert target.sample(5, torch.Generator()).shape == (5, 2)
    Ring.score = lambda self, x: x / 0 + undefined  # noqa: F821
    with pytest.raises(UsageError, match=r"'mine:ring\.score' failed: NameError"):
        target.score(torch.zeros(5, 2))


class Plain:
    """A model that takes no sigma and has no parameters."""

    level = 0.1

    def score(self, x):
        return -(x - x.mean()) / 0.1**2


class Network(torch.nn.Module):
    """A model as torch makes one."""

    def __init__(self):
        super().__init__()
        self.blur = torch.nn.Conv2d(1, 1, 3, padding=1, padding_mode="replicate", bias=False)
        torch.nn.init.constant_(self.blur.weight, 1 / 9)

    def score(self, x, sigma):
        return (self.blur(x) - x) / sigma**2


def test_models_of_others_denoise():
    image = gray()
    flat = smdae.denoise(image, Plain())
    assert flat.std() < 1
    found = smdae.denoise_image(image, Network(), sigma=25)
    assert found.model == smdae.denoising.denoised.Identity("Network")
    assert found.pixels.std() < image.std()
    assert is_theirs(Network())
    assert not is_theirs(smdae.models.EnergyModel(2, 3, 0.1))


class Formula(torch.nn.Module):
    """A score without parameters."""

    def score(self, x, sigma):
        return (x.mean((2, 3), keepdim=True) - x) / (sigma**2 + 0.05)


def test_a_module_without_parameters_denoises_grain():
    y = np.random.default_rng(0).normal(128, 20, (64, 64)).clip(0, 255).astype(np.uint8)
    assert smdae.denoise(y, Formula(), sigma=20, noise="grain").std() < y.std()


class Wrong(Plain):
    def score(self, x):
        return x.nothing


class Small(Plain):
    def score(self, x):
        return x.sum()


@pytest.mark.parametrize(
    ("model", "words"), [(Wrong(), r"'Wrong\.score' failed: AttributeError"), (Small(), r"gives \(\), and must have")]
)
def test_a_model_that_fails_is_told_as_theirs(model, words):
    with pytest.raises(UsageError, match=words) as caught:
        smdae.denoise(gray(), model)
    assert caught.value.code == 2


def test_a_target_that_fails_ends_compare_with_exit_2(tmp_path, monkeypatch, capsys):
    from smdae.cli.app import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_ring.py").write_text(
        "class Ring:\n"
        "    def sample(self, n):\n"
        "        return undefined\n"
        "    def score(self, x):\n"
        "        return -x\n"
        "ring = Ring()\n"
    )
    assert main(["compare", "--target", "broken_ring:ring", "--quick"]) == 2
    err = capsys.readouterr().err
    assert "'broken_ring:ring.sample' failed: NameError" in err
    assert "broken_ring.py, line 3" in err


def test_every_docstring_that_takes_sigma_says_its_unit():
    for function in (smdae.denoise, smdae.denoise_image, smdae.fit):
        text = " ".join(function.__doc__.split())
        assert "white being 255 for integers of any depth, and in the image" in text


def test_numpy_scalars_are_levels():
    image = gray()
    np.testing.assert_array_equal(
        smdae.denoise(image, Network(), np.float32(25)), smdae.denoise(image, Network(), 25.0)
    )


def test_a_score_that_changes_its_input_does_not_change_the_picture():
    class Clearing:
        def score(self, x, sigma):
            return x.zero_()

    np.testing.assert_array_equal(smdae.denoise(gray(), Clearing(), 25), gray())
