"""Images in and out: read, shrink, encode, inline."""

import base64
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import RunDirectoryError
from wsi_specdec.files import write_bytes
from wsi_specdec.geometry import Size

_WEBP_QUALITY: Final = 78
_MIME: Final = {".webp": "image/webp", ".png": "image/png"}


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read an image as (h, w, 3) uint8 RGB.

    Raises
    ------
    RunDirectoryError
        If the file is missing or not an image.
    """
    return cv2.cvtColor(_decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(np.uint8)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read an image as (h, w) bool, true where it is not zero.

    Raises
    ------
    RunDirectoryError
        If the file is missing or not an image.
    """
    pixels = _decode(path, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_GRAYSCALE)
    return np.asarray(pixels > 0, dtype=np.bool_)


def fit(image: NDArray[np.uint8], max_px: int) -> NDArray[np.uint8]:
    """Shrink an image by area averaging until no side is above `max_px`; never enlarge it."""
    height, width = image.shape[:2]
    scale = max_px / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def resize_mask(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Bring a mask (h, w) to `size`; a pixel is true where at least half of it was covered."""
    shrinks = mask.shape[0] >= size.height and mask.shape[1] >= size.width
    way = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    covered = cv2.resize(
        mask.astype(np.uint8) * np.uint8(255), (size.width, size.height), interpolation=way
    )
    return np.asarray(covered >= 128, dtype=np.bool_)


def size_of(image: NDArray[np.uint8]) -> Size:
    """Width and height of an array of pixels."""
    return Size(image.shape[1], image.shape[0])


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (h, w, 3) RGB or (h, w) grey pixels as PNG, atomically."""
    # The fastest level: a run writes hundreds of these, and they hardly shrink further.
    write_bytes(path, _encode(image, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]))


def data_uri(image: NDArray[np.uint8]) -> str:
    """Encode (h, w, 3) RGB pixels as WebP, or (h, w) grey ones as PNG: a data URI."""
    kind = ".webp" if image.ndim == 3 else ".png"
    options = (
        [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY]
        if kind == ".webp"
        else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    )
    return inline(_encode(image, kind, options), _MIME[kind])


def inline(data: bytes, mime: str) -> str:
    """Render bytes as a data URI."""
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def _decode(path: Path, flags: int) -> NDArray[Any]:
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        msg = f"cannot read the image {path}: {error.strerror or error}; run the stage again"
        raise RunDirectoryError(msg) from error
    pixels = cv2.imdecode(data, flags) if data.size else None
    if pixels is None:
        msg = f"{path} is not an image that can be read; remove it and run the stage again"
        raise RunDirectoryError(msg)
    return np.asarray(pixels)


def _encode(image: NDArray[np.uint8], suffix: str, options: list[int]) -> bytes:
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, data = cv2.imencode(suffix, pixels, options)
    if not done:
        msg = f"cannot encode an image of shape {image.shape} as {suffix}"
        raise RunDirectoryError(msg)
    return data.tobytes()
