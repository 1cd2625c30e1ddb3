"""Slides written as generic TIFFs: tiles, levels, and a resolution."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray


def write_slide(
    path: Path,
    pixels: NDArray[np.uint8],
    *,
    mpp: float | None = 0.5,
    tile: int = 64,
    downsamples: tuple[int, ...] = (1,),
    **options: Any,  # noqa: ANN401
) -> Path:
    """Write level 0, (height, width, 3), and levels averaged from it, without loss by default.

    Other `options` are those of `tifffile.TiffWriter.write`.
    """
    height, width = pixels.shape[:2]
    given = {"photometric": "rgb", "compression": "adobe_deflate", "metadata": None, **options}
    with tifffile.TiffWriter(path) as writer:
        for downsample in downsamples:
            size = (width // downsample, height // downsample)
            whole = pixels[: size[1] * downsample, : size[0] * downsample]
            per_cm = None if mpp is None else 1e4 / (mpp * downsample)
            writer.write(
                np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA)),
                tile=(tile, tile),
                subfiletype=int(downsample > 1),
                resolution=None if per_cm is None else (per_cm, per_cm),
                resolutionunit="NONE" if per_cm is None else "CENTIMETER",
                **given,
            )
    return path
