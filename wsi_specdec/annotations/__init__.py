"""Annotations: mask images to tile labels, outlines to GeoJSON."""

from wsi_specdec.annotations.geojson import polygons_to_geojson
from wsi_specdec.annotations.mask_image import MaskImage, label_tiles, read_mask

__all__ = ["MaskImage", "label_tiles", "polygons_to_geojson", "read_mask"]
