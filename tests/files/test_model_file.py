"""Model files: weights come back bit for bit, and nothing that is not whole, plain and of this version is built."""

import io
import json
import math
import os
import pickle
import resource
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save

from smdae.errors import ModelError
from smdae.files import model_file
from smdae.files.model_file import encode, load
from smdae.files.tensor_file import with_checksum
from smdae.models import EnergyModel, Patchwise
from tests.conftest import TINY_NETWORK, random_network
from tests.tiny import model_bytes, python, rewritten, with_header


@pytest.fixture
def saved(tmp_path):
    """Writes bytes as a model file."""

    def write(data, name="m.safetensors"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def refused(path, *words):
    with pytest.raises(ModelError) as caught:
        load(path)
    error = caught.value
    assert error.code == 5
    assert str(path) in error.message
    assert "\n" not in error.message
    for word in words:
        assert word in error.message
    return error


def with_tensors(change):
    """The gray model with other tensors."""
    data = model_bytes()
    tensors = load_tensors(data)
    change(tensors)
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    return save(tensors, {name: text for name, text in metadata.items() if name != "checksum"})


# What comes back


@pytest.mark.parametrize("free_means", [0, 3])
def test_weights_and_description_come_back_bit_for_bit(saved, free_means):
    model = Patchwise(EnergyModel(3 * 25, 7, sigma=1.0, level=0.07, free_means=free_means), 3, 5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 10 ** torch.randint(-30, 13, parameter.shape))
    settings = {"channels": 3, "size": 5, **model.patch.settings()}
    card = {"model": "energy", "settings": settings, "sigma": 0.07 * 255, "channels": 3, "patch_size": 5, "more": "ü"}
    back = load(saved(encode(model, card)))
    assert back.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert back.state_dict()[name].numpy().tobytes() == tensor.numpy().tobytes()
    assert (back.channels, back.size, back.level) == (3, 5, 0.07)
    assert back.patch.settings() == model.patch.settings()
    assert back.card == card
    x = torch.rand(1, 3, 9, 8)
    assert torch.equal(back.score(x), model.score(x))


def test_a_loaded_model_is_in_eval_mode_and_asks_for_no_gradient(saved):
    model = load(saved(model_bytes()))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(tensor.is_meta for tensor in model.state_dict().values())


def test_half_precision_weights_become_float32(saved):
    def halve(tensors):
        tensors |= {name: tensor.half() for name, tensor in tensors.items()}

    assert {t.dtype for t in load(saved(with_tensors(halve))).state_dict().values()} == {torch.float32}


def test_a_path_may_be_a_string_and_have_any_name(saved):
    path = saved(model_bytes(), "[red] ü 🎈\n.bin")
    assert load(str(path)).card["model"] == "energy"


def test_a_name_that_is_no_file_is_that_of_a_bundled_model(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "BUNDLED", tmp_path / "weights")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "natural-gray.safetensors").write_bytes(model_bytes())
    monkeypatch.chdir(tmp_path)
    assert load("natural-gray").card["channels"] == 1
    saved(model_bytes(channels=3), "natural-gray")
    assert load("natural-gray").card["channels"] == 3
    refused("../weights/natural-gray")


def test_the_description_is_read_without_torch(saved):
    path = saved(model_bytes())
    code = (
        "import sys; from pathlib import Path; from smdae.files.model_file import read;"
        f"print(read(Path({str(path)!r}))[0]['patch_size'], 'torch' in sys.modules)"
    )
    done = python("-c", code)
    assert done.stdout.split() == ["4", "False"], done.stderr


# What is refused


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"x")
    return buffer.getvalue()


def array():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["not a safetensors file"]),
        (b"hello, world, this is text", ["not a safetensors file"]),
        (zipped(), ["it is a pickle"]),
        (array(), ["not a safetensors file"]),
        ((1 << 40).to_bytes(8, "little") + b"{}", ["not a safetensors file"]),
        ((2).to_bytes(8, "little") + b"{}", ["not a safetensors file"]),
        ((4).to_bytes(8, "little") + b"null", ["not a safetensors file"]),
        ((200_000).to_bytes(8, "little") + b"[" * 200_000, ["not a safetensors file"]),
        (save({"w": torch.zeros(2)}), ["not a safetensors file"]),
        (save({"w": torch.zeros(2)}, {"format": "pt"}), ["not made by smdae"]),
        (save({}, {"format": "smdae-state", "version": "1"}), ["not made by smdae"]),
    ],
    ids=["empty", "text", "zip", "npy", "2^40", "{}", "null", "deep", "bare", "foreign", "state"],
)
def test_what_is_no_model_file_is_refused(saved, data, words):
    refused(saved(data), *words)


class Trap:
    """A pickle that leaves a mark when it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (Path(self.mark),)


def test_a_pickle_is_refused_and_never_loaded(saved, tmp_path):
    mark = tmp_path / "mark"
    plain = pickle.dumps(Trap(mark))
    buffer = io.BytesIO()
    torch.save({"weights": Trap(mark)}, buffer)
    for data in (plain, buffer.getvalue()):
        error = refused(saved(data), "it is a pickle")
        assert "never loads a pickle" in error.hint
    assert not mark.exists()
    pickle.loads(plain)
    assert mark.exists(), "the trap does not work"


@pytest.mark.parametrize("part", [0.001, 0.05, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_refused_wherever_it_was_cut(saved, part):
    data = model_bytes()
    refused(saved(data[: int(part * len(data))]), "cut off")


def test_bytes_at_the_end_are_refused(saved):
    refused(saved(model_bytes() + b"x"))


def test_another_version_is_refused_by_its_number(saved):
    error = refused(saved(rewritten(model_bytes(), version="3")), "version 3, not 1 or 2")
    assert error.hint


@pytest.mark.parametrize("version", ["a\nb", "a\u2028b", "\x1b[31m"])
def test_a_version_that_would_break_the_line_does_not(saved, version):
    error = refused(saved(rewritten(model_bytes(), version=version)), "version ")
    assert len(str(error).splitlines()) == 1
    assert str(error).isprintable()


@pytest.mark.parametrize(
    "card", ["", "{", "null", "3", "[]", "{}", '["model", "settings", "sigma", "channels", "patch_size"]', "[" * 9999]
)
def test_a_damaged_description_is_refused(saved, card):
    refused(saved(rewritten(model_bytes(), card=card)), "description is damaged")


@pytest.mark.parametrize("name", ["os.system", "../energy", "", "Energy", "__class__"])
def test_only_models_of_the_table_are_built(saved, name):
    refused(saved(rewritten(model_bytes(), model=name)), f"no model called '{name}'")


@pytest.mark.parametrize("name", [None, 3, ["energy"], {"energy": 1}])
def test_a_model_name_is_a_text(saved, name):
    refused(saved(rewritten(model_bytes(), model=name)))


def settings(**changes):
    length = int.from_bytes(model_bytes()[:8], "little")
    card = json.loads(json.loads(model_bytes()[8 : 8 + length])["__metadata__"]["card"])
    return rewritten(model_bytes(), settings=card["settings"] | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": 9},
        {"dim": 15},
        {"hidden": 0},
        {"dim": -1},
        {"hidden": "8"},
        {"hidden": 8.5},
        {"hidden": None},
        {"hidden": 10**12},
        {"hidden": 10**30},
        {"dim": 2**62, "hidden": 2**62},
        {"sigma": 0},
        {"sigma": math.nan},
        {"sigma": "1"},
        {"level": -0.1},
        {"level": math.inf},
        {"free_means": 3},
        {"surprise": 1},
        {"size": "4"},
    ],
    ids=str,
)
def test_a_description_that_the_weights_do_not_bear_out_is_refused(saved, changes):
    refused(saved(settings(**changes)))


@pytest.mark.parametrize("changes", [{"channels": 4}, {"channels": 0}, {"size": 5}, {"size": 10**9}])
def test_a_gray_model_that_says_it_has_other_patches_is_refused(saved, changes):
    refused(saved(settings(**changes)))


@pytest.mark.parametrize("value", [None, 3, [], "energy"])
def test_settings_that_are_no_names_and_values_are_refused(saved, value):
    refused(saved(rewritten(model_bytes(), settings=value)))


def test_an_absurd_size_is_refused_before_anything_is_allocated(saved):
    """A gigabyte of weights is described: it could be had, and must not be asked for."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    refused(saved(settings(hidden=2**24)), "do not fit")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert time.perf_counter() - start < 1


def network_bytes(**changes):
    """The file of a small network, with other settings in its card."""
    model = random_network().float()
    card = {"model": "unet", "settings": model.settings() | changes, "sigma": [1, 60], "channels": 1, "patch_size": 64}
    return encode(model, card)


def test_the_file_of_a_network_is_read(saved):
    assert load(saved(network_bytes())).noise_range == TINY_NETWORK["levels"]


@pytest.mark.parametrize(
    "changes",
    [
        {"down": [0, 10**9]},
        {"up": [10**9, 0]},
        {"down": [60, 60]},
        {"widths": [1] * 70, "down": [0] * 70, "up": [0] * 70},
        {"widths": [10**6, 6]},
        {"widths": [4, True]},
        {"down": [1.0, 1]},
        {"down": None},
        {"channels": True},
        {"channels": 1.0},
        {"levels": [0.1, math.inf]},
        {"levels": [5e-324, 1e-320]},
        {"levels": [1e300, 1e300]},
        {"levels": [0.1]},
        {"levels": 3},
    ],
    ids=str,
)
def test_a_network_of_absurd_size_or_levels_is_refused_soon(saved, changes):
    path, begun = saved(network_bytes(**changes)), time.process_time()
    refused(path, "makes no sense")
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("scales", [20, 70])
def test_a_network_of_many_scales_is_refused_though_its_weights_bear_it_out(saved, scales):
    shape = {"widths": (1,) * scales, "down": (0,) * scales, "up": (0,) * scales}
    model = random_network(**shape).float()
    card = {"model": "unet", "settings": model.settings(), "sigma": [1, 60], "channels": 1, "patch_size": 64}
    refused(saved(encode(model, card)), "makes no sense")


@pytest.mark.parametrize(
    "changes",
    [
        {"sigma": 1e-300},
        {"level": 1e300},
        {"level": 10**400},
        {"sigma": 10**400},
        {"free_means": -1},
        {"size": 4.0},
        {"channels": 1.0},
        {"free_means": True},
    ],
    ids=str,
)
def test_settings_of_an_energy_that_overflow_or_are_no_whole_numbers_are_refused(saved, changes):
    refused(saved(settings(**changes)), "makes no sense")


@pytest.mark.parametrize(
    "changes", [{"channels": 3}, {"sigma": "25"}, {"sigma": 10**400}, {"sigma": [1, 2, 3]}, {"patch_size": -1}], ids=str
)
def test_a_card_that_says_other_than_its_settings_is_refused(saved, changes):
    refused(saved(rewritten(model_bytes(), **changes)), "makes no sense")


# Bits that flip, bytes that are too many


def test_each_bit_that_flips_in_the_weights_is_noticed(saved):
    data = bytearray(model_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    chance = np.random.default_rng(0)
    for at in chance.integers(start, len(data), 50):
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(chance.integers(8))
        refused(saved(bytes(flipped)), "checksum")


def test_a_flipped_bit_of_the_card_is_noticed(saved):
    refused(saved(model_bytes().replace(b"dsm", b"dse")), "checksum")


def test_a_flipped_bit_in_the_name_of_the_checksum_is_noticed(saved):
    """Without it the file would be one from before there were checksums."""
    data = model_bytes()
    at = data.index(b'"checksum"') + 1
    for bit in range(8 * len("checksum")):
        flipped = bytearray(data)
        flipped[at + bit // 8] ^= 1 << bit % 8
        refused(saved(bytes(flipped)))


def test_a_file_without_a_checksum_is_read(saved):
    old = with_header(model_bytes(), lambda header: None)
    assert b"checksum" not in old
    assert torch.equal(load(saved(old)).patch.W, load(saved(model_bytes())).patch.W)
    assert torch.equal(load(saved(with_checksum(old))).patch.W, load(saved(model_bytes())).patch.W)


def test_a_tail_of_any_length_is_refused_before_it_is_read(saved, tmp_path):
    path = saved(model_bytes())
    os.truncate(path, 1 << 36)  # a hole: it takes no space
    begun = time.process_time()
    refused(path, "more after its end")
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("make", [lambda path: os.symlink("/dev/zero", path), os.mkfifo], ids=["device", "pipe"])
def test_what_has_no_length_is_no_model(tmp_path, make):
    make(tmp_path / "m.safetensors")
    refused(tmp_path / "m.safetensors", "a pipe or a device")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["patch.W", "patch.b", "patch.c"])
def test_weights_that_are_not_numbers_are_refused(saved, name, value):
    def spoil(tensors):
        tensors[name].view(-1)[-1] = value

    refused(saved(with_tensors(spoil)), "not all numbers")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("patch.b"), "do not fit"),
        (lambda t: t.update(extra=torch.zeros(1)), "do not fit"),
        (lambda t: t.update({"patch.b": torch.zeros(9)}), "do not fit"),
        (lambda t: t.update({"patch.W": t["patch.W"].T.contiguous()}), "do not fit"),
        (lambda t: t.update({"patch.c": t["patch.c"][None].clone()}), "do not fit"),
        (lambda t: t.update({"patch.b": torch.zeros(8, dtype=torch.int64)}), "not all numbers"),
        (lambda t: t.update({"patch.b": torch.zeros(8, dtype=torch.complex64)}), "not all numbers"),
        (lambda t: t.update({"patch.b": torch.zeros(8).to(torch.float8_e4m3fn)}), "not all numbers"),
        (lambda t: t.update({"patch.b": torch.full((8,), 1e300, dtype=torch.float64)}), "not all numbers"),
        (lambda t: t.update({"patch.W": torch.full((8, 16), 1e30)}), "not all numbers"),
    ],
)
def test_other_weights_are_refused(saved, change, words):
    try:
        data = with_tensors(change)
    except KeyError:
        pytest.skip("this version of safetensors writes no complex numbers")
    refused(saved(data), words)


def test_a_missing_model_a_folder_and_an_impossible_name_are_refused(tmp_path):
    assert refused(tmp_path / "missing.safetensors", "there is no model").hint
    refused(tmp_path, "directory")
    refused(Path("x" * 300), "there is no model")
    refused(Path("a\0b"), "there is no model")


def test_random_damage_is_refused_or_harmless(saved):
    """Bytes flipped anywhere: a ModelError, or a model whose weights are all numbers."""
    generator = np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(model_bytes())
        for at in generator.integers(0, len(data), 3):
            data[at] = generator.integers(256)
        path = saved(bytes(data))
        try:
            model = load(path)
        except ModelError:
            continue
        assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
