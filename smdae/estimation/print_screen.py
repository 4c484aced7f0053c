"""Screens of dots, of which print makes its grays: regular all over a picture, so that its spectrum is all peaks.

Dots beside each other look like strong grain, and a network that takes them for noise blurs the picture. But the power
of noise lies on a smooth hill of frequencies, and that of edges and of most textures on lines through the middle; that
of a screen lies on a lattice of points, in two directions alike. So the spectra of many tiles are compared: a point of
their median counts that is several times as high as all in a ring around it. In every tile of a screen of 3 to 12
pixels whose dots are still to be seen such points hold 20 to 98 % of the power. A railing or lines of letters have
such points as well, but only in some tiles; and a sheet of holes behind a person, which all of these large tiles touch,
is not in all small ones. Of 1,898 photographs, drawings, pages and micrographs none is a screen.
"""

import numpy as np

SIDE = 128  # of a tile
MOST_TILES = 5  # in a row or column
LOWEST = 0.08  # cycles a pixel, from which power counts
RING = (4.0, 6.0)  # distances of a ring around a point, in bins of a tile's spectrum
NEAR = 2.3  # bins from a point that belong to it: the window spreads it
MIN_RATIO = 5.0  # of a point over all in its ring
MIN_SECOND = 0.3  # of the power of the strongest point, that one in another direction has
MIN_SHARE = 0.15  # of the power of each tile, that lies on points
SMALL_SIDE = 64  # of a small tile
MIN_POWER = 0.1  # of a small tile, over the median of the stronger half: others are paper
MIN_EXCESS = 0.35  # of its power on points, less what is there by chance


def is_print_screen(planes: np.ndarray) -> bool:
    """Return whether a picture, (H, W, C), consists of a regular screen of dots; False if it is too small to tell."""
    height, width = planes.shape[:2]
    if min(height, width) < SIDE:
        return False
    gray = planes.astype(np.float64).mean(2)
    band = _band(SIDE)
    spectra, _ = _stronger_half(*_spectra(gray, SIDE, MOST_TILES))
    spectrum = np.median(spectra, axis=0)
    ring = np.max([np.roll(spectrum, shift, (0, 1)) for shift in _shifts(*RING)], axis=0)
    points = band & (spectrum > MIN_RATIO * ring)
    if not _crosses(spectrum, points):
        return False
    near = _near(points, SIDE)
    return bool(spectra[:, near].sum(1).min() > MIN_SHARE) and _is_everywhere(gray, points)


def _is_everywhere(gray: np.ndarray, points: np.ndarray) -> bool:
    """Return whether the dots of a print screen are in all small tiles of a picture, (H, W), but those of bare paper.

    `points` is true where in the spectrum of a large tile, (SIDE, SIDE), the dots have their power.
    """
    spectra, powers = _spectra(gray, SMALL_SIDE, 2 * MOST_TILES)
    inked = powers > MIN_POWER * np.median(_stronger_half(spectra, powers)[1])
    near = _near(points, SMALL_SIDE)
    by_chance = near.sum() / _band(SMALL_SIDE).sum()
    share = float(spectra[inked][:, near].sum(1).min())
    found: bool = share - by_chance > MIN_EXCESS * (1 - by_chance)
    return found


def _near(points: np.ndarray, side: int) -> np.ndarray:
    """Return which frequencies of a tile of a side lie on or beside points, (SIDE, SIDE), with shape (side, side)."""
    rows, columns = (np.fft.fftfreq(SIDE)[index] for index in np.nonzero(points))
    frequencies = np.fft.fftfreq(side)
    near = np.zeros((side, side), bool)
    for row, column in zip(rows, columns, strict=True):
        off = [(one - at + 0.5) % 1 - 0.5 for one, at in ((frequencies[:, None], row), (frequencies, column))]
        near |= np.hypot(*off) * side < NEAR
    found: np.ndarray = near & _band(side)
    return found


def _crosses(spectrum: np.ndarray, points: np.ndarray) -> bool:
    """Return whether points of about the same power lie in two directions; each has one like it across the middle."""
    around = np.max([np.roll(spectrum, shift, (0, 1)) for shift in _shifts(0.0, RING[0])], axis=0)
    tops = np.sort(spectrum[points & (spectrum >= around)])[::-1]
    return len(tops) >= 4 and bool(tops[2] > MIN_SECOND * tops[0])


def _band(side: int) -> np.ndarray:
    """Return which frequencies of a tile of a side count, with shape (side, side)."""
    frequencies = np.fft.fftfreq(side)
    return np.asarray(np.hypot(frequencies[:, None], frequencies) > LOWEST)


def _spectra(gray: np.ndarray, side: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectra of tiles of a picture, (n, side, side), and the power of each at all that counts, (n,).

    That of the frequencies that count has sum 1 in each spectrum, or 0 in that of a constant tile.

    Args:
        gray: The picture, with shape (H, W), not smaller than a tile.
        side: Of the tiles, in pixels.
        most: Tiles in a row or column at most.
    """
    window = np.outer(np.hanning(side), np.hanning(side))
    places = [np.linspace(0, length - side, min(most, max(2, length // side))).astype(int) for length in gray.shape]
    each = []
    for top in places[0]:
        for left in places[1]:
            tile = gray[top : top + side, left : left + side]
            each.append(np.square(np.abs(np.fft.fft2((tile - tile.mean()) * window))))
    spectra = np.array(each)
    powers = spectra[:, _band(side)].sum(1)
    return spectra / np.maximum(powers, np.finfo(float).tiny)[:, None, None], powers


def _stronger_half(spectra: np.ndarray, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectra and the powers of the half of the tiles that have most."""
    most = powers >= np.median(powers)
    return spectra[most], powers[most]


def _shifts(least: float, most: float) -> list[tuple[int, int]]:
    """Return the shifts in rows and columns whose length lies between two numbers of bins."""
    span = range(-int(most), int(most) + 1)
    return [(down, right) for down in span for right in span if least <= np.hypot(down, right) <= most]
