"""`smdae denoise` from day to day: what is said and logged, lists and shares, rehearsals, and what is written."""

import json
import re
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from smdae.cli.app import main
from smdae.cli.batch_progress import BatchProgress
from smdae.files import raw
from smdae.files.images import encode, read
from smdae.files.picture import Metadata
from smdae.pipeline.places import Job
from tests.tiny import (
    ENVIRONMENT,
    colour,
    complaint,
    encoded,
    everything_below,
    gray,
    model_bytes,
    python,
    without_extras,
)

LEVEL = ("-s", "20", "--noise", "white")


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    """A model, and four pictures in a folder and one below it."""
    monkeypatch.setenv("SMDAE_MODEL", str(bare / "m.safetensors"))
    (bare / "m.safetensors").write_bytes(model_bytes())
    (bare / "in" / "deep").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "c.png", "d.png", "deep/e.png")):
        (bare / "in" / name).write_bytes(encoded(gray(seed=seed)))
    return bare


def denoise(*arguments: object) -> int:
    return main(["denoise", *map(str, arguments), *LEVEL])


def names(folder: str) -> set[str]:
    return {str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file()}


# What is said


def test_quiet_is_silent_but_for_errors(capsys):
    assert denoise("in", "-o", "out", "-q") == 0
    assert capsys.readouterr() == ("", "")
    assert denoise("missing.png", "-q") == 3
    assert "no such file" in complaint(capsys.readouterr().err)


def test_verbose_has_a_line_with_seconds_for_each_picture(capsys):
    assert denoise("in", "-o", "out", "-v") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if " -> " in line]
    assert len(lines) == 4
    assert re.fullmatch(r"smdae: 'in/a.png' -> 'out/a.png', \d+\.\d s on cpu", lines[0])
    assert denoise("in", "-o", "out", "--skip-existing", "-v") == 0
    assert "smdae: 'in/d.png' skipped: 'out/d.png' is there" in capsys.readouterr().err.splitlines()


def test_a_log_has_every_line_with_its_time_and_grows(here, capsys):
    (here / "in" / "a.png").write_bytes(b"nonsense")
    assert denoise("in", "-o", "out", "-q", "--log", "run.log") == 9
    said = capsys.readouterr().err.splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d "
    logged = Path("run.log").read_text().splitlines()
    assert all(re.match(stamp, line) for line in logged)
    texts = [re.sub(stamp, "", line, count=1) for line in logged]
    assert set(said) <= set(texts)
    assert any("'in/b.png' -> 'out/b.png'" in text for text in texts)  # though it was not said
    assert "smdae: 3 written, 1 failed" in texts
    assert denoise("in/a.png", "--log", "run.log") == 3
    assert len(Path("run.log").read_text().splitlines()) > len(logged)


@pytest.mark.parametrize(("log", "code"), [("no/run.log", 4), ("in", 4), ("in/b.png", 2)])
def test_a_log_that_cannot_be_written_is_refused_before_any_work(here, log, code, capsys):
    before = everything_below(here)
    assert denoise("in/a.png", "--log", log) == code
    assert f"'{log}'" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


@pytest.mark.parametrize("verbose", [False, True])
def test_why_a_result_is_in_doubt_is_a_detail(verbose, capsys):
    dark = (gray(64, 64).astype(int) - 128).clip(0, 255).astype("uint8")
    Path("dark.png").write_bytes(encoded(dark))
    assert denoise("dark.png", *(["-v"] if verbose else [])) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "PSNR" in line or "black or white" in line]
    short = "smdae: PSNR not estimated"
    if verbose:
        assert said[0] == short
        assert re.fullmatch("smdae: why it is not: .*black or white may have cut the noise off.*", said[1])
    else:
        assert said == [f"{short} (-v says why)"]


# How far it is


TERMINAL = """
import fcntl, os, pty, struct, sys, termios
process, terminal = pty.fork()
if not process:
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
seen = b""
while True:
    try:
        part = os.read(terminal, 65536)
    except OSError:
        break
    if not part:
        break
    seen += part
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""


def on_a_terminal(*arguments: str, code: int = 0) -> str:
    """All that a command draws on a terminal of 80 columns."""
    call = ("-c", TERMINAL, "-m", "smdae", "denoise", *arguments, *LEVEL)
    environment = ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "80"}
    done = python(*call, env={name: value for name, value in environment.items() if name != "NO_COLOR"})
    assert done.returncode == code, done.stdout
    return done.stdout


def test_progress_tells_name_number_share_and_time_in_a_line_of_80_columns(here):
    (here / "in" / ("long " * 12 + "[bold] name.png")).write_bytes(encoded(gray()))
    drawn = on_a_terminal("in", "-o", "out", "-j", "1")
    bare = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    lines = [line for line in re.split(r"[\r\n]+", bare) if "left" in line]
    assert lines
    assert {len(line.rstrip()) for line in lines} == {len(lines[0].rstrip())}
    assert len(lines[0].rstrip()) <= 80
    for line in lines:
        assert re.search(r" [1-5] of 5 +\d+ % .* (-:--:--|\d:\d\d:\d\d) left", line)
    assert any(line.startswith("a.png ") for line in lines)
    assert "long long" in bare
    assert "left" not in on_a_terminal("in", "-o", "quiet", "-q")


def test_names_with_umlauts_are_shown_as_they_are_beside_the_progress(here, monkeypatch):
    monkeypatch.setitem(ENVIRONMENT, "PYTHONIOENCODING", "utf-8")
    (here / "in" / "Zürich.png").write_bytes(b"nonsense")
    drawn = on_a_terminal("in", "-o", "out", code=9)
    assert "smdae: error: 'in/Zürich.png'" in drawn
    assert "xfc" not in drawn


def test_no_progress_is_drawn_into_json_on_a_terminal(here):
    drawn = on_a_terminal("in", "-o", "out", "--json")
    assert " left" not in drawn
    assert all(json.loads(line)["output"] for line in drawn.splitlines() if "input" in line)


def test_in_a_pipe_there_is_no_progress(here):
    done = python("-m", "smdae", "denoise", "in", "-o", "out", *LEVEL)
    assert done.returncode == 0
    assert " left" not in done.stderr
    assert "\r" not in done.stderr
    assert "\x1b" not in done.stderr


def test_the_share_that_is_done_never_falls_and_ends_at_all():
    told = []

    class Bar:
        def add_task(self, text, **fields):
            return 0

        def update(self, task, description, completed, left):
            told.append((description, completed))

    seen = BatchProgress(Bar(), 3)

    def work():
        for steps in (4, 2):  # as of a picture in two passes
            for step in range(steps + 1):
                seen.step(step, steps)

    for name in ("a.png", "b.png"):
        with seen.shown(Job(Path(name), Path("x.png"))):
            work()
    for _ in range(3):  # the last one need not be done by this process
        seen.reported()
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert any(abs(share - 1 / 6) < 1e-9 for share in shares)
    assert told[0][0].split() == ["a.png", "1", "of", "3", "0", "%"]
    assert told[-1][0].split() == ["b.png", "3", "of", "3", "100", "%"]


# Rehearsals


def test_a_dry_run_prints_what_would_be_and_does_nothing(here, capsys):
    (here / "out").mkdir()
    (here / "out" / "b.png").write_bytes(b"old")
    before = everything_below(here)
    assert denoise("in/a.png", "in/b.png", "gone.png", "-o", "out", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [
        "in/a.png -> out/a.png",
        "in/b.png -> out/b.png (refused: it is there, and -y is not given)",
        "gone.png -> out/gone.png (fails: there is no such input)",
    ]
    for flag, would in (("-y", "replace"), ("--skip-existing", "skip")):
        assert denoise("in", "-o", "out", "--dry-run", "--json", flag) == 0
        records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [record["would"] for record in records] == ["write", would, "write", "write"]
    assert denoise("in/a.png", "--dry-run", "--uncertainty", "u.tif") == 0
    assert capsys.readouterr().out.splitlines() == ["in/a.png -> in/a_denoised.png", "-> u.tif"]
    assert everything_below(here) == before


# Lists and shares


def test_a_list_names_files_and_folders(here, capsys):
    Path("list.txt").write_text("in/b.png\r\n\nin/deep\n")
    assert denoise("in/a.png", "--files-from", "list.txt", "-o", "out") == 0
    assert names("out") == {"a.png", "b.png", "e.png"}
    done = python(
        "-m",
        "smdae",
        "denoise",
        "--files-from",
        "-",
        "-o",
        "piped",
        *LEVEL,
        input="in/c.png\0in/d.png\0",
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    assert names("piped") == {"c.png", "d.png"}


def test_an_address_is_no_file_and_a_missing_folder_is_told_how_to_get(here, capsys):
    assert denoise("https://example.org/a.png") == 3
    assert capsys.readouterr().err.splitlines() == [
        "smdae: error: cannot read 'https://example.org/a.png': there is no such file",
        "hint: smdae reads files: download it first",
    ]
    assert denoise("gone.png") == 3
    assert "hint" not in capsys.readouterr().err
    Path("in", "holiday.png").write_bytes(b"")
    assert denoise("in/hoilday.png") == 3
    assert capsys.readouterr().err.splitlines()[-1] == "hint: did you mean 'in/holiday.png'?"
    Path("in", "link.png").symlink_to("nowhere.png")
    assert denoise("in/link.png") == 3
    assert capsys.readouterr().err.splitlines() == [
        "smdae: error: cannot read 'in/link.png': it is a symbolic link to a file that is not there"
    ]
    assert denoise("in/a.png", "-o", "none/a.png") == 4
    assert capsys.readouterr().err.splitlines() == [
        "smdae: error: cannot write 'none/a.png': there is no folder 'none'",
        "hint: make it first, or give -o none/, which makes it",
    ]
    assert denoise("in/a.png", "-o", "none") == 4
    said = capsys.readouterr().err
    assert "cannot write 'none': it has no extension" in said
    assert "hint: none/ would be a folder; known are .png, " in said


def test_what_a_list_names_and_is_not_there_is_told_in_a_line_each(capsys):
    Path("list.txt").write_text("gone.png\nin/a.png\n*.png\n")
    assert denoise("--files-from", "list.txt", "-o", "out") == 9
    err = capsys.readouterr().err.splitlines()
    assert [line for line in err if line.startswith("smdae: error: cannot read")] == [
        "smdae: error: cannot read 'gone.png': there is no such file",
        "smdae: error: cannot read '*.png': there is no such file",
    ]
    assert names("out") == {"a.png"}
    Path("list.txt").write_text("gone.png\n")
    assert denoise("--files-from", "list.txt", "-o", "out") == 9


@pytest.mark.parametrize(
    ("content", "code", "word"), [(None, 3, "no such file"), ("\n\n", 3, "names no files"), ("-\n", 2, "names -")]
)
def test_a_list_that_is_none_is_refused(content, code, word, capsys):
    if content is not None:
        Path("list.txt").write_text(content)
    assert denoise("--files-from", "list.txt") == code
    assert word in complaint(capsys.readouterr().err)


def test_all_shares_together_are_the_whole(capsys):
    assert denoise("in", "-r", "-o", "whole") == 0
    seen = 0
    for share in range(1, 5):
        assert denoise("in", "-r", "-o", "shared", "--shard", f"{share}/4") == 0
        assert len(names("shared")) > seen
        seen = len(names("shared"))
    assert everything_below(Path("shared")) == everything_below(Path("whole"))
    capsys.readouterr()
    assert denoise("in", "-o", "more", "--shard", "7/9") == 0
    assert capsys.readouterr().err.splitlines() == ["smdae: no picture is in part 7/9"]
    assert not Path("more").exists()


@pytest.mark.parametrize("share", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2"])
def test_a_share_that_is_none_is_refused(here, share, capsys):
    before = everything_below(here)
    assert main(["denoise", "in", f"--shard={share}"]) == 2
    assert f"--shard '{share}'" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


# What is written


@pytest.mark.parametrize("format", ["jpg", "webp"])
def test_quality_makes_smaller_files(format):
    Path("c.png").write_bytes(encoded(colour(64, 64)))
    for quality in (30, 95):
        assert denoise("c.png", "-o", f"{quality}.{format}", "--quality", quality) == 0
    assert 1.5 * Path(f"30.{format}").stat().st_size < Path(f"95.{format}").stat().st_size
    assert Image.open(f"30.{format}").size == (64, 64)


def test_quality_concerns_the_jpegs_of_many_pictures():
    Path("in/c.jpg").write_bytes(encoded(colour(64, 64), "JPEG"))
    assert denoise("in", "-o", "out", "--quality", "40") == 0
    assert read(Path("out/c.jpg"), "c").quality == 40
    assert denoise("in", "-o", "first", "--quality", "40", "--shard", "1/5") == 0  # which is a PNG
    assert names("first") == {"a.png"}


def test_the_quality_of_a_jpeg_is_as_asked_though_nothing_is_done():
    Path("c.jpg").write_bytes(encoded(colour(64, 64), "JPEG"))
    assert denoise("c.jpg", "-o", "d.jpg", "--strength", "0", "--quality", "40") == 0
    assert read(Path("d.jpg"), "d").quality == 40


def test_format_names_may_be_endings(here):
    assert denoise("in/a.png", "--format", "jpg") == denoise("in/b.png", "--format", "TIF") == 0
    assert Path("in/a_denoised.jpg").exists()
    assert Path("in/b_denoised.tif").exists()
    assert denoise("in/a.png", "--format", "jpeg", "-o", "x.jpeg") == 0


def with_words() -> bytes:
    """A JPEG on its side, with a camera's name and a profile."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0132] = 6, "Camera", "2026:01:01 00:00:00"
    buffer = BytesIO()
    Image.fromarray(colour()).save(buffer, "JPEG", exif=exif, icc_profile=b"profile" * 20, dpi=(300, 300))
    return buffer.getvalue()


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("strength", ["1", "0"])
def test_stripped_metadata_leaves_how_the_picture_looks(ending, strength):
    Path("c.jpg").write_bytes(with_words())
    assert denoise("c.jpg", "-o", f"kept.{ending}", "--strength", strength) == 0
    assert denoise("c.jpg", "-o", f"bare.{ending}", "--strength", strength, "--strip-metadata") == 0
    kept, bare = (Image.open(f"{name}.{ending}") for name in ("kept", "bare"))
    assert b"Camera" in Path(f"kept.{ending}").read_bytes()
    assert b"Camera" not in Path(f"bare.{ending}").read_bytes()
    assert b"2026:01:01" not in Path(f"bare.{ending}").read_bytes()
    assert bare.getexif()[0x0112] == kept.getexif()[0x0112] == 6
    assert bare.info["icc_profile"] == b"profile" * 20
    assert bare.size == kept.size


def test_words_in_a_png_are_stripped_and_its_colours_are_not():
    picture = read(encoded(gray()), "a")
    chunks = ((b"gAMA", (45455).to_bytes(4, "big")), (b"tEXt", b"Author\0Somebody"))
    Path("w.png").write_bytes(encode(type(picture)(picture.pixels, 255.0, "PNG", metadata=Metadata(png=chunks)), "PNG"))
    assert denoise("w.png", "--strip-metadata") == 0
    assert read(Path("w_denoised.png"), "w").metadata.png == chunks[:1]


# What makes no sense


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in/a.png", "-q", "-v"], ["--quiet and --verbose"]),
        (["in", "--skip-existing", "-y"], ["--skip-existing and --overwrite"]),
        (["in", "--skip-existing", "--in-place"], ["--skip-existing and --in-place"]),
        (["in/a.png", "--quality", "80"], ["--quality", "PNG"]),
        (["in/a.png", "--format", "jpg", "--quality", "0"], ["--quality 0", "1 to 100"]),
        (["in/a.png", "--quality", "101"], ["--quality 101"]),
        (["--files-from", "-", "-"], ["stdin"]),
        ([], ["INPUT", "smdae denoise noisy.png"]),
        (["in/a.png", "--strength", "70%"], ["--strength", "it takes a number"]),
        (["in/a.png", "--tile", "x"], ["--tile", "it takes a whole number"]),
    ],
)
def test_options_that_contradict_are_refused_in_one_line(here, arguments, words, capsys):
    before = everything_below(here)
    assert main(["denoise", *arguments]) == 2
    text = complaint(capsys.readouterr().err)
    for word in words:
        assert word in text
    assert everything_below(here) == before


# What cannot be read


@pytest.mark.parametrize(
    ("name", "head", "words"),
    [
        ("x.czi", b"ZISRAWFILE\0\0\0\0\0\0", ["CZI", "OME-TIFF", "bfconvert"]),
        ("x.nd2", b"\xda\xce\xbe\x0a\0\0\0\0", ["ND2", "OME-TIFF"]),
        ("x.lif", b"\x70\0\0\0\xab\xcd\0\0\x2a\0\0\0", ["LIF", "OME-TIFF"]),
        ("x.pdf", b"%PDF-1.7\n", ["PDF", "pdftoppm"]),
        ("x.mov", b"\0\0\0\x14ftypqt  \0\0\0\0", ["video", "ffmpeg"]),
        ("cut.CZI", b"?", ["CZI", "bfconvert"]),
    ],
)
def test_what_is_not_read_is_refused_with_a_way_to_convert_it(here, name, head, words, capsys):
    Path(name).write_bytes(head + bytes(40))
    before = everything_below(here)
    assert denoise(name) == 3
    text = complaint(capsys.readouterr().err)
    for word in [f"'{name}' is a", "which smdae does not read", *words]:
        assert word in text
    assert everything_below(here) == before


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("x.CR2", b"II*\0\x10\0\0\0CR\2\0"),
        ("x.nef", b"MM\0*\0\0\0\x08"),
        ("x.arw", b"II*\0\x08\0\0\0"),
        ("x.dng", b"II*\0\x08\0\0\0"),
        ("x.raf", b"FUJIFILMCCD-RAW 0201"),
        ("x.orf", b"IIRO\x08\0\0\0"),
        ("x.rw2", b"IIU\0\x18\0\0\0"),
        ("x.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1"),
        ("cut.NEF", b"?"),
    ],
)
@pytest.mark.parametrize("there", [True, False], ids=["with the extra", "without it"])
def test_raws_take_an_extra_and_other_commands_send_them_to_denoise(here, name, head, there, capfd, monkeypatch):
    if there:
        pytest.importorskip("rawpy")
    monkeypatch.setattr(raw, "is_installed", lambda: there)
    Path(name).write_bytes(head + bytes(40) if len(head) > 1 else head)
    before = everything_below(here)
    assert denoise(name) == 3
    said = capfd.readouterr().err
    if there:  # and is read, so that what is wrong with it is found
        assert re.search(f"^smdae: error: cannot read '{name}': (the file is damaged|LibRaw does not know)", said, re.M)
    else:
        assert complaint(said).startswith(f"smdae: error: cannot read '{name}': camera raw files need the extra smdae")
        assert "hint: pip install 'smdae[raw]'" in said.splitlines()
    assert denoise("in/a.png", "--reference", name) == 3
    text = complaint(capfd.readouterr().err)
    assert f"'{name}' is a camera raw file, which only smdae denoise reads" in text
    assert "smdae[raw]" in text
    assert everything_below(here) == before


def test_a_raw_of_many_directories_is_not_taken_for_a_stack(capsys):
    buffer = BytesIO()
    pages = [Image.fromarray(gray(seed=seed)) for seed in range(3)]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    Path("x.nef").write_bytes(buffer.getvalue())
    assert denoise("x.nef") == 3
    assert "camera raw" in complaint(capsys.readouterr().err)
    Path("x.tif").write_bytes(buffer.getvalue())
    assert denoise("x.tif") == 0


def test_a_picture_under_a_wrong_name_is_read():
    Path("x.heic").write_bytes(encoded(gray(), "JPEG"))
    assert denoise("x.heic", "-o", "y.jpg") == 0


@pytest.mark.parametrize(
    ("ending", "extra"), [("CR2", "'smdae[raw]'"), ("FITS", "'smdae[fits]'"), ("HEIC", '"smdae[heic]"'), ("CZI", None)]
)
def test_a_folder_that_cannot_be_read_is_told_what_it_takes(here, ending, extra, capsys, monkeypatch):
    without_extras(monkeypatch)
    (here / "shot").mkdir()
    for number in range(3):
        (here / "shot" / f"{number}.{ending}").write_bytes(b"x")
    assert denoise("shot") == 3
    text = complaint(capsys.readouterr().err)
    assert f"no images found in 'shot', 3 skipped: 3 {ending}" in text
    assert ("bfconvert" if extra is None else f"{ending} takes an extra: pip install {extra}") in text
    (here / "shot" / "a.png").write_bytes(encoded(gray()))
    assert denoise("shot", "-o", "out") == 0
    assert f"smdae: 3 skipped: 3 {ending}" in capsys.readouterr().err.splitlines()


def test_with_the_extra_a_folder_of_raws_is_read(here, capfd):
    pytest.importorskip("rawpy")
    (here / "shot").mkdir()
    for number in range(3):
        (here / "shot" / f"{number}.CR2").write_bytes(b"x")
    assert denoise("shot") == 9
    assert "smdae: error: 3 of 3 pictures could not be denoised:" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["--log", "--save-noise", "--mask", "--reference", "--uncertainty", "--save-steps"])
def test_a_file_beside_the_pictures_is_no_stream(here, option, capsys):
    before = everything_below(here)
    assert main(["denoise", "a.png", option, "-"]) == 2
    assert f"{option} takes a file" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before
