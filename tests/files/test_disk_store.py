"""Stored images: every piece is what it would be in memory, and no more memory is taken than pieces have."""

import numpy as np
import pytest
import torch
from torch import Generator

from smdae.files import disk_store as module
from smdae.files import piece_reader
from smdae.files.disk_store import STRIP
from smdae.fitting import prepare
from smdae.fitting.loop import run
from smdae.fitting.packed import Packed
from smdae.fitting.patches import Patches
from smdae.fitting.settings import check
from smdae.fitting.splitting import split
from smdae.fitting.validation import Validation
from tests.storing import stored

SIDES = [(40, 3 * STRIP + 17), (33, STRIP), (35, 2 * STRIP), (90, 33), (34, STRIP + 1), (300, 2 * STRIP - 1)]


def images(channels=1, dtype="uint8", sides=SIDES):
    rng = np.random.default_rng(0)
    shapes = [side if channels == 1 else (*side, channels) for side in sides]
    return [rng.integers(0, 256, shape).astype(dtype) for shape in shapes]


@pytest.fixture(params=["kept", "read"])
def kept(request, monkeypatch):
    """Whether what was read is kept in memory, as it is of small files."""
    monkeypatch.setattr(piece_reader, "MAX_HELD", 1 << 30 if request.param == "kept" else 0)
    return request.param == "kept"


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pieces_are_those_of_images_in_memory(kept, channels, dtype, tmp_path, generator):
    whole = images(channels, dtype)
    there, here = stored(whole, tmp_path / "pixels"), Packed.of(whole)
    assert torch.equal(there.heights, here.heights)
    assert torch.equal(there.widths, here.widths)
    assert (there.channels, there.rounded) == (here.channels, here.rounded)
    for side in (1, 2, 12, 33):
        image = torch.randint(len(whole), (400,), generator=generator)
        chance = torch.rand(2, 400, generator=generator)
        top = (chance[0] * (here.heights[image] - side + 1)).long()
        left = (chance[1] * (here.widths[image] - side + 1)).long()
        turned = torch.arange(400) % 3 == 0
        assert torch.equal(there.cut(image, top, left, side), here.cut(image, top, left, side))
        assert torch.equal(there.cut(image, top, left, side, turned), here.cut(image, top, left, side, turned))


def test_pieces_wider_than_strips_are_too(kept, tmp_path):
    side, wide = 2 * STRIP + 20, 5 * STRIP + 3
    whole = images(3, sides=[(side + 40, wide), (side + 20, side + 20)])
    there, here = stored(whole, tmp_path / "pixels"), Packed.of(whole)
    image, top, left = (
        torch.tensor([0, 1, 0, 0]),
        torch.tensor([0, 20, 40, 7]),
        torch.tensor([0, 20, wide - side, STRIP - 1]),
    )
    turned = torch.tensor([True, False, True, False])
    assert torch.equal(there.cut(image, top, left, side, turned), here.cut(image, top, left, side, turned))


def test_every_place_at_the_borders_of_strips_is_right(kept, tmp_path):
    whole = images(sides=[(5, 3 * STRIP)])
    left = torch.arange(3 * STRIP - 4)
    found = stored(whole, tmp_path / "pixels").cut(torch.zeros_like(left), torch.zeros_like(left), left, 5)
    for x in left.tolist():
        np.testing.assert_array_equal(found[x, 0], whole[0][:, x : x + 5])


def test_large_batches_are_read_in_parts(kept, tmp_path, monkeypatch, generator):
    whole = images()
    a, b = (Patches.pack(source, 12, 255) for source in (whole, stored(whole, tmp_path / "pixels")))
    expected = a.draw(500, Generator().manual_seed(1))
    monkeypatch.setattr(module, "MAX_READ", 10_000)
    assert torch.equal(b.draw(500, Generator().manual_seed(1)), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_as_a_sequence_they_are_arrays(channels, tmp_path):
    whole = images(channels)
    there = stored(whole, tmp_path / "pixels")
    assert len(there) == len(whole)
    for back, image in zip(there, whole, strict=True):
        np.testing.assert_array_equal(back, image)
        assert back.dtype == image.dtype
    some = there.take([4, 0])
    np.testing.assert_array_equal(some[1], whole[0])
    assert len(some) == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_windows_are_those_of_images_in_memory(channels, tmp_path):
    whole = images(channels)
    there, here = stored(whole, tmp_path / "pixels"), Packed.of(whole)
    wide = SIDES[0][1]
    for place in ((0, 0, 0, 40, wide), (0, 7, STRIP - 1, 20, 2), (0, 39, 0, 1, wide), (3, 30, 5, 60, 28)):
        assert torch.equal(there.window(*place), here.window(*place))


@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (40, 300, 3), (300, 200, 3)])
def test_of_a_single_image_the_same_strip_is_held_out_and_nothing_is_copied(shape, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    there = stored([image], tmp_path / "pixels")
    for ours, theirs in zip(split(there, 12, 0.3, 0), split([image], 12, 0.3, 0), strict=True):
        np.testing.assert_array_equal(ours.images[0], theirs.images[0])
        assert ours.images.pieces is there.pieces
        a, b = (Patches.pack(part.images, 12, 255) for part in (ours, theirs))
        assert a.places == b.places
        assert torch.equal(a.at(torch.arange(a.places)), b.at(torch.arange(b.places)))
        whole = (0, 0, 0, int(a.images.heights[0]), int(a.images.widths[0]))
        assert torch.equal(a.window(*whole), b.window(*whole))
    assert len(split(there, 40, 0.3, 0)[1].images) == len(split([image], 40, 0.3, 0)[1].images)


def test_splits_and_levels_are_those_of_images_in_memory(tmp_path):
    whole = images(dtype="float32")
    there, levels = stored(whole, tmp_path / "pixels"), [float(i) for i in range(len(whole))]
    for ours, theirs in zip(split(there, 12, 0.4, 3, levels), split(whole, 12, 0.4, 3, levels), strict=True):
        assert ours.levels == theirs.levels
        a, b = (Patches.pack(part.images, 12, 255, levels=part.levels) for part in (ours, theirs))
        drawn = [patches.draw_with_levels(203, Generator().manual_seed(0)) for patches in (a, b)]
        assert torch.equal(drawn[0][0], drawn[1][0])
        assert torch.equal(drawn[0][1], drawn[1][1])


def test_what_is_foretold_changes_nothing_but_the_time(kept, tmp_path, monkeypatch):
    """Foretold or not, or wrongly; and of what was foretold rightly nothing is read twice."""
    whole = images()
    plain, there = (Patches.pack(source, 12, 255) for source in (whole, stored(whole, tmp_path / "pixels")))
    generators = [Generator().manual_seed(7) for _ in range(2)]
    reads = []
    cut = type(there.images).cut
    monkeypatch.setattr(type(there.images), "cut", lambda self, *args: reads.append(len(args[0])) or cut(self, *args))
    for foretold, n in ((None, 50), (50, 50), (40, 50), (50, 51), (51, 51)):
        if foretold:
            there.prefetch(foretold, generators[1])
        assert torch.equal(plain.draw(n, generators[0]), there.draw(n, generators[1]))
        assert torch.equal(*(generator.get_state() for generator in generators))
    assert sorted(reads) == sorted([50, 50, 50, 51, 51] if kept else [50, 50, 40, 50, 50, 51, 51])


@pytest.mark.parametrize("growth", [[], [16, 24]])
def test_steps_of_a_fit_read_nothing_twice(growth, tmp_path, monkeypatch):
    """Each batch is begun with before it is asked for, and taken: the first alone is read when it is."""
    monkeypatch.setattr(piece_reader, "MAX_HELD", 0)
    there = stored(images(sides=[(64, 300)] * 6), tmp_path / "pixels")
    model = {"model": "unet", "size": "small", "patch_size": 8} if growth else {"model": "energy", "hidden": 8}
    settings = check({**model, "growth": growth, "batch": 6, "max_steps": 6, "validations": 1, "sigma": 25.0})
    prepared = prepare(there, 255.0, settings)
    reads: list[int] = []
    cut = type(there).cut
    monkeypatch.setattr(type(there), "cut", lambda self, *args: reads.append(len(args[0])) or cut(self, *args))
    reports = list(run(prepared.state, prepared.examples, lambda model, group: Validation(0.0, "psnr")))
    assert reports[-1].step == 6
    assert len(reads) == 6
