"""Mask images of any size, block by block, so that memory does not grow with the mask.

A mask has one value a pixel: that of a grey image, an index of a TIFF's palette, or the largest of
red, green and blue (so PANDA's masks, which use red alone, and grey stored as colour both read as
meant); transparency is left aside.
"""

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import ManifestError
from wsi_specdec.geometry import Size

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

# What has to be decoded in one go: 256 MiB of one byte a pixel.
MAX_MASK_PIXELS = 1 << 28
_BLOCK_SIDE = 2048
_READ_BYTES = 1 << 24
_MAX_ASPECT_ERROR = 0.01
_TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

Values = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class MaskBlocks:
    """One level of a mask, to be read once from front to back.

    Attributes
    ----------
    size
        The level's size in its own pixels.
    scale
        Level-0 pixels of the slide per mask pixel, in x and in y.
    blocks
        x, y of a block's top-left corner in mask pixels and its (h, w) values; blocks do not
        overlap, and where there is none the mask is 0.
    """

    size: Size
    scale: tuple[float, float]
    blocks: Iterator[tuple[int, int, Values]]


@contextmanager
def open_mask(
    path: Path, level0: Size, choose: Callable[[Sequence[Size]], int]
) -> Iterator[MaskBlocks]:
    """Open a mask image that covers the whole slide at any scale.

    Parameters
    ----------
    path
        TIFF (tiled, in strips, pyramidal or not), PNG or any other image that OpenCV reads.
    level0
        The slide's size at level 0.
    choose
        Given the sizes of the mask's levels, finest first, says which to read.

    Raises
    ------
    ManifestError
        If the file is missing, cannot be read, has a piece too large to decode, or has another
        shape than the slide; also while `blocks` is read.
    """
    if not path.is_file():
        msg = f"mask file not found: {path}; correct its path in the manifest"
        raise ManifestError(msg)
    if path.suffix.lower() in _TIFF_SUFFIXES:
        # Only where needed: every worker process imports this module.
        import tifffile

        with _reading(path):
            tif = tifffile.TiffFile(path)
        with tif:
            with _reading(path):
                page, size = _level(tif, path, choose)
            yield MaskBlocks(size, _scale(path, size, level0), _tiff_blocks(page, size, path))
    else:
        image = _read_image(path)
        size = Size(image.shape[1], image.shape[0])
        yield MaskBlocks(size, _scale(path, size, level0), _split(0, 0, image))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except ManifestError:
        raise
    # tifffile and its codecs raise nearly anything on corrupt files, ZeroDivisionError for one.
    except Exception as error:
        msg = f"cannot read the mask {path}: {error}"
        raise ManifestError(msg) from error


def _scale(path: Path, size: Size, level0: Size) -> tuple[float, float]:
    scale = (level0.width / size.width, level0.height / size.height)
    # A mask's sides are rounded to whole pixels, which matters where it is small.
    allowed = _MAX_ASPECT_ERROR + 1 / min(size.width, size.height)
    if abs(scale[0] / scale[1] - 1) > allowed:
        msg = (
            f"the mask {path} is {size.width} by {size.height} px, which does not fit the slide's "
            f"{level0.width} by {level0.height}; it must cover the whole slide"
        )
        raise ManifestError(msg)
    return scale


def _level(
    tif: "TiffFile", path: Path, choose: Callable[[Sequence[Size]], int]
) -> tuple["TiffPage", Size]:
    levels = tif.series[0].levels
    pages = [level.keyframe for level in levels]
    planes = 1 if pages[0].planarconfig == 1 else pages[0].samplesperpixel
    if pages[0].size != levels[0].size or planes > 1 or pages[0].imagedepth > 1:
        msg = f"{path} is no mask: its axes are {levels[0].axes}, not one plane of pixels"
        raise ManifestError(msg)
    sizes = [Size(page.imagewidth, page.imagelength) for page in pages]
    index = choose(sizes)
    return pages[index], sizes[index]


def _tiff_blocks(page: "TiffPage", size: Size, path: Path) -> Iterator[tuple[int, int, Values]]:
    samples = page.samplesperpixel
    if page.is_memmappable:
        with _reading(path):
            kind = np.dtype(f"{page.parent.byteorder}{np.dtype(page.dtype).char}")
            shape = (size.height, size.width, samples)
            offset = page.dataoffsets[0]
            pixels = np.memmap(path, dtype=kind, mode="r", offset=offset, shape=shape)
        yield from _split(0, 0, pixels)
        return
    with _reading(path):
        _check_segments(page, path)
    segments = page.segments(maxworkers=1, buffersize=_READ_BYTES)
    while True:
        with _reading(path):
            segment = next(segments, None)
        if segment is None:
            return
        data, (_, _, y, x, _), _ = segment
        # A segment without data is 0 throughout; one at the edge is padded.
        if data is not None:
            yield from _split(x, y, data[0, : size.height - y, : size.width - x])


def _check_segments(page: "TiffPage", path: Path) -> None:
    """Refuse what cannot be decoded in bounded memory, and what would read as 0 but is missing."""
    if (pixels := page.chunks[0] * page.chunks[1]) > MAX_MASK_PIXELS:
        _refuse(path, pixels)
    expected = math.prod(page.chunked)
    ends = [
        start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)
    ]
    if len(ends) != expected or max(ends, default=0) > path.stat().st_size:
        msg = f"the mask {path} is truncated or damaged: pieces of it are missing; copy it again"
        raise ManifestError(msg)


def _split(x: int, y: int, pixels: NDArray[Any]) -> Iterator[tuple[int, int, Values]]:
    """Blocks of bounded size, one value a pixel."""
    height, width = pixels.shape[:2]
    for top in range(0, height, _BLOCK_SIDE):
        for left in range(0, width, _BLOCK_SIDE):
            part = np.asarray(pixels[top : top + _BLOCK_SIDE, left : left + _BLOCK_SIDE])
            yield x + left, y + top, _one_value(part)


def _one_value(pixels: NDArray[Any]) -> Values:
    if pixels.dtype == np.bool_:
        pixels = pixels.view(np.uint8)
    if pixels.ndim == 2:
        return pixels
    channels = 3 if pixels.shape[2] >= 3 else 1
    value: Values = pixels[..., 0]
    for channel in range(1, channels):
        value = np.maximum(value, pixels[..., channel])
    return value


def _read_image(path: Path) -> NDArray[Any]:
    with path.open("rb") as handle:
        head = handle.read(24)
    if head.startswith(_PNG_SIGNATURE) and len(head) == 24:
        width, height = struct.unpack(">II", head[16:])
        if width * height > MAX_MASK_PIXELS:
            _refuse(path, width * height)
    try:
        image: NDArray[Any] | None = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        msg = f"cannot read the mask {path}: {error}"
        raise ManifestError(msg) from error
    if image is None:
        msg = f"cannot read the mask {path}: not an image that OpenCV knows, or corrupt"
        raise ManifestError(msg)
    if image.shape[0] * image.shape[1] > MAX_MASK_PIXELS:
        _refuse(path, image.shape[0] * image.shape[1])
    return image


def _refuse(path: Path, pixels: int) -> None:
    msg = (
        f"the mask {path} has {pixels:,} px to decode at once, more than {MAX_MASK_PIXELS:,}: "
        "save it as a tiled TIFF, or at a lower resolution (it is scaled to the slide)"
    )
    raise ManifestError(msg)
