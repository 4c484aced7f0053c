"""`smdae denoise` of OME-Zarr: volumes lose their noise chunk by chunk, and nothing else of them changes."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from smdae.cli.app import main
from smdae.files import ome_metadata, ome_zarr
from smdae.pipeline import one_volume
from tests.tiny import complaint, encoded, everything_below, gray
from tests.volumes import NOISE, clean, read, volume

zarr = pytest.importorskip("zarr")
BLOSC = pytest.importorskip("numcodecs").Blosc()

KEYS = {"name": "v2", "separator": "/"}


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    monkeypatch.setenv("SMDAE_MODEL", "natural-gray-small")
    return bare


def metadata(path: str) -> dict[str, bytes | None]:
    return {
        name: data for name, data in everything_below(Path(path)).items() if Path(name).name in ome_metadata.METADATA
    }


def error(result: np.ndarray) -> float:
    return float(np.sqrt(np.mean((result.astype(float) - clean(result.shape)) ** 2)))


@pytest.mark.parametrize("format", [2, 3])
def test_channels_have_noise_of_their_own_and_metadata_stay(format, capsys):
    values = volume("a.ome.zarr", format=format)
    assert main(["denoise", "a.ome.zarr", "--json"]) == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert (record["axes"], record["pages"], record["channels"]) == ("CZYX", 6, 2)
    for told, true in zip(record["sigma"], NOISE, strict=True):
        assert told * 65535 / 255 == pytest.approx(true, rel=0.15)
    assert "channel 1: noise" in shown.err
    assert "its 2 smaller levels are made anew as before, by one pixel of each block" in shown.err
    assert metadata("a.ome.zarr") == metadata("a_denoised.ome.zarr")
    result = read("a_denoised.ome.zarr")
    assert result.dtype == values.dtype
    for c in range(2):
        assert error(result[c]) < 0.7 * error(values[c])
    assert np.array_equal(read("a_denoised.ome.zarr", 1), result[..., ::2, ::2])
    assert np.array_equal(read("a_denoised.ome.zarr", 2), result[..., ::4, ::4])
    assert np.array_equal(read("a.ome.zarr"), values)
    assert sorted(os.listdir()) == ["a.ome.zarr", "a_denoised.ome.zarr"]


@pytest.mark.parametrize(
    ("axes", "shape", "chunks", "dtype"),
    [
        ("yx", (70, 64), (32, 32), "u2"),
        ("tczyx", (2, 1, 2, 40, 48), (1, 1, 2, 40, 48), ">u2"),
        ("tyx", (2, 50, 64), (1, 50, 20), "f4"),
        ("cyx", (2, 48, 64), (2, 48, 64), "i2"),
    ],
)
def test_other_axes_and_types(axes, shape, chunks, dtype):
    values = volume("a.zarr", axes, shape, chunks, dtype, levels=2)
    assert main(["denoise", "a.zarr", "-o", "b.ome.zarr"]) == 0
    result = read("b.ome.zarr")
    assert result.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
    assert error(result) < 0.8 * error(values)
    assert metadata("a.zarr") == metadata("b.ome.zarr")


def test_regions_with_their_margin_give_what_whole_planes_do(monkeypatch):
    volume("a.zarr", "zyx", (1, 240, 210), (1, 40, 40), levels=1)
    assert main(["denoise", "a.zarr", "-o", "whole.zarr", "--noise", "white", "--sigma", "0.05"]) == 0
    monkeypatch.setattr(one_volume, "ROOM", 44 * 190 * 190)
    seen = []
    monkeypatch.setattr(
        one_volume._Run, "_denoise", lambda self, *of, do=one_volume._Run._denoise: seen.append(of[2]) or do(self, *of)
    )
    assert main(["denoise", "a.zarr", "-o", "cut.zarr", "--noise", "white", "--sigma", "0.05"]) == 0
    assert len(seen) > 3
    assert all(part.padded[0].stop - part.padded[0].start < 240 for part in seen)
    whole, cut = read("whole.zarr").astype(int), read("cut.zarr").astype(int)
    assert np.abs(whole - read("a.zarr")).max() > 10
    assert np.abs(whole - cut).max() <= 1  # products of other sizes are rounded otherwise


def test_a_result_in_which_nothing_changes_has_a_record_of_each_channel(capsys):
    volume("a.ome.zarr", levels=1)
    assert main(["denoise", "a.ome.zarr", "--strength", "0", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["sigma"] == [0.0, 0.0]
    assert [noise["kind"] for noise in record["noise"]] == ["none", "none"]
    assert everything_below(Path("a.ome.zarr")) == everything_below(Path("a_denoised.ome.zarr"))


def test_a_channel_without_values_is_told_as_such(capsys):
    volume("a.zarr", "cyx", (2, 80, 72), (1, 40, 40), dtype="f4", levels=1)
    array = zarr.open_array("a.zarr/0", mode="r+")
    array[1] = np.nan
    assert main(["info", "a.zarr"]) == 0
    told = capsys.readouterr().out
    assert "channel 1 of 2" in told
    assert "channel 2 of 2" in told
    assert "no noise found (it has no values)" in told


def test_chunks_that_are_not_there_stay_away(capsys):
    volume("a.zarr", "zyx", (2, 120, 120), (1, 40, 40), levels=1, fill_value=7)
    for key in ("0/0/0/0", "0/1/2/2"):
        os.unlink(f"a.zarr/{key}")
    assert main(["denoise", "a.zarr"]) == 0
    before, after = (set(everything_below(Path(name))) for name in ("a.zarr", "a_denoised.zarr"))
    assert before == after
    result = read("a_denoised.zarr")
    assert (result[0, :40, :40] == 7).all()
    assert np.abs(result[0, 60:].astype(float) - clean((120, 120))[60:]).mean() < 0.6 * NOISE[0]


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_chunks_that_are_not_there_are_zero_where_no_fill_value_is_named(dtype):
    volume("a.zarr", "zyx", (2, 80, 80), (1, 40, 40), dtype, levels=2)
    for level in "01":
        told = json.loads(Path(f"a.zarr/{level}/.zarray").read_text())
        Path(f"a.zarr/{level}/.zarray").write_text(json.dumps(told | {"fill_value": None}))
    os.unlink("a.zarr/0/0/0/0")
    assert main(["denoise", "a.zarr"]) == 0
    result = read("a_denoised.zarr")
    assert not result[0, :40, :40].any()
    assert error(result[1]) < 0.8 * NOISE[0]


def test_what_was_never_written_takes_no_time(monkeypatch, capsys):
    """Of 6,000 planes two are there, and neither the first nor one that is looked at by chance."""
    group = zarr.open_group("a.zarr", mode="w", zarr_format=2)
    noisy = clean((80, 80)) + NOISE[0] * np.random.default_rng(0).standard_normal((80, 80))
    for level, side in enumerate((80, 40)):
        array = group.create_array(
            str(level), shape=(6000, side, side), chunks=(1, 40, 40), dtype="u2", fill_value=5, chunk_key_encoding=KEYS
        )
        for plane in (1234, 4321):
            array[plane] = np.rint(noisy)[:: level + 1, :: level + 1]
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    datasets = [{"path": str(level)} for level in (0, 1)]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    asked = []
    get, put = zarr.Array.__getitem__, zarr.Array.__setitem__
    monkeypatch.setattr(zarr.Array, "__getitem__", lambda self, part: asked.append(part) or get(self, part))
    monkeypatch.setattr(
        zarr.Array, "__setitem__", lambda self, part, values: asked.append(part) or put(self, part, values)
    )
    assert main(["denoise", "a.zarr"]) == 0
    assert len(asked) < 50
    assert set(everything_below(Path("a.zarr"))) == set(everything_below(Path("a_denoised.zarr")))
    result = zarr.open_array("a_denoised.zarr/0", mode="r")
    assert np.abs(result[1234].astype(float) - clean((80, 80))).mean() < 0.6 * NOISE[0]
    assert (result[1235] == 5).all()
    assert main(["info", "a.zarr"]) == 0
    assert "6,000 planes" in capsys.readouterr().out


def test_means_of_blocks_and_what_cannot_be_told(capsys):
    volume("a.zarr", "zyx", (2, 82, 81), (1, 40, 40), mean=True)
    assert main(["denoise", "a.zarr"]) == 0
    assert "as before, by the mean of each block" in capsys.readouterr().err
    result = read("a_denoised.zarr")[:, :, :80].astype(float)
    assert np.array_equal(read("a_denoised.zarr", 1), result.reshape(2, 41, 2, 40, 2).mean((2, 4)).astype("u2"))
    group = zarr.open_array("a.zarr/1", mode="r+")
    group[...] = np.asarray(group[...]) + 3
    assert main(["denoise", "a.zarr", "-y"]) == 0
    assert "how they were made before could not be found" in capsys.readouterr().err


def test_strength_0_changes_no_byte():
    volume("a.zarr", mean=True)
    assert main(["denoise", "a.zarr", "--strength", "0"]) == 0
    assert everything_below(Path("a.zarr")) == everything_below(Path("a_denoised.zarr"))


def test_channels_and_pages_that_are_not_named_stay():
    values = volume("a.zarr", levels=2)
    assert main(["denoise", "a.zarr", "--channel", "2", "--pages", "1,4-5"]) == 0
    result = read("a_denoised.zarr")
    same = [[np.array_equal(result[c, z], values[c, z]) for z in range(3)] for c in range(2)]
    assert same == [[True, True, True], [False, False, True]]


def test_images_below_the_root_are_denoised_and_labels_are_not():
    root = zarr.open_group("a.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    for k in range(2):
        volume(f"a.zarr/{k}", "zyx", (1, 64, 64), (1, 64, 64), levels=1)
    volume("a.zarr/1/labels/cells", "zyx", (1, 64, 64), (1, 64, 64), levels=1)
    Path("a.zarr/OME").mkdir()
    Path("a.zarr/OME/METADATA.ome.xml").write_text("<OME/>")
    assert main(["denoise", "a.zarr"]) == 0
    before, after = everything_below(Path("a.zarr")), everything_below(Path("a_denoised.zarr"))
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"0/0/0/0/0", "1/0/0/0/0"}


def test_what_is_there_is_replaced_or_skipped_as_asked(capsys):
    volume("a.zarr", "zyx", (1, 48, 48), (1, 48, 48), levels=1)
    assert main(["denoise", "a.zarr/"]) == 0
    first = everything_below(Path("a_denoised.zarr"))
    assert main(["denoise", "a.zarr"]) == 4
    assert main(["denoise", "a.zarr", "--skip-existing"]) == 0
    Path("a_denoised.zarr/old").write_text("")
    assert main(["denoise", "a.zarr", "-y"]) == 0
    assert everything_below(Path("a_denoised.zarr")) == first
    Path("mine.zarr").mkdir()
    Path("mine.zarr/thesis.txt").write_text("")
    assert main(["denoise", "a.zarr", "-o", "mine.zarr", "-y"]) == 4
    assert main(["denoise", "a.zarr", "-o", "-"]) == 2
    assert main(["denoise", "a.zarr", "-o", "a.tif"]) == 4
    assert main(["denoise", "a.zarr", "--in-place"]) == 0
    for name, data in everything_below(Path("a.zarr")).items():
        assert data == first[name]
    assert sorted(os.listdir()) == ["a.zarr", "a_denoised.zarr", "mine.zarr"]


def test_a_volume_is_known_by_what_is_in_it(here):
    volume("plate", "yx", (48, 48), (48, 48), levels=1)
    assert main(["denoise", "plate"]) == 0
    assert sorted(os.listdir()) == ["plate", "plate_denoised"]


def test_volumes_lie_among_pictures_in_folders(capsys):
    Path("in").mkdir()
    Path("in/a.png").write_bytes(encoded(gray(64, 64)))
    volume("in/b.zarr", "zyx", (1, 48, 48), (1, 48, 48), levels=1)
    assert main(["denoise", "in", "-r", "-o", "out"]) == 0
    assert sorted(os.listdir("out")) == ["a.png", "b.zarr"]
    assert main(["denoise", "in", "--dry-run", "--json"]) == 0
    assert [json.loads(line)["input"] for line in capsys.readouterr().out.splitlines()] == ["in/a.png", "in/b.zarr"]


def broken(name: str, change) -> str:
    volume(name, "zyx", (1, 32, 32), (1, 32, 32), levels=2)
    change(Path(name))
    return name


def seven(path: Path) -> None:
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    group.create_array("0", shape=(1,) * 5 + (8, 8), dtype="u1")
    axes = [{"name": name} for name in "abtczyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]


def told(**changes):
    def change(path: Path) -> None:
        attributes = json.loads((path / ".zattrs").read_text())
        attributes["multiscales"][0] |= changes
        (path / ".zattrs").write_text(json.dumps(attributes))

    return change


def attributes(text: str):
    return lambda path: (path / ".zattrs").write_text(text)


def of_array(**changes):
    def change(path: Path) -> None:
        described = json.loads((path / "0/.zarray").read_text())
        (path / "0/.zarray").write_text(json.dumps(described | changes))

    return change


BAD = {
    "corrupt": (attributes('{"multiscales": ['), ".zattrs' in 'corrupt.zarr' is not JSON"),
    "list": (attributes("[]"), "no JSON object"),
    "plain": (attributes("{}"), "without OME metadata"),
    "words": (attributes('{"multiscales": "x"}'), "not a list"),
    "labels": (attributes('{"image-label": {}, "multiscales": [{}]}'), "labels"),
    "seven": (seven, "7 axes"),
    "axes": (told(axes=[{"name": "y"}, {"name": "x"}]), "its axes are YX"),
    "order": (told(axes=[{"name": "x"}, {"name": "y"}, {"name": "z"}]), "do not end with Y and X"),
    "outside": (told(datasets=[{"path": "../secret"}]), "name no level"),
    "gone": (told(datasets=[{"path": "5"}]), "level '5' is missing"),
    "hollow": (lambda path: shutil.rmtree(path / "0" / "0"), "none of the chunks"),
    "sparse": (of_array(shape=[10**8, 32, 32]), "only 1 of the 100,000,000 chunks"),
    "planes": (of_array(shape=[1 << 22, 32, 32], chunks=[1 << 22, 32, 32]), "has 4,194,304 planes"),
    "cut": (lambda path: (path / "0/0/0/0").write_bytes(b"\x02\x01!\x01"), "damaged"),
    "empty": (lambda path: shutil.rmtree(path) or path.mkdir(), "without Zarr metadata"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_volume_is_refused_in_one_line(name, capsys):
    change, said = BAD[name]
    broken(f"{name}.zarr", change)
    assert main(["denoise", f"{name}.zarr"]) == 3
    line = complaint("\n".join(one for one in capsys.readouterr().err.splitlines() if "model '" not in one))
    assert said in line
    assert f"{name}.zarr" in line
    assert os.listdir() == [f"{name}.zarr"]


def test_codecs_that_read_and_do_not_write_are_refused(here, capfd):
    volume("a.zarr", "zyx", (1, 32, 32), (1, 32, 32), levels=1, compressors=BLOSC)
    described = json.loads(Path("a.zarr/0/.zarray").read_text())
    assert described["compressor"]["id"] == "blosc"
    for name, value, code, words in (
        ("cname", ["lz4"], 4, "cannot write 'a_denoised.zarr': the codecs of 'a.zarr' fail"),
        ("clevel", -5, 3, "the level of compression of level '0' is -5, and Blosc has 0 to 9"),
    ):
        changed = described | {"compressor": described["compressor"] | {name: value}}
        Path("a.zarr/0/.zarray").write_text(json.dumps(changed))
        assert main(["denoise", "a.zarr", "-s", "0.5"]) == code
        assert words in capfd.readouterr().err
    assert os.listdir() == ["a.zarr"]


@pytest.mark.parametrize("format", [2, 3])
def test_an_array_without_ome_metadata_is_read_where_it_is_named(format, capsys):
    values = clean((3, 80, 72)) + NOISE[0] * np.random.default_rng(0).standard_normal((3, 80, 72))
    group = zarr.open_group("data.zarr", mode="w", zarr_format=format)
    group.attrs["mine"] = 1
    array = group.create_array("raw", shape=values.shape, chunks=(2, 40, 40), dtype="f4")
    array[...] = values
    array.attrs["unit"] = "counts"
    assert main(["denoise", "data.zarr"]) == 3
    assert "name an array in it: data.zarr/raw" in complaint(capsys.readouterr().err)
    assert main(["denoise", "data.zarr/raw", "-o", "out.zarr", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["axes"], record["pages"], record["channels"]) == ("ZYX", 3, 1)
    assert metadata("data.zarr/raw") == metadata("out.zarr")
    result = np.asarray(zarr.open_array("out.zarr", mode="r")[...])
    assert result.dtype == np.float32
    assert error(result) < 0.7 * error(values)
    assert main(["denoise", "data.zarr/raw"]) == 0
    assert sorted(zarr.open_group("data.zarr", mode="r").array_keys()) == ["raw", "raw_denoised"]
    assert main(["info", "out.zarr"]) == 0
    assert "3 planes of 72 x 80 in gray, float32, Zarr ZYX" in capsys.readouterr().out


def test_the_axes_of_an_array_are_those_that_it_names_or_the_usual_ones(capsys):
    def axes(shape: tuple[int, ...], names: list[str] | None = None) -> str:
        zarr.create_array(
            "a.zarr", shape=shape, chunks=shape, dtype="u2", dimension_names=names, zarr_format=3, overwrite=True
        )[...] = np.random.default_rng(0).integers(0, 999, shape)
        assert main(["denoise", "a.zarr", "-y", "--json", "-s", "0.5"]) == 0
        return json.loads(capsys.readouterr().out)["axes"]

    assert axes((32, 32)) == "YX"
    assert axes((2, 1, 32, 32)) == "CZYX"
    assert axes((2, 1, 32, 32), ["time", "z", "y", "x"]) == "TZYX"
    assert axes((2, 32, 32), ["band", "lat", "lon"]) == "ZYX"


def test_arrays_that_are_no_picture_are_refused(capsys):
    def refused(path: str) -> str:
        assert main(["denoise", path]) == 3
        return complaint(capsys.readouterr().err)

    for name, shape, dtype in (("row", (9,), "u2"), ("rgb", (32, 32, 3), "u1"), ("truth", (32, 32), "?")):
        zarr.create_array(f"{name}.zarr", shape=shape, chunks=shape, dtype=dtype)[...] = 1
    assert "a Zarr array of 1 axis" in refused("row.zarr")
    assert "its last axis has 3 values" in refused("rgb.zarr")
    assert "its samples are bool" in refused("truth.zarr")
    volume("a.ome.zarr")
    assert "it is a part of an OME-Zarr" in refused("a.ome.zarr/0")
    assert not [name for name in os.listdir() if "denoised" in name]


def test_the_missing_extra_is_named(capsys, monkeypatch):
    volume("a.zarr", "zyx", (1, 32, 32), (1, 32, 32))
    monkeypatch.setattr(ome_zarr, "is_installed", lambda: False)
    assert main(["denoise", "a.zarr"]) == 3
    assert "hint: pip install 'smdae[zarr]'" in complaint(capsys.readouterr().err)
    assert main(["denoise", "."]) == 3
    assert "smdae[zarr]" in complaint(capsys.readouterr().err)


def test_an_interrupted_volume_leaves_nothing(monkeypatch):
    volume("a.zarr", "zyx", (2, 48, 48), (1, 48, 48))

    def stopped(*of):
        raise KeyboardInterrupt

    monkeypatch.setattr("smdae.files.ome_levels.rebuilt", stopped)
    assert main(["denoise", "a.zarr"]) == 130
    assert os.listdir() == ["a.zarr"]
