"""What the page of `denoise --report` shows of a picture."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from smdae.denoising.preparation import Prepared
from smdae.estimation.estimate import Estimate
from smdae.estimation.scale import UNIT
from smdae.files.picture import Metadata, Picture, from_samples, with_depth
from smdae.noise import Noise
from smdae.pipeline.found_noise import PictureNoise
from smdae.pipeline.options import Options
from smdae.pipeline.picture_description import UNLOADED
from smdae.pipeline.picture_noise import find_noise
from smdae.pipeline.report import Report
from smdae.pipeline.report_views import MAX_WHOLE, PART, view_of

RNG = np.random.default_rng(3)
WAVES = (3276 * (np.sin(np.arange(64 * 64).reshape(64, 64) / 7) + RNG.normal(0, 0.2, (64, 64)))).astype(np.int16)


def test_a_large_picture_is_shown_in_part_pixel_by_pixel_and_whole():
    large = np.zeros((1500, 2000), np.float32)
    large[1000:1400, 1500:1900] = np.random.default_rng(0).random((400, 400))
    assert large.size > MAX_WHOLE
    estimate = Estimate(Noise.gaussian(0.1), 0.0)
    found = PictureNoise(Prepared(large, large, UNIT), estimate, "white, sigma 25", (25.0,), 25.0)
    part, whole = view_of("x", large, large * 0.5, found).pairs
    assert (part.width, part.height) == (PART, PART)
    left, top = (int(number) for number in re.findall(r"(\d+)", part.title)[2:4])
    assert left < 1500
    assert top < 1000
    shown = np.array(Image.open(BytesIO(part.before)))
    np.testing.assert_allclose(shown, 255 * large[top : top + PART, left : left + PART], atol=0.51)
    assert (whole.width, whole.height) == (1000, 750)


def test_a_portrait_of_a_phone_stands_upright_as_its_viewers_show_it():
    """Its pixels are stored lying on their side, with an orientation in the EXIF data."""
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    lying = np.zeros((40, 60), np.uint8)
    lying[:, :10] = 200  # the sky, on the left as it is stored
    picture = Picture(lying, 255.0, "JPEG", metadata=Metadata(exif=exif.tobytes()))
    report = Report(Path("r.html"), False)
    report.show("x", picture, picture, find_noise(picture, UNLOADED, Options(), "x"))
    (view,) = report.views["x"]
    shown = np.asarray(Image.open(BytesIO(view.pairs[0].after)))
    assert view.size == "40 x 60"
    assert (shown[:10] == 200).all()
    assert not shown[10:].any()


def test_the_report_shows_integers_in_8_bits_as_bright_as_they_were():
    before = from_samples(WAVES, "TIFF")
    found = find_noise(before, UNLOADED, Options(), "x")
    shown = {}
    for name, after in (("same", before), ("flat", with_depth(before, "uint8", before.white))):
        report = Report(Path("r.html"), False)
        report.show(name, before, after, found)
        shown[name] = np.asarray(Image.open(BytesIO(report.views[name][0].pairs[0].after))).astype(int)
    above = shown["same"] > 200  # values below zero are lost in unsigned samples
    assert above.any()
    assert np.abs(shown["flat"] - shown["same"])[above].max() < 10
