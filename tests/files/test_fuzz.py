"""Damaged files of every kind that is read: a picture or one line of refusal, soon, and nothing else."""

import time

import pytest

from smdae.files.images import FORMATS, read
from tests.fuzzing import example, outcome, seeds

COUNT = 5 * len(seeds())
SECONDS = 2.0


def test_undamaged_they_are_pictures_of_every_format():
    assert {read(file, name).format for name, file in seeds().items()} == FORMATS.keys()
    assert {outcome(file) for file in seeds().values()} == {"read"}


def test_a_number_is_an_example():
    assert [example(number) for number in range(50)] == [example(number) for number in range(50)]
    assert sum(example(number)[1] != file for number, file in enumerate(seeds().values())) > 0.9 * len(seeds())


@pytest.mark.parametrize("first", range(0, COUNT, len(seeds())))
def test_damaged_they_are_pictures_or_refused_in_one_line(first, capfd):
    for number in range(first, first + len(seeds())):
        begun = time.process_time()
        outcome(example(number)[1])
        assert time.process_time() - begun < SECONDS, number
        assert capfd.readouterr() == ("", ""), number
