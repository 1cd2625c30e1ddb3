"""What a person looks at: thumbnail, tissue mask, and its outline."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.annotations import polygons_to_geojson, write_geojson
from wsi_specdec.files import write_bytes
from wsi_specdec.geometry import Box
from wsi_specdec.tissue import contours

_THUMBNAIL_PX = 1024
_THUMBNAIL_QUALITY = 85
_CLASS = "Tissue"


def make_thumbnail(overview: NDArray[np.uint8]) -> bytes:
    """Average an image, (h, w, 3) uint8 RGB, down to a JPEG of at most 1,024 pixels a side."""
    times = max(1.0, max(overview.shape[:2]) / _THUMBNAIL_PX)
    height, width = (max(1, round(side / times)) for side in overview.shape[:2])
    small = cv2.resize(overview, (width, height), interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _THUMBNAIL_QUALITY]
    return _encoded(".jpg", small[..., ::-1], quality)


def write_previews(
    folder: Path,
    slide_id: str,
    thumbnail: bytes,
    tissue: NDArray[np.bool_],
    downsample: float,
    bounds: Box,
) -> None:
    """Write `<slide_id>.thumbnail.jpg`, `.tissue.png` and `.tissue.geojson`, each atomically.

    Parameters
    ----------
    folder
        Where to.
    slide_id
        The slide.
    thumbnail
        JPEG of the whole slide, see `make_thumbnail`.
    tissue
        (h, w) bool; written as 0 and 255.
    downsample
        Level-0 pixels per pixel of `tissue`.
    bounds
        The scanned part of the slide, from whose corner QuPath counts.
    """
    write_bytes(folder / f"{slide_id}.thumbnail.jpg", thumbnail)
    mask = _encoded(".png", tissue.astype(np.uint8) * 255, [])
    write_bytes(folder / f"{slide_id}.tissue.png", mask)
    outline = polygons_to_geojson(contours(tissue, downsample), _CLASS, bounds=bounds)
    write_geojson(folder / f"{slide_id}.tissue.geojson", outline["features"])


def _encoded(suffix: str, image: NDArray[np.generic], options: list[int]) -> bytes:
    return bytes(cv2.imencode(suffix, np.ascontiguousarray(image), options)[1])
