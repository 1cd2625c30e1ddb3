"""What an opened image is, and which are too large to be opened."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import ImageError

BurntIn = Literal["refuse", "keep"]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]

# It is decoded in one piece: at 16-bit RGB, three copies of it are some 2 GiB.
MAX_PIXELS: Final = 1 << 27
_MAX_ASPECT: Final = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image as a screen shows it: black is 0, white is 255 or 65535, the patient upright.

    Attributes
    ----------
    pixels
        Grey (h, w) or RGB (h, w, 3), uint8 or uint16.
    pixel_aspect
        Height of a pixel by its width.
    patient_id
        The patient that the file's header names, None where it names none. To be written nowhere:
        not shown by `repr` either.
    view
        Direction of the beam as DICOM names it, for one `AP`; None where it is unknown.
    """

    pixels: Pixels
    pixel_aspect: float = 1.0
    patient_id: str | None = field(default=None, repr=False)
    view: str | None = None


def check_size(width: int, height: int, path: Path) -> None:
    """Refuse an image by its header, before any pixel of it is decoded.

    Raises
    ------
    ImageError
        If it has no pixels, or more than 2**27.
    """
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        msg = (
            f"{path} states a size of {width} by {height} pixels, and images have 1 to "
            f"{MAX_PIXELS:,} pixels; pack a smaller copy of it, or tile it as a slide"
        )
        raise ImageError(msg)


def check_aspect(aspect: float, path: Path) -> float:
    """Return a pixel's height by its width.

    Raises
    ------
    ImageError
        If it is not between 1/4 and 4.
    """
    if not 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
        msg = f"{path} states pixels {aspect:g} times as high as wide, which cannot be right"
        raise ImageError(msg)
    return aspect


def full_range(pixels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Stretch 16-bit values to the whole range, their lowest to 0 and their highest to 65535.

    Files of 16 bits hold 10, 12 or 16 of them and do not say which.
    """
    low, high = int(pixels.min()), int(pixels.max())
    if low == high:
        return np.zeros_like(pixels)
    wide = pixels.astype(np.float32)
    stretched = (wide - low) * np.float32(65535 / (high - low))
    return np.asarray(np.rint(stretched), np.uint16)
