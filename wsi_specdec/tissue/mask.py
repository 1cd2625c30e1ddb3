"""Tissue told from glass by how much light it absorbs, and how colourfully.

Optical density is taken against the slide's own glass, OD = log10(I_glass / I). A pixel's signal
is max(OD) - min(OD) / 2 over its channels: stain keeps nearly all of it, grey shadows, dust and
the cover slip's edge lose half. Otsu (1979) then splits the square root of the signal, which
evens out the spread of glass and tissue. Where what it takes for glass is itself clearly of two
kinds, that is split once more, so that faint tissue is not sacrificed to dark.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import TissueConfig
from wsi_specdec.tissue.brightfield import brightest_channel, darkest_channel

_SMOOTHING_PX = 1.0
_CLOSING_UM = 20.0
_BINS = 256
# Share of the variance between the two classes of a split; plain noise reaches 0.6 to 0.8.
_CLEAR_SPLIT = 0.85

# Glass: bright in every channel, and a peak of the histogram. Pure white is taken for padding
# where such a peak lies below it.
_GLASS_MIN = 200
_GLASS_PEAK_WIDTH = 3
_GLASS_PEAK_SHARE = 0.02

# Pen: haematoxylin and eosin absorb green most; blue and green ink absorb red most.
_INK_EXCESS = 0.05
_INK_EXCESS_SHARE = 0.06
_INK_MARGIN_UM = 40.0
# Black pen, the label's edge and unscanned padding: near 0, or dark and grey where dark tissue
# is violet.
_BLACK = 25
_DARK_GREY = 60
_MAX_GREY_SPREAD = 12


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
    red, green, blue = _optical_density(image)
    signal = _signal(red, green, blue)
    foreign = _black(image)
    if config.exclude_ink:
        foreign |= _ink(red, green, blue)
    # Widened to take in its blurred edge.
    foreign = _morph(foreign, cv2.MORPH_DILATE, max(1, round(_INK_MARGIN_UM / scale)))
    tissue = ~foreign
    tissue &= signal > _threshold(signal[tissue], config)
    tissue = _close(tissue, round(_CLOSING_UM / scale))
    tissue = _without_small_objects(tissue, config.min_object_um2 / scale**2)
    return _without_small_holes(tissue, config.max_hole_um2 / scale**2)


def _optical_density(image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """OD of red, green and blue against the glass, (h, w) each, of the smoothed image."""
    smooth = cv2.GaussianBlur(image, (0, 0), _SMOOTHING_PX)
    is_bright = darkest_channel(image) >= _GLASS_MIN
    values = np.maximum(np.arange(256, dtype=np.float32), 1)
    planes = []
    for channel in range(3):
        glass = _glass_level(image[..., channel], is_bright)
        table = np.maximum(np.log10(glass / values), 0).astype(np.float32)
        planes.append(table[smooth[..., channel]])
    return planes


def _signal(
    red: NDArray[np.float32], green: NDArray[np.float32], blue: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return max(OD) - min(OD) / 2 of each pixel."""
    highest = np.maximum(np.maximum(red, green), blue)
    lowest = np.minimum(np.minimum(red, green), blue)
    signal: NDArray[np.float32] = np.subtract(highest, lowest / 2, dtype=np.float32)
    return signal


def _glass_level(plane: NDArray[np.uint8], is_bright: NDArray[np.bool_]) -> float:
    """Value of unstained glass in one channel; 255 where no glass is to be seen."""
    counts = np.bincount(plane[is_bright], minlength=256)
    peak = int(counts[:255].argmax())
    nearby = counts[max(0, peak - _GLASS_PEAK_WIDTH) : min(255, peak + _GLASS_PEAK_WIDTH + 1)]
    return float(peak) if nearby.sum() >= _GLASS_PEAK_SHARE * plane.size else 255.0


def _threshold(signal: NDArray[np.float32], config: TissueConfig) -> float:
    """Threshold of the signal, (n,), within the bounds of `config`.

    Where even the paler class absorbs more than glass does, the image holds tissue alone and the
    lower bound applies: Otsu would then split tissue from tissue.
    """
    if not signal.size:
        return config.max_threshold
    root = np.sqrt(signal)
    cut, _ = _otsu(root)
    pale = root[root <= cut]
    if float(np.median(pale)) ** 2 > config.min_threshold:
        return config.min_threshold
    second, clearness = _otsu(pale)
    if clearness > _CLEAR_SPLIT:
        cut = second
    return float(np.clip(cut**2, config.min_threshold, config.max_threshold))


def _otsu(values: NDArray[np.float32]) -> tuple[float, float]:
    """Otsu's threshold of values >= 0, and the share of variance that lies between its classes."""
    top = max(float(values.max()), 1e-6)
    scaled = np.multiply(values, (_BINS - 1) / top).astype(np.uint8)[np.newaxis]
    cut, _ = cv2.threshold(scaled, 0, _BINS - 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    threshold = (cut + 1) * top / (_BINS - 1)
    high = values > threshold
    share = float(high.mean())
    if share in {0.0, 1.0}:
        return threshold, 0.0
    apart = float(values[high].mean() - values[~high].mean())
    return threshold, share * (1 - share) * apart**2 / float(values.var())


def _black(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    highest = brightest_channel(image)
    grey = highest - darkest_channel(image) <= _MAX_GREY_SPREAD
    black: NDArray[np.bool_] = (highest < _BLACK) | (grey & (highest < _DARK_GREY))
    return black


def _ink(
    red: NDArray[np.float32], green: NDArray[np.float32], blue: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Blue and green pen."""
    excess = red - green
    ink = (excess > _INK_EXCESS) & (excess > _INK_EXCESS_SHARE * (red + green + blue))
    # Single pixels are chromatic fringes or blue nuclei; a pen's stroke is broader.
    return _morph(ink, cv2.MORPH_OPEN, 1)


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
