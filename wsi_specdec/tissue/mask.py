"""Tissue told from glass by how much light it absorbs, and how colourfully.

Optical density is taken against the slide's own glass, OD = log10(I_glass / I). A pixel's signal
is max(OD) - min(OD) / 2 over its channels: stain keeps nearly all of it, grey shadows, dust and
the cover slip's edge lose half. A threshold of that signal finds plain tissue; fatty tissue, too
faint for any, is found around it by its mean colour.
"""

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import TissueConfig
from wsi_specdec.tissue.fatty import fatty_tissue
from wsi_specdec.tissue.folds import folds
from wsi_specdec.tissue.ink import black_areas, cold_ink, red_strokes
from wsi_specdec.tissue.morphology import (
    Mask,
    close,
    dilate,
    without_small_parts,
)
from wsi_specdec.tissue.planes import Planes, measure
from wsi_specdec.tissue.threshold import root_of, signal_threshold

_CLOSING_UM = 16.0
# Ink and padding are widened to take in their blurred edge.
_FOREIGN_MARGIN_UM = 40.0


def find_tissue(
    image: NDArray[np.uint8] | Planes, mpp: float | None, config: TissueConfig
) -> NDArray[np.bool_]:
    """Find the tissue on an overview of a slide.

    Parameters
    ----------
    image
        (h, w, 3) uint8 RGB; or what `measure` keeps of it, where memory matters.
    mpp
        µm per pixel of `image`. Where None, areas and distances are converted as if it were
        `config.mask_mpp`.
    config
        Method, thresholds in optical density, what is left out, and the smallest objects kept and
        largest holes filled, in µm². Glass that touches the image's edge is never a hole.

    Returns
    -------
    NDArray[np.bool_]
        (h, w), True for tissue. Blank glass gives no tissue.
    """
    if config.method == "all":
        return np.ones(image.shape[:2], dtype=bool)
    scale = mpp if mpp is not None else config.mask_mpp
    planes = image if isinstance(image, Planes) else measure(image)
    # Who calls may have handed them over: each is let go of once it is done with.
    del image
    foreign = _foreign(planes, scale, config)
    tissue = _plain_tissue(planes, foreign, config)
    dark = planes if config.exclude_folds else None
    planes = replace(planes, signal=np.empty((0, 0), np.uint8))
    if config.exclude_ink:
        strokes = red_strokes(planes, tissue, scale)
        if strokes.any():
            foreign |= strokes
            tissue &= 1 - strokes
        del strokes
    if config.keep_fatty and tissue.any():
        tissue |= fatty_tissue(planes, tissue, foreign, scale)
    del foreign, planes
    tissue = close(tissue, round(_CLOSING_UM / scale))
    tissue = without_small_parts(
        tissue, config.min_object_um2 / scale**2, config.max_hole_um2 / scale**2
    )
    if dark is not None:
        tissue &= 1 - folds(dark, tissue, scale)
    return tissue.view(np.bool_)


def _foreign(planes: Planes, mpp: float, config: TissueConfig) -> Mask:
    """Ink by its colour, and what is black whatever the stain."""
    foreign = black_areas(planes)
    if config.exclude_ink:
        foreign |= cold_ink(planes, mpp)
    if not foreign.any():
        # Zeros that are never written take no memory.
        return np.zeros(foreign.shape, np.uint8)
    return dilate(foreign, max(1, round(_FOREIGN_MARGIN_UM / mpp)))


def _plain_tissue(planes: Planes, foreign: Mask, config: TissueConfig) -> Mask:
    if config.method == "threshold":
        least = config.fixed_threshold
    else:
        counts = cv2.calcHist([planes.signal], [0], 1 - foreign, [256], [0, 256])
        least = signal_threshold(
            np.asarray(counts, np.float64).ravel(), config.min_threshold, config.max_threshold
        )
    # The slack is for a threshold that is one of the steps itself.
    tissue = planes.signal >= min(math.ceil(root_of(least) - 1e-3), 255)
    tissue &= foreign == 0
    return tissue.view(np.uint8)
