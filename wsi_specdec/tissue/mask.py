"""Tissue told from glass by how much light it absorbs, and how colourfully.

Optical density is taken against the slide's own glass, OD = log10(I_glass / I). A pixel's signal
is max(OD) - min(OD) / 2 over its channels: stain keeps nearly all of it, grey shadows, dust and
the cover slip's edge lose half. Otsu (1979) then splits the square root of the signal, which
evens out the spread of glass and tissue so that faint tissue is not sacrificed to dark.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import TissueConfig

_SMOOTHING_PX = 1.0
_CLOSING_UM = 20.0
_BINS = 256

# Glass: bright in every channel, and a peak of the histogram. Pure white is taken for padding
# where such a peak lies below it.
_GLASS_MIN = 200
_GLASS_PEAK_WIDTH = 3
_GLASS_PEAK_SHARE = 0.02

# Pen: haematoxylin and eosin absorb green most; blue and green ink absorb red most.
_INK_EXCESS = 0.05
_INK_EXCESS_SHARE = 0.12
_INK_MARGIN_UM = 40.0
_BLACK = 50


def find_tissue(
    image: NDArray[np.uint8], mpp: float | None, config: TissueConfig
) -> NDArray[np.bool_]:
    """Find the tissue on an overview of a slide.

    Parameters
    ----------
    image
        (h, w, 3) uint8 RGB.
    mpp
        µm per pixel of `image`. Where None, areas and distances are converted as if it were
        `config.mask_mpp`.
    config
        Method, bounds of the threshold in optical density, and the smallest objects kept and
        largest holes filled, in µm². Glass that touches the image's edge is never a hole.

    Returns
    -------
    NDArray[np.bool_]
        (h, w), True for tissue. Blank glass gives no tissue.
    """
    if config.method == "all":
        return np.ones(image.shape[:2], dtype=bool)
    scale = mpp if mpp is not None else config.mask_mpp
    density = _optical_density(image)
    signal = density.max(axis=2) - density.min(axis=2) / 2
    tissue = signal > _threshold(signal, config)
    tissue &= ~_black(image)
    if config.exclude_ink:
        tissue &= ~_ink(density, scale)
    tissue = _close(tissue, round(_CLOSING_UM / scale))
    tissue = _without_small_objects(tissue, config.min_object_um2 / scale**2)
    return _without_small_holes(tissue, config.max_hole_um2 / scale**2)


def _optical_density(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """OD against the glass, (h, w, 3), of the smoothed image."""
    glass = np.array([_glass_level(image, channel) for channel in range(3)], dtype=np.float32)
    smooth = cv2.GaussianBlur(image, (0, 0), _SMOOTHING_PX).astype(np.float32)
    density: NDArray[np.float32] = np.log10(glass / np.maximum(smooth, 1))
    return np.maximum(density, 0, out=density)


def _glass_level(image: NDArray[np.uint8], channel: int) -> float:
    """Value of unstained glass in one channel; 255 where no glass is to be seen."""
    bright = image[..., channel][image.min(axis=2) >= _GLASS_MIN]
    counts = np.bincount(bright, minlength=256)
    peak = int(counts[:255].argmax())
    nearby = counts[max(0, peak - _GLASS_PEAK_WIDTH) : min(255, peak + _GLASS_PEAK_WIDTH + 1)]
    return float(peak) if nearby.sum() >= _GLASS_PEAK_SHARE * image[..., 0].size else 255.0


def _threshold(signal: NDArray[np.float32], config: TissueConfig) -> float:
    """Otsu's threshold of the signal, within the bounds of `config`.

    Where even the paler class absorbs more than glass does, the image holds tissue alone and the
    lower bound applies: Otsu would then split tissue from tissue.
    """
    root = np.sqrt(signal)
    top = max(float(root.max()), 1e-6)
    scaled = (root * ((_BINS - 1) / top)).astype(np.uint8)
    cut, _ = cv2.threshold(scaled, 0, _BINS - 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    otsu = float(((cut + 1) * top / (_BINS - 1)) ** 2)
    pale = signal[signal <= otsu]
    if pale.size and float(np.median(pale)) > config.min_threshold:
        return config.min_threshold
    return float(np.clip(otsu, config.min_threshold, config.max_threshold))


def _black(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Black pen, the label's edge and unscanned padding."""
    black: NDArray[np.bool_] = image.max(axis=2) < _BLACK
    return black


def _ink(density: NDArray[np.float32], scale: float) -> NDArray[np.bool_]:
    """Blue and green pen, widened to take in its pale edge."""
    excess = density[..., 0] - density[..., 1]
    ink = (excess > _INK_EXCESS) & (excess > _INK_EXCESS_SHARE * density.sum(axis=2))
    # Single pixels are chromatic fringes or blue nuclei; a pen's stroke is broader.
    ink = _morph(ink, cv2.MORPH_OPEN, 1)
    return _morph(ink, cv2.MORPH_DILATE, max(1, round(_INK_MARGIN_UM / scale)))


def _close(mask: NDArray[np.bool_], radius_px: int) -> NDArray[np.bool_]:
    """Join strands, of fatty tissue above all, that lie within twice the radius."""
    return _morph(mask, cv2.MORPH_CLOSE, radius_px) if radius_px > 0 else mask


def _morph(mask: NDArray[np.bool_], operation: int, radius_px: int) -> NDArray[np.bool_]:
    side = 2 * radius_px + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    done: NDArray[np.bool_] = cv2.morphologyEx(mask.astype(np.uint8), operation, kernel) > 0
    return done


def _without_small_objects(mask: NDArray[np.bool_], min_px: float) -> NDArray[np.bool_]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= min_px
    keep[0] = False
    kept: NDArray[np.bool_] = keep[labels]
    return kept


def _without_small_holes(mask: NDArray[np.bool_], max_px: float) -> NDArray[np.bool_]:
    height, width = mask.shape
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    inside = (left > 0) & (left + stats[:, cv2.CC_STAT_WIDTH] < width)
    inside &= (top > 0) & (top + stats[:, cv2.CC_STAT_HEIGHT] < height)
    fill = inside & (stats[:, cv2.CC_STAT_AREA] <= max_px)
    fill[0] = False
    filled: NDArray[np.bool_] = mask | fill[labels]
    return filled
