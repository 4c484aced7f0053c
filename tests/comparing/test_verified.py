"""Whether a score is that of its samples: right ones pass, and what is wrong with others is named."""

import pytest
import torch
from torch import Generator

from smdae.comparing.target import Target
from smdae.comparing.verified import verify
from smdae.densities import Gaussian, GaussianMixture
from smdae.errors import InputError

NORMAL = Gaussian(torch.tensor([2.0, -1.0]), torch.tensor([[1.5, 0.4], [0.4, 0.7]]))
MIXTURE = GaussianMixture(
    torch.tensor([0.3, 0.7]), torch.tensor([[0.0, 3.0], [1.0, -2.0]]), 0.2 * torch.eye(2).expand(2, 2, 2)
)


class Changed:
    """A density with another score, without a log_prob."""

    def __init__(self, score, scale=1.0) -> None:
        self.change, self.scale = score, scale

    def sample(self, n, generator=None):
        return self.scale * NORMAL.sample(n, generator)

    def score(self, x):
        return self.change(NORMAL.score(x))


class Told(Changed):
    def log_prob(self, x):
        return NORMAL.log_prob(x)


def verified(density, seed=0):
    return verify("mine:q", Target("mine:q", density), Generator().manual_seed(seed))


@pytest.mark.parametrize("density", [NORMAL, MIXTURE, Changed(lambda s: s)])
def test_scores_of_their_samples_pass_whatever_the_seed(density):
    for seed in range(5):
        found = verified(density, seed)
        assert abs(found.factor - 1) < 6 * found.factor_error
        assert found.factor_error < 0.02
        assert (found.gradient is None) == isinstance(density, Changed)
    assert "E[s] = " in str(found)


@pytest.mark.parametrize(
    ("density", "words"),
    [
        (Changed(lambda s: -s), "wrong sign"),
        (Changed(lambda s: -3 * s), "wrong sign, and is 3"),
        (Changed(lambda s: 2 * s), "times what it should be"),
        (Changed(lambda s: s, scale=255), "another unit"),
        (Changed(lambda s: s * torch.tensor([1.0, 255.0])), "coordinates differ"),
        (Changed(lambda s: s.flip(1)), "E[(x - m) s']_"),
        (Changed(lambda s: s + 0.3), "E[s]_1 is 0.3"),
        (Told(lambda s: -s), "-1 ± 0 times the gradient of its log_prob"),
        (Told(lambda s: s.flip(1)), "not along that gradient"),
    ],
)
def test_what_is_wrong_with_a_score_is_named(density, words):
    with pytest.raises(InputError) as refused:
        verified(density)
    assert words in refused.value.message


def test_a_log_prob_that_cannot_be_differentiated_is_passed_over():
    class Numeric(Told):
        def log_prob(self, x):
            return torch.tensor(NORMAL.log_prob(x).detach().tolist())

    assert verified(Numeric(lambda s: s)).gradient is None
