"""Tissue masks, their outlines, and how much of a tile they cover."""

from wsi_specdec.tissue.brightfield import check_brightfield
from wsi_specdec.tissue.coverage import area_fractions, marked_areas, tissue_fractions
from wsi_specdec.tissue.ink import ink_mask
from wsi_specdec.tissue.mask import find_tissue
from wsi_specdec.tissue.outline import Polygon, contours
from wsi_specdec.tissue.planes import Planes, measure

__all__ = [
    "Planes",
    "Polygon",
    "area_fractions",
    "check_brightfield",
    "contours",
    "find_tissue",
    "ink_mask",
    "marked_areas",
    "measure",
    "tissue_fractions",
]
