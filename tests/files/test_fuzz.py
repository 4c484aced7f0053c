"""Damaged and crafted files of every kind: a result or one line of refusal, soon, and nothing else."""

import time
from random import Random

import pytest

from benchmarks.fuzz import KINDS, SLOW, fuzzer
from benchmarks.fuzzing.damage import VALUES, json_damaged
from benchmarks.fuzzing.pictures import example, outcome, seeds
from smdae.files.images import FORMATS, read
from smdae.files.parts import find

COUNT = 5 * len(seeds())
COUNTS = {"files": 2 * len(fuzzer("files").seeds()), "models": 300, "states": 60, "cache": 100, "configuration": 400}


def test_undamaged_they_are_pictures_of_every_format():
    singles = {name: file for name, file in seeds().items() if find(file, name) is None}
    assert {read(file, name).format for name, file in singles.items()} == FORMATS.keys()
    assert {outcome(file) for file in seeds().values()} == {"read"}


@pytest.mark.parametrize("kind", KINDS)
def test_undamaged_all_are_read(kind):
    tried = fuzzer(kind)
    assert {tried.outcome(file) for file in tried.seeds().values()} <= {"read", "mended"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_is_an_example(kind):
    tried = fuzzer(kind)
    assert [tried.example(number) for number in range(20)] == [tried.example(number) for number in range(20)]


def test_values_to_damage_by_are_not_damaged_themselves():
    """Else an example would depend on those before it, and hold itself at last."""
    before = repr(VALUES)
    for number in range(3000):
        json_damaged('{"a": [1]}', Random(number))
    assert repr(VALUES) == before


def test_most_pictures_are_damaged():
    assert sum(example(number)[1] != file for number, file in enumerate(seeds().values())) > 0.9 * len(seeds())


@pytest.mark.parametrize("first", range(0, COUNT, len(seeds())))
def test_damaged_they_are_pictures_or_refused_in_one_line(first, capfd):
    for number in range(first, first + len(seeds())):
        begun = time.process_time()
        outcome(example(number)[1])
        assert time.process_time() - begun < SLOW, number
        assert capfd.readouterr() == ("", ""), number


@pytest.mark.parametrize("kind", COUNTS)
def test_what_is_crafted_is_used_or_refused_in_one_line(kind, capfd):
    tried, found = fuzzer(kind), set()
    for number in range(COUNTS[kind]):
        begun = time.process_time()
        found.add(tried.outcome(tried.example(number)[1]))
        assert time.process_time() - begun < SLOW, number
        assert capfd.readouterr() == ("", ""), number
    assert {"read", "refused"} <= found
