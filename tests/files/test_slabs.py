"""Volumes are cut into parts that make up the whole, keep to the chunks and fit into the room."""

import numpy as np
import pytest

from smdae.files.slabs import WORK, slabs

HALO = 20


@pytest.mark.parametrize(
    ("shape", "grid", "room"),
    [
        ((2, 5, 300, 217), (1, 2, 40, 32), 1 << 20),
        ((300, 217), (64, 64), 1 << 20),
        ((1, 1, 3, 100, 900), (1, 1, 3, 100, 16), 400_000),
        ((4, 100, 100), (1, 100, 100), 1 << 30),
        ((4, 100, 100), (4, 30, 30), 10),
    ],
)
def test_parts_make_up_the_volume_and_end_with_chunks(shape, grid, room):
    seen = np.zeros(shape, int)
    parts = slabs(shape, grid, 2, room, HALO, 8)
    deep = np.prod([min(*pair) for pair in zip(shape[:-2], grid[:-2], strict=True)])
    for part in parts:
        seen[(*part.lead, *part.kept)] += 1
        assert all(start % step == 0 for start, step in zip(part.start, grid, strict=True))
        assert all(stop % step == 0 or stop == n for stop, step, n in zip(part.stop, grid, shape, strict=True))
        for kept, around, inner, length in zip(part.kept, part.padded, part.inner, shape[-2:], strict=True):
            assert around.start % 8 == 0
            assert around.start <= max(0, kept.start - HALO)
            assert around.stop == min(length, kept.stop + HALO)
            assert range(around.start, around.stop)[inner] == range(kept.start, kept.stop)
        pixels = np.prod([around.stop - around.start for around in part.padded])
        one = all(kept.stop - kept.start <= step for kept, step in zip(part.kept, grid[-2:], strict=True))
        assert one or pixels * (deep * 2 + WORK) <= room * 1.3  # but for what starts at multiples of 8
    assert (seen == 1).all()


def test_planes_stay_whole_where_there_is_room_or_nothing_else_will_do():
    whole = (slice(0, 300), slice(0, 200))
    for halo, room in ((HALO, 1 << 30), (None, 10)):
        parts = slabs((3, 300, 200), (1, 64, 64), 2, room, halo)
        assert [part.kept for part in parts] == [whole] * 3
        assert all(part.padded == part.kept for part in parts)
