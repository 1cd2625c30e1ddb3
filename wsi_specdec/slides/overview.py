"""A slide at low resolution, in bounded memory whatever its size and levels."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import Size
from wsi_specdec.slides.base import SlideInfo, SlideReader

# Side of a block read at once, in pixels of the level: 12 MiB of RGB.
_BLOCK_PX = 2048


def read_overview(
    slide: SlideReader, max_px: int, mpp: float | None
) -> tuple[NDArray[np.uint8], float]:
    """Read the whole slide at low resolution.

    The coarsest level that is fine enough is averaged over whole squares of its pixels, so the
    resolution is the nearest that a whole factor gives.

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
    step = factor * max(1, _BLOCK_PX // factor)
    for top in range(0, size.height, step):
        for left in range(0, size.width, step):
            block = Size(min(step, size.width - left), min(step, size.height - top))
            image = _averaged(_read_block(slide, level, left, top, block), factor)
            row, column = top // factor, left // factor
            out[row : row + image.shape[0], column : column + image.shape[1]] = image
    return out, info.level_downsamples[level] * factor


def _choose(info: SlideInfo, max_px: int, mpp: float | None) -> tuple[int, int]:
    """Return the level to read and the whole factor to average it by."""
    level0 = info.level_sizes[0]
    target = max(1.0, max(level0.width, level0.height) / max_px)
    if mpp is not None and info.mpp is not None:
        target = max(target, mpp / info.mpp)
    usable = [i for i, downsample in enumerate(info.level_downsamples) if downsample <= target]
    level = max(usable, key=lambda i: info.level_downsamples[i], default=0)
    size = info.level_sizes[level]
    least = math.ceil(max(size.width, size.height) / max_px)
    return level, max(least, round(target / info.level_downsamples[level]), 1)


def _read_block(
    slide: SlideReader, level: int, left: int, top: int, size: Size
) -> NDArray[np.uint8]:
    downsample = slide.info.level_downsamples[level]
    return slide.read_region(round(left * downsample), round(top * downsample), level, size)


def _averaged(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Average squares of `factor` pixels; those cut by the edge are filled up with its pixels."""
    if factor == 1:
        return pixels
    height, width = pixels.shape[:2]
    missing = ((0, -height % factor), (0, -width % factor), (0, 0))
    full = np.pad(pixels, missing, mode="edge")
    size = (full.shape[1] // factor, full.shape[0] // factor)
    return np.asarray(cv2.resize(full, size, interpolation=cv2.INTER_AREA), np.uint8)
