"""Pictures as pyramidal OME-TIFF, which QuPath and Bio-Formats open with their scale."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.files import atomic_path
from wsi_specdec.report.images import size_of

_TILE_PX: Final = 256
_UM_PER_CM: Final = 10_000.0


def write_ome_tiff(
    path: Path, image: NDArray[np.uint8], name: str, mpp: tuple[float, float] | None
) -> None:
    """Write a picture and its halvings as tiled OME-TIFF, without loss, atomically.

    Coarser levels lie in SubIFDs, where OME-TIFF 6 has them; the scale stands in the OME-XML
    (`PhysicalSizeX`, `PhysicalSizeY`) and in the TIFF's resolution.

    Parameters
    ----------
    path
        The file, for one `slide-1.ome.tif`.
    image
        (h, w, 3) RGB.
    name
        Of the image.
    mpp
        µm per pixel in x and y; None leaves the scale out.
    """
    import tifffile

    levels = list(pyramid(image))
    options: dict[str, Any] = {
        "photometric": "rgb",
        "tile": (_TILE_PX, _TILE_PX),
        "compression": "adobe_deflate",
        "predictor": True,
        "software": "wsi_specdec",
    }
    metadata: dict[str, Any] = {"axes": "YXS", "Name": name}
    if mpp is not None:
        metadata |= {
            "PhysicalSizeX": mpp[0],
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": mpp[1],
            "PhysicalSizeYUnit": "µm",
        }
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary, ome=True) as writer:
        for index, level in enumerate(levels):
            scale = _resolution(mpp, image, level)
            if index == 0:
                writer.write(level, subifds=len(levels) - 1, metadata=metadata, **options, **scale)
            else:
                writer.write(level, subfiletype=1, metadata=None, **options, **scale)


def pyramid(image: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield a picture and its averaged halvings, down to one that fits a tile.

    An odd side is halved upwards: its last pixel is averaged from the one row or column there is,
    so that every pixel covers two of the finer level.
    """
    yield image
    while max(image.shape[:2]) > _TILE_PX:
        height, width = image.shape[:2]
        even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        half = (even.shape[1] // 2, even.shape[0] // 2)
        image = cv2.resize(even, half, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        yield image


def _resolution(
    mpp: tuple[float, float] | None, image: NDArray[np.uint8], level: NDArray[np.uint8]
) -> dict[str, Any]:
    if mpp is None:
        return {}
    times = round(size_of(image).width / size_of(level).width)
    per_cm = tuple(_UM_PER_CM / (value * times) for value in mpp)
    return {"resolution": per_cm, "resolutionunit": "CENTIMETER"}
