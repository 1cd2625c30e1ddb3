"""From stored values to what a screen shows. Pure functions of arrays."""

from collections.abc import Sequence
from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.images.base import Pixels

Values = NDArray[np.float32]
WindowFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]

_WHITE: Final = 65535
# Of the patient: to the head or feet lies the image's height.
_UP_OR_DOWN: Final = frozenset("HF")


def stored_values(raw: Pixels, stored: int, high_bit: int, *, signed: bool) -> NDArray[np.int32]:
    """Take the value out of each cell of an image, whose other bits may hold anything.

    Parameters
    ----------
    raw
        Cells, uint8 or uint16.
    stored, high_bit
        Number of bits of the value, and which of the cell's is its highest.
    signed
        Whether that one is a sign, in two's complement.
    """
    # To the top of 32 bits, which drops what lies above, and down again, which drops the rest.
    top = raw.astype(np.uint32) << np.uint32(31 - high_bit)
    down = 32 - stored
    if signed:
        return top.view(np.int32) >> np.int32(down)
    return (top >> np.uint32(down)).astype(np.int32)


def windowed(values: Values, centre: float, width: float, function: WindowFunction) -> Values:
    """Apply a window (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3), giving 0 to 1.

    Raises
    ------
    ValueError
        If the width is below 1 (`LINEAR`), or not positive (the others).
    """
    if width <= 0 or (function == "LINEAR" and width < 1):
        msg = f"a {function} window cannot be {width:g} wide"
        raise ValueError(msg)
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)), np.float32)
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width == 0:
        return (values > centre).astype(np.float32)
    return np.asarray(np.clip((values - centre) / width + 0.5, 0, 1), np.float32)


def ranged(values: Values, used: NDArray[np.bool_]) -> Values:
    """Stretch the values that are used from 0 to 1; without a contrast all are 0."""
    chosen = values[used]
    low, high = (float(chosen.min()), float(chosen.max())) if chosen.size else (0.0, 0.0)
    if low == high:
        return np.zeros_like(values)
    return np.asarray(np.clip((values - low) / (high - low), 0, 1), np.float32)


def sixteen_bit(shown: Values) -> NDArray[np.uint16]:
    """Turn 0 to 1 into 0 to 65535."""
    return np.asarray(np.rint(shown * np.float32(_WHITE)), np.uint16)


def upright(pixels: Pixels, orientation: Sequence[str]) -> tuple[Pixels, bool]:
    """Turn an image so that the head is up and the patient's left is at the right.

    Parameters
    ----------
    pixels
        (h, w) or (h, w, 3).
    orientation
        Where in the patient its rows and its columns lead (DICOM's Patient Orientation): letters
        `L`, `R`, `A`, `P`, `H`, `F`, the main one first. Where they are missing, or neither leads
        to head or feet, the image stays as it is.

    Returns
    -------
    The image, and whether rows and columns were exchanged. Lateral views are never mirrored.
    """
    letters = [text[:1].upper() for text in orientation]
    if len(letters) != 2 or sum(letter in _UP_OR_DOWN for letter in letters) != 1:
        return pixels, False
    across, down = letters
    exchanged = across in _UP_OR_DOWN
    if exchanged:
        pixels, across, down = np.swapaxes(pixels, 0, 1), down, across
    if down == "H":
        pixels = pixels[::-1]
    if across == "R":
        pixels = pixels[:, ::-1]
    return cast("Pixels", np.ascontiguousarray(pixels)), exchanged
