"""MPO and CMYK in JPEG: all but the pixels of what is denoised comes back."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from smdae.cli.app import main
from smdae.errors import InputError
from smdae.files.images import encode, read
from smdae.files.jpeg_segments import end_of, segments_of, with_segments
from smdae.files.parts import find
from tests.tiny import colour, gray, model_bytes

ICC = bytes(range(256)) * 300  # in two segments
IPTC, WORDS = (0xED, b"Photoshop 3.0\x00IPTC"), (0xFE, b"a comment")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(model_bytes())
    return tmp_path


def jpeg(image, **options):
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def mpo(*images):
    buffer = BytesIO()
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 6
    images[0].save(buffer, "MPO", save_all=True, append_images=images[1:], exif=exif, icc_profile=ICC, quality=95)
    return buffer.getvalue()


def inks(transform):
    """A JPEG in four inks with metadata: by Pillow, in YCCK by imagecodecs, or without Adobe's segment."""
    stored = 255 - np.dstack([colour(), gray(seed=5) // 2])
    if transform == 2:
        import imagecodecs

        file = bytes(imagecodecs.jpeg8_encode(stored, 95, colorspace="CMYK", outcolorspace="YCCK", subsampling="444"))
    else:
        file = jpeg(Image.frombytes("CMYK", stored.shape[1::-1], (255 - stored).tobytes()), subsampling=0)
    adobe = [segment for segment in segments_of(file) if segment[0] == 0xEE]
    return with_segments(file, [IPTC, WORDS, *(adobe if transform is not None else [])])


def decoded(file, frame=0):
    image = Image.open(BytesIO(file))
    image.seek(frame)
    return np.asarray(image).astype(int)


def test_every_segment_of_a_jpeg_and_its_tail_come_back():
    file = jpeg(Image.fromarray(colour()), icc_profile=ICC, dpi=(300, 300), comment=b"hello", progressive=True)
    file = with_segments(file, [*segments_of(file), IPTC]) + b"a film"
    assert end_of(file) == len(file) - 6
    picture = read(file, "a.jpg")
    again = encode(picture, "JPEG")
    assert segments_of(again) == segments_of(file)
    assert again.endswith(b"\xff\xd9a film")
    assert Image.open(BytesIO(again)).info["progressive"]
    assert np.abs(decoded(again) - picture.pixels).mean() < 2
    assert len(again) <= 1.05 * len(jpeg(Image.fromarray(picture.pixels), subsampling=0)) + len(file) - end_of(file) + (
        sum(len(payload) + 4 for _, payload in segments_of(file))
    )


def test_stuffed_bytes_and_restarts_are_no_end():
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    for options in ({}, {"restart_marker_blocks": 1}, {"progressive": True}):
        file = jpeg(Image.fromarray(noise), **options)
        assert end_of(file + b"\xff\xd9 more") == len(file)
        assert end_of(file[:-2]) == len(file) - 2


@pytest.mark.parametrize("transform", [0, 2, None])
def test_inks_are_denoised_and_kept_as_they_are_stored(place, transform, capsys):
    file = inks(transform)
    (place / "a.jpg").write_bytes(file)
    assert main(["denoise", "a.jpg", "-m", "m.safetensors", "-s", "20", "--json"]) == 0
    made = (place / "a_denoised.jpg").read_bytes()
    assert [one for one in segments_of(made) if not one[1].startswith(b"smdae: ")] == segments_of(file)
    assert Image.open(BytesIO(made)).mode == "CMYK"
    change = np.abs(decoded(made) - decoded(file))
    assert (change.mean((0, 1)) > 1).all()
    assert change.mean() < 25  # the polarity is the same


@pytest.mark.parametrize("transform", [0, 2, None])
def test_inks_that_do_not_change_are_not_touched(place, transform):
    file = inks(transform)
    (place / "a.jpg").write_bytes(file)
    assert main(["denoise", "a.jpg", "-m", "m.safetensors", "--strength", "0"]) == 0
    assert (place / "a_denoised.jpg").read_bytes() == file
    parts = find(file, "a.jpg")
    again = parts.encoded(list(parts), quality=95)
    assert np.abs(decoded(again) - decoded(file)).mean() < 4


def test_inks_without_words_keep_their_colours(place):
    file = inks(2)
    (place / "a.jpg").write_bytes(file)
    assert main(["denoise", "a.jpg", "-m", "m.safetensors", "-s", "20", "--strip-metadata"]) == 0
    made = (place / "a_denoised.jpg").read_bytes()
    assert {marker for marker, _ in segments_of(made)} <= {0xE0, 0xE1, 0xE2, 0xEE}
    assert np.abs(decoded(made) - decoded(file)).mean() < 25


def test_all_pictures_of_an_mpo_come_back(place, capsys):
    first, second = Image.fromarray(colour()), Image.fromarray(colour()[::-1].copy())
    small = Image.fromarray(colour()[:12, :16].copy())
    file = mpo(first, second, small) + b"tail"
    (place / "a.jpg").write_bytes(file)
    assert main(["denoise", "a.jpg", "-m", "m.safetensors", "-s", "20"]) == 0
    made = (place / "a_denoised.jpg").read_bytes()
    image, before = Image.open(BytesIO(made)), Image.open(BytesIO(file))
    assert (image.format, image.n_frames) == ("MPO", 3)
    assert made.endswith(b"tail")
    for frame in range(3):
        image.seek(frame)
        before.seek(frame)
        kept = {name: image.info.get(name) for name in ("icc_profile", "exif", "dpi")}
        assert kept == {name: before.info.get(name) for name in ("icc_profile", "exif", "dpi")}
        assert image.mpinfo[0xB002][frame]["Attribute"] == before.mpinfo[0xB002][frame]["Attribute"]
        change = np.abs(decoded(made, frame) - decoded(file, frame)).mean()
        assert 1 < change < 25 if frame < 2 else change == 0


def test_a_gain_map_stays_to_the_bit(place):
    xmp = b'<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
    gain = Image.fromarray(gray())
    file = mpo(Image.fromarray(colour()), gain)
    marked = with_segments(jpeg(gain), [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)])
    image = Image.open(BytesIO(file))
    entry = image.mpinfo[0xB002][1]
    start = len(file) - entry["Size"]
    file = file[:start] + marked
    size = struct.pack("<I" if image.mpinfo[0xB000] == b"0100" and b"MPF\0II" in file else ">I", entry["Size"])
    at = file.index(b"MPF\0")
    place_of_size = file.index(size, at)
    file = (
        file[:place_of_size]
        + len(marked).to_bytes(4, "little" if b"MPF\0II" in file else "big")
        + (file[place_of_size + 4 :])
    )
    parts = find(file, "a.jpg")
    assert len(parts) == 1
    (place / "a.jpg").write_bytes(file)
    assert main(["denoise", "a.jpg", "-m", "m.safetensors", "-s", "20"]) == 0
    made = (place / "a_denoised.jpg").read_bytes()
    assert made.endswith(marked)
    assert np.abs(decoded(made, 1) - decoded(file, 1)).max() == 0


def test_an_mpo_without_noise_is_not_touched(place):
    file = mpo(Image.fromarray(colour()), Image.fromarray(colour()))
    (place / "a.mpo").write_bytes(file)
    assert main(["denoise", "a.mpo", "-m", "m.safetensors", "--strength", "0"]) == 0
    assert (place / "a_denoised.mpo").read_bytes() == file


def test_an_index_of_the_other_byte_order_with_a_gap_between_the_pictures(place):
    first, second = (jpeg(Image.fromarray(one)) for one in (colour(), colour()[::-1].copy()))

    def joined(size, place_of_second):
        entries = struct.pack(">IIIHH", 0x20030000, size, 0, 2, 0)
        entries += struct.pack(">IIIHH", 0x00020002, len(second), place_of_second, 0, 0)
        tags = struct.pack(">HHI4s", 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 2)
        tags += struct.pack(">HHII", 0xB002, 7, 32, 8 + 2 + 36 + 4)
        index = b"MPF\0MM\0*" + struct.pack(">IH", 8, 3) + tags + bytes(4) + entries
        return with_segments(first, [*segments_of(first), (0xE2, index)])

    size = len(joined(0, 0))
    origin = joined(0, 0).index(b"MPF\0") + 4
    file = joined(size, size + 7 - origin) + b"the gap" + second
    assert Image.open(BytesIO(file)).n_frames == 2
    (place / "a.mpo").write_bytes(file)
    assert main(["denoise", "a.mpo", "-m", "m.safetensors", "-s", "20"]) == 0
    made = (place / "a_denoised.mpo").read_bytes()
    assert made.count(b"the gap\xff\xd8") == 1
    image, before = Image.open(BytesIO(made)), Image.open(BytesIO(file))
    for frame, (old, new) in enumerate(zip(before.mpinfo[0xB002], image.mpinfo[0xB002], strict=True)):
        assert (new["Attribute"], new["EntryNo1"]) == (old["Attribute"], old["EntryNo1"])
        assert 1 < np.abs(decoded(made, frame) - decoded(file, frame)).mean() < 25
    assert sum(entry["Size"] for entry in image.mpinfo[0xB002]) + 7 == len(made)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_an_mpo_that_is_cut_is_refused(share):
    file = mpo(Image.fromarray(colour()), Image.fromarray(colour()))
    cut = file[: int(len(file) * share)]
    with pytest.raises(InputError, match=r"truncated|damaged"):
        for _ in find(cut, "a.jpg") or [read(cut, "a.jpg")]:
            pass


def test_other_formats_are_told_what_they_cannot_hold(place, capsys):
    (place / "a.jpg").write_bytes(inks(0))
    (place / "b.jpg").write_bytes(mpo(Image.fromarray(colour()), Image.fromarray(colour())))
    assert main(["denoise", "a.jpg", "-o", "c.png", "-m", "m.safetensors"]) == 4
    assert main(["denoise", "b.jpg", "-o", "c.png", "-m", "m.safetensors"]) == 4
    said = capsys.readouterr().err
    assert "PNG cannot hold a picture in four inks (CMYK)" in said
    assert "PNG cannot hold an MPO of 2 pictures" in said
