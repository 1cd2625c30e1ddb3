"""A slide whose scanned area does not begin at its corner: a Leica SCN."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsi_specdec.geometry import Box, Size

NAMESPACE = "http://www.leica-microsystems.com/scn/2010/10/01"
NM_PER_PX = 500


def write_leica(
    path: Path, pixels: NDArray[np.uint8], slide: Size, place: Box, light: str = "brightfield"
) -> Path:
    """Write `pixels`, in two levels, at `place` of a glass slide of size `slide`."""
    sizes = [Size(place.width, place.height), Size(place.width // 2, place.height // 2)]
    macro = _described([Size(50, 100)], Box(0, 0, slide.width, slide.height), 0, 0.6, light)
    main = _described(sizes, place, 1, 20, light)
    whole = f'sizeX="{slide.width * NM_PER_PX}" sizeY="{slide.height * NM_PER_PX}"'
    xml = (
        f'<?xml version="1.0"?><scn xmlns="{NAMESPACE}"><collection {whole}>'
        f"<barcode>MTIz</barcode>{macro}{main}</collection></scn>"
    )
    options: dict[str, Any] = {
        "photometric": "rgb",
        "tile": (64, 64),
        "compression": "zlib",
        "metadata": None,
    }
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(np.full((100, 50, 3), 200, np.uint8), description=xml, **options)
        writer.write(pixels, **options)
        writer.write(pixels[::2, ::2], **options)
    return path


def _described(sizes: list[Size], place: Box, first_ifd: int, objective: float, light: str) -> str:
    """Describe one picture; `place` is in pixels of the finest level."""
    levels = "".join(
        f'<dimension sizeX="{s.width}" sizeY="{s.height}" r="{i}" ifd="{first_ifd + i}"/>'
        for i, s in enumerate(sizes)
    )
    x, y, width, height = (n * NM_PER_PX for n in (place.x, place.y, place.width, place.height))
    return (
        "<image><creationDate>2020-01-01T00:00:00Z</creationDate>"
        '<device model="Leica SCN400" version="1"/>'
        f'<pixels sizeX="{sizes[0].width}" sizeY="{sizes[0].height}">{levels}</pixels>'
        f'<view sizeX="{width}" sizeY="{height}" offsetX="{x}" offsetY="{y}" spacingZ="0"/>'
        f"<scanSettings><objectiveSettings><objective>{objective}</objective></objectiveSettings>"
        "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
        f"<illuminationSource>{light}</illuminationSource></illuminationSettings></scanSettings>"
        "</image>"
    )
