"""Tiles that the slide holds as they are wanted: its own JPEGs, neither decoded nor made anew."""

import numpy as np

from wsi_specdec.geometry import Size
from wsi_specdec.slides import EncodedLevel, SlideInfo
from wsi_specdec.viewer.pool import OpenSlide
from wsi_specdec.viewer.pyramid import Place, Pyramid


def stored_jpeg(slide: OpenSlide, pyramid: Pyramid, place: Place) -> bytes | None:
    """Return the slide's own JPEG of a tile; None where it has none that shows just that.

    Raises
    ------
    SlideError
        If the file is damaged there, or cannot be opened.
    """
    level = _same_level(slide.reader().info, pyramid, place.level)
    encoded = None if level is None else slide.encoded(level)
    if encoded is None or not _is_tile(encoded, pyramid, place):
        return None
    index = np.array([place.row * encoded.columns + place.column])
    return None if encoded.missing(index)[0] else encoded.read_jpegs(index)[0]


def _same_level(info: SlideInfo, pyramid: Pyramid, level: int) -> int | None:
    """Find the slide's level of a level's pixels: what halving gives, but for a cut last pixel."""
    scale, whole = pyramid.scale(level), pyramid.level0
    for number, size in enumerate(info.level_sizes):
        over = (size.width * scale - whole.width, size.height * scale - whole.height)
        if max(map(abs, over)) < scale:
            return number
    return None


def _is_tile(encoded: EncodedLevel, pyramid: Pyramid, place: Place) -> bool:
    """Whether the file's tile in that column and row is a whole one, and a JPEG."""
    side = Size(pyramid.tile, pyramid.tile)
    return (
        encoded.form is not None
        and encoded.tile == side
        and (place.column + 1) * side.width <= encoded.size.width
        and (place.row + 1) * side.height <= encoded.size.height
    )
