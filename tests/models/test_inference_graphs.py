"""Recorded passes, with recordings that take the pass after all: which sizes have one, and who shares it."""

import copy
from threading import Thread

import pytest
import torch

from smdae.models import inference_graphs
from smdae.models.inference_graphs import MAX_GRAPHS, MIN_PASSES, InferenceGraphs
from tests.conftest import random_network


class Asking:
    """In the place of a graph: reads and writes the tensors of its play."""

    def __init__(self, model, x, sigma, score):
        self.model, self.x, self.sigma, self.score = model, x, sigma, score
        self.count = 0

    def replay(self):
        self.count += 1
        self.score.copy_(self.model.score(self.x, self.sigma))


def recorded(model, x, sigma):
    x, level = torch.empty_like(x), torch.empty(1, dtype=x.dtype)
    score = torch.empty_like(x)
    return inference_graphs._Recording(Asking(model, x, level, score), x, level, score)


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(inference_graphs, "_recorded", recorded)
    return random_network()


def images(side=8, seed=0):
    return torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_size_that_comes_again_is_played_to_the_same_end(model):
    both = InferenceGraphs()
    for seed in range(MIN_PASSES):
        assert both.score(model, images(seed=seed), 0.1) is None
    for seed in range(MIN_PASSES, MIN_PASSES + 4):
        x, sigma = images(seed=seed), 0.1 + 0.01 * seed
        assert torch.allclose(both.score(model, x, sigma), model.score(x, sigma), rtol=1e-12)
    (play,) = both.recordings.values()
    assert play.graph.count == 4


def test_results_are_not_overwritten_by_the_next(model):
    both = InferenceGraphs()
    results = [both.score(model, images(seed=seed), 0.1) for seed in range(MIN_PASSES + 3)]
    assert results[:MIN_PASSES] == [None] * MIN_PASSES
    for seed, result in enumerate(results[MIN_PASSES:], MIN_PASSES):
        assert torch.allclose(result, model.score(images(seed=seed), 0.1))


def test_each_size_and_white_has_a_recording_of_its_own_and_few_have_one(model):
    both = InferenceGraphs()
    for _ in range(MIN_PASSES + 1):
        for side in range(8, 8 + 8 * (MAX_GRAPHS + 2), 8):
            both.score(model, images(side), 0.1)
    assert [key[0][2] for key in both.recordings] == [*range(8, 8 + 8 * MAX_GRAPHS, 8)]
    told, both = random_network(clips=True), InferenceGraphs()
    for _ in range(MIN_PASSES + 1):
        for white in (0.0, 1.0):
            x = images()
            score = both.score(told.clipped(white), x, 0.1)
            assert score is None or torch.allclose(score, told.clipped(white).score(x, 0.1))
    assert [key[3] for key in both.recordings] == [0.0, 1.0]


def test_what_cannot_be_recorded_is_asked_for(model, monkeypatch):
    monkeypatch.setattr(inference_graphs, "_recorded", lambda *_: None)
    both = InferenceGraphs()
    for _ in range(MIN_PASSES + 2):
        assert both.score(model, images(), 0.1) is None


def test_threads_share_it_and_copies_do_not(model):
    both = InferenceGraphs()
    results = {}

    def work(seed):
        results[seed] = both.score(model, images(seed=seed), 0.1)

    threads = [Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    played = {seed: result for seed, result in results.items() if result is not None}
    assert len(played) == 8 - MIN_PASSES
    for seed, result in played.items():
        assert torch.allclose(result, model.score(images(seed=seed), 0.1))
    model.graphs = both
    assert model.clipped(1.0).graphs is both
    assert copy.deepcopy(model).graphs.recordings == {}


def test_on_a_cpu_it_has_no_part(model):
    model.graphs = InferenceGraphs()
    with torch.inference_mode():
        for _ in range(MIN_PASSES + 2):
            model.score(images(), 0.1)
    assert model.graphs.recordings == {}
