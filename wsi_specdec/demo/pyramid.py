"""Write a pyramidal tiled TIFF that OpenSlide and TiffSlide both read, with its mpp."""

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from wsi_specdec.files import atomic_path

_TILE: Final = (256, 256)
_DOWNSAMPLES: Final = (1, 2, 4)
_UM_PER_CM: Final = 10_000.0


def write_pyramid(
    path: Path, image: NDArray[np.uint8], *, mpp: float, jpeg_quality: int, description: str
) -> None:
    """Write `image` and its halves and quarters, atomically.

    Parameters
    ----------
    path
        File to write, ending in `.tif`.
    image
        RGB (H, W, 3), uint8; H and W divisible by 4, so that every downsample is exact.
    mpp
        µm per pixel of the finest level, stated as the resolution in pixels per centimetre.
    jpeg_quality
        1 to 100; colour is stored at half resolution, as scanners do.
    description
        Free ASCII text for the tag ImageDescription.
    """
    height, width = image.shape[:2]
    options: dict[str, Any] = {
        "tile": _TILE,
        "photometric": "rgb",
        "compression": "jpeg",
        "compressionargs": {"level": jpeg_quality},
        "metadata": None,
        "resolutionunit": "CENTIMETER",
    }
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary) as tiff:
        for downsample in _DOWNSAMPLES:
            size = (width // downsample, height // downsample)
            level = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            tiff.write(
                level,
                resolution=(_UM_PER_CM / (mpp * downsample),) * 2,
                description=description if downsample == 1 else None,
                subfiletype=0 if downsample == 1 else 1,
                software="wsi_specdec",
                **options,
            )
