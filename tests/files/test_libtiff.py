"""TIFFs that libtiff decodes: silent where they are damaged, and no other thread loses a word meanwhile."""

import io
import os
import sys
import threading

import numpy as np
import pytest
import tifffile
from PIL import Image

from smdae.errors import InputError
from smdae.files.images import read
from tests.tiny import colour, encoded, gray


def lzw(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "TIFF", compression="tiff_lzw")
    return buffer.getvalue()


def test_every_message_arrives_while_threads_decode(capfd):
    data = [lzw(gray(200, 200)), lzw(colour(200, 200)), encoded(gray(64, 64), "TIFF")]
    before = os.fstat(2)

    def decode() -> None:
        for k in range(30):
            read(data[k % 3], "x")

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    written = 0
    while any(thread.is_alive() for thread in threads):
        print("message", file=sys.stderr, flush=True)
        os.write(2, b"message\n")
        written += 2
    for thread in threads:
        thread.join()
    assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (before.st_dev, before.st_ino)
    assert capfd.readouterr().err.count("message\n") == written


def test_what_libtiff_says_of_damage_is_not_heard(capfd):
    data = bytearray(lzw(gray(64, 64)))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        start, length = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    data[start + 8 : start + length] = bytes([255]) * (length - 8)
    with pytest.raises(InputError, match="'x'"):
        read(bytes(data), "x")
    assert capfd.readouterr().err == ""
