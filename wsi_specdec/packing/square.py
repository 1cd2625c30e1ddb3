"""An image of any size to a square tile. Pure functions of arrays."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.images import Picture

Fit = Literal["pad", "crop", "stretch"]


def to_square(picture: Picture, size: int, fit: Fit, fill: int) -> NDArray[np.uint8]:
    """Resample an image to a square of RGB.

    Pixels that are not square are made so first. An image is averaged where it becomes smaller
    and interpolated linearly where it becomes larger.

    Parameters
    ----------
    picture
        The image.
    size
        Side of the square.
    fit
        `pad` keeps all of an oblong image and puts a margin at its sides, `crop` takes the square
        in its middle, `stretch` takes all of it out of proportion.
    fill
        The margin's value.

    Returns
    -------
    uint8, (size, size, 3).
    """
    pixels: NDArray[np.generic] = picture.pixels
    height, width = pixels.shape[0] * picture.pixel_aspect, float(pixels.shape[1])
    if fit == "crop":
        side = min(height, width)
        pixels = _middle(pixels, side / picture.pixel_aspect, side)
    if fit == "pad":
        scale = size / max(height, width)
        tall, wide = (max(1, round(length * scale)) for length in (height, width))
        inner = _rgb(_resized(pixels, tall, wide))
        out = np.full((size, size, 3), fill, np.uint8)
        top, left = (size - tall) // 2, (size - wide) // 2
        out[top : top + tall, left : left + wide] = inner
        return out
    return _rgb(_resized(pixels, size, size))


def _middle(pixels: NDArray[np.generic], height: float, width: float) -> NDArray[np.generic]:
    rows, columns = max(1, round(height)), max(1, round(width))
    top, left = (pixels.shape[0] - rows) // 2, (pixels.shape[1] - columns) // 2
    return pixels[top : top + rows, left : left + columns]


def _resized(pixels: NDArray[np.generic], height: int, width: int) -> NDArray[np.generic]:
    if pixels.shape[:2] == (height, width):
        return pixels
    # Averaging along a side that grows would repeat pixels: one side after the other.
    for tall, wide in ((height, pixels.shape[1]), (height, width)):
        shrinks = tall <= pixels.shape[0] and wide <= pixels.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        pixels = np.asarray(
            cv2.resize(np.ascontiguousarray(pixels), (wide, tall), interpolation=how)
        )
    return pixels


def _rgb(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Turn 16 bits into the nearest of 8, and grey into three equal channels."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    grey = pixels.ndim == 2
    return np.asarray(np.repeat(pixels[..., None], 3, axis=2) if grey else pixels, np.uint8)
