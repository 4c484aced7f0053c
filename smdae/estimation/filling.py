"""Invalid pixels, which are hidden or not finite, filled from the valid ones around them.

The picture is halved again and again, each pixel being the mean of the valid ones that it stands for, until every pixel
is known. On the way back up, unknown pixels are interpolated from the smaller picture.
"""

import numpy as np
import torch
import torch.nn.functional as F


def filled(pixels: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return a picture whose invalid pixels are means of the nearest valid ones.

    Args:
        pixels: With shape (H, W) or (H, W, C).
        valid: Which pixels are valid, at least one, with shape (H, W).
    """
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    known = torch.from_numpy(valid.astype(np.float32))[None, None]
    values = torch.from_numpy(np.where(valid[:, :, None], planes, 0).astype(np.float32)).permute(2, 0, 1)[None]
    pyramid = [(values, known)]
    while pyramid[-1][1].min() == 0 and min(pyramid[-1][1].shape[2:]) > 1:
        v, k = pyramid[-1]
        weight = F.avg_pool2d(k, 2, ceil_mode=True, count_include_pad=False)
        mean = F.avg_pool2d(v * k, 2, ceil_mode=True, count_include_pad=False) / weight.clamp(min=1e-9)
        pyramid.append((mean, (weight > 0).float()))
    v, k = pyramid[-1]
    below = torch.where(k > 0, v, (v * k).sum((2, 3), keepdim=True) / k.sum().clamp(min=1))
    for v, k in reversed(pyramid[:-1]):
        grown = F.interpolate(below, v.shape[2:], mode="bilinear", align_corners=False)
        below = torch.where(k > 0, v, grown)
    whole = below[0].permute(1, 2, 0).numpy()
    if pixels.dtype.kind == "u":
        whole = np.rint(whole).clip(0, np.iinfo(pixels.dtype).max)
    return np.where(valid[:, :, None], planes, whole.astype(pixels.dtype)).reshape(pixels.shape)
