"""Work ahead: what was foretold is taken, once, and nothing else is."""

import pytest
import torch
from torch import Generator

from smdae.fitting.foretold import Foretold, copy_of


def test_what_was_foretold_is_taken_once():
    ahead, made = Foretold(), []
    asked = torch.arange(3)
    assert ahead.take(asked) is None
    ahead.begin(asked, lambda: made.append(1) or asked * 2)
    assert torch.equal(ahead.take(torch.arange(3)), asked * 2)
    assert ahead.take(asked) is None
    assert made == [1]


@pytest.mark.parametrize("other", [torch.arange(4), torch.tensor([0, 1, 3])])
def test_what_was_foretold_wrongly_is_forgotten(other):
    ahead = Foretold()
    ahead.begin(torch.arange(3), lambda: torch.ones(3))
    assert ahead.take(other) is None
    assert ahead.take(torch.arange(3)) is None


def test_an_error_comes_out_where_it_is_asked_for():
    def broken():
        raise ValueError("broken")

    ahead = Foretold()
    ahead.begin(torch.arange(3), broken)
    with pytest.raises(ValueError, match="broken"):
        ahead.take(torch.arange(3))
    ahead.begin(torch.arange(3), broken)
    assert ahead.take(torch.arange(4)) is None


def test_a_copy_draws_the_same_and_leaves_the_other_as_it_was():
    generator = Generator().manual_seed(3)
    torch.randn(5, generator=generator)
    before = generator.get_state()
    other = copy_of(generator)
    drawn = torch.randint(100, (20,), generator=other)
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(torch.randint(100, (20,), generator=generator), drawn)
