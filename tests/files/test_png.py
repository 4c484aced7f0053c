"""PNG of 16 bits against files built from the specification alone: zlib, struct and the five row filters."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from smdae.files import images
from smdae.files.picture import from_samples, samples_of

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
CHANNELS = {0: 1, 4: 2, 2: 3, 6: 4}
ADAM7 = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]


def chunk(kind, payload):
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def paeth(left, above, corner):
    guess = left + above - corner
    return min((abs(guess - value), order, value) for order, value in enumerate((left, above, corner)))[2]


def predicted(method, left, above, corner):
    return (0, left, above, (left + above) // 2, paeth(left, above, corner))[method]


def filtered_rows(samples, methods):
    """The bytes of the rows of (H, W, C) samples, each row under the next filter of `methods`."""
    step = 2 * samples.shape[2]
    above, stream = bytes(samples.shape[1] * step), bytearray()
    for number, row in enumerate(samples):
        current, method = row.astype(">u2").tobytes(), methods[number % len(methods)]
        stream.append(method)
        for at, value in enumerate(current):
            left, corner = (current[at - step], above[at - step]) if at >= step else (0, 0)
            stream.append((value - predicted(method, left, above[at], corner)) % 256)
        above = current
    return bytes(stream)


def golden(samples, methods=(0, 1, 2, 3, 4), interlaced=False):
    samples = np.atleast_3d(samples)
    height, width, channels = samples.shape
    passes = [samples]
    if interlaced:
        passes = [samples[top::down, left::across] for top, down, left, across in ADAM7]
    stream = b"".join(filtered_rows(part, methods) for part in passes if part.size)
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, interlaced)
    body = chunk(b"IDAT", zlib.compress(stream))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def parsed(png):
    """An independent decoder: (H, W, C) samples."""
    position, stream = 8, b""
    while position < len(png):
        length, kind = struct.unpack_from(">I4s", png, position)
        payload = png[position + 8 : position + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", payload)
        stream += payload if kind == b"IDAT" else b""
        position += 12 + length
    assert (depth, interlaced) == (16, 0)
    step = 2 * CHANNELS[colour]
    size, data, rows = width * step, zlib.decompress(stream), [bytes(width * step)]
    for top in range(0, height * (size + 1), size + 1):
        method, row, above = data[top], bytearray(data[top + 1 : top + 1 + size]), rows[-1]
        for at in range(size):
            left, corner = (row[at - step], above[at - step]) if at >= step else (0, 0)
            row[at] = (row[at] + predicted(method, left, above[at], corner)) % 256
        rows.append(bytes(row))
    return np.frombuffer(b"".join(rows[1:]), ">u2").reshape(height, width, -1)


def decoded(png):
    return samples_of(images.read(png, "a.png"))


def encoded(samples):
    return images.encode(from_samples(samples, "PNG"), "PNG")


def random_samples(channels, height=11, width=9):
    return np.random.default_rng(channels).integers(0, 65536, (height, width, channels)).astype(np.uint16)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_bit_of_a_golden_file_is_decoded(channels, interlaced):
    samples = random_samples(channels)
    found = decoded(golden(samples, interlaced=interlaced))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(np.atleast_3d(found), samples)


@pytest.mark.parametrize("method", range(5))
def test_every_row_filter_is_decoded(method):
    samples = random_samples(3)
    np.testing.assert_array_equal(decoded(golden(samples, [method])), samples)


@settings(max_examples=30, deadline=None)
@given(
    arrays(
        np.uint16,
        st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4)),
        elements=st.integers(0, 65535),
    )
)
def test_what_is_encoded_is_what_the_specification_decodes(samples):
    png = encoded(samples)
    np.testing.assert_array_equal(parsed(png), samples)
    np.testing.assert_array_equal(np.atleast_3d(decoded(png)), samples)


def test_another_decoder_sees_the_high_bytes():
    samples = random_samples(4)
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(encoded(samples)))), samples >> 8)


def test_a_dark_picture_stays_16_bit():
    dark = (random_samples(3) % 200).astype(np.uint16)
    picture = images.read(golden(dark), "dark.png")
    assert picture.white == 65535
    np.testing.assert_array_equal(picture.pixels, dark)


def test_alpha_returns_bit_for_bit_in_16_bits():
    for channels in (2, 4):
        samples = random_samples(channels)
        picture = images.read(golden(samples), "a.png")
        np.testing.assert_array_equal(picture.alpha, samples[..., -1])
        np.testing.assert_array_equal(np.atleast_3d(picture.pixels), samples[..., :-1])
        np.testing.assert_array_equal(parsed(images.encode(picture, "PNG")), samples)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_16_bit_colour_key_becomes_alpha_at_full_depth(channels):
    samples = random_samples(channels)
    samples[0, 0] ^= 1
    key = samples[3, 4].copy()
    samples[5, 5], samples[6, 6] = key, key ^ 1
    png = golden(samples)
    keyed = png[:33] + chunk(b"tRNS", key.astype(">u2").tobytes()) + png[33:]
    alpha = images.read(keyed, "a.png").alpha
    np.testing.assert_array_equal(alpha, np.where((samples == key).all(axis=2), 0, 65535))
