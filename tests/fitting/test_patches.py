"""Patches: every place of every image is as likely as any other, values are those of the images, whole images are held
out."""

import numpy as np
import pytest
import torch
from torch import Generator

from smdae.fitting.patches import Patches, Prefetch
from smdae.fitting.splitting import split

P = 3


def images(*shapes, dtype=np.uint8):
    """Arrays in which no two values of all are equal."""
    counts = [int(np.prod(shape)) for shape in shapes]
    values = np.random.default_rng(0).permutation(sum(counts)).astype(dtype)
    return [part.reshape(shape) for part, shape in zip(np.split(values, np.cumsum(counts)[:-1]), shapes, strict=True)]


def slices(image):
    """All P x P patches of an image, channels first, in the order of their places."""
    planes = np.atleast_3d(image).transpose(2, 0, 1)
    height, width = image.shape[:2]
    return [planes[:, y : y + P, x : x + P] for y in range(height - P + 1) for x in range(width - P + 1)]


def symmetric(patch):
    """The eight flips and turns of a patch (C, P, P), as bytes."""
    turned = [np.rot90(patch, k, (1, 2)) for k in range(4)]
    return {np.ascontiguousarray(t).tobytes() for p in turned for t in (p, p[:, ::-1])}


GRAY = images((5, 6), (7, 4), (3, 3))
COLOUR = images((5, 6, 3), (3, 4, 3), (4, 3, 3))


@pytest.mark.parametrize("kind", [GRAY, COLOUR])
def test_each_place_is_one_slice_of_one_image(kind):
    patches = Patches.pack(kind, P, 255)
    expected = np.stack([patch for image in kind for patch in slices(image)])
    assert patches.places == len(expected)
    np.testing.assert_array_equal(patches.at(torch.arange(patches.places)), expected)


@pytest.mark.parametrize("kind", [GRAY, COLOUR])
def test_upside_down_is_the_slice_with_its_rows_reversed(kind):
    patches = Patches.pack(kind, P, 255)
    expected = np.stack([patch for image in kind for patch in slices(image)])
    turned = torch.arange(patches.places) % 2 == 1
    expected[turned.numpy()] = expected[turned.numpy()][:, :, ::-1]
    np.testing.assert_array_equal(patches.at(torch.arange(patches.places), turned), expected)


def test_every_place_of_every_image_is_equally_likely(generator):
    patches = Patches.pack(GRAY, P, 255, symmetries=False)
    first = {patch[0, 0, 0]: place for place, patch in enumerate(p for image in GRAY for p in slices(image))}
    drawn = (patches.draw(1000 * patches.places, generator)[:, 0] * 255).round().int()
    counts = np.bincount([first[value] for value in drawn.tolist()], minlength=patches.places)
    assert len(counts) == patches.places == 12 + 10 + 1
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_square < patches.places + 5 * (2 * patches.places) ** 0.5


@pytest.mark.parametrize("kind", [GRAY, COLOUR])
def test_a_draw_is_a_symmetry_of_a_slice_and_all_eight_take_turns(kind, generator):
    patches = Patches.pack(kind, P, 255)
    whole = [slices(image) for image in kind]
    own = {form: p.tobytes() for image in whole for p in image for form in symmetric(p)}
    drawn = (patches.draw(800 * patches.places, generator) * 255).round().to(torch.uint8).numpy()
    forms: dict[bytes, set[bytes]] = {}
    for patch in drawn:
        form = patch.tobytes()
        forms.setdefault(own[form], set()).add(form)  # a KeyError here is a patch that no image has
    assert len(forms) == patches.places
    assert {len(seen) for seen in forms.values()} == {8}


@pytest.mark.parametrize("n", [1, 3, 13, 8, 64])
def test_a_batch_of_any_size_has_its_share_of_each_symmetry(n, generator):
    drawn = Patches.pack([GRAY[2]], P, 255).draw(n, generator)
    assert drawn.shape == (n, P * P)
    assert drawn.dtype == torch.float32
    _, counts = np.unique((drawn * 255).round().int().numpy(), axis=0, return_counts=True)
    if n % 8 == 0:
        assert counts.tolist() == [n // 8] * 8
    else:
        assert counts.max() <= n // 8 + 1


@pytest.mark.parametrize("symmetries", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_no_patch_crosses_a_border(channels, symmetries, generator):
    """Each image, and each channel of it, has one value of its own; so must each patch of it."""
    shapes = [(3, 9), (8, 3), (5, 4), (3, 3)]
    whole = []
    for i, (height, width) in enumerate(shapes):
        image = np.empty((height, width, channels), np.uint8)
        image[...] = 10 * i + np.arange(channels)
        whole.append(image if channels > 1 else image[:, :, 0])
    drawn = (Patches.pack(whole, P, 255, symmetries).draw(2000, generator) * 255).round()
    planes = drawn.view(2000, channels, P * P)
    assert (planes == planes[:, :, :1]).all()
    assert (planes[:, :, 0] - planes[:, :1, 0] == torch.arange(channels)).all()
    assert set(planes[:, 0, 0].tolist()) == {0, 10, 20, 30}


def test_draws_depend_on_the_generator_alone():
    patches = Patches.pack(GRAY, P, 255)
    torch.manual_seed(1)
    a = patches.draw(50, Generator().manual_seed(7))
    torch.manual_seed(2)
    b = patches.draw(50, Generator().manual_seed(7))
    assert torch.equal(a, b)
    assert not torch.equal(a, patches.draw(50, Generator().manual_seed(8)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
def test_every_depth_is_drawn_with_white_as_one(dtype, generator):
    white = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    image = (np.arange(20).reshape(4, 5) / 20 * white).astype(dtype)
    drawn = Patches.pack([image], P, white).draw(200, generator)
    assert drawn.dtype == torch.float32
    assert drawn.max() == pytest.approx(float(image.max()) / white, rel=1e-6)
    assert drawn.min() == 0


@pytest.mark.parametrize("kind", [GRAY, COLOUR])
def test_an_image_comes_back_whole(kind):
    patches = Patches.pack(kind, P, 255)
    assert len(patches) == len(kind)
    assert patches.dim == patches.channels * P * P
    for i, image in enumerate(kind):
        planes = np.atleast_3d(image).transpose(2, 0, 1)
        np.testing.assert_allclose(patches.window(i, 0, 0, *planes.shape[1:]), planes / 255, rtol=1e-6)


def parts(*arguments, **options):
    return [part.images for part in split(*arguments, **options)]


@pytest.mark.parametrize(("count", "share", "held"), [(2, 0.05, 1), (10, 0.05, 1), (10, 0.3, 3), (3, 0.99, 2)])
def test_whole_images_are_held_out(count, share, held):
    whole = [np.full((4 + i, 5), i, np.uint8) for i in range(count)]
    first, rest = parts(whole, P, share, seed=0)
    assert len(rest) == held
    assert sorted(int(image[0, 0]) for image in first + rest) == list(range(count))
    for image in first + rest:
        np.testing.assert_array_equal(image, whole[int(image[0, 0])])


def test_the_seed_chooses_the_images_held_out():
    whole = [np.full((4, 4), i, np.uint8) for i in range(50)]
    chosen = [tuple(int(image[0, 0]) for image in parts(whole, P, 0.1, seed)[1]) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (6, 40, 3)])
def test_of_a_single_image_a_strip_at_its_end_is_held_out(shape):
    (image,) = images(shape, dtype=np.int32)
    (first,), (last,) = parts([image], P, 0.25, seed=0)
    axis = int(np.argmax(shape[:2]))
    assert last.shape[axis] == 10
    np.testing.assert_array_equal(np.concatenate([first, last], axis), image)


def test_nothing_is_held_out_of_a_small_single_image():
    image = np.zeros((P + 2, P + 1), np.uint8)
    first, rest = parts([image], P, 0.5, seed=0)
    assert rest == []
    assert first[0] is image


def test_the_strip_held_out_is_no_smaller_than_a_patch():
    (first,), (last,) = parts([np.zeros((P, 100), np.uint8)], P, 0.01, seed=0)
    assert last.shape == (P, P)
    assert first.shape == (P, 100 - P)


def test_that_of_a_noisy_image_may_be_thinner():
    first, last = split([np.zeros((100, 80))], 64, 0.05, seed=0, levels=[0.1])
    assert last.images[0].shape == (24, 80)
    assert first.images[0].shape == (76, 80)


def test_levels_stay_with_their_images():
    whole = [np.full((4, 5), i, np.uint8) for i in range(10)]
    for part in split(whole, P, 0.3, seed=0, levels=[float(i) for i in range(10)]):
        assert [int(image[0, 0]) for image in part.images] == part.levels
    for part in split([np.zeros((20, 6))], P, 0.3, seed=0, levels=[0.5]):
        assert part.levels == [0.5]


def test_patches_come_with_the_level_of_their_image():
    whole = [np.full((5 + i, 9 - i), i, np.float32) for i in range(4)]
    packed = Patches.pack(whole, P, 1.0, levels=[0.0, 1.0, 2.0, 3.0])
    patches, levels = packed.draw_with_levels(203, Generator().manual_seed(0))
    assert torch.equal(patches[:, 0], levels)
    assert set(levels.tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert torch.equal(patches, packed.draw(203, Generator().manual_seed(0)))
    assert Patches.pack(whole, P, 1.0).draw_with_levels(3)[1] is None


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
