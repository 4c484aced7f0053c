"""Screens of dots, of which print makes its grays: regular all over a picture, so that its spectrum is all peaks.

Dots beside each other look like strong grain, and a network that takes them for noise blurs the picture. But the power
of noise lies on a smooth hill of frequencies, and that of edges and of most textures on lines through the middle; that
of a screen lies on a lattice of points, in two directions alike. So the spectra of many tiles are compared: a point of
their median counts that is several times as high as all in a ring around it. In every tile of a screen of 3 to 12
pixels whose dots are still to be seen such points hold 20 to 98 % of the power. A railing or lines of letters have
such points as well, but only in some tiles: of 1,558 photographs, drawings, pages and micrographs none is a screen.
"""

import numpy as np

__all__ = ["is_print_screen"]

SIDE = 128  # of a tile
MOST_TILES = 5  # in a row or column
LOWEST = 0.08  # cycles a pixel, from which power counts
RING = (4.0, 6.0)  # distances of a ring around a point, in bins of a tile's spectrum
NEAR = 2.3  # bins from a point that belong to it: the window spreads it
MIN_RATIO = 5.0  # of a point over all in its ring
MIN_SECOND = 0.3  # of the power of the strongest point, that one in another direction has
MIN_SHARE = 0.15  # of the power of each tile, that lies on points


def is_print_screen(planes: np.ndarray) -> bool:
    """Return whether a picture, (H, W, C), consists of a regular screen of dots; False if it is too small to tell."""
    height, width = planes.shape[:2]
    if min(height, width) < SIDE:
        return False
    spectra, band = _spectra(planes)
    spectrum = np.median(spectra, axis=0)
    ring = np.max([np.roll(spectrum, shift, (0, 1)) for shift in _shifts(*RING)], axis=0)
    points = band & (spectrum > MIN_RATIO * ring)
    if not _crosses(spectrum, points):
        return False
    near = band & np.any([np.roll(points, shift, (0, 1)) for shift in _shifts(0.0, NEAR)], axis=0)
    return bool(spectra[:, near].sum(1).min() > MIN_SHARE)


def _crosses(spectrum: np.ndarray, points: np.ndarray) -> bool:
    """Return whether points of about the same power lie in two directions; each has one like it across the middle."""
    around = np.max([np.roll(spectrum, shift, (0, 1)) for shift in _shifts(0.0, RING[0])], axis=0)
    tops = np.sort(spectrum[points & (spectrum >= around)])[::-1]
    return len(tops) >= 4 and bool(tops[2] > MIN_SECOND * tops[0])


def _spectra(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the power of the half of the tiles that have most, (n, SIDE, SIDE), and which frequencies count.

    That of the frequencies that count has sum 1 in each tile, or 0 in a constant one.
    """
    window = np.outer(np.hanning(SIDE), np.hanning(SIDE))
    frequencies = np.fft.fftfreq(SIDE)
    band = np.hypot(frequencies[:, None], frequencies) > LOWEST
    places = [
        np.linspace(0, length - SIDE, min(MOST_TILES, max(2, length // SIDE))).astype(int)
        for length in planes.shape[:2]
    ]
    powers = []
    for top in places[0]:
        for left in places[1]:
            tile = planes[top : top + SIDE, left : left + SIDE].astype(np.float64).mean(2)
            powers.append(np.square(np.abs(np.fft.fft2((tile - tile.mean()) * window))))
    each = np.array(powers)
    sums = each[:, band].sum(1)
    most = sums >= np.median(sums)
    return each[most] / np.maximum(sums[most], np.finfo(float).tiny)[:, None, None], band


def _shifts(least: float, most: float) -> list[tuple[int, int]]:
    """Return the shifts in rows and columns whose length lies between two numbers of bins."""
    span = range(-int(most), int(most) + 1)
    return [(down, right) for down in span for right in span if least <= np.hypot(down, right) <= most]
