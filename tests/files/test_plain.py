"""PBM, PGM, PPM and PAM: the maximum and the channels that a file came with go back into it."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from smdae.cli.app import main
from smdae.errors import InputError, OutputError
from smdae.files.images import encode, read
from smdae.files.picture import stretched, unstretched, with_depth
from tests.tiny import gray, model_bytes

RNG = np.random.default_rng(3)


def pam(samples, maxval, kind):
    height, width, depth = samples.shape
    head = f"P7\n# by hand\nWIDTH {width}\nHEIGHT {height}\nDEPTH {depth}\nMAXVAL {maxval}\n"
    typed = f"TUPLTYPE {kind}\n" if kind else ""
    return f"{head}{typed}ENDHDR\n".encode() + samples.astype("u1" if maxval < 256 else ">u2").tobytes()


@pytest.mark.parametrize("maxval", [1, 2, 100, 254, 255, 256, 1023, 4095, 16383, 65534, 65535])
def test_every_value_under_every_maximum_comes_back(maxval):
    values = np.arange(maxval + 1)
    high = stretched(values, maxval)
    assert (high[0], high[-1]) == (0, 255 if maxval < 256 else 65535)
    np.testing.assert_array_equal(unstretched(high, maxval), values)


@pytest.mark.parametrize(("kind", "shape"), [(5, (6, 7)), (6, (6, 7, 3))])
@pytest.mark.parametrize("maxval", [15, 200, 4095, 65535])
def test_a_pnm_is_written_as_it_was(kind, shape, maxval):
    values = RNG.integers(0, maxval + 1, shape).astype("u1" if maxval < 256 else ">u2")
    file = f"P{kind}\n7 6\n{maxval}\n".encode() + values.tobytes()
    assert encode(read(file, "a.ppm"), "PPM") == file


@pytest.mark.parametrize("maxval", [1, 255, 4095])
@pytest.mark.parametrize(
    ("depth", "kind"), [(1, "GRAYSCALE"), (2, "GRAYSCALE_ALPHA"), (3, "RGB"), (4, "RGB_ALPHA"), (4, "")]
)
def test_a_pam_keeps_its_channels_and_its_maximum(depth, kind, maxval):
    values = RNG.integers(0, maxval + 1, (5, 4, depth))
    picture = read(pam(values, maxval, kind), "a.pam")
    assert (picture.alpha is not None) == (depth in (2, 4))
    again = encode(picture, "PAM")
    assert f"TUPLTYPE {kind}".encode() in again
    assert f"MAXVAL {maxval}\n".encode() in again
    assert again.endswith(values.astype("u1" if maxval < 256 else ">u2").tobytes())


def test_pillow_reads_the_same_bits():
    bits = RNG.random((9, 13)) < 0.5
    buffer = BytesIO()
    Image.fromarray(bits).save(buffer, "PPM")
    raw = read(buffer.getvalue(), "a.pbm")
    np.testing.assert_array_equal(raw.pixels, bits * 255)
    plain = b"P1\n# bits without space\n13 9\n" + b"\n".join(b"".join(b"%d" % (not bit) for bit in row) for row in bits)
    np.testing.assert_array_equal(read(plain, "a.pbm").pixels, raw.pixels)
    assert encode(raw, "PPM").startswith(b"P5\n13 9\n255\n")


def test_other_formats_and_other_depths_have_the_whole_range():
    picture = read(pam(np.full((2, 2, 1), 4095), 4095, "GRAYSCALE"), "a.pam")
    assert (read(encode(picture, "PNG"), "a.png").pixels == 65535).all()
    assert with_depth(picture, "uint8").maxval is None
    assert (encode(with_depth(picture, "uint8"), "PPM")[-4:]) == b"\xff" * 4


def test_alpha_in_a_ppm_is_refused_with_what_holds_it():
    picture = read(pam(RNG.integers(0, 256, (2, 2, 2)), 255, "GRAYSCALE_ALPHA"), "a.pam")
    with pytest.raises(OutputError, match="PPM cannot hold an alpha channel") as caught:
        encode(picture, "PPM")
    assert "PAM" in caught.value.hint
    assert encode(replace(picture, alpha=None), "PPM")


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"P5\n2 2\n", "header is damaged"),
        (b"P5\n2 2\n0\n1234", "largest value, 0"),
        (b"P5\n2 2\n65536\n12345678", "largest value, 65536"),
        (b"P5\n2 2\n100\n\x00\x00\x00\x65", "over its largest, 100"),
        (b"P5\n2 2\n300\n\x00\x00\x00", "truncated"),
        (b"P4\n9 2\n\x00\x00\x00", "truncated"),
        (b"P1\n2 2\n1 0 2 0", "over its largest"),
        (b"P1\n2 2\n1 0 1", "truncated"),
        (b"P7\nWIDTH 2\n", "header is damaged"),
        (b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 5\nMAXVAL 255\nENDHDR\n" + bytes(20), "5 channels"),
        (b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 3\nMAXVAL 255\nTUPLTYPE CMY\nENDHDR\n" + bytes(12), "3 channels"),
        (b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 3\nMAXVAL 255\nENDHDR\n" + bytes(11), "truncated"),
    ],
)
def test_what_is_wrong_is_told(file, reason):
    with pytest.raises(InputError, match=reason) as caught:
        read(file, "a")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "file",
    [
        b"P5 # here\n#and there\n32\n# now 24\n24 255\n",
        b"P2\n# here\n#and there\n# now 24\n32 24 255\n",
        b"P7\n# here\nWIDTH 32\n#and there\nHEIGHT 24\n# now 24\nDEPTH 1\nMAXVAL 255\nENDHDR\n",
    ],
)
def test_comments_of_a_header_stay_unless_words_are_stripped(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(model_bytes())
    body = b" ".join(b"%d" % value for value in gray().ravel()) if file[:2] == b"P2" else gray().tobytes()
    (tmp_path / "a.pgm").write_bytes(file + body)
    (tmp_path / "a.pam").write_bytes(file + body)
    name = "a.pam" if file[:2] == b"P7" else "a.pgm"
    for stem in ("b", "c"):
        result = tmp_path / f"{stem}{name[1:]}"
        assert main(["denoise", name, "-m", "m.safetensors", "-s", "20", "-o", str(result)]) == 0
        head, *comments = result.read_bytes().splitlines()[:5]
        assert head in (b"P5", b"P7")
        assert comments[0].startswith(b"# smdae: denoised by")
        assert comments[1:] == [b"# here", b"#and there", b"# now 24"]
        assert read(result, "a").pixels.shape == (24, 32)
        name = result.name  # once more
    assert main(["denoise", name, "-m", "m.safetensors", "-s", "20", "-o", f"d{name[1:]}", "--strip-metadata"]) == 0
    assert b"#" not in (tmp_path / f"d{name[1:]}").read_bytes()[:20]


def test_twelve_bits_stay_twelve_bits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(model_bytes())
    values = gray().astype(np.uint16) * 16
    (tmp_path / "a.pgm").write_bytes(b"P5\n32 24\n4095\n" + values.astype(">u2").tobytes())
    assert main(["denoise", "a.pgm", "-m", "m.safetensors", "-s", "20"]) == 0
    made = (tmp_path / "a_denoised.pgm").read_bytes()
    head, _, body = made.partition(b"\n32 24\n4095\n")
    assert head.startswith(b"P5\n# smdae: denoised by")
    result = np.frombuffer(body, ">u2").reshape(24, 32)
    assert result.max() <= 4095
    assert 0 < np.abs(result.astype(int) - values).mean() < 400
