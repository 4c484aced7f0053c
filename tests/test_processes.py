"""Which of several processes this is."""

import pytest

from smdae.errors import UsageError
from smdae.processes import Place


def test_without_a_launcher_there_is_one_process():
    assert Place.among({}) == Place.among({"RANK": "3"}) == Place.among({"WORLD_SIZE": "4"}) == Place(0, 1, 0)


def test_the_launcher_tells():
    assert Place.among({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}) == Place(5, 8, 1)
    assert Place.among({"RANK": "1", "WORLD_SIZE": "2"}) == Place(1, 2, 1)


@pytest.mark.parametrize(("rank", "size"), [("2", "2"), ("-1", "2"), ("", "2"), ("one", "2"), ("0", "0"), ("0", "2.0")])
def test_what_makes_no_sense_is_refused(rank, size):
    with pytest.raises(UsageError, match="do not fit together") as refused:
        Place.among({"RANK": rank, "WORLD_SIZE": size})
    assert "torchrun" in refused.value.hint
