"""Tile to JPEG and back. libjpeg-turbo works without the GIL, so threads help."""

import imagecodecs
import numpy as np
from numpy.typing import NDArray


def encode_jpeg(tile: NDArray[np.uint8], quality: int) -> bytes:
    """Encode a tile as one complete JPEG, its colour at full resolution (4:4:4).

    Parameters
    ----------
    tile
        uint8, (height, width, 3), RGB.
    quality
        libjpeg's quality, 1 to 100.
    """
    data = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(tile), level=quality, colorspace="RGB", subsampling="444"
    )
    return bytes(data)


def decode_jpeg(data: bytes, out: NDArray[np.uint8]) -> None:
    """Decode a complete JPEG of any subsampling or colour space into RGB.

    Parameters
    ----------
    data
        The JPEG.
    out
        uint8, (height, width, 3), contiguous; written in place.

    Raises
    ------
    ValueError
        If `data` is not a JPEG of the size and channels of `out`.
    """
    try:
        imagecodecs.jpeg8_decode(data, outcolorspace="RGB", out=out)
    except imagecodecs.Jpeg8Error as error:
        msg = f"not a readable JPEG: {error}"
        raise ValueError(msg) from error
