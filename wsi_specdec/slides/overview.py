"""A slide at low resolution, in bounded memory whatever its size and levels.

Where the level's JPEG tiles can be had from the file, they are decoded at a fraction of their size:
the decoder leaves out the frequencies that averaging would, at a fraction of the time. Other levels
are read through the slide's reader, block by block.
"""

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import SlideReadError
from wsi_specdec.geometry import Size
from wsi_specdec.slides.base import SlideInfo, SlideReader
from wsi_specdec.slides.encoded import EncodedLevel
from wsi_specdec.slides.encoded_levels import encoded_level

# Pixels of a block read at once: 3 MiB of RGB.
_BLOCK_PX = 1 << 20
# A level this much coarser than wanted is taken rather than decoding sixteen times the pixels.
_MAX_COARSER = 1.5
_SCALED_DECODING = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
# Damage must not make it look as if the slide were turned.
_PLAIN = cv2.IMREAD_IGNORE_ORIENTATION

Image = NDArray[np.uint8]


def read_overview(slide: SlideReader, max_px: int, mpp: float | None) -> tuple[Image, float]:
    """Read the whole slide at low resolution.

    The level that is about fine enough is averaged over whole squares of its pixels, so the
    resolution is the nearest that a handy whole factor (1, 2, 4, 8 or a multiple of 8) gives.

    Parameters
    ----------
    slide
        The open slide.
    max_px
        Longest side of the image, in pixels.
    mpp
        µm per pixel wanted; None, or a slide without mpp, gives as many pixels as `max_px` allows.

    Returns
    -------
    image : uint8, (height, width, 3)
        The whole slide, its top-left corner in the image's.
    downsample : float
        Level-0 pixels per pixel of the image, the same both ways.

    Raises
    ------
    SlideReadError
        If the file turns out to be corrupt or truncated.
    """
    info = slide.info
    level, factor = _choose(info, max_px, mpp)
    size = info.level_sizes[level]
    out = np.empty((-(-size.height // factor), -(-size.width // factor), 3), np.uint8)
    encoded = encoded_level(slide, level)
    if encoded is not None and encoded.form is not None:
        _from_tiles(slide, encoded, factor, out)
    else:
        _from_blocks(slide, level, factor, out)
    return out, info.level_downsamples[level] * factor


def _choose(info: SlideInfo, max_px: int, mpp: float | None) -> tuple[int, int]:
    """Return the level to read and the whole factor to average it by."""
    level0 = info.level_sizes[0]
    target = max(1.0, max(level0.width, level0.height) / max_px)
    if mpp is not None and info.mpp is not None:
        target = max(target, mpp / info.mpp)
    downsamples = info.level_downsamples
    usable = [i for i, downsample in enumerate(downsamples) if downsample <= target * _MAX_COARSER]
    level = max(usable, key=lambda i: downsamples[i], default=0)
    size = info.level_sizes[level]
    least = max(1, math.ceil(max(size.width, size.height) / max_px))
    return level, _handy(target / downsamples[level], least)


def _handy(wanted: float, least: int) -> int:
    """Whole factor near `wanted` and no less than `least`, that decoders can scale by."""
    unit = next(unit for unit in (8, 4, 2, 1) if max(wanted, least) >= unit)
    # Of two as near, the finer.
    nearest = math.ceil(wanted / unit - 0.5)
    return unit * max(nearest, -(-least // unit), 1)


def _from_blocks(slide: SlideReader, level: int, factor: int, out: Image) -> None:
    size = slide.info.level_sizes[level]
    side = math.isqrt(_BLOCK_PX)
    step = factor * max(1, side // factor)
    for top in range(0, size.height, step):
        for left in range(0, size.width, step):
            block = Size(min(step, size.width - left), min(step, size.height - top))
            pixels = _averaged(_read_block(slide, level, left, top, block), factor)
            row, column = top // factor, left // factor
            out[row : row + pixels.shape[0], column : column + pixels.shape[1]] = pixels


def _from_tiles(slide: SlideReader, level: EncodedLevel, factor: int, out: Image) -> None:
    """Decode rows of tiles; whole squares are averaged, the rows over wait for the next."""
    scale = math.gcd(factor, level.tile.width, level.tile.height, 8)
    rest = factor // scale
    waiting: list[Image] = []
    row = 0
    for strip in _strips(slide, level, scale):
        pixels = np.concatenate([*waiting, strip]) if waiting else strip
        whole = len(pixels) // rest
        if whole:
            out[row : row + whole] = _averaged(pixels[: whole * rest], rest)
        waiting = [pixels[whole * rest :].copy()]
        row += whole
    if row < len(out):
        out[row:] = _averaged(waiting[0], rest)


def _strips(slide: SlideReader, level: EncodedLevel, scale: int) -> Iterator[Image]:
    """Yield the level's rows of tiles at 1 / scale, (h, w, 3) each, padding cut off."""
    width, height = level.tile.width // scale, level.tile.height // scale
    strip = np.empty((height, level.columns * width, 3), np.uint8)
    shape = (-(-level.size.height // scale), -(-level.size.width // scale))
    for row in range(level.rows):
        for column, pixels in enumerate(_tiles(slide, level, row, scale)):
            strip[:, column * width : (column + 1) * width] = pixels
        rows = min(height, shape[0] - row * height)
        if level.size.width % scale:
            # What of the last square lies in the slide is not told apart from the tile's padding.
            strip[:, shape[1] - 1] = strip[:, max(shape[1] - 2, 0)]
        if row == level.rows - 1 and level.size.height % scale:
            strip[rows - 1] = strip[max(rows - 2, 0)]
        yield strip[:rows, : shape[1]]


def _tiles(slide: SlideReader, level: EncodedLevel, row: int, scale: int) -> Iterator[Image]:
    indices = row * level.columns + np.arange(level.columns, dtype=np.int64)
    missing = level.missing(indices)
    encoded = iter(level.read_jpegs(indices[~missing]))
    for column, gone in enumerate(missing.tolist()):
        if gone:
            at = (column * level.tile.width, row * level.tile.height)
            yield _averaged(_read_block(slide, level.level, *at, level.tile), scale)
        else:
            yield _decoded(next(encoded), level, column, row, scale)


def _decoded(jpeg: bytes, level: EncodedLevel, column: int, row: int, scale: int) -> Image:
    flags = _SCALED_DECODING[scale] | _PLAIN
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags)
    shape = (level.tile.height // scale, level.tile.width // scale, 3)
    if pixels is None or pixels.shape != shape:
        msg = (
            f"cannot decode the tile in column {column}, row {row} of level {level.level} of "
            f"{level.path}; the file is corrupt or truncated"
        )
        raise SlideReadError(msg)
    return np.asarray(pixels[..., ::-1], np.uint8)


def _read_block(slide: SlideReader, level: int, left: int, top: int, size: Size) -> Image:
    downsample = slide.info.level_downsamples[level]
    return slide.read_region(round(left * downsample), round(top * downsample), level, size)


def _averaged(pixels: Image, factor: int) -> Image:
    """Average squares of `factor` pixels; those cut by the edge are filled up with its pixels."""
    if factor == 1:
        return pixels
    height, width = pixels.shape[:2]
    if height % factor or width % factor:
        missing = ((0, -height % factor), (0, -width % factor), (0, 0))
        pixels = np.pad(pixels, missing, mode="edge")
    size = (pixels.shape[1] // factor, pixels.shape[0] // factor)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
