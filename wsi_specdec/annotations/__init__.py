"""Annotations: regions and masks to tile labels, outlines and tiles to GeoJSON."""

from wsi_specdec.annotations.geojson import polygons_to_geojson, tiles_to_geojson, write_geojson
from wsi_specdec.annotations.labels import label_tiles
from wsi_specdec.annotations.mask_image import MaskImage, read_mask
from wsi_specdec.annotations.reading import read_regions
from wsi_specdec.annotations.regions import Region, Regions

__all__ = [
    "MaskImage",
    "Region",
    "Regions",
    "label_tiles",
    "polygons_to_geojson",
    "read_mask",
    "read_regions",
    "tiles_to_geojson",
    "write_geojson",
]
