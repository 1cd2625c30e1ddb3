"""Pen on the slide or its cover slip.

Blue and green ink absorb red light, which haematoxylin and eosin hardly do, and black ink is grey
and near black: each is told by its colour. Red ink has the colour of blood. It is taken for pen
only where it also has the shape of a stroke, long and of an even width, and lies on glass: blood
lies in or at tissue. Purple, pink and pale red pen cannot be told from stained tissue, and stay.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.tissue.morphology import Mask, dilate, open_up, pieces
from wsi_specdec.tissue.planes import BLACK, COLD_INK, RED, Planes, measure
from wsi_specdec.tissue.threshold import root_of

# Narrower than this are chromatic fringes and blue nuclei.
_MIN_STROKE_UM = 20.0
# Ink is looked for at this resolution; finer images are averaged.
_FINEST_MPP: Final = 4.0
# Of what counts as tissue beside red ink.
_PLAIN_DENSITY: Final = 0.1

_MIN_RED_WIDTH_UM = 80.0
_MIN_RED_LENGTH_UM = 2500.0
_MIN_ELONGATION = 6.0
_MAX_TISSUE_CONTACT = 0.15
_BLUR_PX = 2
_CONTACT_UM = 60.0


def ink_mask(image: NDArray[np.uint8], mpp: float | None = None) -> NDArray[np.bool_]:
    """Find blue, green and black pen, and strokes of red pen on glass.

    Parameters
    ----------
    image
        (h, w, 3) uint8 RGB, an overview or a tile. The strokes of red pen are seen on overviews
        alone: within a tile nothing parts them from blood.
    mpp
        µm per pixel; where None, single pixels count as noise and red pen is left.

    Returns
    -------
    NDArray[np.bool_]
        (h, w), True for ink.
    """
    height, width = image.shape[:2]
    if mpp is not None and mpp < _FINEST_MPP:
        shrink = min(_FINEST_MPP / mpp, height, width)
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        mpp *= shrink
    planes = measure(image)
    ink = cold_ink(planes, mpp) | _broad(planes, BLACK, mpp)
    if mpp is not None:
        plain = (planes.signal >= root_of(_PLAIN_DENSITY)).astype(np.uint8)
        ink |= red_strokes(planes, plain, mpp)
    shown = cv2.resize(ink, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(shown) > 0


def cold_ink(planes: Planes, mpp: float | None) -> Mask:
    """Blue and green ink, (h, w) 0 or 1."""
    return _broad(planes, COLD_INK, mpp)


def black_areas(planes: Planes) -> Mask:
    """Black ink, the label's edge and unscanned padding, (h, w) 0 or 1."""
    return planes.flagged(BLACK)


def red_strokes(planes: Planes, plain: Mask, mpp: float) -> Mask:
    """Find strokes of red ink on glass.

    Parameters
    ----------
    planes
        Of the overview.
    plain
        (h, w) 0 or 1, what a threshold takes for tissue; the strokes may be part of it.
    mpp
        µm per pixel.

    Returns
    -------
    Mask
        (h, w) 0 or 1.
    """
    red = planes.flagged(RED)
    if not red.any():
        return red
    strokes = np.zeros_like(red)
    red = open_up(red, max(1, round(_MIN_RED_WIDTH_UM / 2 / mpp)))
    reach = _BLUR_PX + max(1, round(_CONTACT_UM / mpp))
    least = _MIN_RED_LENGTH_UM * _MIN_RED_WIDTH_UM / mpp**2
    for piece in pieces(red, min_px=least, margin=2 * reach):
        is_stroke = piece.is_band(_MIN_RED_LENGTH_UM / mpp, _MIN_ELONGATION)
        if is_stroke and _contact(piece.mask, plain[piece.window], reach) < _MAX_TISSUE_CONTACT:
            strokes[piece.window] |= dilate(piece.mask, _BLUR_PX)
    return strokes


def _contact(piece: Mask, plain: Mask, reach: int) -> float:
    """Share of a piece's surroundings, past its blurred edge, that is tissue."""
    around = dilate(piece, reach) - dilate(piece, _BLUR_PX + 1)
    return float((around & plain).sum()) / max(float(around.sum()), 1.0)


def _broad(planes: Planes, flag: int, mpp: float | None) -> Mask:
    """Where a flag is set over more than single pixels."""
    flagged = planes.flagged(flag)
    radius = 1 if mpp is None else max(1, round(_MIN_STROKE_UM / 2 / mpp))
    return open_up(flagged, radius) if flagged.any() else flagged
