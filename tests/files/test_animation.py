"""GIF, APNG and WebP: all frames, times, loops and words come back, and what is seen is what was denoised."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from smdae.cli.app import main
from smdae.errors import InputError, MemoryLimitError
from smdae.files import room
from smdae.files.animation import Frame, rgba
from smdae.files.images import encode, read
from smdae.files.parts import find
from smdae.files.png_chunks import SIGNATURE, chunk, chunks
from tests.tiny import colour, gray, model_bytes

FORMATS = ("GIF", "PNG", "WEBP")
TIMES = [70, 110, 40, 200]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(model_bytes())
    return tmp_path


def pictures(alpha=False):
    """Four frames: a picture in which a part moves, and the same part in the middle of nothing."""
    frames = []
    for k in range(4):
        frame = np.dstack([colour(), np.full((24, 32), 255, np.uint8)])
        frame[5 + k : 15 + k, 3 * k : 3 * k + 12, :3] = 255 - frame[5 + k : 15 + k, 3 * k : 3 * k + 12, :3]
        if alpha:
            frame[:, 16 + 3 * k :] = 0
        frames.append(Image.fromarray(frame if alpha else frame[..., :3]))
    return frames


def animated(format, alpha=False, frames=None, **options):
    first, *rest = frames or pictures(alpha)
    buffer = BytesIO()
    extra = {"lossless": True, "exact": True} if format == "WEBP" else {}
    first.save(buffer, format, save_all=True, append_images=rest, duration=TIMES, loop=3, **(extra | options))
    return buffer.getvalue()


def seen(file):
    """All pictures of an animation as Pillow shows them, (n, H, W, 4), colours that are not seen being black."""
    image = Image.open(BytesIO(file))
    shown = []
    for k in range(image.n_frames):
        image.seek(k)
        shown.append(np.asarray(image.convert("RGBA")))
    return np.where(np.stack(shown)[..., 3:] == 0, 0, np.stack(shown)).astype(np.uint8)


def told(file):
    """What Pillow says of an animation beside its pixels."""
    image = Image.open(BytesIO(file))
    of_frames = []
    for k in range(image.n_frames):
        image.seek(k)
        image.load()
        of_frames.append((image.info.get("duration"), image.info.get("timestamp")))
    words = {name: image.info.get(name) for name in ("loop", "comment", "icc_profile", "exif", "xmp", "background")}
    return (image.size, image.n_frames, of_frames, words)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("disposal", [0, 1, 2])
@pytest.mark.parametrize("format", FORMATS)
def test_frames_are_seen_as_pillow_shows_them(format, disposal, alpha):
    # Of frames that give way to what was before them, Pillow shows one after the other otherwise than is specified.
    disposals = [0, disposal, 0, 1]
    how = {
        "GIF": {"disposal": [1 + one for one in disposals]},
        "PNG": {"disposal": disposals, "blend": int(alpha)},
        "WEBP": {},
    }[format]
    file = animated(format, alpha, **how)
    parts = find(file, "a")
    assert parts.container.format == format
    found = np.stack([rgba(part) for part in parts])
    np.testing.assert_array_equal(np.where(found[..., 3:] == 0, 0, found), seen(file))


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_all_pixels_come_back_through_the_whole_path(format, alpha):
    file = animated(format, alpha)
    parts = find(file, "a")
    again = parts.encoded(list(parts), strip=True)
    np.testing.assert_array_equal(seen(again), seen(file))
    assert told(again)[:3] == told(file)[:3]


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_what_is_seen_is_what_was_denoised_and_nothing_else_changes(place, format, alpha, capsys):
    words = {"GIF": {"comment": b"made by hand"}, "PNG": {}, "WEBP": {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}}
    file = animated(format, alpha, **words[format], **({} if format == "GIF" else {"icc_profile": bytes(300)}))
    (place / "a.img").write_bytes(file)
    ending = {"GIF": "gif", "PNG": "png", "WEBP": "webp"}[format]
    assert main(["denoise", "a.img", "-o", f"b.{ending}", "-m", "m.safetensors", "-s", "20"]) == 0
    made = (place / f"b.{ending}").read_bytes()
    assert told(made) == told(file)
    before, after = seen(file).astype(int), seen(made).astype(int)
    np.testing.assert_array_equal(after[..., 3], before[..., 3])
    change = np.abs(after - before)[before[..., 3] > 0]
    assert 1 < change.mean() < 25


@pytest.mark.parametrize("format", FORMATS)
def test_it_is_no_larger_than_what_the_library_makes_of_the_same_pictures(place, format):
    file = animated(format)
    (place / "a.img").write_bytes(file)
    ending = {"GIF": "gif", "PNG": "png", "WEBP": "webp"}[format]
    assert main(["denoise", "a.img", "-o", f"b.{ending}", "-m", "m.safetensors", "-s", "20"]) == 0
    made = (place / f"b.{ending}").read_bytes()
    assert len(made) <= 1.05 * len(animated(format, frames=[Image.fromarray(one) for one in seen(made)[..., :3]]))


@pytest.mark.parametrize("format", FORMATS)
def test_an_animation_without_noise_is_not_touched(place, format, capsys):
    frames = [Image.fromarray(np.full((24, 32, 3), 40 * k, np.uint8)) for k in range(4)]
    file = animated(format, frames=frames)
    (place / "a.img").write_bytes(file)
    ending = {"GIF": "gif", "PNG": "png", "WEBP": "webp"}[format]
    assert main(["denoise", "a.img", "-o", f"b.{ending}", "--fast"]) == 0
    assert (place / f"b.{ending}").read_bytes() == file


def test_one_noise_is_found_for_all_frames(place, capsys):
    import json

    generator = np.random.default_rng(0)
    clean = np.add.outer(np.arange(64), np.arange(64))[..., None] + np.array([20, 40, 60])
    frames = [Image.fromarray((clean + generator.normal(0, 15, clean.shape)).clip(0, 255).astype(np.uint8))] * 1
    frames += [
        Image.fromarray((clean + generator.normal(0, 15, clean.shape)).clip(0, 255).astype(np.uint8)) for _ in range(3)
    ]
    (place / "a.webp").write_bytes(animated("WEBP", frames=frames))
    assert main(["denoise", "a.webp", "--fast", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["pages"] == 4
    assert len({str(sigma) for sigma in record["sigma"]}) == 1
    assert abs(record["sigma"][0] - 15) < 3


def test_a_gif_of_one_frame_keeps_its_blocks(place):
    buffer = BytesIO()
    Image.fromarray(colour()).quantize(200).save(buffer, "GIF", comment=b"a word", transparency=3, interlace=True)
    file = buffer.getvalue()
    picture = read(file, "a.gif")
    assert picture.alpha is not None
    (place / "a.gif").write_bytes(file)
    assert main(["denoise", "a.gif", "-m", "m.safetensors", "-s", "20"]) == 0
    made = (place / "a_denoised.gif").read_bytes()
    assert told(made) == told(file)
    np.testing.assert_array_equal(seen(made)[..., 3], seen(file)[..., 3])
    assert np.array_equal(seen(encode(picture, "GIF")), seen(file))
    assert main(["denoise", "a.gif", "-o", "b.png", "-m", "m.safetensors", "-s", "20"]) == 0
    assert main(["denoise", "a.gif", "-o", "c.gif", "-m", "m.safetensors", "-s", "20", "--strip-metadata"]) == 0
    assert b"a word" not in (place / "c.gif").read_bytes()


def test_what_a_gif_cannot_hold_is_refused(place, capsys):
    (place / "a.png").write_bytes(encode(read(animated("GIF", frames=pictures()[:1]), "a.gif"), "PNG"))
    assert main(["denoise", "a.png", "-o", "b.gif", "-m", "m.safetensors"]) == 4
    (place / "a.gif").write_bytes(animated("GIF"))
    assert main(["denoise", "a.gif", "-o", "b.tif", "-m", "m.safetensors"]) == 4
    assert "TIFF cannot hold an animation of 4 frames" in capsys.readouterr().err
    assert main(["denoise", "a.gif", "-o", "b.png", "-m", "m.safetensors"]) == 4
    assert "an animation of 4 frames in GIF is not made into one in PNG" in capsys.readouterr().err


def test_frames_are_called_frames(place, capsys):
    (place / "a.gif").write_bytes(animated("GIF"))
    assert main(["denoise", "a.gif", "-m", "m.safetensors", "-s", "20"]) == 0
    said = capsys.readouterr().err
    assert "frames" in said
    assert "page" not in said


def test_options_of_single_pictures_are_refused(place, capsys):
    (place / "a.png").write_bytes(animated("PNG"))
    assert main(["denoise", "a.png", "-m", "m.safetensors", "--bit-depth", "16"]) == 4
    assert main(["denoise", "a.png", "-m", "m.safetensors", "--save-noise", "n.yaml"]) == 3
    assert main(["denoise", "a.png", "-m", "m.safetensors", "--samples", "2"]) == 3
    said = capsys.readouterr().err
    assert "an animation of 4 frames keeps its bit depth" in said
    assert said.count("'a.png' is an animation of 4 frames") == 2
    assert "hint: --samples goes with a single picture" in said
    assert not (place / "a_denoised.png").exists()


def test_a_first_picture_that_is_no_frame_stays():
    file = animated("PNG", default_image=True, frames=[Image.fromarray(gray()[..., None].repeat(3, 2)), *pictures()])
    parts = find(file, "a.png")
    assert len(parts) == 4
    again = parts.encoded(list(parts), strip=True)
    assert np.array_equal(np.asarray(Image.open(BytesIO(again))), np.asarray(Image.open(BytesIO(file))))
    assert [kind for kind, _ in chunks(again)][:3] == [b"IHDR", b"acTL", b"IDAT"]
    np.testing.assert_array_equal(seen(again), seen(file))


def test_an_animated_palette_becomes_colours(place):
    frames = [frame.quantize(60) for frame in pictures()]
    file = animated("PNG", frames=frames)
    parts = find(file, "a.png")
    again = parts.encoded(list(parts), strip=True)
    assert b"PLTE" not in again
    np.testing.assert_array_equal(seen(again), seen(file))


def half_transparent():
    """An APNG of which the second frame is laid over the first, half transparent in places."""
    base, above = np.dstack([colour(), np.full((24, 32), 255, np.uint8)]), np.zeros((10, 12, 4), np.uint8)
    above[..., :3], above[..., 3] = 200, np.arange(120).reshape(10, 12) * 2

    def pixels(samples):
        buffer = BytesIO()
        Image.fromarray(samples).save(buffer, "PNG")
        found = list(chunks(buffer.getvalue()))
        return found[0], b"".join(bytes(payload) for kind, payload in found if kind == b"IDAT")

    header, first = pixels(base)
    parts = [
        header,
        (b"acTL", struct.pack(">II", 2, 0)),
        (b"fcTL", struct.pack(">IIIIIHHBB", 0, 32, 24, 0, 0, 1, 10, 0, 0)),
        (b"IDAT", first),
        (b"fcTL", struct.pack(">IIIIIHHBB", 1, 12, 10, 5, 6, 1, 10, 0, 1)),
        (b"fdAT", struct.pack(">I", 2) + pixels(above)[1]),
        (b"IEND", b""),
    ]
    return SIGNATURE + b"".join(chunk(*one) for one in parts)


def test_half_transparent_frames_are_laid_over_as_pillow_does():
    parts = find(half_transparent(), "a.png")
    found = np.stack([rgba(part) for part in parts]).astype(int)
    assert np.abs(found - seen(half_transparent()))[..., :3].max() <= 1
    assert (found[..., 3] == 255).all()


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_cut_is_refused(format):
    file = animated(format)
    for share in (0.3, 0.6, 0.9, 0.99):
        cut = file[: int(len(file) * share)]
        with pytest.raises(InputError, match=r"truncated|damaged") as caught:
            list(find(cut, "a") or [read(cut, "a")])
        assert "\n" not in caught.value.message


def test_frames_outside_of_the_picture_and_too_many_pixels_are_refused(monkeypatch):
    file = bytearray(animated("GIF"))
    file[6:8] = (20).to_bytes(2, "little")
    with pytest.raises(InputError, match="outside of the picture"):
        find(bytes(file), "a.gif")
    monkeypatch.setattr(room, "ALWAYS", 0)
    monkeypatch.setattr(room, "left", lambda: 10_000)
    for format in FORMATS:
        with pytest.raises(MemoryLimitError, match="pixels would take"):
            find(animated(format), "a")


def test_a_webp_whose_canvas_is_larger_than_a_webp_can_be_is_refused():
    """1,700 bytes of 5,046,282 x 13 pixels, that chance made, took 3.5 seconds to be read and written again."""
    file = bytearray(animated("WEBP"))
    file[24:27] = (16_383).to_bytes(3, "little")
    with pytest.raises(InputError, match="more pixels a side than a WebP can have"):
        find(bytes(file), "a.webp")
    file[24:27] = (16_382).to_bytes(3, "little")
    assert next(iter(find(bytes(file), "a.webp"))).pixels.shape == (24, 16_383, 3)


def test_a_frame_knows_its_place():
    assert Frame((3, 4), (5, 6), lambda: np.zeros((6, 5, 4), np.uint8)).place == (slice(4, 10), slice(3, 8))
