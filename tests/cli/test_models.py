"""`smdae models`, names with versions, and which model a result is of."""

import json
import re
from pathlib import Path

import pytest

from smdae.cli.app import main
from smdae.files import bundle, tensor_file
from smdae.files.model_file import BUNDLED
from tests.tiny import FLAGS, complaint, encoded, everything_below, gray, model_bytes, python


@pytest.fixture(autouse=True)
def here(bare):
    (bare / "m.safetensors").write_bytes(model_bytes())
    (bare / "a.png").write_bytes(encoded(gray()))
    return bare


def test_weights_that_change_get_another_version():
    """The digests here are of the versions here: who changes weights raises the version and enters the new digest."""
    found = {path.stem: tensor_file.digest(path.read_bytes()) for path in BUNDLED.glob("*.safetensors")}
    assert found == {name: entry["digest"] for name, entry in bundle.entries().items()}
    assert all(isinstance(entry["version"], int) and entry["licence"] for entry in bundle.entries().values())


def test_all_models_are_listed_with_what_they_are_good_for(here, capsys, monkeypatch):
    before = everything_below(here)
    assert main(["models", "m.safetensors"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert all(len(line) <= 80 for line in out.splitlines())
    blocks = [block.splitlines() for block in out.split("\n\n")]
    assert re.fullmatch(r"natural-gray@\d+ \([0-9a-f]{8}\)", blocks[0][0])
    assert "unet by dsm, gray, sigma 1 to 60, 6.0 MB" in blocks[0][1]
    assert re.search(r"held-out PSNR \d\d\.\d\d at sigma 15, .* at sigma 50", blocks[0][2])
    assert "licence: " in blocks[0][3]
    assert blocks[-1][0].startswith("m.safetensors (")
    assert "energy by dsm, gray, sigma 25" in blocks[-1][1]
    monkeypatch.setenv("SMDAE_MODEL", "m.safetensors")
    assert main(["models", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["name"].partition("@")[0] for record in records] == [*bundle.entries(), "m.safetensors"]
    assert records[-1]["digest"] == tensor_file.digest(model_bytes())
    assert records[-1]["version"] is None
    assert everything_below(here) == before


def test_listing_loads_no_torch():
    code = "import sys; from smdae.cli.app import main; assert main(['models']) == 0; assert 'torch' not in sys.modules"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "words"), [("gone.safetensors", ["no model"]), ("a.png", ["cannot load"])])
def test_what_is_no_model_is_refused(name, words, capsys):
    assert main(["models", name, "--json"]) == 5
    err = capsys.readouterr().err
    for word in words:
        assert word in complaint(err)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("natural-grey", ["no model 'natural-grey'", "natural-gray", "natural-color-small"]),
        ("natural-gray@1", ["no model 'natural-gray@1'", f"natural-gray@{bundle.version_of('natural-gray')}"]),
        ("natural-gray@x", [f"natural-gray@{bundle.version_of('natural-gray')}"]),
    ],
)
def test_an_unknown_name_is_told_the_valid_ones(name, words, capsys):
    assert main(["denoise", "a.png", "-m", name]) == 5
    text = complaint(capsys.readouterr().err)
    for word in words:
        assert word in text


def test_json_tells_which_model_it_was(capsys):
    assert main(["denoise", "a.png", "-m", "natural-gray-small@2", "-s", "20", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["model"]
    assert told["name"] == "natural-gray-small@2"
    assert told["digest"] == bundle.entries()["natural-gray-small"]["digest"]
    assert main(["denoise", "a.png", "-m", "m.safetensors", "-y", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["model"]
    assert told["name"] == "m.safetensors"
    assert told["digest"] == tensor_file.digest(model_bytes())
    assert told["objective"] == "dsm"


def test_info_tells_what_a_model_is(capsys):
    assert main(["info", "m.safetensors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("m.safetensors (")
    assert "  energy by dsm, gray, sigma 25, 2 kB" in lines or "energy by dsm" in lines[1]
    assert not any(line.endswith(": ") for line in lines)  # the card has no word of what it was fitted on
    assert main(["info", "natural-gray", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["input"] == "natural-gray"
    assert record["held_out_psnr_at"].keys() == {"15", "25", "50"}
    assert "BSDS500" in record["card"]["about"]
    Path("broken.safetensors").write_bytes(model_bytes()[:200])
    assert main(["info", "broken.safetensors"]) == 5
    assert "broken.safetensors" in complaint(capsys.readouterr().err)


@pytest.mark.parametrize("command", ["info", "models"])
def test_weights_that_changed_are_told_by_their_checksum(command, capsys):
    """The digest in the file is still that of the weights as they were."""
    data = bytearray(model_bytes())
    data[-10] ^= 4
    Path("flipped.safetensors").write_bytes(data)
    assert main([command, "flipped.safetensors"]) == 5
    assert "its checksum is not that of its contents" in complaint(capsys.readouterr().err)


def test_info_tells_what_a_noise_profile_says(capsys):
    from smdae.noise import Noise

    Path("camera.yaml").write_text(Noise.poisson_gaussian(0.8, 2.5, white=255.0).to_yaml())
    assert main(["info", "camera.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "camera.yaml: a noise profile"
    assert lines[1].startswith("  noise: shot, sigma")
    assert sum("|" in line for line in lines) == 9
    assert main(["info", "camera.yaml", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["kind"], record["white"]) == ("shot", 255.0)
    assert record["curve"][0] == [0.0, 2.5]
    Path("other.yaml").write_text("a: 1\n")
    assert main(["info", "other.yaml"]) == 3
    assert "other.yaml" in complaint(capsys.readouterr().err)
    assert main(["info", "gone.yaml"]) == 3


def test_the_self_test_of_a_bundled_model_passes(capsys):
    assert main(["info", "natural-gray-small", "--check"]) == 0
    assert "self-test passed: results differ by" in capsys.readouterr().out
    assert main(["info", "natural-color-small", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["self_test"] < 1e-4


def test_a_model_that_gives_other_results_here_fails_its_self_test(monkeypatch, capsys):
    monkeypatch.setattr("smdae.protocols.posterior_mean", lambda model, x, sigma: 0.9 * x)
    assert main(["info", "natural-gray-small", "--check"]) == 5
    assert "does not give here what it gave where it was written: it is" in complaint(capsys.readouterr().err)


def test_a_fit_writes_a_self_test(capsys):
    assert main(["fit", "a.png", *FLAGS, "-o", "fitted.safetensors"]) == 0
    assert main(["info", "fitted.safetensors", "--check"]) == 0
    assert "self-test passed" in capsys.readouterr().out


def test_a_file_without_a_self_test_says_so(capsys):
    assert main(["info", "m.safetensors", "--check"]) == 5
    assert "holds no self-test" in complaint(capsys.readouterr().err)
    assert main(["info", "a.png", "--check"]) == 2
    assert "--check is for models" in complaint(capsys.readouterr().err)
