"""Mask images that cover a whole slide at any scale."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import ManifestError
from wsi_specdec.geometry import Size
from wsi_specdec.tissue import area_fractions

# 256 MiB of one byte a pixel: keeps a worker's memory bounded whatever mask it is given.
MAX_MASK_PIXELS = 1 << 28
_MAX_SIDE_READ = 16_384
_MAX_ASPECT_ERROR = 0.01
_TIFF_SUFFIXES = frozenset({".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class MaskImage:
    """A mask over a whole slide.

    Attributes
    ----------
    pixels
        (h, w) bool.
    scale
        Level-0 pixels per mask pixel, in x and in y.
    """

    pixels: NDArray[np.bool_]
    scale: tuple[float, float]


def read_mask(path: Path, level0: Size) -> MaskImage:
    """Read an image file in which what is not zero (in any colour channel) is marked.

    Of a pyramidal TIFF the finest level of at most 16,384 px a side is read.

    Parameters
    ----------
    path
        PNG, TIFF or any other image that OpenCV reads.
    level0
        The slide's size at level 0.

    Raises
    ------
    ManifestError
        If the file is missing, cannot be read, is too large, or has another shape than the slide.
    """
    if not path.is_file():
        msg = f"mask file not found: {path}; correct its path in the manifest"
        raise ManifestError(msg)
    image = _read_tiff(path) if path.suffix.lower() in _TIFF_SUFFIXES else _read_image(path)
    marked = (image if image.ndim == 2 else image[..., :3].any(axis=2)) != 0
    height, width = marked.shape
    scale = (level0.width / width, level0.height / height)
    # A mask's sides are rounded to whole pixels, which matters where it is small.
    allowed = _MAX_ASPECT_ERROR + 1 / min(width, height)
    if abs(scale[0] / scale[1] - 1) > allowed:
        msg = (
            f"the mask {path} is {width} by {height} px, which does not fit the slide's "
            f"{level0.width} by {level0.height}; it must cover the whole slide"
        )
        raise ManifestError(msg)
    return MaskImage(marked, scale)


def label_tiles(
    path: Path,
    level0: Size,
    coords: NDArray[np.int64],
    size_level0: int,
    min_coverage: float,
) -> NDArray[np.int16]:
    """Label tiles by an image in which tumour is not zero.

    Parameters
    ----------
    path
        Mask image, see `read_mask`.
    level0
        The slide's size at level 0.
    coords
        (N, 2) x, y of the tiles' top-left corners, in level-0 pixels.
    size_level0
        Side of a tile in level-0 pixels.
    min_coverage
        Share of the tile's area that tumour must cover.

    Returns
    -------
    NDArray[np.int16]
        (N,), 1 for tumour and 0 for none.

    Raises
    ------
    ManifestError
        As `read_mask`.
    """
    mask = read_mask(path, level0)
    covered = area_fractions(mask.pixels, mask.scale, coords, size_level0)
    return (covered >= min_coverage).astype(np.int16)


def _read_tiff(path: Path) -> NDArray[np.generic]:
    # Only where needed: every worker process imports this module.
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            levels = tif.series[0].levels
            level = next((x for x in levels if max(x.shape[:2]) <= _MAX_SIDE_READ), levels[-1])
            if level.axes not in {"YX", "YXS"}:
                msg = f"{path} is no mask: its axes are {level.axes}, not one plane of pixels"
                raise ManifestError(msg)
            _check_size(path, level.shape[0] * level.shape[1])
            image: NDArray[np.generic] = level.asarray()
    except (OSError, ValueError, IndexError, KeyError, tifffile.TiffFileError) as error:
        if isinstance(error, ManifestError):
            raise
        msg = f"cannot read the mask {path}: {error}"
        raise ManifestError(msg) from error
    return image


def _read_image(path: Path) -> NDArray[np.generic]:
    try:
        image: NDArray[np.generic] | None = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        msg = f"cannot read the mask {path}: {error}"
        raise ManifestError(msg) from error
    if image is None:
        msg = f"cannot read the mask {path}: not an image that OpenCV knows, or corrupt"
        raise ManifestError(msg)
    _check_size(path, image.shape[0] * image.shape[1])
    return image


def _check_size(path: Path, pixels: int) -> None:
    if pixels > MAX_MASK_PIXELS:
        msg = (
            f"the mask {path} has {pixels:,} px, more than {MAX_MASK_PIXELS:,}: "
            "save it at a lower resolution, it is scaled to the slide"
        )
        raise ManifestError(msg)
