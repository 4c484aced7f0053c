"""Camera raw files: DNGs of a synthetic camera are read as the mosaics that they are, and developed by LibRaw."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from benchmarks.dng import BLACK, PATTERNS, WHITE, dng, exposed, mosaic, scene
from smdae.curves import Affine
from smdae.errors import InputError
from smdae.files import colour_profile, raw

rawpy = pytest.importorskip("rawpy")


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return exposed(mosaic(scene()), 2e-3, 3e-3)


def plain(data: bytes, **how: object) -> np.ndarray:
    """The picture as LibRaw develops it by itself."""
    with rawpy.imread(io.BytesIO(data)) as file:
        return file.postprocess(output_bps=16, use_camera_wb=True, user_flip=0, **how)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_mosaic_is_that_of_the_file(pattern):
    values = exposed(mosaic(scene(), pattern), 2e-3, 3e-3)
    with raw.opened(dng(values, pattern), "a.dng") as shot:
        assert shot.size == (128, 96)
        assert (shot.black == BLACK).all()
        assert np.allclose(shot.mosaic.pixels * (shot.white - BLACK) + BLACK, values, atol=0.01)
        assert shot.mosaic.colours.reshape(-1).tolist() == [*PATTERNS[pattern]]
        assert shot.mosaic.balance == pytest.approx((2.0, 1.0, 1.6), rel=1e-3)
        assert shot.noise is None


def test_what_is_developed_unchanged_is_what_libraw_makes_of_it(values):
    data = dng(values)
    with raw.opened(data, "a.dng") as shot:
        assert shot.white == WHITE or shot.white == values.max()
        made = shot.developed(brighter=False).pixels.astype(int)
    expected = plain(data, no_auto_bright=True, gamma=(2.4, 12.92)).astype(int)
    assert np.abs(made - expected).mean() < 20  # of 65535: rounding


def test_a_picture_becomes_as_bright_as_that_of_the_file_however_much_noise_is_gone():
    values = exposed(mosaic(scene()), 4e-3, 1e-2)
    data = dng(values)
    with raw.opened(data, "a.dng") as shot:
        noisy = shot.developed().pixels
        same = shot.developed(shot.mosaic.pixels).pixels
        clean = shot.developed(mosaic(scene()).astype(np.float32)).pixels
    assert np.array_equal(noisy, same)  # LibRaw's own brightness, and that which is found for others
    assert clean.mean() == pytest.approx(noisy.mean(), rel=0.04)
    with raw.opened(dng(exposed(mosaic(scene()), 0, 0)), "a.dng") as shot:
        assert shot.developed().pixels.mean() > 1.06 * noisy.mean()  # as it would be by itself


def test_linear_light_is_proportional_to_light():
    light = np.full((32, 32), 0.2)
    light[:, 16:] = 0.1
    flat = light / np.array([[2.0, 1.0], [1.0, 1.6]])[np.indices((32, 32))[0] % 2, np.indices((32, 32))[1] % 2]
    flat[0, 0] = 1.0  # white, so that it is known
    with raw.opened(dng(exposed(flat, 0, 0)), "a.dng") as shot:
        picture = shot.developed(linear=True)
    left, right = (picture.pixels[8:24, half].astype(float).mean((0, 1)) for half in (slice(4, 12), slice(20, 28)))
    assert left / right == pytest.approx(2, rel=0.01)
    assert left / 65535 == pytest.approx(0.2, rel=0.02)
    assert picture.metadata.icc == colour_profile.linear()


def test_the_linear_profile_is_linear():
    profile = ImageCms.ImageCmsProfile(io.BytesIO(colour_profile.linear()))
    gray = ImageCms.profileToProfile(Image.new("RGB", (1, 1), (55, 55, 55)), profile, ImageCms.createProfile("sRGB"))
    assert gray.getpixel((0, 0)) == pytest.approx((128, 128, 128), abs=1)
    assert "linear" in ImageCms.getProfileName(profile)


@pytest.mark.parametrize("told", [(2e-3, 9e-6), (3e-3, 9e-6, 2e-3, 4e-6, 1e-3, 1e-6)])
def test_the_noise_that_a_file_tells(told, values):
    with raw.opened(dng(values, "GRBG", noise=told), "a.dng") as shot:
        expected = [told[:2]] * 4 if len(told) == 2 else [told[2:4], told[:2], told[4:], told[2:4]]
        assert shot.noise == tuple(Affine(slope, 0.0, offset**0.5) for slope, offset in expected)


@pytest.mark.parametrize("told", [(-1.0, 0.0), (float("nan"), 0.0), (1e-3, 0.0, 1e-3, 0.0)])
def test_noise_that_makes_no_sense_is_none(told, values):
    with raw.opened(dng(values, noise=told), "a.dng") as shot:
        assert shot.noise is None


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_words_and_orientation_are_kept_and_nothing_is_turned(orientation, values):
    with raw.opened(dng(values, orientation=orientation), "a.dng") as shot:
        picture = shot.developed()
    exif = Image.Exif()
    exif.load(picture.metadata.exif)
    assert (exif[0x010F], exif[0x0112], exif[0x0132]) == ("Synthetic", orientation, "2026:05:04 03:02:01")
    assert picture.pixels.shape == (96, 128, 3)
    assert picture.metadata.icc == colour_profile.srgb()


def test_a_thumbnail_is_not_the_picture(values):
    small = np.full((24, 32, 3), 200, np.uint8)
    data = dng(values, thumbnail=small, noise=(2e-3, 9e-6))
    assert raw.is_raw(data, "photo.tif")
    with raw.opened(data, "a.dng") as shot:
        assert shot.size == (128, 96)
        assert shot.noise is not None


def test_a_picture_that_is_demosaiced_has_no_mosaic(values):
    with raw.opened(dng(np.dstack([values] * 3)), "a.dng") as shot:
        assert shot.mosaic is None
        assert "demosaiced" in shot.reason
        assert shot.developed().pixels.shape == (96, 128, 3)


def test_files_are_told_by_what_they_are(values, tmp_path):
    data = dng(values)
    assert raw.is_raw(data, "stdin")
    assert raw.is_raw(b"FUJIFILMCCD-RAW 0201", "x")
    assert raw.is_raw(b"\0\0\0\x18ftypcrx " + bytes(16), "x")
    assert raw.is_raw(b"II*\0" + bytes(40), "a.NEF")
    assert not raw.is_raw(b"II*\0" + bytes(40), "a.tif")
    assert not raw.is_raw(b"\x89PNG\r\n\x1a\n" + bytes(40), "a.dng")
    assert not raw.is_raw(tmp_path / "none.dng", "none.dng")


@pytest.mark.parametrize("length", [-100, 6000, 400, 60])
def test_a_damaged_file_is_refused_in_one_line(length, values, capfd):
    with (
        pytest.raises(InputError, match=r"cannot read 'a\.dng'"),
        raw.opened(dng(values)[:length], "a.dng", quiet=True),
    ):
        pass
    assert capfd.readouterr().err == ""


def test_a_file_of_no_camera_is_refused():
    with pytest.raises(InputError, match="does not know"), raw.opened(b"hello" * 100, "a.nef"):
        pass


def test_the_extra_is_named(values, monkeypatch):
    monkeypatch.setattr(raw, "is_installed", lambda: False)
    with pytest.raises(InputError, match=r"smdae\[raw\]") as caught, raw.opened(dng(values), "a.dng"):
        pass
    assert caught.value.hint == "pip install 'smdae[raw]'"
