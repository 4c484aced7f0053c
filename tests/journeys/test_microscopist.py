"""A microscopist's stack of 16 bits: fitted on itself, denoised page by page, counts kept."""

import json

import numpy as np
import pytest
import tifffile

import smdae
from smdae.cli.app import main

PAGES, SIDE = 6, 48
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
CELLS = np.stack([400 + 300 * np.exp(-((ROWS - 20 - k) ** 2 + (COLUMNS - 25) ** 2) / 90) for k in range(PAGES)])
COUNTS = np.rint(CELLS + 60 * np.random.default_rng(0).standard_normal(CELLS.shape)).astype(np.uint16)


@pytest.fixture
def stack(bare):
    tifffile.imwrite("cells.tif", COUNTS, imagej=True, metadata={"axes": "TYX", "unit": "um"})
    return "cells.tif"


def error(stack) -> float:
    return float(np.sqrt(np.square(np.asarray(stack, float) - CELLS).mean()))


def test_a_stack_is_fitted_and_denoised_with_its_counts_kept(stack, capsys):
    few = ["--patch-size", "6", "--hidden", "16", "--max-steps", "40", "-b", "64"]
    # 60 counts of 65535, white being 255.
    assert main(["fit", stack, "--noisy", "-s", "0.2335", "-o", "own.safetensors", *few, "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["images"] + card["held_out_images"] >= PAGES
    assert main(["denoise", stack, "-m", "natural-gray-small", "-o", "out.tif", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["pages"] == PAGES
    result = tifffile.imread("out.tif")
    assert (result.dtype, result.shape) == (np.uint16, COUNTS.shape)
    assert error(result) < 0.5 * error(COUNTS)
    assert abs(result.mean() - COUNTS.mean()) < 2  # of 700: no intensity is lost to the analysis
    with tifffile.TiffFile("out.tif") as file:
        assert len(file.pages) == PAGES


def test_the_same_in_python(stack):
    by_file = smdae.denoise(stack, "natural-gray-small")
    by_array = smdae.denoise(COUNTS, "natural-gray-small")
    np.testing.assert_array_equal(by_file, by_array)
    assert error(by_array) < 0.5 * error(COUNTS)
    turned = smdae.denoise(COUNTS.transpose(1, 2, 0), "natural-gray-small", axes="YXT")
    np.testing.assert_array_equal(turned, by_array.transpose(1, 2, 0))


def test_a_page_and_how_sure_it_is(stack):
    found = smdae.denoise_image(COUNTS[0], "natural-gray-small", noise="white", uncertainty=True)
    assert found.noise.sigma == pytest.approx(60, rel=0.25)  # in counts
    assert 2 < np.median(found.uncertainty) < 60
