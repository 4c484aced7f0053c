"""Prefetching: what was read ahead is taken, once, and nothing else is."""

import pytest
import torch

from smdae.fitting.patches import Prefetch


def test_prefetch_gives_what_was_read_once():
    ahead, read = Prefetch(), []
    key = torch.arange(3)
    assert ahead.take(key) is None
    ahead.start(key, lambda: read.append(1) or key * 2)
    assert torch.equal(ahead.take(torch.arange(3)), key * 2)
    assert ahead.take(key) is None
    assert read == [1]


@pytest.mark.parametrize("other", [torch.arange(4), torch.tensor([0, 1, 3])])
def test_prefetch_forgets_what_was_read_for_another_key(other):
    ahead = Prefetch()
    ahead.start(torch.arange(3), lambda: torch.ones(3))
    assert ahead.take(other) is None
    assert ahead.take(torch.arange(3)) is None


def test_prefetch_raises_an_error_of_its_thread_where_the_result_is_asked_for():
    def broken():
        raise ValueError("broken")

    ahead = Prefetch()
    ahead.start(torch.arange(3), broken)
    with pytest.raises(ValueError, match="broken"):
        ahead.take(torch.arange(3))
    ahead.start(torch.arange(3), broken)
    assert ahead.take(torch.arange(4)) is None
