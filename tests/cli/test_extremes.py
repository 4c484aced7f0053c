"""Whatever a picture or an option holds, it is used or refused by the exit codes: it is never a bug of ours."""

import os
import struct
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smdae.cli.app import main
from smdae.denoising import denoise
from smdae.errors import InputError
from smdae.files.png_chunks import SIGNATURE, chunk
from tests.tiny import complaint, encoded, everything_below, gray, model_bytes

UNDERSTOOD = {0, 2, 3, 5, 6, 7}
EXTREMES = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    5e-324,
    1e-45,
    1.2e-38,
    1e-30,
    1e-15,
    1e9,
    65504.0,
    65520.0,
    1e18,
    1e30,
    1e38,
    3.4e38,
    1e300,
)
values = st.sampled_from(EXTREMES) | st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    (bare / "model.safetensors").write_bytes(model_bytes())
    monkeypatch.setenv("SMDAE_MODEL", "model.safetensors")
    (bare / "a.png").write_bytes(encoded(gray()))
    return bare


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["float16", "float32", "float64"]),
    st.sampled_from(["noise", "positive", "two values", "one pixel"]),
    values,
    values,
    st.none() | st.sampled_from(["0.001", "25", "100000"]),
    st.none() | values,
    st.none() | values,
    st.sampled_from(["auto", "white", "shot", "grain"]),
)
def test_floats_of_any_size_are_used_or_refused(here, capsys, dtype, shape, size, offset, sigma, white, black, noise):
    noisy = np.random.default_rng(0).standard_normal((24, 28)).clip(-2, 2) / 2
    if shape == "positive":
        noisy = np.abs(noisy)
    elif shape == "two values":
        noisy = np.sign(noisy)
    elif shape == "one pixel":
        noisy = np.eye(24, 28, 3) * np.eye(24, 28, 3)[:, ::-1] + 0.01 * noisy
    with np.errstate(all="ignore"):
        pixels = (noisy * size + offset).astype(dtype)
    np.save(here / "x.npy", pixels)
    options = [("-s", sigma), ("--white", white), ("--black", black)]
    flags = [text for name, value in options if value is not None for text in (name, str(value))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code = main(["denoise", "x.npy", "-y", "-o", "y.npy", "--noise", noise, *flags])
    err = capsys.readouterr().err
    assert code in UNDERSTOOD, err
    if code == 0:
        result = np.load(here / "y.npy")
        assert result.dtype == pixels.dtype
        assert np.array_equal(np.isfinite(result), np.isfinite(pixels))
    else:
        assert "Error" not in err


@pytest.mark.parametrize("value", [1e38, 1e300])
def test_what_single_precision_does_not_hold_is_refused(here, value, capsys):
    np.save(here / "x.npy", value * np.random.default_rng(0).random((24, 28)))
    for options in ([], ["-s", "25"]):
        assert main(["denoise", "x.npy", "-m", "model.safetensors", *options]) in (2, 3)
        assert "'x.npy'" in complaint(capsys.readouterr().err)
    with pytest.raises(InputError, match="its values reach"):
        denoise(value * np.random.default_rng(0).random((24, 28)), str(here / "model.safetensors"))


@pytest.mark.parametrize("value", ["1e300", "1e-320", "-1e300", "1e31"])
@pytest.mark.parametrize("option", ["--white", "--black"])
def test_a_white_or_black_that_no_picture_has_is_refused(option, value, capsys):
    if option == "--black" and value == "1e-320":
        return
    assert main(["denoise", "a.png", f"{option}={value}"]) == 2
    assert option in complaint(capsys.readouterr().err)


@pytest.mark.parametrize("suffix", ["/../x", "/x", "a/b", "/", "\0"])
def test_a_suffix_leads_nowhere(here, suffix, capsys):
    before = everything_below(here)
    assert main(["denoise", "a.png", "--suffix", suffix]) == 2
    assert "--suffix" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


@pytest.mark.parametrize("kind", [b"IDAT", b"tEXt"])
def test_a_png_in_a_million_pieces_is_refused_at_once(here, kind, capsys):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    (here / "b.png").write_bytes(SIGNATURE + header + 1_000_000 * chunk(kind, b"") + chunk(b"IEND", b""))
    begun = time.process_time()
    assert main(["denoise", "b.png"]) == 3
    assert time.process_time() - begun < 2
    assert "'b.png'" in complaint(capsys.readouterr().err)


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="drops privileges to test them")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["denoise", "b.png"], 3),
        (["denoise", "a.png", "--reference", "b.png"], 3),
        (["info", "b.png"], 3),
        (["fit", "b.png"], 3),
        (["fit", "a.png", "-c", "b.png"], 2),
    ],
)
def test_what_may_not_be_read_is_a_matter_of_the_input(here, arguments, code):
    (here / "b.png").write_bytes(encoded(gray()))
    (here / "b.png").chmod(0)
    here.chmod(0o777)
    child = os.fork()
    if not child:
        status = 99
        try:
            os.setuid(65534)
            status = main(arguments)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
    assert Path("b.png").stat().st_mode & 0o777 == 0


def test_a_level_that_is_nothing_beside_the_range_is_refused(here, capsys):
    np.save(here / "x.npy", np.zeros((24, 28), np.float16))
    assert main(["denoise", "x.npy", "-o", "y.npy", "-s", "0.001", "--black", "-7e13"]) == 2
    assert "error: --sigma 0.001 is too small for the range of 'x.npy'" in capsys.readouterr().err
    assert not (here / "y.npy").exists()


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 3000, "x" * 5000 + "/a", "x" * 300 + ".png"])
@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("--noise", 2),
        ("--save-noise", 4),
        ("--save-steps", 4),
        ("--uncertainty", 4),
        ("--report", 4),
        ("--log", 4),
        ("--mask", 3),
        ("--reference", 3),
        ("--files-from", 3),
        ("-m", 5),
        ("-c", 2),
        ("-o", 4),
    ],
)
def test_names_longer_than_the_system_has_are_refused_by_the_option_that_gives_them(here, name, option, code, capsys):
    before = everything_below(here)
    level = () if option == "--save-noise" else ("-s", "20")
    assert main(["denoise", "a.png", *level, option, name]) in (code, 2)
    complaint("".join(line for line in capsys.readouterr().err.splitlines(True) if "smdae: model" not in line))
    assert everything_below(here) == before


@pytest.mark.parametrize("option", ["--tile", "--stride", "--jobs", "--max-memory"])
def test_numbers_of_four_hundred_digits_are_taken_or_refused(here, option, capsys):
    code = main(["denoise", "a.png", "-s", "20", option, str(10**400)])
    assert code == (0 if option == "--max-memory" else 2), capsys.readouterr().err


def test_a_name_with_nul_is_refused(here, capsys):
    assert main(["denoise", "a\0b.png"]) == 2
    assert "NUL" in complaint(capsys.readouterr().err)
