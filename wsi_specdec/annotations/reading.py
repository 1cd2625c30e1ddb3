"""Which reader takes a file of regions."""

from pathlib import Path

from wsi_specdec.annotations.asap import read_asap
from wsi_specdec.annotations.geojson_reader import read_geojson
from wsi_specdec.annotations.regions import Regions, check_on_slide, fail
from wsi_specdec.errors import ManifestError
from wsi_specdec.geometry import Box, Size

_GEOJSON = (".geojson", ".json", ".geojson.gz", ".json.gz")
_ASAP = (".xml",)


def is_vector(path: Path) -> bool:
    """Whether a file's name says that it holds regions, not an image."""
    return path.name.lower().endswith((*_GEOJSON, *_ASAP))


def read_regions(path: Path, level0: Size, bounds: Box | None = None) -> Regions:
    """Read regions from GeoJSON (QuPath) or ASAP's XML (CAMELYON), in level-0 pixels.

    Parameters
    ----------
    path
        `.geojson` or `.json`, also with `.gz`, or `.xml`.
    level0
        The slide's size at level 0. Regions that stick out of it are kept as they are.
    bounds
        The slide's scanned area (OpenSlide's bounds). Coordinates of GeoJSON count from its corner,
        since QuPath crops a slide to it; None counts them from the slide's corner. ASAP's always
        count from the slide's corner.

    Raises
    ------
    ManifestError
        If the file is missing or of another kind, cannot be read, or none of its regions touches
        the slide. Names the file and the feature or annotation.
    """
    if not path.is_file():
        msg = f"annotation file not found: {path}; correct its path in the manifest"
        raise ManifestError(msg)
    name = path.name.lower()
    if name.endswith(_ASAP):
        found = read_asap(path)
    elif name.endswith(_GEOJSON):
        found = read_geojson(path, (0, 0) if bounds is None else (bounds.x, bounds.y))
    else:
        raise fail(path, "", f"expected one of {', '.join((*_GEOJSON, *_ASAP))}")
    check_on_slide(found, path, level0)
    return found
