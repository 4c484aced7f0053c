"""What --json prints keeps to the schemas in the package, and docs/json.md tells of every field."""

import importlib.util
import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import tifffile

import smdae
from smdae.cli.app import main
from smdae.noise import Noise
from tests.tiny import colour, encoded, gray, model_bytes

SCHEMAS = Path(smdae.__file__).parent / "schemas"
DOCS = Path(__file__).parent.parent.parent / "docs" / "json.md"


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    monkeypatch.setenv("SMDAE_MODEL", str(bare / "m.safetensors"))
    (bare / "m.safetensors").write_bytes(model_bytes())
    (bare / "in").mkdir()
    (bare / "in" / "a.png").write_bytes(encoded(gray()))
    (bare / "in" / "bad.png").write_bytes(b"nonsense")
    (bare / "c.png").write_bytes(encoded(colour()))
    (bare / "n.yaml").write_text(Noise.poisson_gaussian(0.8, 2.5, white=255.0).to_yaml())
    tifffile.imwrite("s.tif", np.stack([gray(seed=seed) for seed in range(3)]), photometric="minisblack")
    return bare


def schema(name: str) -> dict:
    found = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return found


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("denoise", ["denoise", "in", "-o", "out", "-s", "20", "--json"], 9),
        ("denoise", ["denoise", "c.png", "-s", "20,10,0", "--json", "--reference", "c.png"], 0),
        ("denoise", ["denoise", "c.png", "-s", "20", "--noise", "white", "--json", "--uncertainty", "u.npy"], 0),
        ("denoise", ["denoise", "s.tif", "-m", "natural-gray-small", "--json"], 0),
        ("denoise", ["denoise", "c.png", "--strength", "0", "--json"], 0),
        ("denoise", ["denoise", "in", "--dry-run", "--report", "r.html", "--json"], 0),
        ("info", ["info", "in", "c.png", "s.tif", "m.safetensors", "n.yaml", "natural-gray", "--json"], 9),
        ("info", ["info", "natural-gray-small", "--check", "--json"], 0),
        ("models", ["models", "--json"], 0),
        ("measured", ["compare", "--reference", "in/a.png", "in/a.png", "c.png", "--json"], 9),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_printed_keeps_to_its_schema(name, arguments, code, capsys):
    check = jsonschema.Draft202012Validator(schema(name))
    assert main(arguments) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines
    for line in lines:
        check.validate(json.loads(line))


def test_video_and_planes_keep_to_the_schema_too(capsys):
    head, frame = b"YUV4MPEG2 W16 H16 F25:1 Cmono\n", b"FRAME\n" + bytes(range(256))
    Path("v.y4m").write_bytes(head + 2 * frame)
    files = ["v.y4m"]
    if importlib.util.find_spec("astropy"):
        from astropy.io import fits

        fits.PrimaryHDU(np.stack([gray(), gray(seed=1)])).writeto("a.fits")
        files.append("a.fits")
    assert main(["denoise", *files, "--json", "--report", "r.html"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(files)
    for line in lines:
        jsonschema.Draft202012Validator(schema("denoise")).validate(json.loads(line))
    assert "video of 2 frames" in Path("r.html").read_text()


def test_results_that_are_skipped_keep_to_the_schema_too(capsys):
    for _ in range(2):
        assert main(["denoise", "c.png", "-s", "20", "--skip-existing", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[-1])["skipped"] is True
    jsonschema.Draft202012Validator(schema("denoise")).validate(json.loads(lines[-1]))


@pytest.mark.parametrize("name", ["denoise", "info", "models", "measured"])
def test_the_docs_tell_of_every_field(name):
    text = DOCS.read_text()
    found = schema(name)
    for one in found.get("oneOf", [found]):
        for field, entry in one["properties"].items():
            assert f"| `{field}` | {entry['description']} |" in text


@pytest.mark.parametrize("factor", [1.0, 12.5])
def test_noise_has_its_level_in_the_unit_of_the_words(factor, capsys):
    """16-bit counts of another white than 65535 are told in their own unit."""
    counts = np.random.default_rng(0).normal(2000, 30 * factor, (96, 96)) + 5 * np.arange(96)
    tifffile.imwrite("n.tif", counts.astype(np.uint16))
    assert main(["denoise", "n.tif", "-m", "natural-gray-small", "--json"]) == 0
    noise = json.loads(capsys.readouterr().out)["noise"]
    told = float(re.search(r"sigma ([0-9.]+)", noise["described"])[1])
    assert noise["sigma"] == pytest.approx(told, rel=0.06)
    assert noise["sigma"] == pytest.approx(30 * factor, rel=0.3)
