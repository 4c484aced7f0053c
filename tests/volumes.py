"""Small OME-Zarr volumes, made by the zarr library."""

from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"t": "time", "c": "channel"}
NOISE = (12.0, 60.0)  # of the channels


def clean(shape: tuple[int, ...]) -> np.ndarray:
    """The same waves and squares in every plane."""
    y, x = np.mgrid[0 : shape[-2], 0 : shape[-1]]
    plane = 900 + 300 * np.sin(y / 9) + 250 * np.cos(x / 11) + 200 * ((y // 16 + x // 16) % 2)
    return np.broadcast_to(plane, shape)


def volume(
    path: Path | str,
    axes: str = "czyx",
    shape: tuple[int, ...] = (2, 3, 80, 72),
    chunks: tuple[int, ...] = (1, 2, 40, 40),
    dtype: str = "u2",
    format: int = 2,
    levels: int = 3,
    mean: bool = False,
    **more: Any,
) -> np.ndarray:
    """Write a noisy volume with a pyramid of every second pixel, or of means, and return its values."""
    import zarr

    rng = np.random.default_rng(0)
    noise = (
        np.reshape(NOISE, [2 if axis == "c" and n > 1 else 1 for axis, n in zip(axes, shape, strict=True)])
        if ("c" in axes and shape[axes.index("c")] == 2)
        else NOISE[0]
    )
    values = clean(shape) + noise * rng.standard_normal(shape)
    values = (np.rint(values) if np.dtype(dtype).kind in "iu" else values).astype(dtype)
    group = zarr.open_group(str(path), mode="w", zarr_format=format)
    encoding = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if format == 2 else {}
    level, datasets = values, []
    for k in range(levels):
        array = group.create_array(
            str(k), shape=level.shape, chunks=chunks, dtype=level.dtype, **({"fill_value": 0} | encoding | more)
        )
        array[...] = level
        scale = [*[1.0] * (len(shape) - 2), 0.3 * 2**k, 0.3 * 2**k]
        datasets.append({"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
        if mean:
            cut = level[..., : level.shape[-2] // 2 * 2, : level.shape[-1] // 2 * 2].astype(float)
            blocks = cut.reshape(*cut.shape[:-2], cut.shape[-2] // 2, 2, cut.shape[-1] // 2, 2)
            level = blocks.mean((-3, -1)).astype(dtype)
        else:
            level = level[..., ::2, ::2]
    told = [
        {"name": name, "type": KINDS.get(name, "space")} | ({"unit": "micrometer"} if name in "zyx" else {})
        for name in axes
    ]
    ome = {
        "multiscales": [{"version": "0.4", "name": "cells", "axes": told, "datasets": datasets}],
        "omero": {"channels": [{"label": "DAPI", "color": "0000FF", "window": {"start": 0, "end": 1500}}]},
    }
    group.attrs.update({"mine": [1, 2]} | (ome if format == 2 else {"ome": {"version": "0.5"} | ome}))
    return values


def read(path: Path | str, level: int = 0) -> np.ndarray:
    """The values of a level."""
    import zarr

    return np.asarray(zarr.open_array(f"{path}/{level}", mode="r")[...])
