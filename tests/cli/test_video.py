"""`smdae denoise` of streams: Y4M and pictures one behind the other, frame by frame, and all that can be wrong."""

import io
import os
import sys

import numpy as np
import pytest

from smdae.cli.app import main
from smdae.denoising import steady
from smdae.files import images, y4m
from smdae.files.sequence import first_of, more_of
from tests.tiny import complaint, encoded, gray

FORMATS = {
    "420": ("8", [(24, 32), (12, 16), (12, 16)]),
    "420jpeg": ("8", [(24, 32), (12, 16), (12, 16)]),
    "420paldv": ("8", [(24, 32), (12, 16), (12, 16)]),
    "420p10": ("10", [(24, 32), (12, 16), (12, 16)]),
    "422p12": ("12", [(24, 32), (24, 16), (24, 16)]),
    "444": ("8", [(24, 32)] * 3),
    "444alpha": ("8", [(24, 32)] * 4),
    "mono": ("8", [(24, 32)]),
    "mono16": ("16", [(24, 32)]),
}


class Pipe:
    """A stream of bytes under a stream of text, which gives out a few bytes at a time as pipes do."""

    def __init__(self, data: bytes = b"") -> None:
        class Slow(io.BytesIO):
            def read(self, n: int = -1) -> bytes:  # type: ignore[override]
                return super().read(n if n < 0 else min(n, 777))

        self.buffer = Slow(data)

    def isatty(self) -> bool:
        return False


def planes_of(kind: str, seed: int, noise: float = 12.0) -> list[np.ndarray]:
    bits, shapes = FORMATS[kind]
    rng = np.random.default_rng(seed)
    factor = 2 ** (int(bits) - 8)
    made = []
    for height, width in shapes:
        y, x = np.mgrid[0:height, 0:width]
        values = (
            120
            + 40 * np.sin(x / width * 3)
            + 20 * np.cos(y / height * 4)
            + noise * rng.standard_normal((height, width))
        )
        made.append((values.clip(16, 235) * factor).astype(np.uint8 if bits == "8" else np.uint16))
    return made


def video(
    kind: str, count: int = 2, more: str = "F25:1 Ip A1:1 XCOLORRANGE=LIMITED", line: bytes = b"FRAME\n"
) -> bytes:
    data = f"YUV4MPEG2 W32 H24 {more} C{kind}\n".encode()
    for k in range(count):
        data += line + b"".join(p.astype(p.dtype.newbyteorder("<")).tobytes() for p in planes_of(kind, k))
    return data


def parsed(data: bytes) -> tuple[y4m.Header, list[tuple[bytes, list[np.ndarray]]]]:
    stream = io.BytesIO(data)
    header = y4m.read_header(stream)
    return header, list(y4m.frames(stream, header))


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    monkeypatch.setenv("SMDAE_MODEL", "natural-gray-small")
    return bare


@pytest.fixture
def piped(monkeypatch, capfdbinary):
    """Runs `smdae denoise - -o -` on bytes; returns the exit code, stdout and stderr."""

    def run(data: bytes, *options: str) -> tuple[int, bytes, str]:
        monkeypatch.setattr(sys, "stdin", Pipe(data))
        code = main(["denoise", "-", "-o", "-", *options])
        out, err = capfdbinary.readouterr()
        return code, out, err.decode()

    return run


@pytest.mark.parametrize("kind", FORMATS)
def test_video_keeps_its_format_and_loses_its_noise(kind, piped):
    data = video(kind, line=b"FRAME Xn=1\n")
    code, out, _ = piped(data, "--sigma", "12")
    assert code == 0
    header, frames = parsed(out)
    assert out.startswith(data[: data.index(b"\n") + 1])
    assert header.shapes == tuple(FORMATS[kind][1])
    assert len(frames) == 2
    for k, (line, planes) in enumerate(frames):
        assert line == b"FRAME Xn=1\n"
        before, clean = planes_of(kind, k), planes_of(kind, k, 0.0)
        for p, (one, noisy, true) in enumerate(zip(planes, before, clean, strict=True)):
            if kind == "444alpha" and p == 3:
                assert np.array_equal(one, noisy)
            else:
                wrong = [np.mean((x.astype(float) - true) ** 2) for x in (one, noisy)]
                assert wrong[0] < wrong[1] / 2
                assert one.max() <= header.white


@pytest.mark.parametrize("interlacing", ["Ip", "It", "Ib", "Im"])
def test_strength_0_changes_no_byte(interlacing, piped):
    data = video("420p10", more=interlacing)
    assert piped(data, "--strength", "0")[:2] == (0, data)


def test_luma_and_chroma_have_strengths_of_their_own(piped):
    data = video("420")
    _, frames = parsed(piped(data, "--sigma", "12", "--chroma", "0")[1])
    luma, *chroma = frames[0][1]
    before = planes_of("420", 0)
    assert not np.array_equal(luma, before[0])
    assert all(np.array_equal(one, two) for one, two in zip(chroma, before[1:], strict=True))


def test_fields_of_another_time_are_not_mixed(piped):
    """Two fields of flat gray, far apart: mixed, they would be stripes or a mean."""
    plane = np.full((24, 32), 60, np.uint8)
    plane[1::2] = 180
    noisy = (plane + np.random.default_rng(0).normal(0, 10, plane.shape)).clip(0, 255).astype(np.uint8)
    code, out, _ = piped(b"YUV4MPEG2 W32 H24 It Cmono\nFRAME\n" + noisy.tobytes(), "--sigma", "10")
    assert code == 0
    result = parsed(out)[1][0][1][0].astype(float)
    assert np.abs(result[::2] - 60).mean() < 4
    assert np.abs(result[1::2] - 180).mean() < 4


def test_a_stream_that_ends_inside_a_frame_gives_the_frames_before(piped):
    data = video("420", 3)
    code, out, err = piped(data[:-100], "--sigma", "12")
    assert code == 3
    assert "ends inside frame 3" in complaint(err.splitlines()[-1])
    assert "2 frames before it are written" in err
    assert len(parsed(out)[1]) == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (video("420").replace(b"W32", b"W30"), "its header"),
        (video("420").replace(b"W32", b"W40"), "its header"),
        (video("mono16").replace(b"Cmono16", b"Cmono10"), "values over 1023"),
        (video("420").replace(b"C420", b"C555"), "chroma format"),
        (video("420").replace(b"W32 ", b""), "width"),
        (video("420").replace(b"W32", b"W99999999"), "limit"),
        (video("420", 0), "no frames"),
        (b"YUV4MPEG2", "width"),
    ],
)
def test_headers_that_make_no_sense_are_refused(data, said, piped):
    code, _, err = piped(data, "--sigma", "12")
    assert code == 3
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "options", [["--mask", "a.png"], ["--bit-depth", "16"], ["-s", "1,2,3"], ["--adapt"], ["--quality", "50"]]
)
def test_what_streams_cannot_have_is_refused(options, piped):
    code, out, err = piped(video("420"), *options)
    assert (code, out) == (2, b"")
    assert "stream" in err


def test_video_from_file_to_file(here, capsys):
    (here / "a.y4m").write_bytes(video("420"))
    assert main(["denoise", "a.y4m", "-s", "12"]) == 0
    assert len(parsed((here / "a_denoised.y4m").read_bytes())[1]) == 2
    capsys.readouterr()
    assert main(["denoise", "a.y4m", "-o", "b.png", "-s", "12"]) == 4
    assert "Y4M" in complaint(capsys.readouterr().err)
    assert main(["denoise", "a.y4m", "-s", "12"]) == 4
    assert sorted(os.listdir(here)) == ["a.y4m", "a_denoised.y4m"]


def test_a_closed_pipe_is_no_error_of_ours(here, monkeypatch):
    (here / "a.y4m").write_bytes(video("mono", 3))
    monkeypatch.setattr(steady, "INTERVAL", 1)

    def closed(data: bytes) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("smdae.cli.stdout.stream", closed)
    monkeypatch.setattr(sys, "stdin", Pipe(video("mono", 3)))
    assert main(["denoise", "-", "-o", "-", "-s", "12"]) == 141


def test_noise_that_changes_is_noticed(here, monkeypatch, piped):
    """Every frame is looked at: weak noise, then strong."""
    monkeypatch.setattr(steady, "INTERVAL", 1)
    y, x = np.mgrid[0:64, 0:64]
    clean = 120 + 50 * np.sin(x / 20) + 20 * np.cos(y / 15)
    rng = np.random.default_rng(0)
    levels = (8, 8, 20)
    shown = [(clean + level * rng.standard_normal((64, 64))).clip(0, 255).astype(np.uint8) for level in levels]
    data = b"YUV4MPEG2 W64 H64 Cmono\n" + b"".join(b"FRAME\n" + one.tobytes() for one in shown)
    code, out, err = piped(data)
    assert code == 0
    assert err.count("noise:") == 2
    assert "from frame 3 on noise:" in err
    assert len(parsed(out)[1]) == 3


@pytest.mark.parametrize("kind", ["PNG", "PPM"])
def test_pictures_one_behind_the_other(kind, piped):
    seen = [encoded(gray(64, 64, seed), kind) for seed in range(3)]
    code, out, err = piped(b"".join(seen), "--sigma", "20")
    assert code == 0
    rest, results = out, []
    ahead = io.BytesIO(rest)
    first, begun = first_of(ahead)
    results = [first, *more_of(begun, ahead)]
    assert len(results) == 3
    for data, before in zip(results, seen, strict=True):
        picture = images.read(data, "x")
        assert picture.format == kind
        assert not np.array_equal(picture.pixels, images.read(before, "x").pixels)
    code, out, err = piped(b"".join(seen)[:-40], "--sigma", "20")
    assert code == 3
    assert "2 frames before it are written" in err
    assert out == first + results[1]


@pytest.mark.parametrize("header", [b"P5\n4 2\n255\n", b"P5 # 9 9\n4 2\n#\n255# 8 bits, of 4\n", b"P6\t4 1\n100\r"])
def test_the_end_of_a_picture_is_told_from_its_header(header):
    size = 12 if header.startswith(b"P6") else 8
    one = header + b"#1 2\n34567890"[:size]  # pixels that look like a header
    whole, begun = first_of(io.BytesIO(one + one))
    assert whole == one
    assert begun == one[:8]


def test_one_picture_and_what_follows_it_is_one_picture(piped):
    data = encoded(gray())
    assert piped(data + b"some words behind it", "--sigma", "20")[1] == piped(data, "--sigma", "20")[1]
    assert piped(data[:-30], "--sigma", "20")[0] == 3


def test_the_bit_depth_of_many_pictures_is_that_asked_for(piped):
    data = encoded(gray().astype(np.uint16) * 257, "PPM") * 2
    for options in (["--strength", "0"], ["-s", "20"]):
        code, out, _ = piped(data, "--bit-depth", "8", *options)
        assert (code, out.count(b"\n255\n"), out.count(b"\n65535\n")) == (0, 2, 0)
    code, out, _ = piped(data, "--bit-depth", "8", "--format", "jpeg", "--quality", "50", "-s", "20")
    assert (code, out.count(b"\xff\xd8\xff")) == (0, 2)


def test_a_format_without_a_quality_is_refused_one_on_stdout_too(piped):
    for count in (1, 2):
        code, out, err = piped(encoded(gray()) * count, "--quality", "50", "-s", "20")
        assert (code, out) == (2, b"")
        assert "--quality is for" in err


def test_many_pictures_are_no_file(here, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Pipe(encoded(gray()) * 2))
    assert main(["denoise", "-", "-o", "a.png", "-s", "20"]) == 4
    assert "many pictures" in complaint(capsys.readouterr().err)
    assert os.listdir(here) == []


def test_folders_are_made_for_videos_as_for_pictures(here, capsys):
    (here / "in" / "deep").mkdir(parents=True)
    for name in ("in/a.y4m", "in/deep/b.y4m"):
        (here / name).write_bytes(video("420"))
    assert main(["denoise", "in", "-r", "-o", "out", "-s", "12"]) == 0
    assert [len(parsed((here / name).read_bytes())[1]) for name in ("out/a.y4m", "out/deep/b.y4m")] == [2, 2]
    assert "smdae: 'in/a.y4m': noise: luma" in capsys.readouterr().err


def test_a_video_without_frames_leaves_nothing_behind(here, capsys):
    (here / "a.y4m").write_bytes(video("420", 0))
    for target in ("b.y4m", "new/"):
        assert main(["denoise", "a.y4m", "-o", target, "-s", "12"]) == 3
        assert "cannot read 'a.y4m': it has no frames" in capsys.readouterr().err
    assert os.listdir(here) == ["a.y4m"]


def test_a_video_that_ends_inside_a_frame_is_not_cut_in_place(here, capsys):
    cut = video("420")[:-100]
    (here / "a.y4m").write_bytes(cut)
    assert main(["denoise", "a.y4m", "--in-place", "-s", "12"]) == 3
    assert (here / "a.y4m").read_bytes() == cut
    assert main(["denoise", "a.y4m", "-o", "b.y4m", "-s", "12"]) == 3
    assert "the frame before it is written" in capsys.readouterr().err
    assert len(parsed((here / "b.y4m").read_bytes())[1]) == 1


@pytest.mark.parametrize("option", [("--pages", "1"), ("--channel", "2"), ("--axes", "TYX")])
def test_the_option_that_was_given_is_the_one_that_is_refused(option, here, capsys):
    (here / "a.y4m").write_bytes(video("420"))
    assert main(["denoise", "a.y4m", *option]) == 2
    assert f"error: {option[0]} does not go with a stream" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["PNG", "PPM"])
def test_a_file_of_several_pictures_is_refused_rather_than_cut_to_the_first(kind, here, capsys):
    name = f"a.{kind.lower()}"
    (here / name).write_bytes(encoded(gray(), kind) + encoded(gray(seed=1), kind))
    assert main(["denoise", name, "-s", "20"]) == 3
    said = complaint(capsys.readouterr().err)
    assert f"cannot read '{name}': it holds several pictures" in said
    assert "denoise - -o -" in said
    assert os.listdir(here) == [name]
    (here / name).write_bytes(encoded(gray(), kind) + b"P5 are some words")
    assert main(["denoise", name, "-s", "20"]) == 0
